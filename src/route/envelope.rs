//! What travels between shards: stanzas with their addresses already understood.
//!
//! All envelopes of a turn for one shard share one run of bytes, so that a crossing costs no
//! allocation in a steady state and the receiver reads memory in order.

use crate::base::key::Key;
use crate::proto::stanza::Type;

/// Bytes that may wait for one shard; beyond it stanzas for that shard are refused. Far above what
/// makes the sender stop reading, so it only holds where one turn brings a flood.
pub const ENVELOPE_BYTES_MAX: usize = 64 * 1024 * 1024;
// Places are kept in 32 bits.
const _: () = assert!(ENVELOPE_BYTES_MAX < u32::MAX as usize / 2);

/// Where in the bytes something stands.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    at: u32,
    length: u32,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Account {
        hash: u64,
        bare: Extent,
        resource: Option<Extent>,
    },
    Peer(Key),
    Domain {
        hash: u64,
        local: Extent,
        remote: Extent,
    },
}

#[derive(Clone, Copy, Debug)]
struct Record {
    kind: Type,
    to: Place,
    stanza: Extent,
}

/// Whom the other shard is to give a stanza to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recipient<'a> {
    /// An account that it owns.
    Account {
        /// The keyed hash of the bare JID.
        hash: u64,
        /// The bare JID.
        bare: &'a str,
        /// The resource, where the address names one.
        resource: Option<&'a str>,
    },
    /// A connection of its own that speaks for the domain: a component's.
    Peer(Key),
    /// Another server, of a domain that the shard owns.
    Domain {
        /// The keyed hash of the remote domain.
        hash: u64,
        /// Our domain, which the sender is of.
        local: &'a str,
        /// The other one.
        remote: &'a str,
    },
}

/// A stanza on its way to a recipient of another shard; `from` is stamped or checked already, and
/// it is written for the recipient's stream.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// What it is.
    pub kind: Type,
    /// Whom it is for.
    pub to: Recipient<'a>,
    /// The stanza as it will be sent.
    pub stanza: &'a [u8],
}

/// Envelopes for one shard. Lives on: the sending shard until the end of its turn, then on the
/// receiving one, then on its way back empty.
#[derive(Debug, Default)]
pub struct Envelopes {
    bytes: Vec<u8>,
    records: Vec<Record>,
}

impl Envelopes {
    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes that they hold.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// True when a stanza of that size, with its addresses, still fits.
    pub fn has_room(&self, bytes: usize) -> bool {
        const ADDRESSES: usize = 4096;
        self.bytes.len() + bytes + ADDRESSES <= ENVELOPE_BYTES_MAX
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Empties it. What one burst needed is given back when it is far more than usual.
    pub fn clear(&mut self, keep_bytes: usize) {
        self.bytes.clear();
        self.records.clear();
        if self.bytes.capacity() > keep_bytes {
            self.bytes.shrink_to(keep_bytes);
        }
    }

    /// Adds one; `write` appends the stanza.
    pub fn push(&mut self, kind: Type, to: Recipient<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let to = match to {
            Recipient::Account {
                hash,
                bare,
                resource,
            } => Place::Account {
                hash,
                bare: self.append_text(bare),
                resource: resource.map(|resource| self.append_text(resource)),
            },
            Recipient::Peer(connection) => Place::Peer(connection),
            Recipient::Domain {
                hash,
                local,
                remote,
            } => Place::Domain {
                hash,
                local: self.append_text(local),
                remote: self.append_text(remote),
            },
        };
        let stanza = self.append(write);
        self.records.push(Record { kind, to, stanza });
    }

    fn append_text(&mut self, text: &str) -> Extent {
        self.append(|bytes| bytes.extend_from_slice(text.as_bytes()))
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Extent {
        let at = self.bytes.len();
        write(&mut self.bytes);
        Extent {
            at: at as u32,
            length: (self.bytes.len() - at) as u32,
        }
    }

    /// The envelopes in the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = Envelope<'_>> {
        self.records.iter().map(|record| Envelope {
            kind: record.kind,
            to: self.recipient(record.to),
            stanza: self.slice(record.stanza),
        })
    }

    fn recipient(&self, to: Place) -> Recipient<'_> {
        match to {
            Place::Account {
                hash,
                bare,
                resource,
            } => Recipient::Account {
                hash,
                bare: self.text(bare),
                resource: resource.map(|extent| self.text(extent)),
            },
            Place::Peer(connection) => Recipient::Peer(connection),
            Place::Domain {
                hash,
                local,
                remote,
            } => Recipient::Domain {
                hash,
                local: self.text(local),
                remote: self.text(remote),
            },
        }
    }

    fn slice(&self, extent: Extent) -> &[u8] {
        let from = extent.at as usize;
        self.bytes
            .get(from..from + extent.length as usize)
            .unwrap_or_default()
    }

    fn text(&self, extent: Extent) -> &str {
        std::str::from_utf8(self.slice(extent)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::stanza::MessageType;

    #[test]
    fn what_goes_in_comes_out() {
        let kind = Type::Message(MessageType::Chat);
        let account = |hash, bare, resource| Recipient::Account {
            hash,
            bare,
            resource,
        };
        let peer = Recipient::Peer(Key {
            slot: 3,
            generation: 2,
        });
        let sent = [
            account(7, "a@x", Some("phone")),
            account(8, "b@x", None),
            peer,
        ];
        let mut envelopes = Envelopes::default();
        for (place, to) in sent.iter().enumerate() {
            envelopes.push(kind, *to, |out| {
                out.extend(std::iter::repeat_n(b'x', place))
            });
        }
        let got: Vec<_> = envelopes.iter().map(|e| (e.to, e.stanza.len())).collect();
        assert_eq!(got, [(sent[0], 0), (sent[1], 1), (sent[2], 2)]);
        envelopes.clear(0);
        assert!(envelopes.is_empty());
    }
}
