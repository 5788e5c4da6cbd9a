//! XEP-0199: XMPP Ping. Answers a ping sent to the server or to the own account.

use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Route;
use crate::modules::To;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::route::hosts::Hosts;

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_ping.is_some(),
    features: &[ns::PING],
    routes: &[Route {
        kind: IqType::Get,
        namespace: ns::PING,
        name: "ping",
        to: &[To::Host, To::OwnAccount],
        handler: pong,
    }],
};

fn pong(_: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    Answer::Result(Vec::new())
}
