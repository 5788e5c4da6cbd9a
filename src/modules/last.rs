//! XEP-0012: Last Activity. How long the server runs, and when a user was last here, with what the
//! user said then. Who may ask is `modules::contact`.
//!
//! It is kept when the last available resource of a user leaves. A request to a full JID is for the
//! client; whether it reaches it is decided by [`is_secret`].

use crate::modules::Answer;
use crate::modules::Asked;
use crate::modules::Call;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Query;
use crate::modules::Route;
use crate::modules::Scene;
use crate::modules::To;
use crate::modules::Topic;
use crate::modules::Waiting;
use crate::modules::contact::About;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::domain_of;
use crate::modules::presence::was_shown;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::error::StanzaCondition;
use crate::route::hosts::Hosts;
use crate::session::table::Session;
use crate::session::table::Table;
use crate::store::AccountId;
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;
use crate::xml::element::Element;
use crate::xml::write::escape_text;

/// Longest parting words that are kept, in bytes; longer ones are not.
pub const STATUS_BYTES_MAX: usize = 1023;

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
    match call.to {
        To::Host => {
            let seconds = facts.unix_seconds.saturating_sub(facts.since_unix_seconds);
            answer(seconds, "")
        }
        // SPEC(XEP-0012 4): 0 while a resource is there, and the one that asks is.
        To::OwnAccount => answer(0, ""),
        To::Account => Answer::Contact(About::Last),
    }
}

/// Whether a request to a session of this shard's user `bare` comes from somebody who may not see that
/// the session is there: the answer, whatever it were, would tell (section 9). Whom the session itself
/// has shown its presence, such as a room, may ask.
pub fn is_secret(
    facts: &Facts,
    sessions: &Table,
    (bare, session): (&str, &Session),
    stanza: &[u8],
) -> bool {
    if memchr::memmem::find(stanza, ns::LAST.as_bytes()).is_none() {
        return false;
    }
    let modules = facts.modules_of(domain_of(bare));
    let request = Element::parse(stanza, ns::CLIENT, &[]);
    let (Ok(request), true) = (request, modules.is_some_and(|m| m.mod_last.is_some())) else {
        return false;
    };
    if request.child("query", ns::LAST).is_none() {
        return false;
    }
    let from = request
        .attr("from")
        .and_then(|from| crate::jid::parse(from).ok());
    let Some(from) = from else {
        return true;
    };
    let asker = from.bare();
    let sees = sessions.roster(bare).is_some_and(|r| r.state(&asker).from);
    *asker != *bare && !sees && !was_shown(session, &from.full())
}

/// So many seconds ago, with these words.
pub fn answer(seconds: u64, status: &str) -> Answer {
    let mut query = format!("<query xmlns='{}' seconds='{seconds}'>", ns::LAST).into_bytes();
    escape_text(status, &mut query);
    query.extend_from_slice(b"</query>");
    Answer::Result(query)
}

/// Nobody of the user is here: the store knows.
pub fn ask(target: &str) -> Answer {
    let Some((user, host)) = target.split_once('@') else {
        return Answer::Error(StanzaCondition::ItemNotFound, "");
    };
    Answer::Store(Query {
        request: DataRequest::Value {
            id: AccountId::from_prepared(user, host),
            area: Area::Last,
            name: Box::default(),
            asker: None,
        },
        topic: Topic::Last,
    })
}

/// What it said.
pub fn got(facts: &Facts, response: &DataResponse) -> Answer {
    let DataResponse::Value(value) = response else {
        return Answer::Error(StanzaCondition::InternalServerError, "");
    };
    let Some((at, status)) = value.as_deref().and_then(<[u8]>::split_first_chunk) else {
        // The user was never here.
        return Answer::Error(StanzaCondition::ItemNotFound, "");
    };
    let seconds = facts.unix_seconds.saturating_sub(u64::from_be_bytes(*at));
    answer(seconds, &String::from_utf8_lossy(status))
}

/// The last available resource of a user has left.
pub fn left<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, status: &str) {
    let modules = scene.facts.modules_of(domain_of(bare));
    let (Some((user, host)), true) = (
        bare.split_once('@'),
        modules.is_some_and(|modules| modules.mod_last.is_some()),
    ) else {
        return;
    };
    let mut value = scene.facts.unix_seconds.to_be_bytes().to_vec();
    if status.len() <= STATUS_BYTES_MAX {
        value.extend_from_slice(status.as_bytes());
    }
    let request = DataRequest::Put {
        id: AccountId::from_prepared(user, host),
        area: Area::Last,
        thing: (Box::default(), value.into_boxed_slice()),
    };
    let waiting = Waiting {
        topic: Topic::LastKept,
        from: bare.into(),
        target: None,
        id: "".into(),
        connection: None,
    };
    scene.asked.push(Asked::Data(request, waiting));
}
