//! Accounts: who exists and what proves their password.
//!
//! [`AccountStore`] is what a backend implements. Its provided method [`AccountStore::perform`]
//! carries out a [`Request`], so that a backend on another thread needs one queue and no dispatch of
//! its own.

use std::fmt;

use crate::jid::Jid;
use crate::proto::sasl::keys::Credentials;
use crate::store::StoreError;
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;
use crate::store::data::DataStore;
use crate::store::data::Thing;
use crate::store::offline::OfflineRequest;
use crate::store::offline::OfflineResponse;
use crate::store::offline::OfflineStore;

/// Most rows in one answer to [`Request::List`]: a page, so that the store's thread is never busy
/// with one request for long.
pub const ACCOUNT_PAGE_ROWS_MAX: u32 = 1000;

/// The bare JID of an account, prepared per RFC 7622 or RFC 6122, so that equal accounts are equal
/// bytes. Ordered by host first, which is the order in which accounts are listed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    host: Box<str>,
    user: Box<str>,
}

impl AccountId {
    /// From the parts of a JID that are prepared already.
    pub fn from_prepared(user: &str, host: &str) -> Self {
        Self {
            host: host.into(),
            user: user.into(),
        }
    }

    /// The account that `jid` belongs to; `None` where it names a domain only.
    pub fn of(jid: &Jid) -> Option<Self> {
        Some(Self::from_prepared(jid.node()?, jid.domain()))
    }

    /// The prepared localpart.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The prepared domain.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.host)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({self})")
    }
}

/// One line of a list of accounts: nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Whose.
    pub id: AccountId,
    /// When it was made, in seconds since 1970-01-01T00:00:00Z.
    pub created_at: u64,
}

/// What a store of accounts is asked to do. Crosses threads.
#[derive(Clone, Debug)]
pub enum Request {
    /// How many accounts there are. Answer: [`Response::Count`].
    Count {
        /// Of this host only.
        host: Option<Box<str>>,
    },
    /// Make an account. Answer: [`Response::Done`] or [`Response::AlreadyExists`].
    Create {
        /// Whose.
        id: AccountId,
        /// What proves the password.
        credentials: Credentials,
        /// Seconds since 1970-01-01T00:00:00Z.
        created_at: u64,
    },
    /// About the small things of an account. Answer: [`Response::Data`].
    Data(DataRequest),
    /// Remove an account and all that belongs to it. Answer: [`Response::Deleted`] or
    /// [`Response::NoSuchAccount`].
    Delete {
        /// Whose.
        id: AccountId,
    },
    /// Whether there is such an account. Answer: [`Response::Exists`].
    Exists {
        /// Whose.
        id: AccountId,
    },
    /// One page of the accounts, in order of host and user. Answer: [`Response::Page`], empty at the
    /// end.
    List {
        /// Of this host only.
        host: Option<Box<str>>,
        /// Only what comes behind this one: the last of the page before.
        after: Option<AccountId>,
        /// Rows wanted; at most [`ACCOUNT_PAGE_ROWS_MAX`] are returned.
        rows: u32,
    },
    /// What proves the password of an account. Answer: [`Response::Credentials`].
    Lookup {
        /// Whose.
        id: AccountId,
    },
    /// About messages that wait for their recipient. Answer: [`Response::Offline`].
    Offline(OfflineRequest),
    /// What must be known of a user before a session opens. Answer: [`Response::Opening`].
    Opening {
        /// Whose.
        id: AccountId,
        /// What of it.
        wanted: Wanted,
    },
    /// Replace what proves the password. Answer: [`Response::Done`] or
    /// [`Response::NoSuchAccount`].
    SetCredentials {
        /// Whose.
        id: AccountId,
        /// The new ones.
        credentials: Credentials,
    },
}

impl Request {
    /// The account that it is about; None where it is about many.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Count { .. } | Self::List { .. } => None,
            Self::Create { id, .. }
            | Self::Delete { id }
            | Self::Exists { id }
            | Self::Lookup { id }
            | Self::Opening { id, .. }
            | Self::SetCredentials { id, .. } => Some(id),
            Self::Data(request) => Some(request.account()),
            Self::Offline(request) => Some(request.account()),
        }
    }

    /// It is about what may be written later ([`Area::may_wait`]) and about nothing else.
    pub fn may_wait(&self) -> bool {
        matches!(self, Self::Data(request) if request.area().may_wait())
    }

    /// Whether the request changes anything, so that its answer has to wait for a commit.
    pub fn is_write(&self) -> bool {
        match self {
            Self::Create { .. } | Self::Delete { .. } | Self::SetCredentials { .. } => true,
            Self::Data(request) => request.is_write(),
            Self::Offline(request) => request.is_write(),
            Self::Count { .. }
            | Self::Exists { .. }
            | Self::List { .. }
            | Self::Lookup { .. }
            | Self::Opening { .. } => false,
        }
    }
}

/// What of a user is asked with [`Request::Opening`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The contacts.
    pub roster: bool,
    /// Whom the user blocks.
    pub blocked: bool,
    /// Whether messages wait.
    pub kept: bool,
}

/// What a session has to know of its user; what was not wanted is empty or false.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// [`Area::Roster`].
    pub roster: Vec<Thing>,
    /// [`Area::Blocked`].
    pub blocked: Vec<Thing>,
    /// Whether messages wait.
    pub kept: bool,
}

/// What a [`Request`] is answered with. Crosses threads.
#[derive(Clone, Debug)]
pub enum Response {
    /// Not created: it is there already. Nothing was changed.
    AlreadyExists,
    /// The number of accounts.
    Count(u64),
    /// Of that account; `None` where there is no such account.
    Credentials(Option<Credentials>),
    /// The answer to [`Request::Data`].
    Data(DataResponse),
    /// The account is gone, and that survives a crash. This was its roster: those in it are to be told.
    Deleted(Vec<Thing>),
    /// The write was carried out and survives a crash.
    Done,
    /// Whether the account exists.
    Exists(bool),
    /// Nothing to change: there is no such account.
    NoSuchAccount,
    /// The answer to [`Request::Offline`].
    Offline(OfflineResponse),
    /// The answer to [`Request::Opening`].
    Opening(Opening),
    /// One page of accounts, in order.
    Page(Vec<AccountRow>),
}

/// A store of accounts. Every method returns only when its effect is as lasting as the
/// implementation makes it; a backend that commits in groups defers the answers, not the calls.
pub trait AccountStore: DataStore + OfflineStore {
    /// How many accounts there are, of all hosts or of one.
    fn count(&mut self, host: Option<&str>) -> Result<u64, StoreError>;

    /// Makes an account; `false` where it exists already.
    fn create(
        &mut self,
        id: &AccountId,
        credentials: &Credentials,
        created_at: u64,
    ) -> Result<bool, StoreError>;

    /// Removes an account; `false` where there is none.
    fn delete(&mut self, id: &AccountId) -> Result<bool, StoreError>;

    /// Whether there is such an account.
    fn exists(&mut self, id: &AccountId) -> Result<bool, StoreError>;

    /// At most `rows` accounts behind `after`, in order of host and user.
    fn list(
        &mut self,
        host: Option<&str>,
        after: Option<&AccountId>,
        rows: u32,
    ) -> Result<Vec<AccountRow>, StoreError>;

    /// What proves the account's password; `None` where there is no such account.
    fn lookup(&mut self, id: &AccountId) -> Result<Option<Credentials>, StoreError>;

    /// Replaces what proves the password; `false` where there is no such account.
    fn set_credentials(
        &mut self,
        id: &AccountId,
        credentials: &Credentials,
    ) -> Result<bool, StoreError>;

    /// Carries out one request.
    fn perform(&mut self, request: &Request) -> Result<Response, StoreError> {
        Ok(match request {
            Request::Count { host } => Response::Count(self.count(host.as_deref())?),
            Request::Create {
                id,
                credentials,
                created_at,
            } => match self.create(id, credentials, *created_at)? {
                true => Response::Done,
                false => Response::AlreadyExists,
            },
            Request::Data(request) => Response::Data(self.perform_data(request)?),
            Request::Delete { id } => {
                let roster = self.things(id, Area::Roster)?;
                match self.delete(id)? {
                    true => Response::Deleted(roster),
                    false => Response::NoSuchAccount,
                }
            }
            Request::Exists { id } => Response::Exists(self.exists(id)?),
            Request::List { host, after, rows } => {
                let rows = (*rows).min(ACCOUNT_PAGE_ROWS_MAX);
                Response::Page(self.list(host.as_deref(), after.as_ref(), rows)?)
            }
            Request::Lookup { id } => Response::Credentials(self.lookup(id)?),
            // Nobody else knows whom a user blocks who is not here.
            Request::Offline(OfflineRequest::Keep {
                id,
                from: Some(from),
                ..
            }) if self.blocks(id, from)? => Response::Offline(OfflineResponse::Blocked),
            Request::Offline(request) => Response::Offline(self.perform_offline(request)?),
            Request::Opening { id, wanted } => Response::Opening(Opening {
                roster: match wanted.roster {
                    true => self.things(id, Area::Roster)?,
                    false => Vec::new(),
                },
                blocked: match wanted.blocked {
                    true => self.things(id, Area::Blocked)?,
                    false => Vec::new(),
                },
                kept: wanted.kept && self.keeps(id)?,
            }),
            Request::SetCredentials { id, credentials } => {
                done(self.set_credentials(id, credentials)?)
            }
        })
    }
}

fn done(found: bool) -> Response {
    match found {
        true => Response::Done,
        false => Response::NoSuchAccount,
    }
}
