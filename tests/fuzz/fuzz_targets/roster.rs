//! A roster under whatever its owner and others do to it, and whatever the store answers: what is in
//! memory is what the store holds, nothing waits for ever, and what one contact sends arrives in the
//! order in which it was sent. Each line of the input is a step:
//!
//! - `s<query .../>`: the session sets a contact;
//! - `w0 b@y`: the session says a word to a contact, 0 to 3: subscribe to unsubscribed;
//! - `p0 b@y`: the contact says it; `m b@y`: the contact sends a message;
//! - `c`: the store carries out the oldest request; `l`: it is locked; `f`: it fails;
//!   `g`: it carries the request out and yet fails;
//! - `d` and bytes: a contact as it might be stored.
#![no_main]

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::hash::RandomState;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use meerkat::base::key::Key;
use meerkat::config::Files;
use meerkat::config::Who;
use meerkat::config::decode;
use meerkat::modules::Asked;
use meerkat::modules::Facts;
use meerkat::modules::Scene;
use meerkat::modules::Waiting;
use meerkat::modules::answer;
use meerkat::modules::handover::hand_over;
use meerkat::modules::line;
use meerkat::modules::parcel::Stamped;
use meerkat::modules::pipeline::Outbox;
use meerkat::modules::roster;
use meerkat::modules::subscription::verb_of;
use meerkat::proto::ns;
use meerkat::proto::sasl::keys::Credentials;
use meerkat::proto::sasl::keys::Secret;
use meerkat::proto::stanza::MessageType;
use meerkat::proto::stanza::PresenceType;
use meerkat::proto::stanza::Type;
use meerkat::proto::stanza::error::StanzaCondition;
use meerkat::proto::stanza::reply::attribute;
use meerkat::route::envelope::Envelopes;
use meerkat::route::hosts::Hosts;
use meerkat::route::services::Services;
use meerkat::session::roster::Roster;
use meerkat::session::rosters::Own;
use meerkat::session::rosters::What;
use meerkat::session::table::Table;
use meerkat::store::AccountId;
use meerkat::store::AccountStore;
use meerkat::store::Response;
use meerkat::store::StoreError;
use meerkat::store::data::Area;
use meerkat::store::data::DataRequest;
use meerkat::store::data::DataStore;
use meerkat::store::memory::MemoryStore;
use meerkat::xml::element::Element;

const BARE: &str = "a@x";
const FULL: &str = "a@x/r";
const SESSION: Key = Key {
    slot: 0,
    generation: 0,
};
/// Steps that are looked at, so that an input is done in a moment.
const STEPS_MAX: usize = 200;

struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &str) -> std::io::Result<Vec<u8>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

#[derive(Default)]
struct Sink {
    output: Vec<u8>,
    mail: Envelopes,
    paused: bool,
}

impl Outbox for Sink {
    fn output(&mut self, _: Key, _: usize) -> Option<&mut Vec<u8>> {
        Some(&mut self.output)
    }

    fn largest(&self, _: Key) -> usize {
        1 << 20
    }

    fn mail(&mut self, _: usize) -> &mut Envelopes {
        &mut self.mail
    }

    fn pause(&mut self, _: Key) {
        assert!(!self.paused, "who is paused says nothing");
        self.paused = true;
    }

    fn resume(&mut self, _: Key) {
        self.paused = false;
    }

    fn replace(&mut self, _: Key) {}

    fn remote(
        &mut self,
        _: u64,
        _: (&str, &str),
        _: usize,
    ) -> Result<&mut Vec<u8>, StanzaCondition> {
        Err(StanzaCondition::RemoteServerNotFound)
    }

    fn allows(&self, _: &str, _: Who<'_>) -> bool {
        true
    }
}

struct Stage {
    hosts: Hosts,
    services: Services,
    sessions: Table,
    sink: Sink,
    facts: Facts,
    asked: Vec<Asked>,
    queue: VecDeque<(DataRequest, Waiting)>,
    store: MemoryStore,
    number: usize,
}

impl Stage {
    fn new() -> Self {
        thread_local! {
            static MODULES: Arc<[(Box<str>, meerkat::config::Modules)]> = {
                let text = "[general]\nhosts = ['x']\ndefault_server_domain = 'x'\n\
                    [modules.mod_roster]\nversioning = true\n[modules.mod_presence]\n";
                decode(text, "fuzz", &NoFiles).expect("a valid file").modules_by_host()
            };
        }
        let mut store = MemoryStore::new();
        let credentials = Credentials::Plain(Secret::new("secret"));
        assert_eq!(store.create(&id(), &credentials, 0), Ok(true));
        let mut sessions = Table::new(RandomState::new());
        sessions.wish_roster(BARE, true);
        let hash = sessions.hash(BARE);
        sessions
            .rosters_mut()
            .loaded(hash, BARE, Roster::default());
        sessions.bind(BARE, "r", SESSION, 1);
        let user = sessions.user_mut(hash, BARE).expect("bound");
        let session = user.session_mut("r").expect("bound");
        (session.priority, session.interested) = (Some(0), true);
        session.presence = Some(Box::from(*b"<presence from='a@x/r'/>"));
        Self {
            hosts: Hosts::new(["x".to_owned()], 1),
            services: Services::default(),
            sessions,
            sink: Sink::default(),
            facts: Facts {
                version: "0",
                unix_seconds: 1,
                since_unix_seconds: 1,
                modules: MODULES.with(Arc::clone),
            },
            asked: Vec::new(),
            queue: VecDeque::new(),
            store,
            number: 0,
        }
    }

    fn with(&mut self, act: impl FnOnce(&mut Scene<'_, Sink>)) {
        act(&mut Scene {
            shard: 0,
            hosts: &self.hosts,
            services: &self.services,
            sessions: &mut self.sessions,
            outbox: &mut self.sink,
            facts: &self.facts,
            asked: &mut self.asked,
        });
        for asked in self.asked.drain(..) {
            let Asked::Data(request, waiting) = asked else {
                panic!("nothing else is on");
            };
            self.queue.push_back((request, waiting));
        }
    }

    fn own(&mut self, what: What) {
        let own = Own {
            connection: SESSION,
            from: FULL.into(),
            target: None,
            id: "own".into(),
            what,
        };
        self.with(|scene| line::own(scene, BARE, own));
    }

    fn step(&mut self, line: &[u8]) -> Option<()> {
        let (step, rest) = line.split_first()?;
        let text = std::str::from_utf8(rest).ok();
        match step {
            b's' if !self.sink.paused => {
                let query = Element::parse(rest, ns::CLIENT, &[]).ok()?;
                let wanted = roster::wanted(&query).ok()?;
                self.own(What::Set(wanted));
            }
            b'w' if !self.sink.paused => {
                let (kind, jid) = word(text?)?;
                let verb = verb_of(kind)?;
                let stanza = presence(BARE, &jid, verb.name(), 0);
                self.own(What::Say {
                    verb,
                    jid: jid.into(),
                    kind: Type::Presence(kind),
                    stanza: stanza.into_bytes().into(),
                });
            }
            b'p' => {
                let (kind, jid) = word(text?)?;
                self.number += 1;
                let stanza = presence(&jid, BARE, verb_of(kind)?.name(), self.number);
                self.deliver(Type::Presence(kind), &stanza);
            }
            b'm' => {
                let (_, jid) = word(text?)?;
                self.number += 1;
                let stanza = format!(
                    "<message from='{}' to='{FULL}' id='{}'/>",
                    attribute(&jid),
                    self.number
                );
                self.deliver(Type::Message(MessageType::Normal), &stanza);
            }
            b'c' => self.answer(true, None),
            b'l' => self.answer(false, Some(StoreError::Locked)),
            b'f' => self.answer(false, Some(failed())),
            b'g' => self.answer(true, Some(failed())),
            b'd' => {
                let stored = [("b@y", rest)];
                if let Some(read) = Roster::decode(stored.into_iter()) {
                    let item = read.item("b@y").expect("it was read");
                    let again = item.encode();
                    assert_eq!(Roster::decode([("b@y", &*again)].into_iter()), Some(read.clone()));
                }
            }
            _ => {}
        }
        Some(())
    }

    fn deliver(&mut self, kind: Type, stanza: &str) {
        let hash = self.sessions.hash(BARE);
        let resource = matches!(kind, Type::Message(_)).then_some("r");
        let parcel = Stamped {
            kind,
            bytes: stanza.as_bytes(),
        };
        self.with(|scene| {
            hand_over(scene, hash, BARE, resource, &parcel);
        });
    }

    /// Answers the oldest request.
    fn answer(&mut self, carries_out: bool, error: Option<StoreError>) {
        let Some((request, waiting)) = self.queue.pop_front() else {
            return;
        };
        // A change whose end is unknown is read anew: that does not fail as well.
        let (carries_out, error) = match request.is_write() {
            true => (carries_out, error),
            false => (true, None),
        };
        let done = carries_out.then(|| self.store.perform_data(&request));
        let result = match (error, done) {
            (None, Some(done)) => done.map(Response::Data),
            (error, _) => Err(error.unwrap_or_else(failed)),
        };
        self.with(|scene| answer::answered(scene, &waiting, result));
    }
}

fn id() -> AccountId {
    AccountId::from_prepared("a", "x")
}

fn failed() -> StoreError {
    StoreError::Failed {
        doing: "test",
        reason: "it is one".to_owned(),
    }
}

/// A kind of presence and a prepared bare JID other than the user's.
fn word(text: &str) -> Option<(PresenceType, String)> {
    let (kind, jid) = text.split_once(' ')?;
    let kind = match kind {
        "1" => PresenceType::Subscribed,
        "2" => PresenceType::Unsubscribe,
        "3" => PresenceType::Unsubscribed,
        _ => PresenceType::Subscribe,
    };
    let jid = meerkat::jid::parse(jid).ok()?.bare().into_owned();
    (jid != BARE && jid.contains('@')).then_some((kind, jid))
}

fn presence(from: &str, to: &str, kind: &str, number: usize) -> String {
    let (from, to) = (attribute(from), attribute(to));
    format!("<presence from='{from}' to='{to}' type='{kind}' id='{number}'/>")
}

fuzz_target!(|data: &[u8]| {
    let mut stage = Stage::new();
    for line in data.split(|byte| *byte == b'\n').take(STEPS_MAX) {
        stage.step(line);
    }
    while !stage.queue.is_empty() {
        stage.answer(true, None);
    }
    assert!(!stage.sink.paused, "the session waits for ever");
    assert!(!stage.sessions.rosters().is_busy(), "something waits for ever");
    let stored = stage.store.things(&id(), Area::Roster).expect("the map");
    let stored = stored.iter().map(|(name, value)| (&**name, &**value));
    let stored = Roster::decode(stored).expect("what was written");
    assert_eq!(stage.sessions.roster(BARE), Some(&stored));
    let mut wrapped = b"<all>".to_vec();
    wrapped.extend_from_slice(&stage.sink.output);
    wrapped.extend_from_slice(b"</all>");
    // Too many for a tree is no fault of what was written.
    let Ok(all) = Element::parse(&wrapped, ns::CLIENT, &[]) else {
        return;
    };
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for stanza in all.children() {
        let number = stanza.attr("id").and_then(|id| id.parse().ok());
        if let (Some(from), Some(number)) = (stanza.attr("from"), number) {
            let before = last.insert(from, number);
            assert!(before < Some(number), "{from}: {before:?} before {number}");
        }
    }
});
