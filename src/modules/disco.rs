//! XEP-0030: Service Discovery. What a host and an account are and can do.

use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Facts;
use crate::modules::MODULES;
use crate::modules::Module;
use crate::modules::Route;
use crate::modules::To;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::error::StanzaCondition;
use crate::route::hosts::Hosts;

/// The feature.
pub const MODULE: Module = Module {
    features: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
    routes: &[
        Route {
            kind: IqType::Get,
            namespace: ns::DISCO_INFO,
            name: "query",
            to: &[To::Host, To::OwnAccount],
            handler: info,
        },
        Route {
            kind: IqType::Get,
            namespace: ns::DISCO_ITEMS,
            name: "query",
            to: &[To::Host, To::OwnAccount],
            handler: items,
        },
    ],
};

fn info(call: &Call<'_>, facts: &Facts, _: &Hosts) -> Answer {
    if call
        .payload
        .attr("node")
        .is_some_and(|node| !node.is_empty())
    {
        return Answer::Error(StanzaCondition::ItemNotFound, "");
    }
    let identity = match call.to {
        To::Host => "<identity category='server' type='im' name='meerkat'/>",
        To::OwnAccount | To::Account => "<identity category='account' type='registered'/>",
    };
    let mut answer = format!("<query xmlns='{}'>{identity}", ns::DISCO_INFO);
    for feature in features(call.to, facts) {
        answer.push_str("<feature var='");
        answer.push_str(feature);
        answer.push_str("'/>");
    }
    answer.push_str("</query>");
    Answer::Result(answer.into_bytes())
}

/// What is announced is what the routes answer.
fn features(to: To, facts: &Facts) -> impl Iterator<Item = &'static str> {
    let answers = move |module: &&&Module| module.routes.iter().any(|r| r.to.contains(&to));
    let registration = facts.registration;
    MODULES
        .iter()
        .filter(answers)
        .flat_map(|module| module.features.iter().copied())
        .filter(move |feature| *feature != ns::REGISTER || registration)
}

/// RFC 6121 has no services of its own; components and modules with hosts appear here.
fn items(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    if call
        .payload
        .attr("node")
        .is_some_and(|node| !node.is_empty())
    {
        return Answer::Error(StanzaCondition::ItemNotFound, "");
    }
    Answer::Result(format!("<query xmlns='{}'/>", ns::DISCO_ITEMS).into_bytes())
}
