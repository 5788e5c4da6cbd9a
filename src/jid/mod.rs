//! XMPP addresses (RFC 6122): `node@domain/resource`, prepared and compared as bytes.
//!
//! Read [`parse()`] first: it takes the text of an attribute and gives the prepared parts, borrowed
//! from the text itself where that was already in its final form, which is nearly always.
//! [`Jid`], [`BareJid`] and [`FullJid`] are the owned forms for whatever outlives a stanza.
//!
//! Preparation is stringprep (Nodeprep, Nameprep, Resourceprep with Unicode 3.2 tables), not the
//! PRECIS of RFC 7622: that is what the deployed servers do, and two servers that disagree on
//! when two addresses are equal can be played off against each other.
//!
//! Two rules go beyond the profiles.
//! - The result is *stable*: preparing it again gives the same bytes. A few inputs are not
//!   (U+1F130 becomes a capital `A`, which becomes `a` at the next server); they are refused,
//!   because such an address would be one account here and another one there.
//! - The input is bounded by [`JID_BYTES_MAX`] before any table is asked.
//!
//! Not here: A-labels are kept as they come (`xn--` and the Unicode form are two addresses, as
//! they are for the deployed servers), and IPv6 literals keep their spelling.

mod owned;
mod parse;
mod prep;

#[cfg(test)]
mod tests;

use std::fmt;

pub use owned::{BareJid, FullJid, Jid};
pub use parse::{Parts, parse};
pub use prep::{domain_prep, node_prep, resource_prep};

/// Bytes of one prepared part, at most (RFC 6122 2.2 to 2.4).
pub const PART_BYTES_MAX: usize = 1023;

/// Bytes of a whole address, at most, before and after preparation: three parts and their
/// separators. It also bounds what preparation may cost.
pub const JID_BYTES_MAX: usize = 3 * PART_BYTES_MAX + 2;

// The offsets inside an owned address are 16 bits wide.
const _: () = assert!(JID_BYTES_MAX <= u16::MAX as usize);

/// The three parts of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Before the `@`: an account, a room.
    Node,
    /// The only mandatory part: a host.
    Domain,
    /// After the `/`: one session of an account, an occupant of a room.
    Resource,
}

/// Why a text is not an address. Always the fault of who wrote it; as a stanza error it is
/// `jid-malformed` (RFC 6120 8.3.3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JidError {
    /// The text is longer than [`JID_BYTES_MAX`].
    TooLong,
    /// A second `@` before the resource.
    SecondAt,
    /// The part is there (or mandatory) and empty, as in `@host` or `host/`.
    Empty(Part),
    /// The part is longer than [`PART_BYTES_MAX`] once prepared.
    PartTooLong(Part),
    /// The part holds a character that its profile prohibits, or breaks its rule for text that
    /// runs from right to left; for a domain: it is no valid name.
    Prohibited(Part),
    /// Preparing the prepared part changes it again.
    Unstable(Part),
    /// A bare address where a full one is needed.
    ResourceMissing,
    /// A full address where a bare one is needed.
    ResourcePresent,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Domain => "domain",
            Self::Resource => "resource",
        })
    }
}

impl fmt::Display for JidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than {JID_BYTES_MAX} bytes"),
            Self::SecondAt => f.write_str("a second @ before the resource"),
            Self::Empty(part) => write!(f, "empty {part}"),
            Self::PartTooLong(part) => write!(f, "{part} longer than {PART_BYTES_MAX} bytes"),
            Self::Prohibited(part) => write!(f, "{part} holds what it must not"),
            Self::Unstable(part) => write!(f, "{part} has no stable prepared form"),
            Self::ResourceMissing => f.write_str("a resource is needed"),
            Self::ResourcePresent => f.write_str("a resource has no place here"),
        }
    }
}

impl std::error::Error for JidError {}
