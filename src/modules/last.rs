//! XEP-0012: Last Activity. How long the server runs, and that who asks about the own account is here.
//!
//! When somebody else was last here is for those who see their presence (section 5), and there are no
//! subscriptions yet: others are answered `forbidden`, whether or not there is such an account.

use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Route;
use crate::modules::To;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::error::StanzaCondition;
use crate::route::hosts::Hosts;

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_last.is_some(),
    features: &[ns::LAST],
    routes: &[Route {
        kind: IqType::Get,
        namespace: ns::LAST,
        name: "query",
        to: &[To::Host, To::OwnAccount, To::Account],
        handler: last,
    }],
};

fn last(call: &Call<'_>, facts: &Facts, _: &Hosts) -> Answer {
    let seconds = match call.to {
        To::Host => facts.unix_seconds.saturating_sub(facts.since_unix_seconds),
        // SPEC(XEP-0012 4): 0 while a resource is there, and the one that asks is.
        To::OwnAccount => 0,
        To::Account => return Answer::Error(StanzaCondition::Forbidden, ""),
    };
    Answer::Result(format!("<query xmlns='{}' seconds='{seconds}'/>", ns::LAST).into_bytes())
}
