//! Two users, a session each, and the pipeline between them: no socket, no executor, no clock.
//!
//! What `benches/deliver.rs` times and `tests/allocations.rs` counts is the same work: one chat
//! message from the bytes of its sender to the output of its recipient.

mod sink;

use std::hash::RandomState;

use meerkat::base::key::Key;
use meerkat::modules::Asked;
use meerkat::modules::Facts;
use meerkat::modules::Scene;
use meerkat::modules::handover::arrive;
use meerkat::modules::pipeline::Origin;
use meerkat::modules::pipeline::Sender;
use meerkat::modules::pipeline::carry;
use meerkat::proto::ns;
use meerkat::proto::stanza::Stanza;
use meerkat::route::hosts::Hosts;
use meerkat::route::owner;
use meerkat::route::services::Entry;
use meerkat::route::services::Name;
use meerkat::route::services::Service;
use meerkat::route::services::Services;
use meerkat::session::table::Table;
use meerkat::xml::scan::Found;
use meerkat::xml::scan::Limits;
use meerkat::xml::scan::Scanner;
use meerkat::xml::scan::StreamScope;

use sink::Sink;

/// Messages in one turn of a shard: so many are written before outputs are emptied.
pub(crate) const TURN_MESSAGES: usize = 16;

/// Bytes of envelopes that a batch keeps, as in the server.
const MAIL_KEEP_BYTES: usize = 256 * 1024;

/// Sessions of one user, ample.
const SESSIONS_MAX: usize = 10;

/// How the message is addressed, and how far it goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Case {
    /// To the bare JID of a user of the same shard.
    Bare,
    /// To the full JID of a user of the same shard.
    Full,
    /// To the bare JID of a user of another shard: into the envelopes, and out of them there.
    Crossing,
    /// As `Bare`; both block somebody and have asked for copies.
    InUse,
    /// As `Crossing`; both block somebody and have asked for copies.
    InUseCrossing,
    /// To an address of a component of the same shard.
    ToService,
    /// From an address of a component to the bare JID of a user of the same shard.
    FromService,
}

/// The domain of the component.
const SERVICE: &str = "echo.localhost";

impl Case {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Bare,
        Self::Full,
        Self::Crossing,
        Self::InUse,
        Self::InUseCrossing,
        Self::ToService,
        Self::FromService,
    ];

    /// The namespace of the sender's stream.
    fn content(self) -> &'static str {
        match self {
            Self::FromService => ns::COMPONENT_ACCEPT,
            Self::Bare
            | Self::Full
            | Self::Crossing
            | Self::InUse
            | Self::InUseCrossing
            | Self::ToService => ns::CLIENT,
        }
    }

    /// Whether the recipient is on another shard.
    fn crosses(self) -> bool {
        matches!(self, Self::Crossing | Self::InUseCrossing)
    }

    /// What it is called on the command line and in records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Full => "full",
            Self::Crossing => "crossing",
            Self::InUse => "in-use",
            Self::InUseCrossing => "in-use-crossing",
            Self::ToService => "to-service",
            Self::FromService => "from-service",
        }
    }
}

/// What a shard has of sessions and outputs.
struct Shard {
    number: usize,
    sessions: Table,
    services: Services,
    sink: Sink,
    asked: Vec<Asked>,
}

impl Shard {
    fn new(number: usize, hasher: &RandomState) -> Self {
        let sessions = Table::new(hasher.clone());
        Self {
            number,
            sessions,
            services: Services::default(),
            sink: Sink::default(),
            asked: Vec::new(),
        }
    }

    /// A user with one available session; its connection's place among the outputs.
    fn log_in(&mut self, bare: &str, resource: &str) -> Key {
        let key = Key {
            slot: self.sink.outputs.len() as u32,
            generation: 0,
        };
        self.sink.outputs.push(Vec::new());
        self.sessions.bind(bare, resource, key, SESSIONS_MAX);
        let hash = self.sessions.hash(bare);
        let user = self.sessions.user_mut(hash, bare).expect("just bound");
        user.session_mut(resource).expect("just bound").priority = Some(0);
        key
    }

    /// The user, if it is of this shard, blocks somebody, and the session wants copies.
    fn wish(&mut self, bare: &str, resource: &str) {
        let blocked = ["nobody@example.org".into()];
        self.sessions.change_blocked(bare, |list| list.add(blocked));
        self.sessions.want_carbons(bare, resource, true);
    }

    /// A component's connection, which serves [`SERVICE`].
    fn serve(&mut self) -> Key {
        let connection = Key {
            slot: self.sink.outputs.len() as u32,
            generation: 0,
        };
        self.sink.outputs.push(Vec::new());
        let name = Name {
            name: SERVICE.into(),
            hash: self.sessions.hash(SERVICE),
            is_ours: false,
        };
        let service = Service {
            owner: self.number,
            connection,
            number: 1,
            access: None,
            hidden: false,
        };
        let names = vec![name];
        self.services.enter(&Entry { names, service });
        connection
    }

    fn scene<'a>(&'a mut self, hosts: &'a Hosts, facts: &'a Facts) -> Scene<'a, Sink> {
        Scene {
            shard: self.number,
            hosts,
            services: &self.services,
            sessions: &mut self.sessions,
            outbox: &mut self.sink,
            facts,
            asked: &mut self.asked,
        }
    }
}

/// One sender, its message, and everybody else.
pub(crate) struct Exchange {
    home: Shard,
    away: Shard,
    hosts: Hosts,
    facts: Facts,
    scope: StreamScope,
    scanner: Scanner,
    /// What is sent.
    pub(crate) message: Vec<u8>,
    case: Case,
    from: Key,
    from_full: String,
    from_bare: String,
    in_turn: usize,
    /// Bytes that arrived at outputs.
    pub(crate) delivered_bytes: u64,
}

impl Exchange {
    /// Ready to send.
    pub(crate) fn new(case: Case) -> Self {
        let hasher = RandomState::new();
        let shards = if case.crosses() { 2 } else { 1 };
        let mut home = Shard::new(0, &hasher);
        let mut away = Shard::new(1, &hasher);
        let owner_of = |bare: &str| owner(Table::new(hasher.clone()).hash(bare), shards);
        let names: Vec<String> = (0..64).map(|n| format!("user{n:02}@localhost")).collect();
        let mut here = names.iter().filter(|name| owner_of(name) == 0);
        let from_bare = here
            .next()
            .expect("half of 64 names are owned here")
            .clone();
        let from = home.log_in(&from_bare, "desk");
        let to = if case.crosses() {
            let to = names.iter().find(|name| owner_of(name) == 1);
            let to = to.expect("half of 64 names are owned there");
            away.log_in(to, "desk");
            to
        } else {
            let to = here.next().expect("all 64 names are owned here");
            home.log_in(to, "desk");
            to
        };
        let address = match case {
            Case::Full => format!("{to}/desk"),
            Case::ToService => format!("bot@{SERVICE}/x"),
            Case::Bare | Case::Crossing | Case::InUse | Case::InUseCrossing | Case::FromService => {
                to.clone()
            }
        };
        if matches!(case, Case::InUse | Case::InUseCrossing) {
            home.wish(&from_bare, "desk");
            home.wish(to, "desk");
            away.wish(to, "desk");
        }
        let component = home.serve();
        let (from, from_bare) = match case {
            Case::FromService => (component, format!("bot@{SERVICE}")),
            _ => (from, from_bare),
        };
        let from_full = format!("{from_bare}/desk");
        let written = match case {
            Case::FromService => format!(" from='{from_full}'"),
            _ => String::new(),
        };
        Self {
            home,
            away,
            hosts: Hosts::new(["localhost".to_owned()], shards),
            facts: Facts {
                version: "0",
                unix_seconds: 0,
                since_unix_seconds: 0,
                modules: [].into(),
            },
            scope: StreamScope::ordinary(case.content()),
            scanner: Scanner::new(),
            message: message(&written, &address),
            case,
            from,
            from_full,
            from_bare,
            in_turn: 0,
            delivered_bytes: 0,
        }
    }

    /// Scans the message and carries it: all that a shard does for it between two sockets.
    pub(crate) fn scan_and_carry(&mut self) {
        self.scan();
        self.carry();
    }

    /// Scans the message.
    pub(crate) fn scan(&mut self) {
        let found = self
            .scanner
            .scan(&Limits::default(), &self.scope, &self.message);
        assert_eq!(
            found,
            Ok(Found::Element {
                end: self.message.len()
            })
        );
    }

    /// Carries the message that was scanned last.
    pub(crate) fn carry(&mut self) {
        let head = self.scanner.head();
        let stanza = Stanza::read(&self.message, head, &self.scope, self.case.content());
        let stanza = stanza.expect("it is a message");
        let origin = match self.case {
            Case::FromService => Origin::Peer,
            _ => Origin::Session,
        };
        let sender = Sender {
            origin,
            connection: self.from,
            stamp: &self.from_full,
            full: &self.from_full,
            bare: &self.from_bare,
            resource: "desk",
        };
        carry(
            &mut self.home.scene(&self.hosts, &self.facts),
            &sender,
            &stanza,
        );
        self.in_turn += 1;
        if self.in_turn == TURN_MESSAGES {
            self.end_turn();
        }
    }

    /// What the end of a turn does: mail is opened, outputs are sent.
    fn end_turn(&mut self) {
        self.in_turn = 0;
        if !self.home.sink.mail.is_empty() {
            let mut mail = std::mem::take(&mut self.home.sink.mail);
            let mut scene = self.away.scene(&self.hosts, &self.facts);
            for envelope in mail.iter() {
                arrive(&mut scene, &envelope);
            }
            mail.clear(MAIL_KEEP_BYTES);
            self.home.sink.mail = mail;
        }
        let outputs = self
            .home
            .sink
            .outputs
            .iter_mut()
            .chain(&mut self.away.sink.outputs);
        for output in outputs {
            self.delivered_bytes += output.len() as u64;
            output.clear();
        }
    }
}

/// An ordinary chat message of about 230 bytes.
fn message(from: &str, to: &str) -> Vec<u8> {
    let text = format!(
        "<message type='chat'{from} to='{to}' id='b4f1a2'><body>The quick brown fox jumps over the lazy \
         dog.</body><active xmlns='http://jabber.org/protocol/chatstates'/>\
         <origin-id xmlns='urn:xmpp:sid:0' id='b4f1a2'/></message>"
    );
    text.into_bytes()
}
