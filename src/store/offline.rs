//! Messages for users who are not here (XEP-0160), in the order in which they came.
//!
//! A message is kept until it is removed by number. Numbers grow and never come again, so that a
//! message that is delivered twice after a crash can be told by its number.

use crate::store::AccountId;
use crate::store::StoreError;

/// Most messages in one page: so many are written to one session before others have their turn.
pub const OFFLINE_PAGE_ROWS_MAX: u32 = 100;
/// Bytes of messages after which a page ends; one message always fits.
pub const OFFLINE_PAGE_BYTES_MAX: usize = 128 * 1024;

/// A kept message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineRow {
    /// Its number.
    pub number: u64,
    /// When it came, in seconds since 1970-01-01T00:00:00Z.
    pub came_at: u64,
    /// As it is sent.
    pub stanza: Box<[u8]>,
}

/// What a store of messages is asked. Crosses threads.
#[derive(Clone, Debug)]
pub enum OfflineRequest {
    /// Keep one more. Answer: [`OfflineResponse::Done`], [`OfflineResponse::Full`],
    /// [`OfflineResponse::Blocked`] or [`OfflineResponse::NoSuchAccount`].
    Keep {
        /// Whose.
        id: AccountId,
        /// Who sent it, prepared, where the account may block them.
        from: Option<Box<str>>,
        /// When it came, in seconds since 1970-01-01T00:00:00Z.
        came_at: u64,
        /// The message.
        stanza: Box<[u8]>,
        /// How many there may be.
        most: u64,
    },
    /// The oldest behind a number. Answer: [`OfflineResponse::Page`], empty at the end.
    Page {
        /// Whose.
        id: AccountId,
        /// Only what comes behind this number.
        after: u64,
    },
    /// Those up to a number go. Answer: [`OfflineResponse::Done`].
    Remove {
        /// Whose.
        id: AccountId,
        /// The last that goes.
        through: u64,
    },
}

impl OfflineRequest {
    /// Whose messages it is about.
    pub fn account(&self) -> &AccountId {
        match self {
            Self::Keep { id, .. } | Self::Page { id, .. } | Self::Remove { id, .. } => id,
        }
    }

    /// Whether it changes anything, so that its answer has to wait for a commit.
    pub fn is_write(&self) -> bool {
        match self {
            Self::Keep { .. } | Self::Remove { .. } => true,
            Self::Page { .. } => false,
        }
    }
}

/// What an [`OfflineRequest`] is answered with. Crosses threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfflineResponse {
    /// Carried out; it survives a crash.
    Done,
    /// Not kept: its sender is blocked.
    Blocked,
    /// Not kept: there are as many as there may be.
    Full,
    /// Not kept: there is no such account.
    NoSuchAccount,
    /// The next messages, oldest first.
    Page(Vec<OfflineRow>),
}

/// A store of messages. With an account, its messages go.
pub trait OfflineStore {
    /// Keeps a message; see [`OfflineRequest::Keep`].
    fn keep(
        &mut self,
        id: &AccountId,
        came_at: u64,
        stanza: &[u8],
        most: u64,
    ) -> Result<OfflineResponse, StoreError>;

    /// Whether there is any.
    fn keeps(&mut self, id: &AccountId) -> Result<bool, StoreError>;

    /// At most [`OFFLINE_PAGE_ROWS_MAX`] messages and about [`OFFLINE_PAGE_BYTES_MAX`] bytes of the
    /// oldest behind `after`.
    fn page(&mut self, id: &AccountId, after: u64) -> Result<Vec<OfflineRow>, StoreError>;

    /// Removes those up to a number.
    fn remove(&mut self, id: &AccountId, through: u64) -> Result<(), StoreError>;

    /// Carries out one request.
    fn perform_offline(&mut self, request: &OfflineRequest) -> Result<OfflineResponse, StoreError> {
        match request {
            OfflineRequest::Keep {
                id,
                from: _,
                came_at,
                stanza,
                most,
            } => self.keep(id, *came_at, stanza, *most),
            OfflineRequest::Page { id, after } => Ok(OfflineResponse::Page(self.page(id, *after)?)),
            OfflineRequest::Remove { id, through } => {
                self.remove(id, *through)?;
                Ok(OfflineResponse::Done)
            }
        }
    }
}
