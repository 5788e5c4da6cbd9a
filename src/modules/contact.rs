//! XEP-0012 and XEP-0030: what an account tells those who may see its user's presence, and nobody
//! else. When the user was last here, what the account is, and through which resources it is reached.
//!
//! To everybody else an account that does not exist and one that says nothing are the same.

use crate::modules::Answer;
use crate::modules::Query;
use crate::modules::Scene;
use crate::modules::Topic;
use crate::modules::disco;
use crate::modules::last;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::domain_of;
use crate::proto::stanza::error::StanzaCondition;
use crate::session::roster::Roster;
use crate::session::table::User;
use crate::store::AccountId;
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// XEP-0012: when the user was last here.
    Last,
    /// XEP-0030: what the account is.
    Info,
    /// XEP-0030: the user's resources.
    Items,
}

/// `from` asks about the account `target` of this shard, a prepared bare JID.
pub fn asked<O: Outbox>(scene: &Scene<'_, O>, target: &str, from: &str, about: About) -> Answer {
    let asker = from.split_once('/').map_or(from, |(bare, _)| bare);
    if asker == target {
        return tell(scene, target, about);
    }
    if let Some(roster) = scene.sessions.roster(target) {
        return match roster.state(asker).from {
            true => tell(scene, target, about),
            false => refused(about),
        };
    }
    let Some((user, host)) = target.split_once('@') else {
        return refused(about);
    };
    Answer::Store(Query {
        request: DataRequest::Value {
            id: AccountId::from_prepared(user, host),
            area: Area::Roster,
            name: asker.into(),
            asker: scene.facts.blockable(host, from),
        },
        topic: Topic::Contact {
            about,
            target: target.into(),
        },
    })
}

/// The store says how the one who asks stands in a roster that is not in memory.
pub fn found<O: Outbox>(
    scene: &Scene<'_, O>,
    target: &str,
    from: &str,
    about: About,
    response: &DataResponse,
) -> Answer {
    let asker = from.split_once('/').map_or(from, |(bare, _)| bare);
    let item = match response {
        DataResponse::Value(item) => item,
        DataResponse::Blocked => return Answer::Error(StanzaCondition::ServiceUnavailable, ""),
        DataResponse::Done
        | DataResponse::NoRoom
        | DataResponse::NoSuchAccount
        | DataResponse::Things(_) => {
            return Answer::Error(StanzaCondition::InternalServerError, "");
        }
    };
    let item = item.as_deref().map(|item| (asker, item));
    let roster = Roster::decode(item.into_iter());
    match roster.is_some_and(|roster| roster.state(asker).from) {
        true => tell(scene, target, about),
        false => refused(about),
    }
}

fn refused(about: About) -> Answer {
    let condition = match about {
        // SPEC(XEP-0012 4)
        About::Last => StanzaCondition::Forbidden,
        // SPEC(XEP-0030 8)
        About::Info | About::Items => StanzaCondition::ServiceUnavailable,
    };
    Answer::Error(condition, "")
}

fn tell<O: Outbox>(scene: &Scene<'_, O>, target: &str, about: About) -> Answer {
    let hash = scene.sessions.hash(target);
    let sessions = scene.sessions.user(hash, target).map(User::sessions);
    let mut here = sessions
        .unwrap_or_default()
        .iter()
        .filter(|session| session.priority.is_some());
    match about {
        About::Last if here.next().is_some() => last::answer(0, ""),
        About::Last => last::ask(target),
        About::Info => disco::of_account(scene.facts.modules_of(domain_of(target))),
        About::Items => disco::resources(target, here.map(|session| &*session.resource)),
    }
}
