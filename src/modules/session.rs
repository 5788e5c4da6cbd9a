//! RFC 3921, section 3: session establishment. RFC 6120 has no use for it, old clients ask for it.

use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Route;
use crate::modules::To;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::route::hosts::Hosts;

/// The feature; it is announced in the stream's features, not by disco.
pub const MODULE: Module = Module {
    is_on: |_| true,
    features: &[],
    routes: &[Route {
        kind: IqType::Set,
        namespace: ns::SESSION,
        name: "session",
        to: &[To::Host, To::OwnAccount],
        handler: established,
    }],
};

fn established(_: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    Answer::Result(Vec::new())
}
