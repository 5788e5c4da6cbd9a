//! RFC 6121, section 2: a change of a roster on its way to the disk, and what comes of it then.
//!
//! [`write()`] has it written, [`committed`] carries out what follows, [`load`] and [`read`] are how a
//! roster comes into memory. What may be changed is decided in `modules::roster` and
//! `modules::subscription`, what waits meanwhile is in `modules::line`.

use crate::modules::Asked;
use crate::modules::Scene;
use crate::modules::Topic;
use crate::modules::Waiting;
use crate::modules::answer;
use crate::modules::bounce;
use crate::modules::happening::Happening;
use crate::modules::line;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::domain_of;
use crate::modules::presence;
use crate::modules::roster::tells_versions;
use crate::modules::roster::write_item;
use crate::modules::saved;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::PresenceType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply::attribute;
use crate::session::blocklist::Blocklist;
use crate::session::roster::Item;
use crate::session::roster::ROSTER_BYTES_MAX;
use crate::session::roster::ROSTER_ITEMS_MAX;
use crate::session::roster::Roster;
use crate::session::rosters::Own;
use crate::session::table::Session;
use crate::store::AccountId;
use crate::store::StoreError;
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;
use crate::store::data::Remove;
use crate::store::data::Room;
use crate::store::data::Thing;

/// What the store keeps of one roster; the version is a thing too.
const ROOM: Room = Room {
    things: ROSTER_ITEMS_MAX + 1,
    bytes: ROSTER_BYTES_MAX,
};
/// Versions count up from the second in which a roster is first changed, so that those of an
/// account that is made again are others: so many changes a second.
const VERSIONS_PER_SECOND: u64 = 1 << 20;

/// A change that is being written.
#[derive(Clone, Debug)]
pub struct Change {
    /// The contact as it will be.
    item: Item,
    /// The version that the roster will have, where the user sees a difference.
    version: Option<u64>,
    /// What happens then.
    after: Vec<After>,
}

/// What happens when a change is on the disk.
#[derive(Clone, Debug)]
pub enum After {
    /// Every interested resource hears how the contact stands then.
    Push(Box<[u8]>),
    /// Every interested resource gets a stanza.
    Interested(Box<[u8]>),
    /// Every available resource gets a stanza.
    Available(Box<[u8]>),
    /// A stanza goes to the contact.
    Route(Type, Box<str>, Box<[u8]>),
    /// The contact sees the available resources.
    Presence(Box<str>),
    /// The contact sees them leave.
    Unavailable(Box<str>),
    /// The request is answered.
    Answer,
}

/// Has a change written: how a contact is from now on, and what happens then. `seen`: the user sees a
/// difference. `own`: the session that wants it.
pub fn write<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    item: Item,
    seen: bool,
    mut after: Vec<After>,
    own: Option<&Own>,
) {
    let (Some((user, host)), Some(roster)) = (bare.split_once('@'), scene.sessions.roster(bare))
    else {
        return;
    };
    let versions = tells_versions(scene.facts, host);
    let version = seen.then(|| next_version(roster, scene.facts.unix_seconds));
    if let Some(version) = version {
        for after in &mut after {
            if let After::Push(query) = after {
                *query = push_query(&item, version, versions);
            }
        }
    }
    let request = request(AccountId::from_prepared(user, host), &item, version);
    let hash = scene.sessions.hash(bare);
    let by = own.map(|own| own.connection);
    let rosters = scene.sessions.rosters_mut();
    rosters.begin(hash, bare, &item.jid, by);
    let topic = Topic::Roster(Box::new(Change {
        item,
        version,
        after,
    }));
    let waiting = match own {
        Some(own) => Waiting {
            topic,
            from: own.from.clone(),
            target: own.target.clone(),
            id: own.id.clone(),
            connection: Some(own.connection),
        },
        None => unanswered(bare, topic),
    };
    scene.asked.push(Asked::Data(request, waiting));
}

/// The version of a roster once it is changed, at a time in seconds since 1970.
pub fn next_version(roster: &Roster, unix_seconds: u64) -> u64 {
    (roster.version + 1).max(unix_seconds.saturating_mul(VERSIONS_PER_SECOND))
}

/// What the store is asked so that a contact is like this from now on, and the roster has a version.
pub fn request(id: AccountId, item: &Item, version: Option<u64>) -> DataRequest {
    let (mut remove, mut put): (Vec<Box<str>>, Vec<Thing>) = (Vec::new(), Vec::new());
    if let Some(version) = version {
        put.push(("".into(), version.to_be_bytes().into()));
    }
    match item.is_nothing() {
        true => remove.push(item.jid.clone()),
        false => put.push((item.jid.clone(), item.encode())),
    }
    DataRequest::Change {
        id,
        area: Area::Roster,
        remove: Remove::Names(remove),
        put,
        room: ROOM,
    }
}

/// Nobody waits for the answer; only the user matters.
fn unanswered(bare: &str, topic: Topic) -> Waiting {
    Waiting {
        topic,
        from: bare.into(),
        target: None,
        id: "".into(),
        connection: None,
    }
}

/// Has the roster of a user read, and for a user without a session whom the user blocks.
pub fn load<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, login: bool) {
    let Some((user, host)) = bare.split_once('@') else {
        return;
    };
    let id = AccountId::from_prepared(user, host);
    let modules = scene.facts.modules_of(host);
    let blocking = modules.is_some_and(|modules| modules.mod_blocking.is_some());
    if blocking && !login {
        // The store answers in order, so the list is here before the roster.
        let request = DataRequest::All {
            id: id.clone(),
            area: Area::Blocked,
        };
        let waiting = unanswered(bare, Topic::RosterBlocked);
        scene.asked.push(Asked::Data(request, waiting));
    }
    let request = DataRequest::All {
        id,
        area: Area::Roster,
    };
    let waiting = unanswered(bare, Topic::RosterLoad);
    scene.asked.push(Asked::Data(request, waiting));
}

/// The store says whom a user without a session blocks.
pub fn blocked<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    result: Result<DataResponse, StoreError>,
) {
    if let Ok(DataResponse::Things(things)) = result {
        let list = Blocklist::new(things.into_iter().map(|(name, _)| name));
        let hash = scene.sessions.hash(bare);
        scene.sessions.rosters_mut().note_blocked(hash, bare, &list);
    }
}

/// The store has read a roster, for the first time or because a change failed. Where that fails too,
/// what was known is all that is known.
pub fn read<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    result: Result<DataResponse, StoreError>,
) {
    let hash = scene.sessions.hash(bare);
    let roster = match result {
        Ok(DataResponse::Things(things)) => {
            let things = things.iter().map(|(name, value)| (&**name, &**value));
            let roster = Roster::decode(things);
            if roster.is_none() {
                tracing::error!("the store holds a damaged roster");
            }
            roster
        }
        Ok(_) | Err(_) => None,
    };
    let rosters = scene.sessions.rosters_mut();
    // What waits goes on when the session is open that waits for the roster.
    let opens = roster.is_some_and(|roster| rosters.loaded(hash, bare, roster));
    match rosters.roster(hash, bare) {
        None => rosters.forget(hash, bare),
        Some(_) if opens => {}
        Some(_) => line::written(scene, bare),
    }
}

/// The store has answered a change: what follows from it, happens.
pub fn committed<O: Outbox>(
    scene: &mut Scene<'_, O>,
    waiting: &Waiting,
    change: &Change,
    result: &Result<DataResponse, StoreError>,
) {
    let bare = waiting
        .from
        .split_once('/')
        .map_or(&*waiting.from, |(b, _)| b);
    let full = "a roster has 1048576 bytes at most";
    let refused = saved::refused(result, (StanzaCondition::PolicyViolation, full));
    match refused {
        None => {
            follow_item(scene, bare, change);
            for after in &change.after {
                follow(scene, bare, after, Some(waiting));
            }
        }
        Some(why) if change.after.iter().any(|a| matches!(a, After::Answer)) => {
            answer::reply_to(scene, waiting, Err(why));
        }
        Some(_) => {}
    }
    match result {
        // Whether it was written is unknown: the store says how it is, and what waits waits on.
        Err(error) if *error != StoreError::Locked => load(scene, bare, true),
        Ok(_) | Err(_) => line::written(scene, bare),
    }
}

fn follow_item<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, change: &Change) {
    let Some(roster) = scene.sessions.roster_mut(bare) else {
        return;
    };
    roster.version = change.version.unwrap_or(roster.version);
    match change.item.is_nothing() {
        true => roster.remove(&change.item.jid),
        false => roster.put(change.item.clone()),
    }
}

/// Does what follows from a change, or from something that needed none.
pub fn follow<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    after: &After,
    waiting: Option<&Waiting>,
) {
    match after {
        After::Push(query) => push(scene, bare, query),
        After::Interested(stanza) => to_sessions(scene, bare, stanza, |s| s.interested),
        After::Available(stanza) => to_sessions(scene, bare, stanza, |s| s.priority.is_some()),
        After::Route(kind, to, stanza) => {
            bounce::send_sized(scene, (bare, to), *kind, stanza.len(), |out| {
                out.extend_from_slice(stanza);
            });
        }
        After::Presence(to) => presence::show(scene, bare, to),
        After::Unavailable(to) => presence::hide(scene, bare, to),
        After::Answer => {
            if let Some(waiting) = waiting {
                answer::reply_to(scene, waiting, Ok(&[]));
            }
        }
    }
}

fn to_sessions<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    stanza: &[u8],
    wanted: impl Fn(&Session) -> bool,
) {
    let hash = scene.sessions.hash(bare);
    let Some(user) = scene.sessions.user(hash, bare) else {
        return;
    };
    let kind = Type::Presence(PresenceType::Subscribe);
    for session in user.sessions().iter().filter(|session| wanted(session)) {
        let write = |out: &mut Vec<u8>| out.extend_from_slice(stanza);
        let outbox = &mut *scene.outbox;
        outbox.hand(session.connection, kind, stanza.len(), write);
    }
}

/// What a push says of a contact.
fn push_query(item: &Item, version: u64, versions: bool) -> Box<[u8]> {
    let mut query = format!("<query xmlns='{}'", ns::ROSTER).into_bytes();
    if versions {
        query.extend_from_slice(format!(" ver='{version}'").as_bytes());
    }
    query.push(b'>');
    if item.listed {
        write_item(item, &mut query);
    } else {
        let jid = attribute(&item.jid);
        query.extend_from_slice(format!("<item jid='{jid}' subscription='remove'/>").as_bytes());
    }
    query.extend_from_slice(b"</query></iq>");
    query.into_boxed_slice()
}

/// Section 2.1.6: to every resource that has asked for the roster.
fn push<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, query: &[u8]) {
    let hash = scene.sessions.hash(bare);
    let Some(user) = scene.sessions.user(hash, bare) else {
        return;
    };
    let version = scene
        .sessions
        .roster(bare)
        .map_or(0, |roster| roster.version);
    for session in user.sessions().iter().filter(|s| s.interested) {
        let full = format!("{bare}/{}", session.resource);
        let head = format!(
            "<iq type='set' to='{}' id='roster-{version}-{}'>",
            attribute(&full),
            session.order()
        );
        let room = head.len() + query.len();
        let kind = Type::Iq(IqType::Set);
        scene.outbox.hand(session.connection, kind, room, |out| {
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(query);
        });
        let host = domain_of(bare);
        scene.outbox.happened(Happening::RosterPushed, host);
    }
}
