//! Carries a stanza from its sender to whoever gets it: decide, stamp, hand over.
//!
//! [`carry`] runs on the shard of the sender and does everything on the sender's behalf; [`arrive`]
//! runs on the shard that owns the recipient and does everything on the recipient's. Between them
//! lies at most one crossing. The order of handlers is the order of the calls in these two.
//!
//! Nothing here waits, locks or (for a chat message between two sessions) allocates.

use crate::base::key::Key;
use crate::modules::Scene;
use crate::modules::answer;
use crate::modules::bounce;
use crate::modules::presence;
use crate::proto::stanza::IqType;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::relay::Stamp;
use crate::proto::stanza::relay::relay;
use crate::proto::stanza::relay::relayed_bytes;
use crate::proto::stanza::reply;
use crate::route::Destination;
use crate::route::deliver::Delivery;
use crate::route::deliver::deliver;
use crate::route::envelope::Envelope;
use crate::route::envelope::Envelopes;
use crate::route::route;
use crate::session::table::Session;

/// Where the pipeline puts what it produces: the connections of this shard and the mail to others.
pub trait Outbox {
    /// The output of a connection, to append one stanza of about `bytes` to. None when it is gone
    /// or has no room, in which case it is cut.
    fn output(&mut self, connection: Key, bytes: usize) -> Option<&mut Vec<u8>>;
    /// The largest stanza that this connection can take at all, in bytes.
    fn largest(&self, connection: Key) -> usize;
    /// The mail for another shard.
    fn mail(&mut self, shard: usize) -> &mut Envelopes;
    /// A session had to make room or is removed: its connection ends with `conflict`.
    fn replace(&mut self, connection: Key);
}

/// Who sends: a session of this shard.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// Its connection.
    pub connection: Key,
    /// The full JID as it may be written between apostrophes.
    pub stamp: &'a str,
    /// The full JID.
    pub full: &'a str,
    /// The bare JID.
    pub bare: &'a str,
    /// The resource.
    pub resource: &'a str,
}

/// How a stanza to an account ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Handed over, or rightly to nobody.
    Done,
    /// The server answers on behalf of the account.
    Account,
    /// Back to the sender.
    Bounce(StanzaCondition),
}

/// Carries one stanza of a session.
pub fn carry<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>, stanza: &Stanza<'_>) {
    let Some(to) = stanza.attribute(b"to") else {
        return carry_to_self(scene, sender, stanza);
    };
    let Ok(parts) = crate::jid::parse(&to) else {
        return refuse(scene, sender, stanza, StanzaCondition::JidMalformed);
    };
    let bare = parts.bare();
    let hash = parts.node.is_some().then(|| scene.sessions.hash(&bare));
    // What the sender wrote differently is relayed in its prepared form.
    let canonical = (!parts.is_as_given()).then(|| reply::attribute(&parts.full()).into_owned());
    let stamp = Stamp {
        from: stamp_of(sender, stanza.kind),
        to: canonical.as_deref(),
    };
    match route(scene.hosts, &parts.domain, hash) {
        Destination::Host => answer::host(scene, sender, stanza, &parts.domain),
        Destination::Remote => {
            refuse(scene, sender, stanza, StanzaCondition::RemoteServerNotFound);
        }
        Destination::Account { owner, hash } => {
            let resource = parts.resource.as_deref();
            if let Type::Presence(kind) = stanza.kind {
                presence::note_directed(scene, sender, &parts.full(), kind);
            }
            let room = relayed_bytes(stanza, stamp);
            if owner != scene.shard {
                let mail = scene.outbox.mail(owner);
                if !mail.has_room(room) {
                    return refuse(scene, sender, stanza, StanzaCondition::ResourceConstraint);
                }
                mail.push(stanza.kind, hash, &bare, resource, |out| {
                    relay(stanza, stamp, out)
                });
                return;
            }
            let write = |out: &mut Vec<u8>| relay(stanza, stamp, out);
            match hand_over(scene, hash, &bare, resource, stanza.kind, room, &write) {
                Outcome::Done => {}
                Outcome::Account => answer::account(scene, sender, stanza, &bare),
                Outcome::Bounce(condition) => refuse(scene, sender, stanza, condition),
            }
        }
    }
}

/// RFC 6121 section 3: subscription stanzas come from the account, not from one of its resources.
fn stamp_of<'a>(sender: &Sender<'a>, kind: Type) -> &'a str {
    use crate::proto::stanza::PresenceType as P;
    match kind {
        Type::Presence(P::Subscribe | P::Subscribed | P::Unsubscribe | P::Unsubscribed) => {
            sender.bare
        }
        Type::Presence(P::Available | P::Error | P::Probe | P::Unavailable)
        | Type::Message(_)
        | Type::Iq(_) => sender.stamp,
    }
}

/// RFC 6120 section 10.3: a stanza without `to`.
fn carry_to_self<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>, stanza: &Stanza<'_>) {
    match stanza.kind {
        Type::Presence(kind) => presence::broadcast(scene, sender, stanza, kind),
        Type::Iq(IqType::Get | IqType::Set) => answer::own_account(scene, sender, stanza),
        Type::Iq(IqType::Result | IqType::Error) => {}
        Type::Message(_) => {
            let hash = scene.sessions.hash(sender.bare);
            let own = reply::attribute(sender.bare);
            let stamp = Stamp {
                from: sender.stamp,
                to: Some(&own),
            };
            let write = |out: &mut Vec<u8>| relay(stanza, stamp, out);
            let room = relayed_bytes(stanza, stamp);
            let outcome = hand_over(scene, hash, sender.bare, None, stanza.kind, room, &write);
            if let Outcome::Bounce(condition) = outcome {
                refuse(scene, sender, stanza, condition);
            }
        }
    }
}

/// Answers the sender with an error, unless the stanza is itself an answer.
pub fn refuse<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    stanza: &Stanza<'_>,
    condition: StanzaCondition,
) {
    if stanza.kind.is_answer() || bounce::is_silent(stanza.kind) {
        return;
    }
    let room = reply::ERROR_BYTES + sender.stamp.len();
    if let Some(out) = scene.outbox.output(sender.connection, room) {
        reply::error(stanza, sender.stamp, condition, out);
    }
}

/// Takes in the mail of another shard.
pub fn arrive<O: Outbox>(scene: &mut Scene<'_, O>, envelope: &Envelope<'_>) {
    let write = |out: &mut Vec<u8>| out.extend_from_slice(envelope.stanza);
    let room = envelope.stanza.len();
    let outcome = hand_over(
        scene,
        envelope.hash,
        envelope.bare,
        envelope.resource,
        envelope.kind,
        room,
        &write,
    );
    match outcome {
        Outcome::Done => {}
        Outcome::Account => answer::arrived(scene, envelope),
        Outcome::Bounce(condition) => {
            bounce::bounce(scene, envelope.stanza, envelope.kind, condition);
        }
    }
}

/// Gives a stanza to the resources of an account of this shard that are to get it. `write` appends
/// it to an output; `room` is about its size in bytes.
pub fn hand_over<O: Outbox>(
    scene: &mut Scene<'_, O>,
    hash: u64,
    bare: &str,
    resource: Option<&str>,
    kind: Type,
    room: usize,
    write: &impl Fn(&mut Vec<u8>),
) -> Outcome {
    let user = scene.sessions.user(hash, bare);
    let top = |session: &Session| {
        session.priority.is_some()
            && session.priority == user.and_then(crate::session::table::User::top_priority)
    };
    let wanted: &dyn Fn(&Session) -> bool = match deliver(user, resource, kind) {
        Delivery::Resource => &|session| Some(&*session.resource) == resource,
        Delivery::TopPriority => &top,
        Delivery::NonNegative => &|session| session.priority.is_some_and(|p| p >= 0),
        Delivery::Available => &|session| session.priority.is_some(),
        Delivery::Account => return Outcome::Account,
        // No offline store: RFC 6121 section 8.5.2.2.1 then asks for an error.
        Delivery::Offline | Delivery::Bounce => {
            return Outcome::Bounce(StanzaCondition::ServiceUnavailable);
        }
        Delivery::Drop => return Outcome::Done,
    };
    let mut given = false;
    let mut too_large = false;
    for session in user
        .into_iter()
        .flat_map(|user| user.sessions())
        .filter(|s| wanted(s))
    {
        if room > scene.outbox.largest(session.connection) {
            too_large = true;
        } else if let Some(out) = scene.outbox.output(session.connection, room) {
            write(out);
            given = true;
        }
    }
    match (given, too_large) {
        (true, _) => Outcome::Done,
        (false, true) => Outcome::Bounce(StanzaCondition::PolicyViolation),
        (false, false) if bounce::is_silent(kind) => Outcome::Done,
        (false, false) => Outcome::Bounce(StanzaCondition::ServiceUnavailable),
    }
}
