//! XEP-0160: Offline Messages. What comes for a user who is not here is kept, and delivered when a
//! resource becomes available, which is `modules::kept`.

use crate::config::Who;
use crate::modules::Asked;
use crate::modules::Module;
use crate::modules::Scene;
use crate::modules::Topic;
use crate::modules::Waiting;
use crate::modules::bounce;
use crate::modules::handover::Outcome;
use crate::modules::handover::hand_over;
use crate::modules::parcel::Parcel;
use crate::modules::parcel::Stamped;
use crate::modules::pipeline::Outbox;
use crate::proto::ns;
use crate::proto::stanza::MessageType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::store::AccountId;
use crate::store::Response;
use crate::store::StoreError;
use crate::store::offline::OfflineRequest;
use crate::store::offline::OfflineResponse;
use crate::xml::element::Element;

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_offline.is_some(),
    features: &["msgoffline"],
    routes: &[],
};

/// What becomes of a message for somebody who is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It is kept.
    Kept,
    /// It means nothing later: it goes nowhere.
    Nothing,
    /// It is not to be kept, and the sender should know that it did not arrive.
    Refused,
}

/// Section 3, and the hints of XEP-0334.
pub fn worth(message: &Element, kind: MessageType) -> Worth {
    let hint = |name| message.child(name, ns::HINTS).is_some();
    if hint("no-store") || hint("no-permanent-store") {
        return match message.child("body", ns::CLIENT) {
            Some(_) => Worth::Refused,
            None => Worth::Nothing,
        };
    }
    // SPEC(XEP-0334 4.4): whatever it is but an error.
    if hint("store") && kind != MessageType::Error {
        return Worth::Kept;
    }
    match kind {
        // What says only that somebody is typing is of its moment.
        MessageType::Chat | MessageType::Normal => {
            let mut children = message.children().peekable();
            match children.peek().is_some() && children.all(is_of_its_moment) {
                true => Worth::Nothing,
                false => Worth::Kept,
            }
        }
        MessageType::Headline => Worth::Nothing,
        MessageType::Error | MessageType::Groupchat => Worth::Refused,
    }
}

fn is_of_its_moment(child: &Element) -> bool {
    let ns = child.ns();
    ns == ns::CHAT_STATES || ns == ns::HINTS || child.is("thread", ns::CLIENT)
}

/// A message for a user of this shard who cannot get it now.
pub fn keep<O: Outbox>(scene: &mut Scene<'_, O>, bare: &str, parcel: &impl Parcel) -> Outcome {
    let kind = parcel.kind();
    let refused = match kind {
        // SPEC(RFC 6121 8.5.2.2.1): nobody is told.
        Type::Message(MessageType::Headline) => Outcome::Done,
        Type::Message(_) | Type::Iq(_) | Type::Presence(_) => {
            Outcome::Bounce(StanzaCondition::ServiceUnavailable)
        }
    };
    let (Some((user, host)), Type::Message(message_type)) = (bare.split_once('@'), kind) else {
        return refused;
    };
    let modules = scene.facts.modules_of(host);
    let Some(rules) = modules.and_then(|modules| modules.mod_offline.as_ref()) else {
        return refused;
    };
    let mut stanza = parcel.to_bytes();
    let Ok(message) = Element::parse(&stanza, ns::CLIENT, &[]) else {
        return refused;
    };
    match worth(&message, message_type) {
        Worth::Kept => {}
        Worth::Nothing => return Outcome::Done,
        Worth::Refused => return refused,
    }
    let who = Who {
        node: user,
        domain: host,
        resource: "",
    };
    let most = scene.outbox.kept_most(&rules.access_max_user_messages, who);
    // An id that claims to be ours would be taken for one.
    if message.children().any(|child| is_own_id(child, bare)) {
        stanza = without_own_ids(&message, bare);
    }
    scene.sessions.note_keep(bare);
    if let Some(flush) = scene.sessions.flushes.of_user(bare) {
        (flush.kept, flush.held_bytes) = (true, 0);
    }
    let from = message.attr("from").unwrap_or_default();
    let from = scene.facts.blockable(host, from);
    let stanza = stanza.into_boxed_slice();
    let request = OfflineRequest::Keep {
        id: AccountId::from_prepared(user, host),
        from,
        came_at: scene.facts.unix_seconds,
        stanza: stanza.clone(),
        most,
    };
    let topic = Topic::Keep { stanza, kind };
    ask(scene, bare, request, topic);
    Outcome::Done
}

fn is_own_id(child: &Element, bare: &str) -> bool {
    let by = child
        .is("stanza-id", ns::STANZA_ID)
        .then(|| child.attr("by"));
    let by = by.flatten().and_then(|by| crate::jid::parse(by).ok());
    by.is_some_and(|by| by.full() == *bare)
}

/// The message as a tree is written, without ids that claim to be the account's.
fn without_own_ids(message: &Element, bare: &str) -> Vec<u8> {
    let mut kept = Element::in_namespace(message.name(), message.ns());
    for (name, namespace, value) in message.attributes() {
        if namespace.is_empty() {
            kept = kept.with_attr(name, value);
        }
    }
    for child in message.children().filter(|child| !is_own_id(child, bare)) {
        kept = kept.with_child(child.clone());
    }
    let mut bytes = Vec::new();
    kept.write(&mut bytes, ns::CLIENT);
    bytes
}

pub(super) fn ask<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    request: OfflineRequest,
    topic: Topic,
) {
    let waiting = Waiting {
        topic,
        from: bare.into(),
        target: None,
        id: "".into(),
        connection: None,
    };
    scene.asked.push(Asked::Offline(request, waiting));
}

/// The store has answered whether a message is kept.
pub fn kept<O: Outbox>(
    scene: &mut Scene<'_, O>,
    stanza: &[u8],
    kind: Type,
    result: &Result<Response, StoreError>,
) {
    if kind == Type::Message(MessageType::Headline) {
        return;
    }
    let condition = match result {
        Ok(Response::Offline(OfflineResponse::Done)) => return,
        Err(StoreError::Locked) => StanzaCondition::ResourceConstraint,
        Err(_) => StanzaCondition::InternalServerError,
        // SPEC(XEP-0160 3): a full store is as if there were none.
        Ok(_) => StanzaCondition::ServiceUnavailable,
    };
    bounce::bounce(scene, stanza, kind, condition);
}

/// A connection could not take a stanza: a message goes where it would have gone without that
/// session, everything else back.
pub fn give_back<O: Outbox>(scene: &mut Scene<'_, O>, stanza: &[u8], kind: Type) {
    let back = StanzaCondition::ServiceUnavailable;
    let message = match kind {
        Type::Message(MessageType::Chat | MessageType::Normal) => {
            Element::parse(stanza, ns::CLIENT, &[]).ok()
        }
        Type::Message(_) | Type::Iq(_) | Type::Presence(_) => None,
    };
    let to = message.as_ref().and_then(|message| message.attr("to"));
    let parts = to.and_then(|to| crate::jid::parse(to).ok());
    let (Some(message), Some(parts)) = (&message, parts) else {
        return bounce::bounce(scene, stanza, kind, back);
    };
    let bare = parts.bare();
    // What was being delivered is still kept, and of a copy (XEP-0280) there is an original.
    if message
        .children()
        .any(|child| is_own_id(child, &bare) || child.ns() == ns::CARBONS)
    {
        return;
    }
    let hash = scene.sessions.hash(&bare);
    if parts.node.is_none() || !scene.hosts.serves(&parts.domain) {
        return bounce::bounce(scene, stanza, kind, back);
    }
    let parcel = Stamped {
        kind,
        bytes: stanza,
    };
    let outcome = hand_over(scene, hash, &bare, None, &parcel);
    if let Outcome::Bounce(condition) = outcome {
        bounce::bounce(scene, stanza, kind, condition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_keeping() {
        use MessageType::Chat;
        use MessageType::Error;
        use MessageType::Groupchat;
        use MessageType::Headline;
        use MessageType::Normal;
        const STATE: &str = "<active xmlns='http://jabber.org/protocol/chatstates'/>";
        let with_state = |rest: &str| format!("{STATE}{rest}");
        let rows = [
            (Chat, "<body>hi</body>", Worth::Kept),
            (Chat, "", Worth::Kept),
            (Chat, STATE, Worth::Nothing),
            (Normal, STATE, Worth::Nothing),
            (Chat, &with_state("<thread>t</thread>"), Worth::Nothing),
            (Chat, &with_state("<body>hi</body>"), Worth::Kept),
            (
                Chat,
                "<received xmlns='urn:xmpp:receipts' id='1'/>",
                Worth::Kept,
            ),
            (
                Chat,
                "<encrypted xmlns='eu.siacs.conversations.axolotl'/>",
                Worth::Kept,
            ),
            (Headline, "<body>hi</body>", Worth::Nothing),
            (
                Headline,
                "<body>hi</body><store xmlns='urn:xmpp:hints'/>",
                Worth::Kept,
            ),
            (
                Error,
                "<body>hi</body><store xmlns='urn:xmpp:hints'/>",
                Worth::Refused,
            ),
            (
                Chat,
                "<x xmlns='y'/><store xmlns='urn:xmpp:hints'/>",
                Worth::Kept,
            ),
            (
                Chat,
                "<body>hi</body><no-store xmlns='urn:xmpp:hints'/>",
                Worth::Refused,
            ),
            (
                Normal,
                "<x xmlns='y'/><no-store xmlns='urn:xmpp:hints'/>",
                Worth::Nothing,
            ),
            (
                Chat,
                "<body/><no-permanent-store xmlns='urn:xmpp:hints'/>",
                Worth::Refused,
            ),
            (Normal, "<x xmlns='jabber:x:conference'/>", Worth::Kept),
            (Groupchat, "<body>hi</body>", Worth::Refused),
        ];
        for (kind, content, expected) in rows {
            let text = format!("<message>{content}</message>");
            let message = Element::parse(text.as_bytes(), ns::CLIENT, &[]).expect("an element");
            assert_eq!(worth(&message, kind), expected, "{kind:?} {content}");
        }
    }

    #[test]
    fn an_id_that_claims_to_be_ours_goes() {
        let text = "<message from='b@x/1' to='a@x' type='chat'><body>1 &lt; 2</body>\
            <stanza-id xmlns='urn:xmpp:sid:0' by='a@x' id='1'/>\
            <stanza-id xmlns='urn:xmpp:sid:0' by='room@y' id='2'/></message>";
        let message = Element::parse(text.as_bytes(), ns::CLIENT, &[]).expect("an element");
        let bytes = without_own_ids(&message, "a@x");
        let kept = String::from_utf8(bytes).expect("text");
        assert!(
            !kept.contains("by='a@x'") && kept.contains("by='room@y'"),
            "{kept}"
        );
        assert!(
            kept.contains("1 &lt; 2") && kept.contains("type='chat'"),
            "{kept}"
        );
    }
}
