//! Stanzas as they come from a stream: the bytes, and what their top-level tag says.
//!
//! [`Stanza::read`] looks at an element that the scanner found; nothing is copied and nothing below
//! the top-level tag is looked at. [`relay`] writes it for somebody else, [`content`] in the
//! namespace of another kind of stream, [`error`] answers it with an error.

pub mod content;
pub mod error;
pub mod relay;
pub mod reply;

use std::borrow::Cow;

use crate::xml::scan::Head;
use crate::xml::scan::Namespace;
use crate::xml::scan::StreamScope;

/// `type` of a message, RFC 6121 section 5.2.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageType {
    /// A one-to-one conversation.
    Chat,
    /// A delivery failed.
    Error,
    /// A room.
    Groupchat,
    /// An alert that expects no reply.
    Headline,
    /// Everything else, unknown types among it.
    Normal,
}

/// `type` of a presence, RFC 6121 section 4.7.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PresenceType {
    /// No type: the sender is here.
    Available,
    /// Something failed.
    Error,
    /// Asks for the current presence; servers only.
    Probe,
    /// Wishes to see the recipient's presence.
    Subscribe,
    /// Grants that.
    Subscribed,
    /// The sender is no longer here.
    Unavailable,
    /// No longer wishes to see it.
    Unsubscribe,
    /// Denies it, or takes it back.
    Unsubscribed,
}

/// `type` of an IQ, RFC 6120 section 8.2.3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IqType {
    /// A question failed.
    Error,
    /// A question.
    Get,
    /// An answer.
    Result,
    /// An order.
    Set,
}

/// What a stanza is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Type {
    /// `<iq/>`
    Iq(IqType),
    /// `<message/>`
    Message(MessageType),
    /// `<presence/>`
    Presence(PresenceType),
}

impl Type {
    /// A number for counters: iq, message, presence.
    pub const fn number(self) -> usize {
        match self {
            Self::Iq(_) => 0,
            Self::Message(_) => 1,
            Self::Presence(_) => 2,
        }
    }

    /// The element's name.
    pub fn element(self) -> &'static str {
        match self {
            Self::Iq(_) => "iq",
            Self::Message(_) => "message",
            Self::Presence(_) => "presence",
        }
    }

    /// The kind of an answer to it, as far as its recipient is looked for: one that is not answered.
    pub fn answer(self) -> Self {
        match self {
            Self::Iq(_) => Self::Iq(IqType::Error),
            Self::Message(_) => Self::Message(MessageType::Error),
            Self::Presence(_) => Self::Presence(PresenceType::Error),
        }
    }

    /// An error, by the element's name.
    pub fn error_of(element: &str) -> Self {
        match element {
            "iq" => Self::Iq(IqType::Error),
            "message" => Self::Message(MessageType::Error),
            _ => Self::Presence(PresenceType::Error),
        }
    }

    /// Whether it says that something went wrong.
    pub fn is_error(self) -> bool {
        matches!(
            self,
            Self::Iq(IqType::Error)
                | Self::Message(MessageType::Error)
                | Self::Presence(PresenceType::Error)
        )
    }

    /// True for what must never be answered with an error (RFC 6120 section 8.3.1), lest two servers
    /// answer each other for ever.
    pub fn is_answer(self) -> bool {
        matches!(
            self,
            Self::Iq(IqType::Error | IqType::Result)
                | Self::Message(MessageType::Error)
                | Self::Presence(PresenceType::Error)
        )
    }
}

/// Why an element of the right namespace is no stanza that can be handled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoStanza {
    /// Another element than the three.
    Unsupported,
    /// An IQ without `id`, or of no known type; a presence of no known type.
    Malformed,
}

/// A stanza in the bytes of its stream.
#[derive(Clone, Copy)]
pub struct Stanza<'a> {
    /// From `<` to the `>` of the end tag.
    pub bytes: &'a [u8],
    /// What the scanner noted of its top-level tag.
    pub head: &'a Head,
    /// What the stream header bound.
    pub scope: &'a StreamScope,
    /// Kind and type.
    pub kind: Type,
    /// The namespace that it is in: `jabber:client` or that of another kind of stream.
    pub content: &'static str,
    /// That is also what the stream header made the default.
    pub is_default: bool,
}

impl<'a> Stanza<'a> {
    /// Reads the top-level tag of an element in namespace `content` (`jabber:client`, ...).
    ///
    /// # Errors
    /// When it is no stanza, or one whose type makes no sense.
    pub fn read(
        bytes: &'a [u8],
        head: &'a Head,
        scope: &'a StreamScope,
        content: &'static str,
    ) -> Result<Self, NoStanza> {
        if !head.name.in_namespace(scope, bytes, content) {
            return Err(NoStanza::Unsupported);
        }
        let kind = type_attribute(bytes, head);
        let kind = match head.name.local.of(bytes) {
            b"message" => Type::Message(message_type(kind.as_deref())),
            b"presence" => {
                Type::Presence(presence_type(kind.as_deref()).ok_or(NoStanza::Malformed)?)
            }
            b"iq" => {
                let kind = iq_type(kind.as_deref()).ok_or(NoStanza::Malformed)?;
                if head.attribute(bytes, b"id").is_none() {
                    return Err(NoStanza::Malformed);
                }
                Type::Iq(kind)
            }
            _ => return Err(NoStanza::Unsupported),
        };
        Ok(Self {
            bytes,
            head,
            scope,
            kind,
            content,
            // Whose name inherits the default was just found to be in it.
            is_default: head.name.namespace == Namespace::Inherited
                || scope.default_namespace() == content,
        })
    }

    /// An attribute without a prefix, decoded.
    pub fn attribute(&self, name: &[u8]) -> Option<Cow<'a, str>> {
        self.head
            .attribute(self.bytes, name)
            .map(|found| found.decoded(self.bytes))
    }
}

fn type_attribute<'a>(bytes: &'a [u8], head: &Head) -> Option<Cow<'a, str>> {
    let found = head.attribute(bytes, b"type")?;
    // What nearly all stanzas say stands for itself: it needs no decoding.
    let plain = match found.value().of(bytes) {
        b"chat" => "chat",
        b"get" => "get",
        b"groupchat" => "groupchat",
        b"result" => "result",
        b"set" => "set",
        _ => return Some(found.decoded(bytes)),
    };
    Some(Cow::Borrowed(plain))
}

fn message_type(value: Option<&str>) -> MessageType {
    match value {
        Some("chat") => MessageType::Chat,
        Some("error") => MessageType::Error,
        Some("groupchat") => MessageType::Groupchat,
        Some("headline") => MessageType::Headline,
        // RFC 6121 section 5.2.2: an unknown type is treated as normal.
        Some(_) | None => MessageType::Normal,
    }
}

fn presence_type(value: Option<&str>) -> Option<PresenceType> {
    Some(match value {
        None => PresenceType::Available,
        Some("error") => PresenceType::Error,
        Some("probe") => PresenceType::Probe,
        Some("subscribe") => PresenceType::Subscribe,
        Some("subscribed") => PresenceType::Subscribed,
        Some("unavailable") => PresenceType::Unavailable,
        Some("unsubscribe") => PresenceType::Unsubscribe,
        Some("unsubscribed") => PresenceType::Unsubscribed,
        Some(_) => return None,
    })
}

fn iq_type(value: Option<&str>) -> Option<IqType> {
    Some(match value? {
        "error" => IqType::Error,
        "get" => IqType::Get,
        "result" => IqType::Result,
        "set" => IqType::Set,
        _ => return None,
    })
}
