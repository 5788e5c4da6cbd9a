//! Finds the handler of a request to the server and writes its answer.

use crate::base::key::Key;
use crate::modules::Answer;
use crate::modules::Asked;
use crate::modules::AskedAccount;
use crate::modules::Call;
use crate::modules::Effect;
use crate::modules::Facts;
use crate::modules::MODULES;
use crate::modules::Route;
use crate::modules::Scene;
use crate::modules::To;
use crate::modules::Topic;
use crate::modules::Waiting;
use crate::modules::blocking;
use crate::modules::bounce;
use crate::modules::bounce::TOO_LARGE;
use crate::modules::contact;
use crate::modules::kept;
use crate::modules::last;
use crate::modules::line;
use crate::modules::offline;
use crate::modules::pipeline::Origin;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::modules::pipeline::answer_to;
use crate::modules::pipeline::refuse;
use crate::modules::private;
use crate::modules::roster;
use crate::modules::roster_change;
use crate::modules::saved;
use crate::modules::vcard;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::Stanza;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::route::envelope::Envelope;
use crate::route::envelope::Recipient;
use crate::session::rosters::Own;
use crate::session::rosters::What;
use crate::store::Response;
use crate::store::StoreError;
use crate::store::data::DataResponse;
use crate::xml::element::Element;

/// A stanza to one of our hosts (RFC 6121 section 8.4). Presence to a host means nothing here.
pub fn host<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    stanza: &Stanza<'_>,
    domain: &str,
) {
    match stanza.kind {
        Type::Iq(kind @ (IqType::Get | IqType::Set)) => {
            request(scene, sender, stanza, kind, (To::Host, domain));
        }
        Type::Message(_) => refuse(scene, sender, stanza, StanzaCondition::ServiceUnavailable),
        Type::Iq(IqType::Result | IqType::Error) | Type::Presence(_) => {}
    }
}

/// A request without `to`: to the server on behalf of the sender's account.
pub fn own_account<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>, stanza: &Stanza<'_>) {
    if let Type::Iq(kind @ (IqType::Get | IqType::Set)) = stanza.kind {
        request(scene, sender, stanza, kind, (To::OwnAccount, sender.bare));
    }
}

/// A request to the bare JID of an account of this shard.
pub fn account<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    stanza: &Stanza<'_>,
    bare: &str,
) {
    if let Type::Iq(kind @ (IqType::Get | IqType::Set)) = stanza.kind {
        let to = if bare == sender.bare && sender.origin == Origin::Session {
            To::OwnAccount
        } else {
            To::Account
        };
        request(scene, sender, stanza, kind, (to, bare));
    }
}

/// A request from another shard to an account of this one.
pub fn arrived<O: Outbox>(scene: &mut Scene<'_, O>, envelope: &Envelope<'_>) {
    let Type::Iq(kind @ (IqType::Get | IqType::Set)) = envelope.kind else {
        return;
    };
    let Recipient::Account { bare: target, .. } = envelope.to else {
        return;
    };
    let parsed = Element::parse(envelope.stanza, ns::CLIENT, &[]).ok();
    let answer = parsed
        .as_ref()
        .and_then(|iq| of_account(scene, kind, target, iq));
    match (answer, parsed) {
        (Some(Answer::Result(content)), Some(iq)) => {
            let to = reply::attribute(iq.attr("from").unwrap_or_default()).into_owned();
            let id = iq.attr("id").map(str::to_owned);
            let kind = Type::Iq(IqType::Result);
            bounce::send(
                scene,
                target,
                iq.attr("from").unwrap_or_default(),
                kind,
                |out| {
                    result((Some(target), &to, id.as_deref()), &content, out);
                },
            );
        }
        (Some(Answer::Error(condition, _)), _) => {
            bounce::bounce(scene, envelope.stanza, envelope.kind, condition);
        }
        // What needs the store is never another user's to ask.
        (Some(Answer::Ask(_)), _) => {
            bounce::bounce(
                scene,
                envelope.stanza,
                envelope.kind,
                StanzaCondition::Forbidden,
            );
        }
        (Some(Answer::Store(query)), Some(iq)) => {
            let waiting = Waiting {
                topic: query.topic,
                from: iq.attr("from").unwrap_or_default().into(),
                target: Some(target.into()),
                id: iq.attr("id").unwrap_or_default().into(),
                connection: None,
            };
            scene.asked.push(Asked::Data(query.request, waiting));
        }
        (
            Some(Answer::Result(_) | Answer::Store(_) | Answer::Do(_) | Answer::Contact(_)) | None,
            _,
        ) => {
            let condition = StanzaCondition::ServiceUnavailable;
            bounce::bounce(scene, envelope.stanza, envelope.kind, condition);
        }
    }
}

/// What an account of this shard answers to somebody of another one.
fn of_account<O: Outbox>(
    scene: &Scene<'_, O>,
    kind: IqType,
    target: &str,
    iq: &Element,
) -> Option<Answer> {
    let mut children = iq.children();
    let (payload, None) = (children.next()?, children.next()) else {
        return None;
    };
    let from = iq.attr("from").unwrap_or_default();
    let call = Call {
        kind,
        to: To::Account,
        from,
        target,
        payload,
        services: scene.services,
    };
    let route = find(&call, scene.facts)?;
    Some(match (route.handler)(&call, scene.facts, scene.hosts) {
        Answer::Contact(about) => contact::asked(scene, target, from, about),
        answer => answer,
    })
}

fn find(call: &Call<'_>, facts: &Facts) -> Option<&'static Route> {
    let payload = call.payload;
    let modules = facts.modules_of(call.host())?;
    MODULES
        .iter()
        .filter(|module| (module.is_on)(modules))
        .flat_map(|module| module.routes)
        .find(|route| {
            route.kind == call.kind
                && route.to.contains(&call.to)
                && route.namespace == payload.ns()
                && route.name == payload.name()
        })
}

/// RFC 6120 section 8.2.3: a request has exactly one child element.
fn payload<'a>(stanza: &Stanza<'_>, iq: &'a Element) -> Option<&'a Element> {
    (stanza.head.children == 1)
        .then(|| iq.children().next())
        .flatten()
}

fn request<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    stanza: &Stanza<'_>,
    kind: IqType,
    (to, target): (To, &str),
) {
    let Ok(iq) = element(stanza) else {
        return refuse(scene, sender, stanza, StanzaCondition::BadRequest);
    };
    let Some(payload) = payload(stanza, &iq) else {
        return refuse(scene, sender, stanza, StanzaCondition::BadRequest);
    };
    let call = Call {
        kind,
        to,
        from: sender.full,
        target,
        payload,
        services: scene.services,
    };
    let answer =
        find(&call, scene.facts).map(|route| (route.handler)(&call, scene.facts, scene.hosts));
    // Only a session has what an effect is on.
    let answer = match answer {
        Some(Answer::Do(_)) if sender.origin != Origin::Session => {
            Some(Answer::Error(StanzaCondition::Forbidden, ""))
        }
        Some(Answer::Do(Effect::RosterSet(wanted))) => {
            let own = Own {
                connection: sender.connection,
                from: sender.full.into(),
                target: stanza.attribute(b"to").map(|to| to.as_ref().into()),
                id: stanza.attribute(b"id").unwrap_or_default().as_ref().into(),
                what: What::Set(wanted),
            };
            return line::own(scene, sender.bare, own);
        }
        Some(Answer::Do(effect)) => Some(perform(scene, sender, effect)),
        Some(Answer::Contact(about)) => Some(contact::asked(scene, target, sender.full, about)),
        answer => answer,
    };
    give_answer(scene, sender, stanza, answer);
}

/// Does to the sender's session what it asked for.
fn perform<O: Outbox>(scene: &mut Scene<'_, O>, sender: &Sender<'_>, effect: Effect) -> Answer {
    match effect {
        Effect::Blocklist => blocking::listed(scene, sender),
        Effect::Roster { known, versions } => {
            roster::listed(scene, sender, known.as_deref(), versions)
        }
        // It waits for its turn: `line::own`.
        Effect::RosterSet(_) => Answer::Error(StanzaCondition::InternalServerError, ""),
        Effect::Carbons(on) => {
            scene
                .sessions
                .want_carbons(sender.bare, sender.resource, on);
            Answer::Result(Vec::new())
        }
    }
}

fn give_answer<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    stanza: &Stanza<'_>,
    answer: Option<Answer>,
) {
    let id = stanza.attribute(b"id");
    let from = stanza.attribute(b"to");
    let room_of = |content: &[u8]| content.len() + reply::ERROR_BYTES + sender.stamp.len();
    let answer = match answer {
        Some(Answer::Result(content))
            if is_too_large(scene, sender.connection, room_of(&content)) =>
        {
            Some(Answer::Error(TOO_LARGE.0, TOO_LARGE.1))
        }
        answer => answer,
    };
    match answer {
        Some(Answer::Result(content)) => {
            let room = room_of(&content);
            let kind = Type::Iq(IqType::Result);
            answer_to(scene, sender, stanza, kind, room, |out| {
                let addresses = (from.as_deref(), sender.stamp, id.as_deref());
                result(addresses, &content, out);
            });
        }
        Some(Answer::Error(condition, text)) => {
            let to = sender.stamp;
            let why = (condition, text);
            let room = reply::ERROR_BYTES + to.len() + text.len();
            let kind = stanza.kind.answer();
            answer_to(scene, sender, stanza, kind, room, |out| {
                reply::error_parts("iq", from.as_deref(), to, id.as_deref(), why, out);
            });
        }
        // What the store holds is an account's; a peer has none.
        Some(Answer::Ask(_)) if sender.origin != Origin::Session => {
            refuse(scene, sender, stanza, StanzaCondition::Forbidden);
        }
        Some(Answer::Ask(ask)) => scene.asked.push(Asked::Account(AskedAccount {
            ask,
            from: sender.full.into(),
            target: from.map(|from| from.as_ref().into()),
            id: id.as_deref().unwrap_or_default().into(),
            connection: sender.connection,
        })),
        Some(Answer::Store(query)) => {
            let waiting = Waiting {
                topic: query.topic,
                from: sender.full.into(),
                target: from.map(|from| from.as_ref().into()),
                id: id.as_deref().unwrap_or_default().into(),
                connection: (sender.origin != Origin::Server).then_some(sender.connection),
            };
            scene.asked.push(Asked::Data(query.request, waiting));
        }
        Some(Answer::Do(_) | Answer::Contact(_)) | None => {
            refuse(scene, sender, stanza, StanzaCondition::ServiceUnavailable);
        }
    }
}

/// The store has answered what a module asked; whoever asked the module gets their answer.
pub fn answered<O: Outbox>(
    scene: &mut Scene<'_, O>,
    waiting: &Waiting,
    result: Result<Response, StoreError>,
) {
    let data = |result| match result {
        Ok(Response::Data(response)) => Ok(response),
        Ok(_) => Err(StoreError::Stopped),
        Err(error) => Err(error),
    };
    match &waiting.topic {
        Topic::Keep { stanza, kind } => offline::kept(scene, stanza, *kind, &result),
        Topic::Kept(connection) => kept::page(scene, *connection, result),
        Topic::Sent | Topic::LastKept => {}
        Topic::Roster(change) => roster_change::committed(scene, waiting, change, &data(result)),
        Topic::RosterLoad => roster_change::read(scene, &waiting.from, data(result)),
        Topic::RosterBlocked => roster_change::blocked(scene, &waiting.from, data(result)),
        Topic::Blocking(_)
        | Topic::Contact { .. }
        | Topic::Last
        | Topic::PrivateGet { .. }
        | Topic::Saved(_)
        | Topic::VcardGet => answered_data(scene, waiting, data(result)),
    }
}

/// The answer to a request about what belongs to an account.
fn answered_data<O: Outbox>(
    scene: &mut Scene<'_, O>,
    waiting: &Waiting,
    result: Result<DataResponse, StoreError>,
) {
    let answer = match (result, &waiting.topic) {
        (result, Topic::Blocking(change)) => {
            return blocking::changed(scene, waiting, change, &result);
        }
        (result, Topic::Saved(full)) => saved::answer(&result, *full),
        (Err(StoreError::Locked), _) => Answer::Error(StanzaCondition::ResourceConstraint, ""),
        (Err(_), _) => Answer::Error(StanzaCondition::InternalServerError, ""),
        (Ok(response), Topic::PrivateGet { unset }) => private::got(unset, response),
        (Ok(response), Topic::Contact { about, target }) => {
            contact::found(scene, target, &waiting.from, *about, &response)
        }
        (Ok(response), Topic::Last) => last::got(scene.facts, &response),
        (Ok(_), Topic::Keep { .. } | Topic::Kept(_) | Topic::Sent | Topic::LastKept) => return,
        (Ok(_), Topic::Roster(_) | Topic::RosterLoad | Topic::RosterBlocked) => return,
        (Ok(response), Topic::VcardGet) => vcard::got(response),
    };
    match answer {
        Answer::Result(content) => reply_to(scene, waiting, Ok(&content)),
        Answer::Error(condition, text) => reply_to(scene, waiting, Err((condition, text))),
        Answer::Store(query) => {
            let waiting = Waiting {
                topic: query.topic,
                ..waiting.clone()
            };
            scene.asked.push(Asked::Data(query.request, waiting));
        }
        Answer::Ask(_) | Answer::Contact(_) | Answer::Do(_) => {
            reply_to(
                scene,
                waiting,
                Err((StanzaCondition::InternalServerError, "")),
            );
        }
    }
}

/// Whether a connection could never take an answer of about `room` bytes: it would be cut.
fn is_too_large<O: Outbox>(scene: &Scene<'_, O>, connection: Key, room: usize) -> bool {
    let largest = scene.outbox.largest(connection);
    largest > 0 && room > largest
}

/// The answer to a request that had to wait.
pub fn reply_to<O: Outbox>(
    scene: &mut Scene<'_, O>,
    waiting: &Waiting,
    outcome: Result<&[u8], (StanzaCondition, &str)>,
) {
    let to = reply::attribute(&waiting.from);
    let (from, id) = (waiting.target.as_deref(), Some(&*waiting.id));
    let write = |out: &mut Vec<u8>| match outcome {
        Ok(content) => result((from, &to, id), content, out),
        Err(why) => reply::error_parts("iq", from, &to, id, why, out),
    };
    let room = reply::ERROR_BYTES + to.len() + outcome.map_or(0, <[u8]>::len);
    let kind = Type::Iq(match outcome {
        Ok(_) => IqType::Result,
        Err(_) => IqType::Error,
    });
    if let (Some(connection), Ok(_)) = (waiting.connection, outcome)
        && is_too_large(scene, connection, room)
    {
        return reply_to(scene, waiting, Err(TOO_LARGE));
    }
    match waiting.connection {
        Some(connection) => {
            scene.outbox.hand(connection, kind, room, write);
        }
        None => {
            let ours = waiting.target.as_deref().unwrap_or_default();
            bounce::send_sized(scene, (ours, &waiting.from), kind, room, write);
        }
    }
}

/// The stanza as a tree.
///
/// # Errors
/// When it is deeper than trees are built.
pub fn element(stanza: &Stanza<'_>) -> Result<Element, crate::xml::element::ParseError> {
    let bindings: Vec<(&str, &str)> = stanza
        .scope
        .bindings()
        .map(|(_, prefix, uri)| (prefix, uri))
        .collect();
    Element::parse(stanza.bytes, stanza.scope.default_namespace(), &bindings)
}

/// Writes a result; `to` may be written between apostrophes, `from` and `id` are escaped.
pub fn result(
    (from, to, id): (Option<&str>, &str, Option<&str>),
    content: &[u8],
    out: &mut Vec<u8>,
) {
    reply::open("iq", "result", from, to, id, out);
    if content.is_empty() {
        out.extend_from_slice(b"/>");
    } else {
        out.push(b'>');
        out.extend_from_slice(content);
        out.extend_from_slice(b"</iq>");
    }
}
