//! Carries a stanza from its sender to whoever gets it: decide, stamp, hand over.
//!
//! [`carry`] runs on the shard of the sender and does everything on the sender's behalf; what is done
//! on the recipient's runs on the shard that owns it, in `modules::handover`. Between them lies at most
//! one crossing. The order of handlers is the order of the calls in these two.
//!
//! Nothing here waits, locks or (for a chat message between two sessions) allocates.

use crate::base::key::Key;
use crate::config::Who;
use crate::modules::Scene;
use crate::modules::answer;
use crate::modules::blocking;
use crate::modules::bounce;
use crate::modules::carbons;
use crate::modules::handover::Outcome;
use crate::modules::handover::give;
use crate::modules::handover::hand_over;
use crate::modules::happening::Happening;
use crate::modules::line;
use crate::modules::parcel::Relayed;
use crate::modules::presence;
use crate::modules::subscription;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::relay::Stamp;
use crate::proto::stanza::reply;
use crate::route::Destination;
use crate::route::envelope::Envelopes;
use crate::route::envelope::Recipient;
use crate::route::route;
use crate::route::services::Service;

/// Where the pipeline puts what it produces: the connections of this shard and the mail to others.
pub trait Outbox {
    /// The output of a connection, to append one stanza of about `bytes` to. None when it is gone
    /// or has no room, in which case it is cut.
    fn output(&mut self, connection: Key, bytes: usize) -> Option<&mut Vec<u8>>;
    /// The largest stanza that this connection can take at all, in bytes.
    fn largest(&self, connection: Key) -> usize;
    /// The mail for another shard.
    fn mail(&mut self, shard: usize) -> &mut Envelopes;
    /// Whether the kernel has a send of this connection: what is written now goes with the next one.
    fn is_sending(&self, _connection: Key) -> bool {
        false
    }
    /// A session is not read further until [`Outbox::resume`]: what it asked for is being written.
    fn pause(&mut self, _connection: Key) {}
    /// It is read again.
    fn resume(&mut self, _connection: Key) {}
    /// A session had to make room or is removed: its connection ends with `conflict`.
    fn replace(&mut self, connection: Key);
    /// Writes one stanza of about `room` bytes to a connection; false where it takes none.
    fn hand(
        &mut self,
        connection: Key,
        kind: Type,
        room: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some(out) = self.output(connection, room) else {
            return false;
        };
        let before = out.len();
        write(out);
        let bytes = out.len() - before;
        self.delivered(kind, bytes);
        true
    }
    /// A stanza was written to the output that was asked for last: for whoever counts.
    fn delivered(&mut self, _kind: Type, _bytes: usize) {}
    /// A stanza from the host `local` was written for another server.
    fn dispatched(&mut self, _local: &str, _kind: Type, _bytes: usize) {}
    /// Something that is counted happened to a user of this host.
    fn happened(&mut self, _what: Happening, _host: &str) {}
    /// How many messages the rule of `[access]` lets be kept for this user.
    fn kept_most(&self, _rule: &str, _who: Who<'_>) -> u64 {
        0
    }
    /// Where to append one stanza of about `bytes` for another server's domain, of the pair ours and
    /// theirs, which this shard owns; `hash` is that of theirs. An error where there is no way.
    fn remote(
        &mut self,
        hash: u64,
        pair: (&str, &str),
        bytes: usize,
    ) -> Result<&mut Vec<u8>, StanzaCondition>;
    /// Whether a rule of `[access]` lets this sender in.
    fn allows(&self, rule: &str, who: Who<'_>) -> bool;
}

/// What a sender's address rests on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It is a session of this shard, and we write its address.
    Session,
    /// A stream that speaks for whole domains, such as a component's: it wrote the address, and the
    /// stream was checked to speak for it. Answers go back on it.
    Peer,
    /// Another server's stream, likewise checked; answers go to where the address leads.
    Server,
}

/// Who sends: a connection of this shard, or an address behind it.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// What the addresses below rest on.
    pub origin: Origin,
    /// Its connection.
    pub connection: Key,
    /// The address (of a session: the full JID) as it may be written between apostrophes.
    pub stamp: &'a str,
    /// The address.
    pub full: &'a str,
    /// The address without its resource.
    pub bare: &'a str,
    /// The resource; empty where the address has none.
    pub resource: &'a str,
}

/// Carries one stanza.
pub fn carry<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>, stanza: &Stanza<'_>) {
    let Some(to) = stanza.attribute(b"to") else {
        return match sender.origin {
            Origin::Session => carry_to_self(scene, sender, stanza),
            // There is no account that it could be meant for.
            Origin::Peer | Origin::Server => {
                refuse(scene, sender, stanza, StanzaCondition::JidMalformed)
            }
        };
    };
    let Ok(parts) = crate::jid::parse(&to) else {
        return refuse(scene, sender, stanza, StanzaCondition::JidMalformed);
    };
    let wishes = wishes(scene, sender, stanza.kind, &parts);
    if wishes.forbid {
        return blocking::refuse(scene, sender, stanza);
    }
    let bare = parts.bare();
    // What the sender wrote differently is relayed in its prepared form.
    let canonical = (!parts.is_as_given()).then(|| reply::attribute(&parts.full()).into_owned());
    let (from, address) = address_of(sender, stanza.kind);
    let stamp = Stamp {
        from,
        to: canonical.as_deref(),
    };
    let node = parts.node.is_some().then_some(&*bare);
    let hash = |text: &str| scene.sessions.hash(text);
    let destination = route(scene.hosts, scene.services, &parts.domain, node, hash);
    if is_nothing(scene, sender, stanza.kind) || subscribes(scene, sender, stanza, &bare) {
        return;
    }
    if !matches!(destination, Destination::Host)
        && let Type::Presence(kind) = stanza.kind
        && sender.origin == Origin::Session
    {
        presence::note_directed(scene, sender, &parts.full(), kind);
    }
    let parcel = Relayed::new(stanza, stamp, address);
    let outcome = match destination {
        Destination::Host => return answer::host(scene, sender, stanza, &parts.domain),
        Destination::Absent => nowhere(scene, sender),
        Destination::Remote { owner, hash } => {
            let remote = (owner, hash, &*parts.domain);
            to_server(scene, sender, parcel, remote)
        }
        Destination::Service(service) => to_service(scene, sender, service, parcel),
        Destination::Account { owner, hash } => {
            let to = Recipient::Account {
                hash,
                bare: &bare,
                resource: parts.resource.as_deref(),
            };
            give(scene, owner, to, &parcel)
        }
    };
    if wishes.copies {
        carbons::sent(scene, sender, &parcel, &bare);
    }
    match outcome {
        Outcome::Done => {}
        Outcome::Account => answer::account(scene, sender, stanza, &bare),
        Outcome::Bounce(condition) => refuse(scene, sender, stanza, condition),
    }
}

/// What a user has said about what it sends.
#[derive(Clone, Copy, Default)]
struct Wishes {
    /// Nothing to this address: the user blocks it.
    forbid: bool,
    /// Copies of messages for another session of the user.
    copies: bool,
}

/// Nothing is looked up while nobody of this shard has such wishes.
fn wishes<O: Outbox>(
    scene: &Scene<'_, O>,
    sender: &Sender<'_>,
    kind: Type,
    to: &crate::jid::Parts<'_>,
) -> Wishes {
    let sessions = &scene.sessions;
    let may_forbid = sessions.has_blockers();
    let may_copy = sessions.has_carbons() && matches!(kind, Type::Message(_));
    if sender.origin != Origin::Session || !(may_forbid || may_copy) {
        return Wishes::default();
    }
    let Some(user) = sessions.user(sessions.hash(sender.bare), sender.bare) else {
        return Wishes::default();
    };
    Wishes {
        forbid: may_forbid && blocking::forbids(scene.hosts, user, to),
        copies: may_copy && carbons::wants_copies(user, sender.resource),
    }
}

/// A domain that is kept for a component which is not here.
fn nowhere<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>) -> Outcome {
    let host = domain_of(sender.bare);
    scene.outbox.happened(Happening::NoRoute, host);
    Outcome::Bounce(StanzaCondition::ServiceUnavailable)
}

/// To another server, by way of the shard that owns its domain.
fn to_server<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    parcel: Relayed<'_>,
    (owner, hash, remote): (usize, u64, &str),
) -> Outcome {
    if sender.origin == Origin::Server {
        // We pass nothing on from one server to another.
        return Outcome::Bounce(StanzaCondition::RemoteServerNotFound);
    }
    let to = Recipient::Domain {
        hash,
        local: domain_of(sender.bare),
        remote,
    };
    give(scene, owner, to, &parcel.into_content(ns::SERVER))
}

/// Presence of a session whose host does without.
fn is_nothing<O: Outbox>(scene: &Scene<'_, O>, sender: &Sender<'_>, kind: Type) -> bool {
    matches!(kind, Type::Presence(_))
        && sender.origin == Origin::Session
        && presence::is_off(scene.facts, domain_of(sender.bare))
}

/// A session's word about a subscription is its account's matter, and done with.
fn subscribes<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    stanza: &Stanza<'_>,
    to: &str,
) -> bool {
    let Type::Presence(kind) = stanza.kind else {
        return false;
    };
    let Some(verb) = subscription::verb_of(kind) else {
        return false;
    };
    if sender.origin != Origin::Session || scene.sessions.roster(sender.bare).is_none() {
        return false;
    }
    line::own(
        scene,
        sender.bare,
        subscription::word(sender, stanza, verb, to),
    );
    true
}

/// To a component, if its listener's `access` lets the sender.
fn to_service<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    service: &Service,
    parcel: Relayed<'_>,
) -> Outcome {
    if let Some(rule) = &service.access
        && !is_allowed(scene, sender, rule)
    {
        return Outcome::Bounce(StanzaCondition::NotAllowed);
    }
    let to = Recipient::Peer(service.connection);
    let parcel = parcel.into_content(ns::COMPONENT_ACCEPT);
    give(scene, service.owner, to, &parcel)
}

fn is_allowed<O: Outbox>(scene: &Scene<'_, O>, sender: &Sender<'_>, rule: &str) -> bool {
    let (node, domain) = match sender.bare.split_once('@') {
        Some((node, domain)) => (node, domain),
        None => ("", sender.bare),
    };
    let who = Who {
        node,
        domain,
        resource: sender.resource,
    };
    scene.outbox.allows(rule, who)
}

/// The domain of a bare JID.
pub fn domain_of(bare: &str) -> &str {
    bare.split_once('@').map_or(bare, |(_, domain)| domain)
}

/// What is written as `from`, and the address that this is. RFC 6121 section 3: subscription stanzas
/// come from the account, not from one of its resources.
fn address_of<'a>(sender: &Sender<'a>, kind: Type) -> (&'a str, &'a str) {
    use crate::proto::stanza::PresenceType as P;
    match kind {
        Type::Presence(P::Subscribe | P::Subscribed | P::Unsubscribe | P::Unsubscribed) => {
            (sender.bare, sender.bare)
        }
        Type::Presence(P::Available | P::Error | P::Probe | P::Unavailable)
        | Type::Message(_)
        | Type::Iq(_) => (sender.stamp, sender.full),
    }
}

/// RFC 6120 section 10.3: a stanza without `to`.
fn carry_to_self<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>, stanza: &Stanza<'_>) {
    match stanza.kind {
        Type::Presence(_) if is_nothing(scene, sender, stanza.kind) => {}
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
            let parcel = Relayed::new(stanza, stamp, sender.full);
            let outcome = hand_over(scene, hash, sender.bare, None, &parcel);
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
    answer_to(scene, sender, stanza, stanza.kind.answer(), room, |out| {
        reply::error(stanza, sender.stamp, condition, out);
    });
}

/// Writes what answers a stanza to where answers to its sender go; `room` is about its size.
pub fn answer_to<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    stanza: &Stanza<'_>,
    kind: Type,
    room: usize,
    write: impl Fn(&mut Vec<u8>),
) {
    match sender.origin {
        Origin::Session | Origin::Peer => {
            scene.outbox.hand(sender.connection, kind, room, write);
        }
        Origin::Server => {
            let from = stanza.attribute(b"to").unwrap_or_default();
            bounce::send(scene, &from, sender.full, stanza.kind.answer(), write);
        }
    }
}
