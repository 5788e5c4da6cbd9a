//! Who gets a stanza that is addressed to an account: RFC 6121 section 8.5 as a table.
//!
//! The decision is a value. Whoever has the table of sessions carries it out.

use crate::proto::stanza::IqType;
use crate::proto::stanza::MessageType;
use crate::proto::stanza::PresenceType;
use crate::proto::stanza::Type;
use crate::session::table::User;

/// What to do with a stanza to an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// To the one resource that the address names.
    Resource,
    /// To the available resources with the highest priority that is not negative.
    TopPriority,
    /// To all available resources whose priority is not negative.
    NonNegative,
    /// To all available resources.
    Available,
    /// The server answers on behalf of the account.
    Account,
    /// About a subscription, or a probe: the server handles it on behalf of the account.
    Subscription,
    /// Nobody is there to take it: what an offline store is for.
    Offline,
    /// Back to the sender with `service-unavailable`.
    Bounce,
    /// To nobody, and nobody is told.
    Drop,
}

/// Decides for a stanza of type `kind` to `user` (None: no session at all) and, where the address
/// is a full JID, to `resource`.
pub fn deliver(user: Option<&User>, resource: Option<&str>, kind: Type) -> Delivery {
    if let Type::Presence(
        PresenceType::Probe
        | PresenceType::Subscribe
        | PresenceType::Subscribed
        | PresenceType::Unsubscribe
        | PresenceType::Unsubscribed,
    ) = kind
    {
        // SPEC(RFC 6121 3.1.3): whatever resource the address names, it is between accounts.
        return Delivery::Subscription;
    }
    let connected = resource
        .zip(user)
        .and_then(|(resource, user)| user.session(resource));
    if connected.is_some() {
        return Delivery::Resource;
    }
    let wants_messages = user.and_then(User::top_priority).is_some();
    match kind {
        Type::Message(kind) => message(kind, resource.is_some(), wants_messages),
        Type::Presence(kind) => presence(kind, resource.is_some()),
        Type::Iq(kind) => iq(kind, resource.is_some()),
    }
}

/// Sections 8.5.2.1.1, 8.5.2.2.1 (bare JID) and 8.5.3.2.1 (full JID without a matching resource).
fn message(kind: MessageType, full: bool, wants_messages: bool) -> Delivery {
    match (kind, full, wants_messages) {
        // Section 8.5.3.2.1: only a conversation follows its peer to another resource.
        (MessageType::Normal, true, _) => Delivery::Bounce,
        (MessageType::Normal | MessageType::Chat, _, true) => Delivery::TopPriority,
        (MessageType::Normal | MessageType::Chat, _, false) => Delivery::Offline,
        (MessageType::Groupchat, _, _) => Delivery::Bounce,
        (MessageType::Headline, false, true) => Delivery::NonNegative,
        // Whoever wants it kept says so (XEP-0334).
        (MessageType::Headline, false, false) => Delivery::Offline,
        (MessageType::Headline, true, _) | (MessageType::Error, _, _) => Delivery::Drop,
    }
}

/// Sections 8.5.2.1.2, 8.5.2.2.2 and 8.5.3.2.2.
fn presence(kind: PresenceType, full: bool) -> Delivery {
    match kind {
        PresenceType::Available | PresenceType::Unavailable if !full => Delivery::Available,
        PresenceType::Available
        | PresenceType::Unavailable
        | PresenceType::Subscribe
        | PresenceType::Subscribed
        | PresenceType::Unsubscribe
        | PresenceType::Unsubscribed
        | PresenceType::Probe
        | PresenceType::Error => Delivery::Drop,
    }
}

/// Sections 8.5.2.1.3, 8.5.2.2.3 and 8.5.3.2.3.
fn iq(kind: IqType, full: bool) -> Delivery {
    match (kind, full) {
        (IqType::Get | IqType::Set, false) => Delivery::Account,
        (IqType::Get | IqType::Set, true) => Delivery::Bounce,
        (IqType::Result | IqType::Error, _) => Delivery::Drop,
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;
    use crate::base::key::Key;
    use crate::session::table::Table;

    fn with_priorities(priorities: &[Option<i8>]) -> Table {
        let mut table = Table::new(RandomState::new());
        for (slot, priority) in priorities.iter().enumerate() {
            let name = format!("r{slot}");
            table.bind(
                "u@h",
                &name,
                Key {
                    slot: slot as u32,
                    generation: 0,
                },
                9,
            );
            let hash = table.hash("u@h");
            let user = table.user_mut(hash, "u@h").expect("bound");
            user.session_mut(&name).expect("bound").priority = *priority;
        }
        table
    }

    fn decide(priorities: &[Option<i8>], resource: Option<&str>, kind: Type) -> Delivery {
        let table = with_priorities(priorities);
        deliver(table.user(table.hash("u@h"), "u@h"), resource, kind)
    }

    #[test]
    fn messages() {
        use Delivery::*;
        use MessageType::*;
        type Row = (
            &'static [Option<i8>],
            Option<&'static str>,
            MessageType,
            Delivery,
        );
        let table: &[Row] = &[
            (&[Some(1)], None, Normal, TopPriority),
            (&[Some(1)], None, Chat, TopPriority),
            (&[Some(1)], None, Groupchat, Bounce),
            (&[Some(1)], None, Headline, NonNegative),
            (&[Some(1)], None, Error, Drop),
            (&[Some(-1)], None, Chat, Offline),
            (&[None], None, Normal, Offline),
            (&[None], None, Headline, Offline),
            (&[], None, Chat, Offline),
            (&[], None, Groupchat, Bounce),
            (&[Some(-1)], Some("r0"), Chat, Resource),
            (&[Some(1)], Some("gone"), Chat, TopPriority),
            (&[Some(1)], Some("gone"), Normal, Bounce),
            (&[Some(-1)], Some("gone"), Chat, Offline),
            (&[Some(1)], Some("gone"), Groupchat, Bounce),
            (&[Some(1)], Some("gone"), Headline, Drop),
            (&[Some(1)], Some("gone"), Error, Drop),
        ];
        for (priorities, resource, kind, expected) in table {
            let got = decide(priorities, *resource, Type::Message(*kind));
            assert_eq!(got, *expected, "{priorities:?} {resource:?} {kind:?}");
        }
    }

    #[test]
    fn presence_and_iq() {
        use Delivery::*;
        let available = Type::Presence(PresenceType::Available);
        assert_eq!(decide(&[Some(-1)], None, available), Available);
        assert_eq!(decide(&[Some(1)], Some("r0"), available), Resource);
        assert_eq!(decide(&[Some(1)], Some("gone"), available), Drop);
        for kind in [PresenceType::Subscribe, PresenceType::Probe] {
            for resource in [None, Some("r0"), Some("gone")] {
                assert_eq!(
                    decide(&[Some(1)], resource, Type::Presence(kind)),
                    Subscription
                );
            }
        }
        assert_eq!(decide(&[Some(1)], None, Type::Iq(IqType::Get)), Account);
        assert_eq!(decide(&[], None, Type::Iq(IqType::Set)), Account);
        assert_eq!(
            decide(&[Some(1)], Some("gone"), Type::Iq(IqType::Get)),
            Bounce
        );
        assert_eq!(
            decide(&[Some(1)], Some("gone"), Type::Iq(IqType::Result)),
            Drop
        );
        assert_eq!(
            decide(&[Some(1)], Some("r0"), Type::Iq(IqType::Error)),
            Resource
        );
    }
}
