//! What travels between shards, and what reaches a shard from other threads.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::SyncSender;

use crate::auth::verified::Proof;
use crate::base::key::Key;
use crate::jid::Jid;
use crate::listeners::connection::Connection;
use crate::listeners::http::bosh;
use crate::listeners::opening::Opening;
use crate::listeners::s2s::Letter;
use crate::listeners::s2s::links::Name;
use crate::listeners::status::Answer;
use crate::listeners::status::Inquiry;
use crate::listeners::status::Reply;
use crate::modules;
use crate::modules::register::Ask;
use crate::net::dial::DialError;
use crate::net::dial::Dialled;
use crate::net::tls::TlsClient;
use crate::net::tls::TlsServer;
use crate::proto::sasl::keys::Hash;
use crate::proto::sasl::keys::ScramKeys;
use crate::proto::sasl::keys::Secret;
use crate::route::envelope::Envelopes;
use crate::route::services::Word;
use crate::runtime::mesh::Batch;
use crate::store::AccountId;
use crate::store::Response;
use crate::store::StoreError;

/// Bytes of envelopes whose memory a batch keeps for its next use.
const BATCH_KEEP_BYTES: usize = 256 * 1024;

/// A connection that goes to another shard.
pub enum Handover {
    /// Accepted here, to be served there: a listener with fewer acceptors than cores.
    Accepted(OwnedFd, SocketAddr, u16),
    /// Negotiated here; its user is owned there, where the session is to be opened.
    Bind(Box<Moved>),
    /// A server's stream on which we send too; the server's domain is owned there.
    Server(Box<Connection>),
    /// A request for a BOSH session that is there.
    Bosh(Box<bosh::Request>),
    /// The connection of a BOSH request is gone: the name of its session, and the request.
    BoshLost(Box<str>, bosh::From),
    /// The answer to a BOSH request that came in there.
    BoshAnswer(bosh::From, Vec<u8>),
    /// A BOSH session that was made there is gone.
    BoshGone(Box<str>),
}

/// A connection on its way to the owner shard of its user.
pub struct Moved {
    /// The connection; nothing is armed or under way for it.
    pub connection: Connection,
    /// The bare JID.
    pub user: Jid,
    /// The resource that the client wishes.
    pub resource: Option<Box<str>>,
}

/// All that one shard has for another at the end of a turn.
#[derive(Default)]
pub struct Mail {
    /// Stanzas.
    pub envelopes: Envelopes,
    /// Questions and answers about dialback keys.
    pub letters: Vec<Letter>,
    /// Connections.
    pub handovers: Vec<Handover>,
    /// About components.
    pub words: Vec<Word>,
}

impl Batch for Mail {
    fn is_empty(&self) -> bool {
        self.envelopes.is_empty()
            && self.handovers.is_empty()
            && self.letters.is_empty()
            && self.words.is_empty()
    }

    fn clear(&mut self) {
        self.envelopes.clear(BATCH_KEEP_BYTES);
        self.handovers.clear();
        self.words.clear();
        self.letters.clear();
    }
}

/// Why the store was asked about an account.
pub enum Purpose {
    /// For SCRAM with this hash.
    Keys(Hash),
    /// To compare this password.
    Password(Secret),
}

/// How to answer a request.
#[derive(Clone)]
pub struct Addressed {
    /// The id of the request.
    pub id: Box<str>,
    /// The full JID of the sender; none before login.
    pub from: Option<Box<str>>,
    /// The address that was asked, as written.
    pub target: Option<Box<str>>,
}

/// Who waits for a registration, a change or a removal.
pub struct Waiting {
    /// The connection.
    pub connection: Key,
    /// What was asked.
    pub ask: Ask,
    /// The id of the request.
    pub id: Box<str>,
    /// The full JID of the sender; none before login.
    pub from: Option<Box<str>>,
    /// The address that was asked, as written.
    pub target: Option<Box<str>>,
    /// Where it comes from, of a registration before login.
    pub address: Option<IpAddr>,
}

impl Note {
    /// The connection that it is about, if it is about one.
    pub fn connection(&self) -> Option<Key> {
        match self {
            Self::Found(key, ..) | Self::Derived(key, _) | Self::Checked(key, ..) => Some(*key),
            Self::Registered(waiting, _) => Some(waiting.connection),
            Self::Unregistered(key, _) => Some(*key),
            Self::Dialled(..)
            | Self::Inquiry(_)
            | Self::Removed(..)
            | Self::Gathered(..)
            | Self::Alive(_)
            | Self::Verified(_)
            | Self::Certificates(..)
            | Self::Stop(..)
            | Self::Drained => None,
            Self::Opening(opening, _) => Some(opening.connection),
            Self::Data(waiting, _) => waiting.connection,
        }
    }
}

/// Whether a password is right.
#[derive(Default)]
pub struct Verdict {
    /// It is.
    pub right: bool,
    /// Shows it the next time, where that is to be remembered.
    pub proof: Option<Proof>,
}

/// What other threads tell a shard.
pub enum Note {
    /// What the store holds of an account that a connection logs in to.
    Found(Key, Box<str>, Purpose, Result<Response, StoreError>),
    /// Keys derived from a stored password; None where it cannot be prepared.
    Derived(Key, Option<ScramKeys>),
    /// Whether a password is right, and what shows it the next time.
    Checked(Key, Verdict),
    /// Another shard has found a password right.
    Verified(Proof),
    /// What became of a registration.
    Registered(Box<Waiting>, Result<Response, StoreError>),
    /// A registration could not even be tried: the id and addresses to answer with.
    Unregistered(Key, Box<Addressed>),
    /// What must be known of a user before a session opens.
    Opening(Box<Opening>, Result<Response, StoreError>),
    /// What the store says to a module's question.
    Data(Box<modules::Waiting>, Result<Response, StoreError>),
    /// What became of an attempt to connect to the server of a domain.
    Dialled(Box<Name>, u64, Result<Dialled, DialError>),
    /// Somebody asks how things are.
    Inquiry(Inquiry),
    /// The store has removed an account for the operator, or has not.
    Removed(AccountId, Result<Response, StoreError>, Reply),
    /// What a shard answers to a question of this one.
    Gathered(u64, Answer),
    /// Somebody asks whether the shard still does its turns: its number is the answer.
    Alive(SyncSender<usize>),
    /// What listeners handshake with from now on, by their numbers; and streams to other servers.
    Certificates(Vec<(u16, TlsServer)>, Option<TlsClient>),
    /// Stop: close every stream within so many milliseconds, then say so with the shard's number.
    Stop(u64, SyncSender<usize>),
    /// Every shard has closed its streams: end.
    Drained,
}
