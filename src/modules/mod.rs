//! Features: one file each, with its routes as data beside its handlers.
//!
//! Read [`pipeline`] first: it says in what order a stanza meets them. [`answer`] finds the handler
//! of a request in [`MODULES`], the only list of features. A module does not call another one.
//!
//! Not here: sockets, storage engines, and anything that waits. A handler that needs the store says
//! so in its answer and is called again with what the store said.

pub mod answer;
pub mod blocking;
pub mod bounce;
pub mod caps;
pub mod carbons;
pub mod contact;
pub mod disco;
pub mod handover;
pub mod happening;
pub mod kept;
pub mod last;
pub mod line;
pub mod offline;
pub mod parcel;
pub mod ping;
pub mod pipeline;
pub mod presence;
pub mod private;
pub mod register;
pub mod roster;
pub mod roster_change;
pub mod saved;
pub mod session;
pub mod subscription;
pub mod time;
pub mod vcard;
pub mod version;

use std::sync::Arc;

use crate::base::key::Key;
use crate::config::Modules;
use crate::modules::pipeline::Outbox;
use crate::proto::stanza::IqType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::route::hosts::Hosts;
use crate::route::services::Services;
use crate::session::roster::Wanted;
use crate::session::table::Table;
use crate::store::AccountId;
use crate::store::data::DataRequest;
use crate::store::offline::OfflineRequest;
use crate::xml::element::Element;

/// What is known about the server while a stanza is handled. Lives on: one shard, one call.
pub struct Scene<'a, O: Outbox> {
    /// This shard's number.
    pub shard: usize,
    /// The served hosts.
    pub hosts: &'a Hosts,
    /// The domains that components serve.
    pub services: &'a Services,
    /// The sessions of this shard.
    pub sessions: &'a mut Table,
    /// Where output goes.
    pub outbox: &'a mut O,
    /// Facts that answers are made of.
    pub facts: &'a Facts,
    /// Requests that wait for the store, in the order in which they were made.
    pub asked: &'a mut Vec<Asked>,
}

/// Facts about the server that answers are made of. Lives on: every shard.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Name, version and system for XEP-0092.
    pub version: &'static str,
    /// Seconds since 1970-01-01T00:00:00Z, refreshed every turn.
    pub unix_seconds: u64,
    /// The same when the server began; 0 before the first turn.
    pub since_unix_seconds: u64,
    /// The modules of each host ([`Config::modules_by_host`](crate::config::Config)).
    pub modules: Arc<[(Box<str>, Modules)]>,
}

impl Facts {
    /// The modules of a served host.
    pub fn modules_of(&self, host: &str) -> Option<&Modules> {
        let mut hosts = self.modules.iter();
        hosts
            .find(|(name, _)| **name == *host)
            .map(|(_, modules)| modules)
    }

    /// Somebody, for the store, whom a user of this host may block (XEP-0191); prepared.
    pub fn blockable(&self, host: &str, from: &str) -> Option<Box<str>> {
        let modules = self.modules_of(host)?;
        modules.mod_blocking.as_ref()?;
        let from = crate::jid::parse(from).map_or_else(|_| from.into(), |from| from.full());
        Some(from.as_ref().into())
    }
}

/// To whom a request is addressed, where the server answers it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum To {
    /// A host of ours.
    Host,
    /// The sender's own account.
    OwnAccount,
    /// Somebody else's account.
    Account,
}

/// A request that the server answers.
pub struct Call<'a> {
    /// `get` or `set`.
    pub kind: IqType,
    /// To whom.
    pub to: To,
    /// The full JID of the sender.
    pub from: &'a str,
    /// The address asked, prepared; a host or a bare JID.
    pub target: &'a str,
    /// The payload.
    pub payload: &'a Element,
    /// The domains that components serve.
    pub services: &'a Services,
}

impl Call<'_> {
    /// The host that was asked, or that of the account.
    pub fn host(&self) -> &str {
        // A prepared domain has no "@".
        self.target
            .rsplit_once('@')
            .map_or(self.target, |(_, host)| host)
    }

    /// The account, where it is the sender's own.
    pub fn own_account(&self) -> Option<AccountId> {
        let (user, host) = self.target.split_once('@')?;
        (self.to == To::OwnAccount).then(|| AccountId::from_prepared(user, host))
    }
}

/// What a handler answers.
#[derive(Debug)]
pub enum Answer {
    /// The content of the result, as it is sent; empty for none.
    Result(Vec<u8>),
    /// An error, and a sentence for the person behind it.
    Error(StanzaCondition, &'static str),
    /// Something is to be done to the sender's session; the answer follows from that.
    Do(Effect),
    /// It is for those who may see the account's presence.
    Contact(contact::About),
    /// The store has to say something about accounts first.
    Ask(register::Ask),
    /// The store has to say something about what belongs to an account first.
    Store(Query),
}

/// What a request does to the session that makes it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// XEP-0191: it gets the list of whom its user blocks, and from now on its changes.
    Blocklist,
    /// XEP-0280: it wants copies of messages, or no longer.
    Carbons(bool),
    /// RFC 6121: it gets the roster, and from now on its changes.
    Roster {
        /// The version that the client has, if it says so.
        known: Option<Box<str>>,
        /// Whether versions are told.
        versions: bool,
    },
    /// RFC 6121: a contact is changed. The answer comes when it is written.
    RosterSet(Wanted),
}

/// A question to the store, and what its answer is for.
#[derive(Debug)]
pub struct Query {
    /// What the store is asked.
    pub request: DataRequest,
    /// Who knows what to do with the answer: [`answer::answered`].
    pub topic: Topic,
}

/// What the store's answer is for. What a module has to remember meanwhile is in its variant.
#[derive(Clone, Debug)]
pub enum Topic {
    /// XEP-0191: a change of the list.
    Blocking(blocking::Change),
    /// XEP-0049: an element was asked for; where it is not kept, this is the answer.
    PrivateGet {
        /// The empty element.
        unset: Vec<u8>,
    },
    /// XEP-0160: a message is kept.
    Keep {
        /// The message as it would have been delivered.
        stanza: Box<[u8]>,
        /// What it is.
        kind: Type,
    },
    /// XEP-0160: messages for a session that has become available.
    Kept(Key),
    /// XEP-0160: messages that were sent are kept no longer.
    Sent,
    /// RFC 6121: a change of the roster; what follows from it.
    Roster(Box<roster_change::Change>),
    /// RFC 6121: a roster is read.
    RosterLoad,
    /// XEP-0191: whom a user without a session blocks, for [`Topic::RosterLoad`].
    RosterBlocked,
    /// Whether who asks about an account may see its presence.
    Contact {
        /// What is asked.
        about: contact::About,
        /// The account, a prepared bare JID.
        target: Box<str>,
    },
    /// XEP-0012: when a user was last here.
    Last,
    /// XEP-0012: it is kept.
    LastKept,
    /// XEP-0054: a vCard was asked for.
    VcardGet,
    /// Something of the account is kept; what is said where there is no room.
    Saved(saved::Why),
}

/// Who waits for the store to answer a [`Query`].
#[derive(Clone, Debug)]
pub struct Waiting {
    /// What the answer is for.
    pub topic: Topic,
    /// Who asked: the full JID.
    pub from: Box<str>,
    /// The address that was asked, as it was written.
    pub target: Option<Box<str>>,
    /// The id of the request.
    pub id: Box<str>,
    /// The connection it came from; None where that is another shard's.
    pub connection: Option<Key>,
}

/// What a module wants of the store.
#[derive(Debug)]
pub enum Asked {
    /// To make, change or remove an account.
    Account(AskedAccount),
    /// To read or write what belongs to one.
    Data(DataRequest, Waiting),
    /// To keep messages for one, or to give them out.
    Offline(OfflineRequest, Waiting),
}

/// A request about an account that waits for the store.
#[derive(Debug)]
pub struct AskedAccount {
    /// What is to be done.
    pub ask: register::Ask,
    /// Who asked: the full JID.
    pub from: Box<str>,
    /// The address that was asked.
    pub target: Option<Box<str>>,
    /// The id of the request.
    pub id: Box<str>,
    /// The connection it came from.
    pub connection: Key,
}

/// A route to a handler.
pub struct Route {
    /// `get` or `set`.
    pub kind: IqType,
    /// Namespace of the payload.
    pub namespace: &'static str,
    /// Local name of the payload.
    pub name: &'static str,
    /// To whom such a request may be addressed.
    pub to: &'static [To],
    /// What answers it.
    pub handler: fn(&Call<'_>, &Facts, &Hosts) -> Answer,
}

/// A feature.
pub struct Module {
    /// Whether the host's configuration has it.
    pub is_on: fn(&Modules) -> bool,
    /// What disco#info announces of it on a host.
    pub features: &'static [&'static str],
    /// What it answers.
    pub routes: &'static [Route],
}

/// All features.
pub const MODULES: &[&Module] = &[
    &blocking::MODULE,
    &caps::MODULE,
    &carbons::MODULE,
    &disco::MODULE,
    &last::MODULE,
    &offline::MODULE,
    &ping::MODULE,
    &private::MODULE,
    &register::MODULE,
    &roster::MODULE,
    &session::MODULE,
    &time::MODULE,
    &vcard::MODULE,
    &version::MODULE,
];
