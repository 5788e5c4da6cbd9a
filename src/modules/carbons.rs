//! XEP-0280: Message Carbons. Copies of messages for the other resources of whoever sends or gets them.
//!
//! A resource asks for copies; nothing is looked at for users of whom no resource has. What is worth
//! a copy is the table in [`is_eligible`]. Not here: removing `<private/>` from what is delivered.

use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Effect;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Route;
use crate::modules::Scene;
use crate::modules::To;
use crate::modules::parcel::Parcel;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::MessageType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply::attribute;
use crate::route::hosts::Hosts;
use crate::session::table::Session;
use crate::session::table::User;
use crate::xml::element::Element;

/// What a copy adds to a message at most, apart from addresses.
const WRAPPING_BYTES: usize = 256;

/// Namespaces of what belongs to a conversation without being its text (section 6.1): receipts,
/// chat states, markers, corrections and retractions, encrypted text.
const CONVERSATION: &[&str] = &[
    "urn:xmpp:receipts",
    "http://jabber.org/protocol/chatstates",
    "urn:xmpp:chat-markers:0",
    "urn:xmpp:message-correct:0",
    "urn:xmpp:message-retract:0",
    "urn:xmpp:message-retract:1",
    "urn:xmpp:reactions:0",
    "urn:xmpp:jingle-message:0",
    "jabber:x:conference",
    "eu.siacs.conversations.axolotl",
    "urn:xmpp:omemo:2",
];

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_carboncopy.is_some(),
    features: &[ns::CARBONS],
    routes: &[
        Route {
            kind: IqType::Set,
            namespace: ns::CARBONS,
            name: "enable",
            to: &[To::OwnAccount, To::Account],
            handler: enable,
        },
        Route {
            kind: IqType::Set,
            namespace: ns::CARBONS,
            name: "disable",
            to: &[To::OwnAccount, To::Account],
            handler: disable,
        },
    ],
};

/// Which way a message goes, for the user who gets the copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Another resource got it.
    Received,
    /// Another resource sent it.
    Sent,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
        }
    }
}

fn enable(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    switch(call, true)
}

fn disable(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    switch(call, false)
}

/// Section 4: of the own session only.
fn switch(call: &Call<'_>, on: bool) -> Answer {
    match call.to {
        To::OwnAccount => Answer::Do(Effect::Carbons(on)),
        To::Host | To::Account => Answer::Error(StanzaCondition::Forbidden, ""),
    }
}

/// Whether a message is worth a copy (section 6.1).
pub fn is_eligible(message: &Element, direction: Direction) -> bool {
    let is_marked = message.children().any(|child| {
        // `private`, and a copy of a copy.
        child.ns() == ns::CARBONS || child.is("no-copy", ns::HINTS)
    });
    // A room sends to every resource that has joined; what goes to an occupant is no group's. Whom it
    // invites has not joined.
    let of_room = message.child("x", ns::MUC_USER);
    let invites = of_room.is_some_and(|x| x.child("invite", ns::MUC_USER).is_some());
    if is_marked || direction == Direction::Received && of_room.is_some() && !invites {
        return false;
    }
    let has_body = message.child("body", ns::CLIENT).is_some();
    match message.attr("type") {
        // Whoever shows what was sent has to show that it failed.
        Some("chat" | "error") => true,
        Some("groupchat" | "headline") => false,
        Some(_) | None => {
            has_body
                || invites
                || message
                    .children()
                    .any(|child| CONVERSATION.contains(&child.ns()))
        }
    }
}

/// Whether another session of the user than this one wants copies of what this one sends.
pub fn wants_copies(user: &User, resource: &str) -> bool {
    let mut sessions = user.sessions().iter();
    sessions.any(|session| session.carbons && &*session.resource != resource)
}

/// A session of this shard has sent a message of which another one of its user wants a copy.
pub fn sent<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    parcel: &impl Parcel,
    to: &str,
) {
    // Between the own resources what is received says it all.
    if to == sender.bare {
        return;
    }
    let hash = scene.sessions.hash(sender.bare);
    let Some(user) = scene.sessions.user(hash, sender.bare) else {
        return;
    };
    let wants = |session: &Session| session.carbons && &*session.resource != sender.resource;
    let bytes = parcel.to_bytes();
    copy(scene.outbox, user, &bytes, Direction::Sent, wants);
}

/// Some resources of a user of this shard got a message; `got` says which. The others may want a
/// copy.
pub fn received<O: Outbox>(
    outbox: &mut O,
    user: &User,
    got: &dyn Fn(&Session) -> bool,
    parcel: &impl Parcel,
) {
    let wants = |session: &Session| session.carbons && !got(session);
    if !user.sessions().iter().any(wants) {
        return;
    }
    let bytes = parcel.to_bytes();
    copy(outbox, user, &bytes, Direction::Received, wants);
}

fn copy<O: Outbox>(
    outbox: &mut O,
    user: &User,
    bytes: &[u8],
    direction: Direction,
    wants: impl Fn(&Session) -> bool,
) {
    let Ok(message) = Element::parse(bytes, ns::CLIENT, &[]) else {
        return;
    };
    if !is_eligible(&message, direction) {
        return;
    }
    let mut wrapped = Vec::with_capacity(bytes.len() + WRAPPING_BYTES);
    wrap(&message, direction, &mut wrapped);
    let bare = attribute(user.bare());
    let kind = Type::Message(MessageType::Chat);
    for session in user.sessions().iter().filter(|session| wants(session)) {
        // Who sent to another resource of its own knows.
        let full = format!("{}/{}", user.bare(), session.resource);
        if message.attr("from") == Some(&full) {
            continue;
        }
        let room = wrapped.len() + WRAPPING_BYTES + 2 * full.len();
        if room > outbox.largest(session.connection) {
            continue;
        }
        outbox.hand(session.connection, kind, room, |out| {
            out.extend_from_slice(b"<message from='");
            out.extend_from_slice(bare.as_bytes());
            out.extend_from_slice(b"' to='");
            out.extend_from_slice(attribute(&full).as_bytes());
            if let Some(kind) = message.attr("type") {
                out.extend_from_slice(b"' type='");
                out.extend_from_slice(attribute(kind).as_bytes());
            }
            out.extend_from_slice(b"'>");
            out.extend_from_slice(&wrapped);
            out.extend_from_slice(b"</message>");
        });
    }
}

/// XEP-0297: the message as it was, in its own namespace.
fn wrap(message: &Element, direction: Direction, out: &mut Vec<u8>) {
    let name = direction.name();
    out.extend_from_slice(
        format!(
            "<{name} xmlns='{}'><forwarded xmlns='{}'>",
            ns::CARBONS,
            ns::FORWARD
        )
        .as_bytes(),
    );
    message.write(out, ns::FORWARD);
    out.extend_from_slice(format!("</forwarded></{name}>").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::Direction::Received;
    use super::Direction::Sent;
    use super::*;

    #[test]
    fn what_is_worth_a_copy() {
        const BODY: &str = "<body>hi</body>";
        let table: &[(&str, &str, bool, bool)] = &[
            // type, content, received, sent
            ("type='chat'", BODY, true, true),
            ("type='chat'", "", true, true),
            ("type='chat'", "<x xmlns='other'/>", true, true),
            ("", BODY, true, true),
            ("type='normal'", BODY, true, true),
            ("type='unheard-of'", BODY, true, true),
            ("", "", false, false),
            ("", "<x xmlns='other'/>", false, false),
            ("", "<body xmlns='other'/>", false, false),
            (
                "",
                "<received xmlns='urn:xmpp:receipts' id='1'/>",
                true,
                true,
            ),
            (
                "",
                "<active xmlns='http://jabber.org/protocol/chatstates'/>",
                true,
                true,
            ),
            (
                "",
                "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
                true,
                true,
            ),
            ("type='groupchat'", BODY, false, false),
            ("type='headline'", BODY, false, false),
            ("type='error'", "<error type='cancel'/>", true, true),
            (
                "type='chat'",
                "<body/><private xmlns='urn:xmpp:carbons:2'/>",
                false,
                false,
            ),
            (
                "type='chat'",
                "<body/><no-copy xmlns='urn:xmpp:hints'/>",
                false,
                false,
            ),
            (
                "type='chat'",
                "<body/><no-store xmlns='urn:xmpp:hints'/>",
                true,
                true,
            ),
            (
                "type='chat'",
                "<received xmlns='urn:xmpp:carbons:2'/>",
                false,
                false,
            ),
            (
                "",
                "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@x'/></x>",
                true,
                true,
            ),
            (
                "",
                "<x xmlns='http://jabber.org/protocol/muc#user'><decline from='a@x'/></x>",
                false,
                false,
            ),
            (
                "type='groupchat'",
                "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@x'/></x>",
                false,
                false,
            ),
            (
                "type='chat'",
                "<body/><x xmlns='http://jabber.org/protocol/muc#user'/>",
                false,
                true,
            ),
        ];
        for (kind, content, received, sent) in table {
            let text = format!("<message {kind}>{content}</message>");
            let message = Element::parse(text.as_bytes(), ns::CLIENT, &[]).expect("an element");
            assert_eq!(is_eligible(&message, Received), *received, "{text}");
            assert_eq!(is_eligible(&message, Sent), *sent, "{text}");
        }
    }

    #[test]
    fn a_copy_keeps_its_namespaces() {
        let text =
            "<message from='a@x/1' to='b@x'><body>1 &lt; 2</body><p:e xmlns:p='q'/></message>";
        let message = Element::parse(text.as_bytes(), ns::CLIENT, &[]).expect("an element");
        let mut out = Vec::new();
        wrap(&message, Received, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' from='a@x/1' to='b@x'><body>1 &lt; 2</body>\
             <e xmlns='q'/></message></forwarded></received>"
        );
    }
}
