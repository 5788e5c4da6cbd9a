//! What travels between shards: stanzas with their addresses already understood.
//!
//! All envelopes of a turn for one shard share one run of bytes, so that a crossing costs no
//! allocation in a steady state and the receiver reads memory in order.

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
struct Record {
    kind: Type,
    hash: u64,
    bare: Extent,
    resource: Option<Extent>,
    stanza: Extent,
}

/// A stanza on its way to an account of another shard; `from` is stamped already.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// What it is.
    pub kind: Type,
    /// The keyed hash of the bare JID.
    pub hash: u64,
    /// The bare JID that it is for.
    pub bare: &'a str,
    /// The resource, where the address names one.
    pub resource: Option<&'a str>,
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
    pub fn push(
        &mut self,
        kind: Type,
        hash: u64,
        bare: &str,
        resource: Option<&str>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let bare = self.append(|bytes| bytes.extend_from_slice(bare.as_bytes()));
        let resource = resource
            .map(|resource| self.append(|bytes| bytes.extend_from_slice(resource.as_bytes())));
        let stanza = self.append(write);
        self.records.push(Record {
            kind,
            hash,
            bare,
            resource,
            stanza,
        });
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
            hash: record.hash,
            bare: self.text(record.bare),
            resource: record.resource.map(|extent| self.text(extent)),
            stanza: self.slice(record.stanza),
        })
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
        let mut envelopes = Envelopes::default();
        envelopes.push(kind, 7, "a@x", Some("phone"), |out| {
            out.extend_from_slice(b"<message/>")
        });
        envelopes.push(kind, 8, "b@x", None, |out| {
            out.extend_from_slice(b"<message></message>")
        });
        let got: Vec<_> = envelopes
            .iter()
            .map(|e| (e.hash, e.bare, e.resource, e.stanza.len()))
            .collect();
        assert_eq!(got, [(7, "a@x", Some("phone"), 10), (8, "b@x", None, 19)]);
        envelopes.clear(0);
        assert!(envelopes.is_empty());
    }
}
