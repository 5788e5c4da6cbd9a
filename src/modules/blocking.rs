//! XEP-0191: Blocking Command. Whom a user blocks can neither reach the user nor be reached.
//!
//! The list is read before a user's first session opens, and lives on the owner shard while there are
//! sessions. Stanzas of users who block nobody are not looked at.
//! Own server and own account are never blocked, lest the list could not be changed any more.

use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Effect;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Query;
use crate::modules::Route;
use crate::modules::Scene;
use crate::modules::To;
use crate::modules::Topic;
use crate::modules::Waiting;
use crate::modules::answer;
use crate::modules::bounce;
use crate::modules::parcel::Parcel;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::modules::presence;
use crate::modules::saved;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::PresenceType;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::proto::stanza::reply::attribute;
use crate::route::hosts::Hosts;
use crate::session::table::User;
use crate::store::StoreError;
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;
use crate::store::data::Remove;
use crate::store::data::Room;
use crate::xml::element::Element;

/// Whom one account may block.
pub const BLOCKED_ROOM: Room = Room {
    things: 1000,
    bytes: 256 * 1024,
};
/// COMPAT(slixmpp 1.17): it does not know policy-violation and loses the answer.
const FULL: (StanzaCondition, &str) = (
    StanzaCondition::NotAcceptable,
    "a block list has 1000 addresses and 262144 bytes at most",
);
/// Bytes of an item of a list apart from its address.
const ITEM_BYTES: usize = 16;

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_blocking.is_some(),
    features: &[ns::BLOCKING],
    routes: &[
        Route {
            kind: IqType::Get,
            namespace: ns::BLOCKING,
            name: "blocklist",
            to: &[To::OwnAccount, To::Account],
            handler: list,
        },
        Route {
            kind: IqType::Set,
            namespace: ns::BLOCKING,
            name: "block",
            to: &[To::OwnAccount, To::Account],
            handler: block,
        },
        Route {
            kind: IqType::Set,
            namespace: ns::BLOCKING,
            name: "unblock",
            to: &[To::OwnAccount, To::Account],
            handler: unblock,
        },
    ],
};

/// A change of the list that waits for the store.
#[derive(Clone, Debug)]
pub enum Change {
    /// These are blocked as well.
    Block(Vec<Box<str>>),
    /// These no longer.
    Unblock(Vec<Box<str>>),
    /// Nobody any longer.
    UnblockAll,
}

/// What becomes of a stanza to a user who blocks somebody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Screen {
    /// It passes.
    Pass,
    /// It goes nowhere and nobody is told.
    Drop,
    /// As if the user were not there.
    Refuse,
}

fn list(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    match call.to {
        To::OwnAccount => Answer::Do(Effect::Blocklist),
        To::Host | To::Account => Answer::Error(StanzaCondition::Forbidden, ""),
    }
}

fn block(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    change(call, |items| match items.is_empty() {
        // SPEC(XEP-0191 3.3): nobody in particular cannot be blocked.
        true => Err(StanzaCondition::BadRequest),
        false => Ok(Change::Block(items)),
    })
}

fn unblock(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    change(call, |items| match items.is_empty() {
        true => Ok(Change::UnblockAll),
        false => Ok(Change::Unblock(items)),
    })
}

fn change(
    call: &Call<'_>,
    of: impl Fn(Vec<Box<str>>) -> Result<Change, StanzaCondition>,
) -> Answer {
    let Some(id) = call.own_account() else {
        return Answer::Error(StanzaCondition::Forbidden, "");
    };
    let items = items(call.payload);
    // No list holds so many: the store is not kept busy with them.
    if items
        .as_ref()
        .is_ok_and(|items| items.len() > BLOCKED_ROOM.things)
    {
        return Answer::Error(FULL.0, FULL.1);
    }
    let change = match items.and_then(of) {
        Ok(change) => change,
        Err(condition) => return Answer::Error(condition, ""),
    };
    let none = Remove::Names(Vec::new());
    let (remove, put) = match &change {
        Change::Block(items) => (
            none,
            items.iter().cloned().map(|i| (i, [].into())).collect(),
        ),
        Change::Unblock(items) => (Remove::Names(items.clone()), Vec::new()),
        Change::UnblockAll => (Remove::All, Vec::new()),
    };
    Answer::Store(Query {
        request: DataRequest::Change {
            id,
            area: Area::Blocked,
            remove,
            put,
            room: BLOCKED_ROOM,
        },
        topic: Topic::Blocking(change),
    })
}

/// The addresses of a command, prepared.
fn items(command: &Element) -> Result<Vec<Box<str>>, StanzaCondition> {
    let item = |item: &Element| {
        let address = item
            .is("item", ns::BLOCKING)
            .then(|| item.attr("jid"))
            .flatten()
            .ok_or(StanzaCondition::BadRequest)?;
        let parts = crate::jid::parse(address).map_err(|_| StanzaCondition::JidMalformed)?;
        Ok(parts.full().into())
    };
    command.children().map(item).collect()
}

/// Section 3.2: the list; from now on the session hears of its changes.
pub fn listed<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>) -> Answer {
    let hash = scene.sessions.hash(sender.bare);
    let mut content = format!("<blocklist xmlns='{}'>", ns::BLOCKING).into_bytes();
    if let Some(user) = scene.sessions.user_mut(hash, sender.bare) {
        if let Some(session) = user.session_mut(sender.resource) {
            session.wants_blocklist = true;
        }
        for address in user.blocked().into_iter().flat_map(|list| list.iter()) {
            write_item(address, &mut content);
        }
    }
    content.extend_from_slice(b"</blocklist>");
    Answer::Result(content)
}

fn write_item(address: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<item jid='");
    out.extend_from_slice(attribute(address).as_bytes());
    out.extend_from_slice(b"'/>");
}

/// The store has answered a change: it holds from now on, and every resource that has asked for the
/// list hears of it.
pub fn changed<O: Outbox>(
    scene: &mut Scene<'_, O>,
    waiting: &Waiting,
    change: &Change,
    result: &Result<DataResponse, StoreError>,
) {
    if let Some(why) = saved::refused(result, FULL) {
        return answer::reply_to(scene, waiting, Err(why));
    }
    let bare = waiting
        .from
        .split_once('/')
        .map_or(&*waiting.from, |(b, _)| b);
    let before = unseen(scene, bare);
    scene.sessions.change_blocked(bare, |list| match change {
        Change::Block(items) => list.add(items.iter().cloned()),
        Change::Unblock(items) => list.remove(items),
        Change::UnblockAll => *list = Default::default(),
    });
    answer::reply_to(scene, waiting, Ok(&[]));
    push(scene, bare, change);
    leave(scene, bare);
    // Section 3.3 and 3.4: contacts who see the user's presence see the user leave, or come back.
    let after = unseen(scene, bare);
    for contact in after.iter().filter(|contact| !before.contains(contact)) {
        presence::hide(scene, bare, contact);
    }
    for contact in before.iter().filter(|contact| !after.contains(contact)) {
        presence::show(scene, bare, contact);
    }
}

/// Contacts who would see the user's presence, did the user not block them.
fn unseen<O: Outbox>(scene: &Scene<'_, O>, bare: &str) -> Vec<Box<str>> {
    let hash = scene.sessions.hash(bare);
    let list = scene.sessions.user(hash, bare).and_then(User::blocked);
    let (Some(list), Some(roster)) = (list, scene.sessions.roster(bare)) else {
        return Vec::new();
    };
    let items = roster.items().iter();
    let seeing = items.filter(|item| item.state.from && list.blocks(&item.jid));
    seeing.map(|item| item.jid.clone()).collect()
}

/// Section 3.3: the command as it was, to whoever has asked for the list.
fn push<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, change: &Change) {
    let (name, items): (_, &[Box<str>]) = match change {
        Change::Block(items) => ("block", items),
        Change::Unblock(items) => ("unblock", items),
        Change::UnblockAll => ("unblock", &[]),
    };
    let mut command = format!("<{name} xmlns='{}'>", ns::BLOCKING).into_bytes();
    for address in items {
        write_item(address, &mut command);
    }
    command.extend_from_slice(format!("</{name}></iq>").as_bytes());
    let number = scene.sessions.next_push();
    let hash = scene.sessions.hash(bare);
    let Some(user) = scene.sessions.user(hash, bare) else {
        return;
    };
    for session in user.sessions().iter().filter(|s| s.wants_blocklist) {
        let full = format!("{bare}/{}", session.resource);
        let to = attribute(&full);
        let head = format!(
            "<iq type='set' to='{to}' id='push-{number}-{}'>",
            session.order()
        );
        let room = head.len() + command.len();
        let kind = Type::Iq(IqType::Set);
        scene.outbox.hand(session.connection, kind, room, |out| {
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&command);
        });
    }
}

/// Section 3.3: who is blocked now and has seen a resource sees it leave.
fn leave<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str) {
    let hash = scene.sessions.hash(bare);
    let mut seen = Vec::new();
    if let Some(user) = scene.sessions.user_mut(hash, bare)
        && let Some(list) = user.blocked().cloned()
    {
        for session in user.sessions_mut() {
            let from = format!("{bare}/{}", session.resource);
            session.directed.retain(|to| {
                let stays = !list.blocks(to);
                if !stays {
                    seen.push((from.clone(), to.clone()));
                }
                stays
            });
        }
    }
    for (from, to) in seen {
        let kind = Type::Presence(PresenceType::Unavailable);
        let notice = format!(
            "<presence type='unavailable' from='{}' to='{}'/>",
            attribute(&from),
            attribute(&to)
        );
        bounce::send(scene, &from, &to, kind, |out| {
            out.extend_from_slice(notice.as_bytes());
        });
    }
}

/// What becomes of a stanza to a user who blocks somebody.
pub fn screen(user: &User, parcel: &impl Parcel) -> Screen {
    let Some(list) = user.blocked() else {
        return Screen::Pass;
    };
    let Some(from) = parcel.sender() else {
        return Screen::Pass;
    };
    let kind = parcel.kind();
    let bare = from.split_once('/').map_or(&*from, |(bare, _)| bare);
    // The own server and the own resources are always heard.
    let domain = user.bare().split_once('@').map_or("", |(_, domain)| domain);
    if bare == user.bare() || bare == domain || !list.blocks(&from) {
        return Screen::Pass;
    }
    match kind {
        _ if kind.is_answer() => Screen::Drop,
        Type::Presence(_) => Screen::Drop,
        Type::Iq(_) | Type::Message(_) => Screen::Refuse,
    }
}

/// Whether a user blocks whom a stanza of one of its sessions is for.
pub fn forbids(hosts: &Hosts, user: &User, to: &crate::jid::Parts<'_>) -> bool {
    let Some(list) = user.blocked() else {
        return false;
    };
    let is_ours = match &to.node {
        None => hosts.serves(&to.domain),
        Some(_) => *to.bare() == *user.bare(),
    };
    !is_ours && list.blocks(&to.full())
}

/// Section 3.6: `not-acceptable`, and that it is because of the sender's own list.
pub fn refuse<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>, stanza: &Stanza<'_>) {
    if stanza.kind.is_answer() {
        return;
    }
    let room = 2 * reply::ERROR_BYTES + sender.stamp.len() + ITEM_BYTES;
    let (from, id) = (stanza.attribute(b"to"), stanza.attribute(b"id"));
    let element = stanza.kind.element();
    let kind = stanza.kind.answer();
    scene.outbox.hand(sender.connection, kind, room, |out| {
        reply::open(
            element,
            "error",
            from.as_deref(),
            sender.stamp,
            id.as_deref(),
            out,
        );
        let error = format!(
            "><error type='cancel'><not-acceptable xmlns='{}'/><blocked xmlns='{}'/></error>\
             </{element}>",
            ns::STANZA_ERRORS,
            ns::BLOCKING_ERRORS
        );
        out.extend_from_slice(error.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_names() {
        let named = |content: &str| {
            let text = format!("<block xmlns='{}'>{content}</block>", ns::BLOCKING);
            let command = Element::parse(text.as_bytes(), "", &[]).expect("an element");
            items(&command).map(|items| items.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(named(""), Ok(vec![]));
        assert_eq!(
            named("<item jid='Romeo@X/o'/>"),
            Ok(vec!["romeo@x/o".to_owned()])
        );
        assert_eq!(
            named("<item jid='x'/><item jid='x/r'/>"),
            Ok(vec!["x".to_owned(), "x/r".to_owned()])
        );
        assert_eq!(named("<item/>"), Err(StanzaCondition::BadRequest));
        assert_eq!(named("<other jid='x'/>"), Err(StanzaCondition::BadRequest));
        assert_eq!(
            named("<item xmlns='' jid='x'/>"),
            Err(StanzaCondition::BadRequest)
        );
        for bad in ["", "@x", "a@", "a b@x", "x/"] {
            let content = format!("<item jid='{bad}'/>");
            assert_eq!(
                named(&content),
                Err(StanzaCondition::JidMalformed),
                "{bad:?}"
            );
        }
    }
}
