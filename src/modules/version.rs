//! XEP-0092: Software Version. Tells name and version.

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
    features: &[ns::VERSION],
    routes: &[Route {
        kind: IqType::Get,
        namespace: ns::VERSION,
        name: "query",
        to: &[To::Host],
        handler: version,
    }],
};

fn version(_: &Call<'_>, facts: &Facts, _: &Hosts) -> Answer {
    let (namespace, version) = (ns::VERSION, facts.version);
    // The operating system is nobody's business (XEP-0092 section 5).
    let answer = format!(
        "<query xmlns='{namespace}'><name>meerkat</name><version>{version}</version></query>"
    );
    Answer::Result(answer.into_bytes())
}
