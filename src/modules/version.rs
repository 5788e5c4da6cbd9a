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
    is_on: |modules| modules.mod_version.is_some(),
    features: &[ns::VERSION],
    routes: &[Route {
        kind: IqType::Get,
        namespace: ns::VERSION,
        name: "query",
        to: &[To::Host],
        handler: version,
    }],
};

fn version(call: &Call<'_>, facts: &Facts, _: &Hosts) -> Answer {
    let (namespace, version) = (ns::VERSION, facts.version);
    // The operating system is nobody's business (XEP-0092 section 5), unless the operator says so.
    let modules = facts.modules_of(call.host());
    let tells_os = modules.and_then(|modules| modules.mod_version.as_ref());
    let os = match tells_os.is_some_and(|version| version.os_info) {
        true => "<os>Linux</os>",
        false => "",
    };
    let answer = format!(
        "<query xmlns='{namespace}'><name>meerkat</name><version>{version}</version>{os}</query>"
    );
    Answer::Result(answer.into_bytes())
}
