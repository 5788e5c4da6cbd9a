//! RFC 6121, section 2: the roster. Who asks for it, who changes it, and who hears of changes.
//!
//! A change is decided on the roster in memory and written to the store. When the store has committed
//! it, memory follows, and what comes of it happens (pushes, answers, stanzas to the contact):
//! [`committed`]. So nobody is told of what a crash could take back. One change of a roster is under
//! way at a time; `modules::line` has what waits for it.
//!
//! Subscriptions are `modules::subscription`.

use crate::modules::Answer;
use crate::modules::Asked;
use crate::modules::Call;
use crate::modules::Effect;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Route;
use crate::modules::Scene;
use crate::modules::To;
use crate::modules::Topic;
use crate::modules::Waiting;
use crate::modules::answer;
use crate::modules::bounce;
use crate::modules::line;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::modules::presence;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply::attribute;
use crate::route::hosts::Hosts;
use crate::session::blocklist::Blocklist;
use crate::session::roster::GROUPS_MAX;
use crate::session::roster::Item;
use crate::session::roster::ROSTER_BYTES_MAX;
use crate::session::roster::ROSTER_ITEMS_MAX;
use crate::session::roster::Roster;
use crate::session::roster::TEXT_BYTES_MAX;
use crate::session::roster::Wanted;
use crate::session::rosters::Own;
use crate::session::subscription::State;
use crate::session::table::Session;
use crate::session::table::Table;
use crate::store::AccountId;
use crate::store::StoreError;
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;
use crate::store::data::Remove;
use crate::store::data::Room;
use crate::store::data::Thing;
use crate::xml::element::Element;
use crate::xml::write::escape_text;

/// What the store keeps of one roster; the version is a thing too.
const ROOM: Room = Room {
    things: ROSTER_ITEMS_MAX + 1,
    bytes: ROSTER_BYTES_MAX,
};
/// Versions count up from the second in which a roster is first changed, so that those of an
/// account that is made again are others: so many changes a second.
const VERSIONS_PER_SECOND: u64 = 1 << 20;

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_roster.is_some(),
    features: &[],
    routes: &[
        Route {
            kind: IqType::Get,
            namespace: ns::ROSTER,
            name: "query",
            to: &[To::OwnAccount, To::Account],
            handler: ask,
        },
        Route {
            kind: IqType::Set,
            namespace: ns::ROSTER,
            name: "query",
            to: &[To::OwnAccount, To::Account],
            handler: change,
        },
    ],
};

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
    /// Every interested resource hears how the contact stands then; [`record`] writes it.
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

fn ask(call: &Call<'_>, facts: &Facts, _: &Hosts) -> Answer {
    if call.to != To::OwnAccount {
        return Answer::Error(StanzaCondition::Forbidden, "");
    }
    let versions = tells_versions(facts, call.host());
    let known = call.payload.attr("ver").filter(|_| versions);
    Answer::Do(Effect::Roster {
        known: known.map(Box::from),
        versions,
    })
}

fn tells_versions(facts: &Facts, host: &str) -> bool {
    let modules = facts.modules_of(host);
    let roster = modules.and_then(|modules| modules.mod_roster.as_ref());
    roster.is_some_and(|roster| roster.versioning)
}

fn change(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    if call.to != To::OwnAccount {
        return Answer::Error(StanzaCondition::Forbidden, "");
    }
    match wanted(call.payload) {
        Ok(Wanted::Set { jid, .. } | Wanted::Remove(jid)) if *jid == *call.target => {
            // Nobody is a contact of their own.
            Answer::Error(StanzaCondition::NotAllowed, "")
        }
        Ok(wanted) => Answer::Do(Effect::RosterSet(wanted)),
        Err(condition) => Answer::Error(condition, ""),
    }
}

/// Sections 2.3.3 and 2.5.3.
///
/// # Errors
/// What the request is answered with.
pub fn wanted(query: &Element) -> Result<Wanted, StanzaCondition> {
    let mut items = query.children();
    let (Some(item), None) = (items.next(), items.next()) else {
        return Err(StanzaCondition::BadRequest);
    };
    let jid = item.is("item", ns::ROSTER).then(|| item.attr("jid"));
    let jid = jid.flatten().ok_or(StanzaCondition::BadRequest)?;
    let jid = crate::jid::parse(jid).map_err(|_| StanzaCondition::JidMalformed)?;
    // A subscription is between accounts, so a contact is one.
    let jid = Box::from(&*jid.bare());
    // SPEC(RFC 6121 2.1.2.5): any other value of `subscription` is ignored.
    if item.attr("subscription") == Some("remove") {
        return Ok(Wanted::Remove(jid));
    }
    let name = item.attr("name").unwrap_or_default();
    let mut groups: Vec<Box<str>> = Vec::new();
    for child in item.children() {
        if !child.is("group", ns::ROSTER) {
            continue;
        }
        let group = child.text();
        if group.is_empty() || group.len() > TEXT_BYTES_MAX {
            return Err(StanzaCondition::NotAcceptable);
        }
        if groups.iter().any(|other| **other == *group) {
            return Err(StanzaCondition::BadRequest);
        }
        if groups.len() == GROUPS_MAX {
            return Err(StanzaCondition::NotAcceptable);
        }
        groups.push(Box::from(&*group));
    }
    if name.len() > TEXT_BYTES_MAX {
        return Err(StanzaCondition::NotAcceptable);
    }
    Ok(Wanted::Set {
        jid,
        name: name.into(),
        groups,
    })
}

/// Section 2.1.4: the roster, or nothing where the client has it; the session hears of changes from
/// now on.
pub fn listed<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    known: Option<&str>,
    versions: bool,
) -> Answer {
    let hash = scene.sessions.hash(sender.bare);
    if let Some(user) = scene.sessions.user_mut(hash, sender.bare)
        && let Some(session) = user.session_mut(sender.resource)
    {
        session.interested = true;
    }
    let Some(roster) = scene.sessions.roster(sender.bare) else {
        return Answer::Error(StanzaCondition::InternalServerError, "");
    };
    if known.is_some_and(|known| known == roster.version.to_string()) {
        return Answer::Result(Vec::new());
    }
    let mut content = format!("<query xmlns='{}'", ns::ROSTER).into_bytes();
    if versions {
        content.extend_from_slice(format!(" ver='{}'", roster.version).as_bytes());
    }
    content.push(b'>');
    for item in roster.items().iter().filter(|item| item.listed) {
        write_item(item, &mut content);
    }
    content.extend_from_slice(b"</query>");
    Answer::Result(content)
}

/// Section 2.1.2.
fn write_item(item: &Item, out: &mut Vec<u8>) {
    let text = |name: &str, value: &str, out: &mut Vec<u8>| {
        out.extend_from_slice(format!(" {name}='{}'", attribute(value)).as_bytes());
    };
    out.extend_from_slice(b"<item");
    text("jid", &item.jid, out);
    if !item.name.is_empty() {
        text("name", &item.name, out);
    }
    text("subscription", item.state.name(), out);
    if item.state.asked {
        text("ask", "subscribe", out);
    }
    if item.state.approved {
        text("approved", "true", out);
    }
    if item.groups.is_empty() {
        return out.extend_from_slice(b"/>");
    }
    out.push(b'>');
    for group in &item.groups {
        out.extend_from_slice(b"<group>");
        escape_text(group, out);
        out.extend_from_slice(b"</group>");
    }
    out.extend_from_slice(b"</item>");
}

/// Sections 2.3, 2.4 and 2.5: the owner changes the roster.
///
/// # Errors
/// What the request is answered with.
pub fn set<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    own: &Own,
    wanted: &Wanted,
) -> Result<(), (StanzaCondition, &'static str)> {
    let internal = (StanzaCondition::InternalServerError, "");
    let roster = scene.sessions.roster(bare).ok_or(internal)?;
    let mut after = Vec::new();
    let item = match wanted {
        Wanted::Set { jid, name, groups } => {
            let old = roster.item(jid);
            if !old.is_some_and(|item| item.listed) && !roster.has_room(true) {
                return Err((
                    StanzaCondition::PolicyViolation,
                    "a roster has 2000 contacts at most",
                ));
            }
            let mut item = old.cloned().unwrap_or_else(|| Item::new(jid));
            (item.name, item.groups, item.listed) = (name.clone(), groups.clone(), true);
            item
        }
        Wanted::Remove(jid) => {
            let old = roster.item(jid).filter(|item| item.listed);
            let old = old.ok_or((StanzaCondition::ItemNotFound, ""))?;
            farewell(bare, jid, old.state, true, &mut after);
            Item::new(jid)
        }
    };
    after.push(After::Push([].into()));
    after.push(After::Answer);
    write(scene, bare, item, true, after, Some(own));
    Ok(())
}

/// Section 2.5.2: whoever is removed is told that there is no subscription any more, either way.
fn farewell(bare: &str, jid: &str, state: State, is_here: bool, after: &mut Vec<After>) {
    use crate::session::subscription::Verb;
    if state.to || state.asked {
        after.push(verb(Verb::Unsubscribe, bare, jid));
    }
    if state.from && is_here {
        after.push(After::Unavailable(jid.into()));
    }
    if state.from || state.wanted {
        after.push(verb(Verb::Unsubscribed, bare, jid));
    }
}

/// What the contacts of a user are told whose account is gone, once its sessions are.
pub fn farewells(sessions: &Table, bare: &str) -> Vec<After> {
    let mut after = Vec::new();
    let roster = sessions.roster(bare);
    for item in roster.into_iter().flat_map(Roster::items) {
        farewell(bare, &item.jid, item.state, false, &mut after);
    }
    after
}

/// A stanza of the server's own making about a subscription.
pub fn verb(verb: crate::session::subscription::Verb, from: &str, to: &str) -> After {
    use crate::proto::stanza::PresenceType as P;
    use crate::session::subscription::Verb;
    let kind = match verb {
        Verb::Subscribe => P::Subscribe,
        Verb::Subscribed => P::Subscribed,
        Verb::Unsubscribe => P::Unsubscribe,
        Verb::Unsubscribed => P::Unsubscribed,
    };
    let stanza = format!(
        "<presence type='{}' from='{}' to='{}'/>",
        verb.name(),
        attribute(from),
        attribute(to)
    );
    After::Route(
        Type::Presence(kind),
        to.into(),
        stanza.into_bytes().into_boxed_slice(),
    )
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
    let now = scene.facts.unix_seconds;
    let version = seen.then(|| (roster.version + 1).max(now.saturating_mul(VERSIONS_PER_SECOND)));
    let (mut remove, mut put): (Vec<Box<str>>, Vec<Thing>) = (Vec::new(), Vec::new());
    if let Some(version) = version {
        put.push(("".into(), version.to_be_bytes().into()));
        for after in &mut after {
            if let After::Push(query) = after {
                *query = push_query(&item, version, versions);
            }
        }
    }
    match item.is_nothing() {
        true => remove.push(item.jid.clone()),
        false => put.push((item.jid.clone(), item.encode())),
    }
    let request = DataRequest::Change {
        id: AccountId::from_prepared(user, host),
        area: Area::Roster,
        remove: Remove::Names(remove),
        put,
        room: ROOM,
    };
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

/// The store has read a roster, for the first time or because a change failed.
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
    let refused = match result {
        Ok(DataResponse::Done) => None,
        Ok(DataResponse::NoRoom) => Some((
            StanzaCondition::PolicyViolation,
            "a roster has 1048576 bytes at most",
        )),
        Ok(DataResponse::NoSuchAccount) => Some((StanzaCondition::NotAllowed, "")),
        Err(StoreError::Locked) => Some((StanzaCondition::ResourceConstraint, "")),
        Ok(DataResponse::Things(_) | DataResponse::Value(_)) | Err(_) => {
            Some((StanzaCondition::InternalServerError, ""))
        }
    };
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
    for session in user.sessions().iter().filter(|session| wanted(session)) {
        if let Some(out) = scene.outbox.output(session.connection, stanza.len()) {
            out.extend_from_slice(stanza);
        }
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
        if let Some(out) = scene.outbox.output(session.connection, room) {
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(query);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(items: &str) -> Result<Wanted, StanzaCondition> {
        let text = format!("<query xmlns='{}'>{items}</query>", ns::ROSTER);
        wanted(&Element::parse(text.as_bytes(), "", &[]).expect("an element"))
    }

    #[test]
    fn what_a_set_wants() {
        let set = |jid: &str, name: &str, groups: &[&str]| {
            Ok(Wanted::Set {
                jid: jid.into(),
                name: name.into(),
                groups: groups.iter().map(|group| Box::from(*group)).collect(),
            })
        };
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let many: String = (0..=GROUPS_MAX)
            .map(|n| format!("<group>{n}</group>"))
            .collect();
        use StanzaCondition::*;
        let rows = [
            ("<item jid='A@X/r'/>", set("a@x", "", &[])),
            (
                "<item jid='a@x' name='A &amp; B'><group>1</group><group>2</group></item>",
                set("a@x", "A & B", &["1", "2"]),
            ),
            ("<item jid='x' subscription='both'/>", set("x", "", &[])),
            (
                "<item jid='a@x' subscription='remove' name='n'/>",
                Ok(Wanted::Remove("a@x".into())),
            ),
            ("", Err(BadRequest)),
            ("<item jid='a@x'/><item jid='b@x'/>", Err(BadRequest)),
            ("<item/>", Err(BadRequest)),
            ("<other jid='a@x'/>", Err(BadRequest)),
            ("<item xmlns='other' jid='a@x'/>", Err(BadRequest)),
            ("<item jid='@x'/>", Err(JidMalformed)),
            (
                "<item jid='a@x'><group>1</group><group>1</group></item>",
                Err(BadRequest),
            ),
            ("<item jid='a@x'><group/></item>", Err(NotAcceptable)),
            (
                &format!("<item jid='a@x'><group>{long}</group></item>"),
                Err(NotAcceptable),
            ),
            (
                &format!("<item jid='a@x' name='{long}'/>"),
                Err(NotAcceptable),
            ),
            (
                &format!("<item jid='a@x'>{many}</item>"),
                Err(NotAcceptable),
            ),
        ];
        for (items, expected) in rows {
            assert_eq!(read(items), expected, "{items}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_wanted_fits_the_store(
            jid in ".{0,12}", name in ".{0,8}", groups in proptest::collection::vec(".{0,4}", 0..6)
        ) {
            let groups: String = groups
                .iter()
                .map(|group| format!("<group>{}</group>", attribute(group)))
                .collect();
            let items = format!(
                "<item jid='{}' name='{}'>{groups}</item>", attribute(&jid), attribute(&name)
            );
            let text = format!("<query xmlns='{}'>{items}</query>", ns::ROSTER);
            let Ok(query) = Element::parse(text.as_bytes(), "", &[]) else { return Ok(()) };
            if let Ok(Wanted::Set { jid, name, groups }) = wanted(&query) {
                proptest::prop_assert!(crate::jid::parse(&jid).is_ok_and(|j| j.bare() == *jid));
                let item = Item { name, groups, listed: true, ..Item::new(&jid) };
                let bytes = item.encode();
                let read = Roster::decode([(&*jid, &*bytes)].into_iter());
                proptest::prop_assert_eq!(read.and_then(|r| r.item(&jid).cloned()), Some(item));
            }
        }
    }
}
