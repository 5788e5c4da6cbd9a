//! Carries a stanza from its sender to whoever gets it: decide, stamp, hand over.
//!
//! [`carry`] runs on the shard of the sender and does everything on the sender's behalf; [`arrive`]
//! runs on the shard that owns the recipient and does everything on the recipient's. Between them
//! lies at most one crossing. The order of handlers is the order of the calls in these two.
//!
//! Nothing here waits, locks or (for a chat message between two sessions) allocates.

use crate::base::key::Key;
use crate::config::Who;
use crate::modules::Scene;
use crate::modules::answer;
use crate::modules::blocking;
use crate::modules::blocking::Screen;
use crate::modules::bounce;
use crate::modules::carbons;
use crate::modules::happening::Happening;
use crate::modules::kept;
use crate::modules::last;
use crate::modules::line;
use crate::modules::offline;
use crate::modules::presence;
use crate::modules::subscription;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::relay::Stamp;
use crate::proto::stanza::relay::relay;
use crate::proto::stanza::relay::relay_into;
use crate::proto::stanza::relay::relayed_bytes;
use crate::proto::stanza::reply;
use crate::route::Destination;
use crate::route::deliver::Delivery;
use crate::route::deliver::deliver;
use crate::route::envelope::Envelope;
use crate::route::envelope::Envelopes;
use crate::route::envelope::Recipient;
use crate::route::route;
use crate::route::services::Service;
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
    if sender.origin == Origin::Session
        && scene.sessions.has_blockers()
        && blocking::forbids(scene, sender, &parts)
    {
        return blocking::refuse(scene, sender, stanza);
    }
    let bare = parts.bare();
    // What the sender wrote differently is relayed in its prepared form.
    let canonical = (!parts.is_as_given()).then(|| reply::attribute(&parts.full()).into_owned());
    let stamp = Stamp {
        from: stamp_of(sender, stanza.kind),
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
    let outcome = match destination {
        Destination::Host => return answer::host(scene, sender, stanza, &parts.domain),
        Destination::Absent => nowhere(scene, sender),
        Destination::Remote { owner, hash } => {
            let remote = (owner, hash, &*parts.domain);
            to_server(scene, sender, stanza, remote, stamp)
        }
        Destination::Service(service) => to_service(scene, sender, stanza, service, stamp),
        Destination::Account { owner, hash } => {
            let to = Recipient::Account {
                hash,
                bare: &bare,
                resource: parts.resource.as_deref(),
            };
            let room = relayed_bytes(stanza, stamp);
            let write = |out: &mut Vec<u8>| relay(stanza, stamp, out);
            give(scene, owner, to, stanza.kind, room, &write)
        }
    };
    if scene.sessions.has_carbons()
        && sender.origin == Origin::Session
        && let Type::Message(_) = stanza.kind
    {
        carbons::sent(scene, sender, stanza, stamp, &bare);
    }
    match outcome {
        Outcome::Done => {}
        Outcome::Account => answer::account(scene, sender, stanza, &bare),
        Outcome::Bounce(condition) => refuse(scene, sender, stanza, condition),
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
    stanza: &Stanza<'_>,
    (owner, hash, remote): (usize, u64, &str),
    stamp: Stamp<'_>,
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
    let room = relayed_bytes(stanza, stamp);
    let write = |out: &mut Vec<u8>| relay_into(stanza, stamp, ns::SERVER, out);
    give(scene, owner, to, stanza.kind, room, &write)
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
    stanza: &Stanza<'_>,
    service: &Service,
    stamp: Stamp<'_>,
) -> Outcome {
    if let Some(rule) = &service.access
        && !is_allowed(scene, sender, rule)
    {
        return Outcome::Bounce(StanzaCondition::NotAllowed);
    }
    let to = Recipient::Peer(service.connection);
    let room = relayed_bytes(stanza, stamp);
    let write = |out: &mut Vec<u8>| relay_into(stanza, stamp, ns::COMPONENT_ACCEPT, out);
    give(scene, service.owner, to, stanza.kind, room, &write)
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

/// Gives a stanza to a recipient of shard `owner`: hands it over here, or sends it there.
pub fn give<O: Outbox>(
    scene: &mut Scene<'_, O>,
    owner: usize,
    to: Recipient<'_>,
    kind: Type,
    room: usize,
    write: &impl Fn(&mut Vec<u8>),
) -> Outcome {
    if owner == scene.shard {
        return take(scene, to, kind, room, write);
    }
    let mail = scene.outbox.mail(owner);
    if !mail.has_room(room) {
        return Outcome::Bounce(StanzaCondition::ResourceConstraint);
    }
    mail.push(kind, to, write);
    Outcome::Done
}

/// A recipient of this shard gets a stanza.
fn take<O: Outbox>(
    scene: &mut Scene<'_, O>,
    to: Recipient<'_>,
    kind: Type,
    room: usize,
    write: &impl Fn(&mut Vec<u8>),
) -> Outcome {
    match to {
        Recipient::Account {
            hash,
            bare,
            resource,
        } => hand_over(scene, hash, bare, resource, kind, room, write),
        Recipient::Peer(connection) => hand_to_peer(scene, connection, kind, room, write),
        Recipient::Domain {
            hash,
            local,
            remote,
        } => match scene.outbox.remote(hash, (local, remote), room) {
            Ok(out) => {
                let before = out.len();
                write(out);
                let bytes = out.len() - before;
                scene.outbox.dispatched(local, kind, bytes);
                Outcome::Done
            }
            Err(_) if bounce::is_silent(kind) => Outcome::Done,
            Err(condition) => Outcome::Bounce(condition),
        },
    }
}

/// The domain of a bare JID.
pub fn domain_of(bare: &str) -> &str {
    bare.split_once('@').map_or(bare, |(_, domain)| domain)
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

/// Takes in the mail of another shard.
pub fn arrive<O: Outbox>(scene: &mut Scene<'_, O>, envelope: &Envelope<'_>) {
    let write = |out: &mut Vec<u8>| out.extend_from_slice(envelope.stanza);
    let room = envelope.stanza.len();
    match take(scene, envelope.to, envelope.kind, room, &write) {
        Outcome::Done => {}
        Outcome::Account => answer::arrived(scene, envelope),
        Outcome::Bounce(condition) => {
            bounce::bounce(scene, envelope.stanza, envelope.kind, condition);
        }
    }
}

/// Gives a stanza to a connection of this shard that speaks for its recipient. One that is gone,
/// or has no room, is what `service-unavailable` is for: a moment ago it was there.
fn hand_to_peer<O: Outbox>(
    scene: &mut Scene<'_, O>,
    connection: Key,
    kind: Type,
    room: usize,
    write: &impl Fn(&mut Vec<u8>),
) -> Outcome {
    let largest = scene.outbox.largest(connection);
    if largest > 0 && room > largest {
        return Outcome::Bounce(StanzaCondition::PolicyViolation);
    }
    match scene.outbox.hand(connection, kind, room, write) {
        true => Outcome::Done,
        false if bounce::is_silent(kind) => Outcome::Done,
        false => Outcome::Bounce(StanzaCondition::ServiceUnavailable),
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
    if scene.sessions.rosters().is_busy()
        && let Some(outcome) = line::hold(scene, (hash, bare, resource), kind, write)
    {
        return outcome;
    }
    deliver_now(scene, hash, bare, resource, kind, room, write)
}

/// The same for what has waited behind a change of the roster.
pub fn deliver_now<O: Outbox>(
    scene: &mut Scene<'_, O>,
    hash: u64,
    bare: &str,
    resource: Option<&str>,
    kind: Type,
    room: usize,
    write: &impl Fn(&mut Vec<u8>),
) -> Outcome {
    if !scene.sessions.flushes.is_empty()
        && let Some(outcome) = kept::hold(scene, bare, resource, kind, write)
    {
        return outcome;
    }
    let user = match scene.sessions.user(hash, bare) {
        Some(user) if user.blocked().is_some() => match blocking::screen(user, kind, room, write) {
            Screen::Pass => Some(user),
            Screen::Drop => return Outcome::Done,
            Screen::Refuse => return Outcome::Bounce(StanzaCondition::ServiceUnavailable),
        },
        user => user,
    };
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
        Delivery::Offline => return not_here(scene, bare, kind, true, write),
        Delivery::Subscription => return about_subscription(scene, bare, kind, write),
        Delivery::Bounce => return not_here(scene, bare, kind, false, write),
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
            let start = out.len();
            write(out);
            if kind == Type::Iq(IqType::Get)
                && let Some(stanza) = out.get(start..)
                && last::is_secret(scene.facts, scene.sessions, (bare, session), stanza)
            {
                out.truncate(start);
                return Outcome::Bounce(StanzaCondition::Forbidden);
            }
            let bytes = out.len() - start;
            scene.outbox.delivered(kind, bytes);
            given = true;
        }
    }
    if given
        && let Some(user) = user.filter(|user| user.sessions().len() > 1)
        && let Type::Message(_) = kind
    {
        carbons::received(scene.outbox, user, wanted, write);
    }
    outcome(kind, given, too_large)
}

/// Of a stanza that some resource has got, or none because it is too large for it.
fn outcome(kind: Type, given: bool, too_large: bool) -> Outcome {
    match (given, too_large) {
        (true, _) => Outcome::Done,
        (false, true) => Outcome::Bounce(StanzaCondition::PolicyViolation),
        (false, false) if bounce::is_silent(kind) => Outcome::Done,
        (false, false) => Outcome::Bounce(StanzaCondition::ServiceUnavailable),
    }
}

/// The recipient of a stanza is not here; some are kept.
fn not_here<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    kind: Type,
    may_keep: bool,
    write: &impl Fn(&mut Vec<u8>),
) -> Outcome {
    let outcome = if may_keep {
        offline::keep(scene, bare, kind, write)
    } else {
        Outcome::Bounce(StanzaCondition::ServiceUnavailable)
    };
    if let (Type::Message(_), Outcome::Bounce(_)) = (kind, outcome) {
        let host = domain_of(bare);
        scene.outbox.happened(Happening::MessageBounced, host);
    }
    outcome
}

/// The server handles it on behalf of the account.
fn about_subscription<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    kind: Type,
    write: &impl Fn(&mut Vec<u8>),
) -> Outcome {
    let host = bare.split_once('@').map_or("", |(_, host)| host);
    let modules = scene.facts.modules_of(host);
    let has_roster = modules.is_some_and(|modules| modules.mod_roster.is_some());
    if !has_roster || presence::is_off(scene.facts, host) {
        return Outcome::Bounce(StanzaCondition::ServiceUnavailable);
    }
    let mut stanza = Vec::new();
    write(&mut stanza);
    line::received(scene, bare, kind, stanza);
    Outcome::Done
}
