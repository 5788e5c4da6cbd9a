//! Small things that belong to an account, by area and name: contacts, private storage, the vCard,
//! whom it blocks.
//!
//! They are read and written as they are; what they mean is known to the modules. All that one
//! request changes is changed at once or not at all.

use crate::store::AccountId;
use crate::store::StoreError;

/// What a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// XEP-0191: an address for each name, without a value.
    Blocked,
    /// XEP-0012: when the user was last here, and what the user said then.
    Last,
    /// XEP-0049: the XML of a name and namespace.
    Private,
    /// RFC 6121: a contact for each address, and under the empty name the roster's version.
    Roster,
    /// XEP-0054: one value.
    Vcard,
}

impl Area {
    /// Nobody is told that it is written: a backend may write it later, with what comes meanwhile. It is
    /// read as if it had been written at once.
    pub fn may_wait(self) -> bool {
        match self {
            Self::Last => true,
            Self::Blocked | Self::Private | Self::Roster | Self::Vcard => false,
        }
    }

    /// The number under which a backend keeps it; never changed once shipped.
    pub fn number(self) -> u8 {
        match self {
            Self::Blocked => 1,
            Self::Private => 2,
            Self::Vcard => 3,
            Self::Roster => 4,
            Self::Last => 5,
        }
    }
}

/// How much an area of one account may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Things.
    pub things: usize,
    /// Bytes of all names and values together.
    pub bytes: usize,
}

/// A name and a value.
pub type Thing = (Box<str>, Box<[u8]>);

/// What a store is asked about the things of an account. Crosses threads.
#[derive(Clone, Debug)]
pub enum DataRequest {
    /// All of an area, in the order of their names. Answer: [`DataResponse::Things`].
    All {
        /// Whose.
        id: AccountId,
        /// Of what.
        area: Area,
    },
    /// One of them. Answer: [`DataResponse::Value`] or [`DataResponse::Blocked`].
    Value {
        /// Whose.
        id: AccountId,
        /// Of what.
        area: Area,
        /// Which.
        name: Box<str>,
        /// Somebody else for whom it is, prepared, where the account may block them.
        asker: Option<Box<str>>,
    },
    /// Replace and remove. Answer: [`DataResponse::Done`], [`DataResponse::NoSuchAccount`] or
    /// [`DataResponse::NoRoom`], in which cases nothing was changed.
    Change {
        /// Whose.
        id: AccountId,
        /// Of what.
        area: Area,
        /// What goes, first; what is not there need not go.
        remove: Remove,
        /// What is put there, in place of what has the same name.
        put: Vec<Thing>,
        /// What it may all come to.
        room: Room,
    },
    /// Put one thing in place of what has its name. Whoever asks bounds it, and the names. Answer:
    /// [`DataResponse::Done`] or [`DataResponse::NoSuchAccount`].
    Put {
        /// Whose.
        id: AccountId,
        /// Of what.
        area: Area,
        /// The thing.
        thing: Thing,
    },
}

/// What of an area is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remove {
    /// Everything.
    All,
    /// What has these names.
    Names(Vec<Box<str>>),
}

impl DataRequest {
    /// Whose things it is about.
    pub fn account(&self) -> &AccountId {
        match self {
            Self::All { id, .. }
            | Self::Value { id, .. }
            | Self::Change { id, .. }
            | Self::Put { id, .. } => id,
        }
    }

    /// Of what.
    pub fn area(&self) -> Area {
        match self {
            Self::All { area, .. }
            | Self::Value { area, .. }
            | Self::Change { area, .. }
            | Self::Put { area, .. } => *area,
        }
    }

    /// Whether it changes anything, so that its answer has to wait for a commit.
    pub fn is_write(&self) -> bool {
        match self {
            Self::All { .. } | Self::Value { .. } => false,
            Self::Change { .. } | Self::Put { .. } => true,
        }
    }
}

/// What a [`DataRequest`] is answered with. Crosses threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataResponse {
    /// Not told: the account blocks who asks.
    Blocked,
    /// Carried out; it survives a crash.
    Done,
    /// Nothing was changed: it would be more than fits.
    NoRoom,
    /// Nothing was changed: there is no such account.
    NoSuchAccount,
    /// All of an area.
    Things(Vec<Thing>),
    /// The value of one thing; `None` where there is none.
    Value(Option<Box<[u8]>>),
}

/// A store of things that belong to accounts. With an account, its things go.
pub trait DataStore {
    /// All of an area, in the order of their names as bytes.
    fn things(&mut self, id: &AccountId, area: Area) -> Result<Vec<Thing>, StoreError>;

    /// The value of one thing.
    fn value(
        &mut self,
        id: &AccountId,
        area: Area,
        name: &str,
    ) -> Result<Option<Box<[u8]>>, StoreError>;

    /// Removes and puts; see [`DataRequest::Change`] for the answer.
    fn change(
        &mut self,
        id: &AccountId,
        area: Area,
        remove: &Remove,
        put: &[Thing],
        room: Room,
    ) -> Result<DataResponse, StoreError>;

    /// Puts one thing; false where there is no such account.
    fn put(&mut self, id: &AccountId, area: Area, thing: &Thing) -> Result<bool, StoreError>;

    /// Whether an account blocks a prepared address (XEP-0191 section 3.1), itself excepted.
    fn blocks(&mut self, id: &AccountId, address: &str) -> Result<bool, StoreError> {
        let (bare, resource) = match address.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (address, None),
        };
        let domain = bare.split_once('@').map_or(bare, |(_, domain)| domain);
        if bare == id.to_string() || bare == id.host() {
            return Ok(false);
        }
        let of_domain = resource.map(|resource| format!("{domain}/{resource}"));
        for name in [
            Some(address),
            Some(bare),
            Some(domain),
            of_domain.as_deref(),
        ] {
            if let Some(name) = name
                && self.value(id, Area::Blocked, name)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Carries out one request.
    fn perform_data(&mut self, request: &DataRequest) -> Result<DataResponse, StoreError> {
        match request {
            DataRequest::All { id, area } => Ok(DataResponse::Things(self.things(id, *area)?)),
            DataRequest::Value {
                id,
                area,
                name,
                asker,
            } => Ok(match asker {
                Some(asker) if self.blocks(id, asker)? => DataResponse::Blocked,
                Some(_) | None => DataResponse::Value(self.value(id, *area, name)?),
            }),
            DataRequest::Change {
                id,
                area,
                remove,
                put,
                room,
            } => self.change(id, *area, remove, put, *room),
            DataRequest::Put { id, area, thing } => Ok(match self.put(id, *area, thing)? {
                true => DataResponse::Done,
                false => DataResponse::NoSuchAccount,
            }),
        }
    }
}

/// Whether things of these sizes fit.
pub fn fits<'a>(things: impl Iterator<Item = (&'a str, usize)>, room: Room) -> bool {
    let (mut count, mut bytes) = (0, 0);
    for (name, value) in things {
        count += 1;
        bytes += name.len() + value;
    }
    count <= room.things && bytes <= room.bytes
}
