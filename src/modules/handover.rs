//! The recipient's side of the pipeline: who of an account gets a stanza, and what becomes of one
//! that nobody can take now.
//!
//! [`give`] is called on the shard of the sender, everything else runs on the shard that owns the
//! recipient; [`arrive`] is where what crossed comes in. The order of handlers is the order of the
//! calls in [`hand_over`] and [`deliver_now`].

use crate::base::key::Key;
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
use crate::modules::parcel::Parcel;
use crate::modules::parcel::Stamped;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::domain_of;
use crate::modules::presence;
use crate::proto::stanza::IqType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::route::deliver::Delivery;
use crate::route::deliver::deliver;
use crate::route::envelope::Envelope;
use crate::route::envelope::Recipient;
use crate::session::table::Session;

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

/// Gives a stanza to a recipient of shard `owner`: hands it over here, or sends it there.
#[inline]
pub fn give<O: Outbox>(
    scene: &mut Scene<'_, O>,
    owner: usize,
    to: Recipient<'_>,
    parcel: &impl Parcel,
) -> Outcome {
    if owner == scene.shard {
        return take(scene, to, parcel);
    }
    let mail = scene.outbox.mail(owner);
    if !mail.has_room(parcel.room()) {
        return Outcome::Bounce(StanzaCondition::ResourceConstraint);
    }
    mail.push(parcel.kind(), to, |out| parcel.write(out));
    Outcome::Done
}

/// A recipient of this shard gets a stanza.
#[inline]
fn take<O: Outbox>(scene: &mut Scene<'_, O>, to: Recipient<'_>, parcel: &impl Parcel) -> Outcome {
    match to {
        Recipient::Account {
            hash,
            bare,
            resource,
        } => hand_over(scene, hash, bare, resource, parcel),
        Recipient::Peer(connection) => hand_to_peer(scene, connection, parcel),
        Recipient::Domain {
            hash,
            local,
            remote,
        } => match scene.outbox.remote(hash, (local, remote), parcel.room()) {
            Ok(out) => {
                let before = out.len();
                parcel.write(out);
                let bytes = out.len() - before;
                scene.outbox.dispatched(local, parcel.kind(), bytes);
                Outcome::Done
            }
            Err(_) if bounce::is_silent(parcel.kind()) => Outcome::Done,
            Err(condition) => Outcome::Bounce(condition),
        },
    }
}

/// Takes in the mail of another shard.
pub fn arrive<O: Outbox>(scene: &mut Scene<'_, O>, envelope: &Envelope<'_>) {
    let parcel = Stamped {
        kind: envelope.kind,
        bytes: envelope.stanza,
    };
    match take(scene, envelope.to, &parcel) {
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
    parcel: &impl Parcel,
) -> Outcome {
    let (kind, room) = (parcel.kind(), parcel.room());
    let largest = scene.outbox.largest(connection);
    if largest > 0 && room > largest {
        return Outcome::Bounce(StanzaCondition::PolicyViolation);
    }
    match scene
        .outbox
        .hand(connection, kind, room, |out| parcel.write(out))
    {
        true => Outcome::Done,
        false if bounce::is_silent(kind) => Outcome::Done,
        false => Outcome::Bounce(StanzaCondition::ServiceUnavailable),
    }
}

/// Gives a stanza to the resources of an account of this shard that are to get it.
pub fn hand_over<O: Outbox>(
    scene: &mut Scene<'_, O>,
    hash: u64,
    bare: &str,
    resource: Option<&str>,
    parcel: &impl Parcel,
) -> Outcome {
    if scene.sessions.rosters().is_busy()
        && let Some(outcome) = line::hold(scene, (hash, bare, resource), parcel)
    {
        return outcome;
    }
    deliver_now(scene, hash, bare, resource, parcel)
}

/// The same for what has waited behind a change of the roster.
pub fn deliver_now<O: Outbox>(
    scene: &mut Scene<'_, O>,
    hash: u64,
    bare: &str,
    resource: Option<&str>,
    parcel: &impl Parcel,
) -> Outcome {
    let (kind, room) = (parcel.kind(), parcel.room());
    if !scene.sessions.flushes.is_empty()
        && let Some(outcome) = kept::hold(scene, bare, resource, parcel)
    {
        return outcome;
    }
    let user = match scene.sessions.user(hash, bare) {
        Some(user) if user.blocked().is_some() => match blocking::screen(user, parcel) {
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
        Delivery::Offline => return not_here(scene, bare, true, parcel),
        Delivery::Subscription => return about_subscription(scene, bare, parcel),
        Delivery::Bounce => return not_here(scene, bare, false, parcel),
        Delivery::Drop => return Outcome::Done,
    };
    let (mut given, mut too_large) = (false, false);
    for session in user
        .into_iter()
        .flat_map(|user| user.sessions())
        .filter(|s| wanted(s))
    {
        if room > scene.outbox.largest(session.connection) {
            too_large = true;
        } else if let Some(out) = scene.outbox.output(session.connection, room) {
            let start = out.len();
            parcel.write(out);
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
        carbons::received(scene.outbox, user, wanted, parcel);
    }
    if too_large && !given && kind == Type::Iq(IqType::Result) {
        return error_instead(scene, hash, bare, resource, parcel);
    }
    outcome(kind, given, too_large)
}

/// An answer that is too large for the one who waits for it.
#[cold]
fn error_instead<O: Outbox>(
    scene: &mut Scene<'_, O>,
    hash: u64,
    bare: &str,
    resource: Option<&str>,
    parcel: &impl Parcel,
) -> Outcome {
    let user = scene.sessions.user(hash, bare);
    let session = user
        .zip(resource)
        .and_then(|(user, resource)| user.session(resource));
    if let Some(connection) = session.map(|session| session.connection) {
        bounce::too_large(scene, connection, &parcel.to_bytes());
    }
    Outcome::Done
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
    may_keep: bool,
    parcel: &impl Parcel,
) -> Outcome {
    let outcome = if may_keep {
        offline::keep(scene, bare, parcel)
    } else {
        Outcome::Bounce(StanzaCondition::ServiceUnavailable)
    };
    if let (Type::Message(_), Outcome::Bounce(_)) = (parcel.kind(), outcome) {
        let host = domain_of(bare);
        scene.outbox.happened(Happening::MessageBounced, host);
    }
    outcome
}

/// The server handles it on behalf of the account.
fn about_subscription<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    parcel: &impl Parcel,
) -> Outcome {
    let host = bare.split_once('@').map_or("", |(_, host)| host);
    let modules = scene.facts.modules_of(host);
    let has_roster = modules.is_some_and(|modules| modules.mod_roster.is_some());
    if !has_roster || presence::is_off(scene.facts, host) {
        return Outcome::Bounce(StanzaCondition::ServiceUnavailable);
    }
    line::received(scene, bare, parcel.kind(), parcel.to_bytes());
    Outcome::Done
}
