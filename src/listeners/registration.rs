//! XEP-0077 on the wire: who may register, the pause between two registrations of one address, the
//! password hash on a thread of its own, the store, and the answer.
//!
//! What a request may say is read in `modules::register`.

use std::net::IpAddr;
use std::rc::Rc;

use crate::auth::password::Salts;
use crate::base::key::Key;
use crate::config::Who;
use crate::listeners::mail::Addressed;
use crate::listeners::mail::Note;
use crate::listeners::mail::Waiting;
use crate::listeners::shard::Shard;
use crate::modules::answer;
use crate::modules::happening::Happening;
use crate::modules::pipeline::Outbox;
use crate::modules::register;
use crate::modules::register::Ask;
use crate::modules::register::Refusal;
use crate::net::ring::Ring;
use crate::proto::stanza::IqType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::store::Request;
use crate::store::Response;
use crate::store::StoreError;
use crate::xml::element::Element;

/// How long an address waits after a registration that came to nothing, in milliseconds: whoever
/// chose a name that is taken chooses another at once, and nobody tries names, or has passwords
/// hashed, as fast as the network allows.
const FAILED_PAUSE_MS: u64 = 1_000;

impl Shard {
    /// XEP-0077 before login.
    pub(super) fn register_before_login(
        &mut self,
        key: Key,
        id: Box<str>,
        query: &Element,
        set: bool,
    ) {
        let Some(host) = self.host_of(key) else {
            return;
        };
        let result = if set {
            self.may_register(key, &host, query).map(Some)
        } else {
            Ok(None)
        };
        match result {
            Ok(Some((ask, address))) => {
                let waiting = Waiting {
                    connection: key,
                    ask,
                    id,
                    from: None,
                    target: None,
                    address: Some(address),
                };
                self.ask(waiting);
            }
            Ok(None) => {
                let form = register::instructions(None);
                let room = form.len() + reply::ERROR_BYTES;
                let kind = Type::Iq(IqType::Result);
                self.desk.hand(key, kind, room, |out| {
                    answer::result((None, "", Some(&id)), &form, out);
                });
            }
            Err(why) => self.refuse_registration(key, (None, "", &id), why),
        }
    }

    /// Everything that is asked of a registration, the cheapest first; the pause of the address
    /// begins here.
    fn may_register(
        &self,
        key: Key,
        host: &str,
        query: &Element,
    ) -> Result<(Ask, IpAddr), Refusal> {
        let config = &self.settings.config;
        let rules = config.modules_of(host).mod_register.as_ref();
        let (Some(rules), Some(connection)) = (rules, self.desk.slab.get(key)) else {
            return Err((StanzaCondition::ServiceUnavailable, ""));
        };
        let address = connection.peer.ip();
        // A header's address never counts as local.
        let spoofed = connection.proxied && address.is_loopback();
        if spoofed || !rules.allows(address) {
            return Err((StanzaCondition::Forbidden, ""));
        }
        let ask = register::read(query, host, rules)?;
        let id = ask.id();
        let who = Who {
            node: id.user(),
            domain: id.host(),
            resource: "",
        };
        if !config.allows(&rules.access.value, host, who) {
            return Err((StanzaCondition::Forbidden, ""));
        }
        if let Some(pause_s) = config.general.registration_timeout.finite() {
            let pause_ms = u64::from(pause_s) * 1_000;
            if !self
                .settings
                .registrations
                .begin(address, self.desk.now_ms, pause_ms)
            {
                let text = "Accounts are not registered that quickly from one address";
                return Err((StanzaCondition::ResourceConstraint, text));
            }
        }
        Ok((ask, address))
    }

    pub(super) fn refuse_registration(
        &mut self,
        key: Key,
        (from, to, id): (Option<&str>, &str, &str),
        why: Refusal,
    ) {
        let kind = Type::Iq(IqType::Error);
        self.desk.hand(key, kind, reply::ERROR_BYTES, |out| {
            reply::error_parts("iq", from, to, Some(id), why, out);
        });
    }

    /// Hashes the password where there is one, then asks the store.
    pub(super) fn ask(&mut self, waiting: Waiting) {
        let key = waiting.connection;
        let settings = Rc::clone(&self.settings);
        let host = waiting.ask.id().host().to_owned();
        let Some(connection) = self.desk.slab.get(key) else {
            return;
        };
        let policy = settings
            .auth(settings.listener(connection.listener), &host)
            .password
            .clone();
        let salts: Salts = std::array::from_fn(|_| self.random_bytes());
        let created_at = self.facts.unix_seconds;
        let store = self.store.clone();
        let outside = self.outside.clone();
        let back = self.outside.clone();
        // Whoever asks gets an answer, also where there is no room for the question.
        let busy = Box::new(Addressed {
            id: waiting.id.clone(),
            from: waiting.from.clone(),
            target: waiting.target.clone(),
        });
        let refused = busy.clone();
        let job =
            move || {
                let request =
                    match &waiting.ask {
                        Ask::Create(id, password) => policy
                            .credentials(password.expose(), &salts)
                            .map(|credentials| Request::Create {
                                id: id.clone(),
                                credentials,
                                created_at,
                            }),
                        Ask::Change(id, password) => policy
                            .credentials(password.expose(), &salts)
                            .map(|credentials| Request::SetCredentials {
                                id: id.clone(),
                                credentials,
                            }),
                        Ask::Remove(id) => Ok(Request::Delete { id: id.clone() }),
                    };
                (request, waiting)
            };
        let taken = self.work.submit(job, move |done| {
            let Ok((request, waiting)) = done else { return };
            let waiting = Box::new(waiting);
            let Ok(request) = request else {
                let refused = Ok(Response::NoSuchAccount);
                let _ = outside.send(Note::Registered(waiting, refused));
                return;
            };
            let reply = Box::new(move |result| {
                let _ = back.send(Note::Registered(waiting, result));
            });
            if store.submit(request, reply).is_err() {
                let _ = outside.send(Note::Unregistered(key, busy));
            }
        });
        if taken.is_err() {
            let _ = self.outside.send(Note::Unregistered(key, refused));
        }
    }

    pub(super) fn registered(
        &mut self,
        ring: &mut Ring,
        waiting: &Waiting,
        result: Result<Response, StoreError>,
    ) {
        let key = waiting.connection;
        let to = waiting
            .from
            .as_deref()
            .map(reply::attribute)
            .unwrap_or_default();
        let from = waiting.target.as_deref();
        let condition = match &result {
            Ok(Response::Done | Response::Deleted(_)) => None,
            Ok(Response::AlreadyExists) => Some(StanzaCondition::Conflict),
            Ok(Response::NoSuchAccount) => Some(StanzaCondition::NotAcceptable),
            Ok(_) | Err(_) => Some(StanzaCondition::InternalServerError),
        };
        match condition {
            Some(condition) => {
                self.refuse_registration(key, (from, &to, &waiting.id), (condition, ""));
            }
            None => {
                let kind = Type::Iq(IqType::Result);
                self.desk.hand(key, kind, reply::ERROR_BYTES, |out| {
                    answer::result((from, &to, Some(&waiting.id)), &[], out);
                });
            }
        }
        match (condition, &waiting.ask, waiting.address) {
            (None, Ask::Remove(id), _) => {
                if let Ok(Response::Deleted(roster)) = result {
                    self.end_account(ring, &id.to_string(), &roster);
                }
            }
            (None, Ask::Create(id, _), Some(address)) => {
                self.desk.note_happened(Happening::Registered, id.host());
                let settings = Rc::clone(&self.settings);
                let modules = settings.config.modules_of(id.host());
                if let Some(rules) = &modules.mod_register {
                    register::announce(&mut self.scene(), rules, id, address);
                    register::welcome(&mut self.scene(), rules, id);
                }
            }
            (Some(_), Ask::Create(..), Some(address)) => {
                let until_ms = self.desk.now_ms + FAILED_PAUSE_MS;
                self.settings.registrations.shorten(address, until_ms);
            }
            (_, Ask::Create(..) | Ask::Change(..) | Ask::Remove(_), _) => {}
        }
    }
}
