//! Where records begin and end in a stream of bytes (RFC 8446 section 5.1), before any decryption.

use std::ops::RangeInclusive;

/// Content type, version and length before each record.
pub(super) const RECORD_HEADER_BYTES: usize = 5;

/// What a record's length stays below (RFC 5246 section 6.2.3; RFC 8446 allows less).
pub(super) const RECORD_PAYLOAD_BYTES_MAX: usize = 16 * 1024 + 2048;

/// Most plaintext in a record.
pub(super) const RECORD_PLAIN_BYTES_MAX: usize = 16 * 1024;

/// `change_cipher_spec` to `heartbeat`.
const CONTENT_TYPES: RangeInclusive<u8> = 20..=24;

/// The only content type that may come with an empty record.
const APPLICATION_DATA: u8 = 23;

/// What some bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// A record of which this many bytes are missing, as far as can be told.
    Incomplete { missing: usize },
    /// A whole record of this length.
    Whole { bytes: usize },
    /// Something else. The library finds so as well, from the same bytes, and ends the connection.
    NotARecord,
}

impl Front {
    pub(super) fn of(bytes: &[u8]) -> Self {
        if bytes
            .first()
            .is_some_and(|first| !CONTENT_TYPES.contains(first))
        {
            return Self::NotARecord;
        }
        let &[content_type, major, _, high, low, ..] = bytes else {
            let missing = RECORD_HEADER_BYTES - bytes.len();
            return Self::Incomplete { missing };
        };
        let payload = usize::from(u16::from_be_bytes([high, low]));
        let empty = payload == 0 && content_type != APPLICATION_DATA;
        // Versions of SSL 2 and DTLS pass the library's look at the header, so they do here.
        let version = matches!(major, 0x00 | 0x03 | 0xfe);
        if !version || empty || payload >= RECORD_PAYLOAD_BYTES_MAX {
            return Self::NotARecord;
        }
        let whole = RECORD_HEADER_BYTES + payload;
        match whole.checked_sub(bytes.len()) {
            None | Some(0) => Self::Whole { bytes: whole },
            Some(missing) => Self::Incomplete { missing },
        }
    }
}

/// The length of the whole records that `bytes` begin with; everything from the first thing that is
/// not a record counts as whole.
pub(super) fn whole_records(bytes: &[u8]) -> usize {
    let mut whole = 0;
    loop {
        match Front::of(bytes.get(whole..).unwrap_or_default()) {
            Front::Whole { bytes } => whole += bytes,
            Front::Incomplete { .. } => return whole,
            Front::NotARecord => return bytes.len(),
        }
    }
}

/// How much of `clear` bytes a peer can have read when only the first `taken` bytes of `sealed`, the
/// records that end with them, were sent: a record that is not whole tells it nothing.
pub fn clear_bytes_within(sealed: &[u8], taken: usize, clear: usize) -> usize {
    let (mut at, mut records, mut whole) = (0, 0, 0);
    while let Front::Whole { bytes } = Front::of(sealed.get(at..).unwrap_or_default()) {
        at += bytes;
        records += 1;
        whole += usize::from(at <= taken);
    }
    // Records of the handshake may come before those that hold what is asked about.
    let before = records - clear.div_ceil(RECORD_PLAIN_BYTES_MAX).min(records);
    (whole.saturating_sub(before) * RECORD_PLAIN_BYTES_MAX).min(clear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts() {
        let cases: &[(&[u8], Front)] = &[
            (b"", Front::Incomplete { missing: 5 }),
            (b"\x16", Front::Incomplete { missing: 4 }),
            (b"\x16\x03\x01\x00", Front::Incomplete { missing: 1 }),
            (b"\x16\x03\x01\x00\x02", Front::Incomplete { missing: 2 }),
            (b"\x16\x03\x01\x00\x02a", Front::Incomplete { missing: 1 }),
            (b"\x16\x03\x01\x00\x02ab", Front::Whole { bytes: 7 }),
            (b"\x16\x03\x01\x00\x02abc", Front::Whole { bytes: 7 }),
            (b"\x17\x03\x03\x00\x00", Front::Whole { bytes: 5 }),
            (
                b"\x17\x03\x03\x47\xff",
                Front::Incomplete { missing: 0x47ff },
            ),
            (b"\x16\x03\x01\x00\x00", Front::NotARecord),
            (b"\x17\x03\x03\x48\x00", Front::NotARecord),
            (b"\x17\x04\x03\x00\x01", Front::NotARecord),
            (b"\x13", Front::NotARecord),
            (b"<stream", Front::NotARecord),
            (b"GET / HTTP/1.1", Front::NotARecord),
        ];
        for (bytes, front) in cases {
            assert_eq!(Front::of(bytes), *front, "{bytes:x?}");
        }
    }

    #[test]
    fn a_record_in_part_tells_nothing() {
        const FULL: usize = RECORD_PLAIN_BYTES_MAX;
        let record = |payload: usize| {
            let mut record = vec![0x17, 3, 3, (payload >> 8) as u8, payload as u8];
            record.resize(RECORD_HEADER_BYTES + payload, 0);
            record
        };
        let (ticket, full, last) = (record(200), record(FULL + 17), record(100 + 17));
        let sealed = [&ticket[..], &full, &full, &last].concat();
        let clear = 2 * FULL + 100;
        let first = ticket.len() + full.len();
        for (taken, read) in [
            (0, 0),
            (ticket.len(), 0),
            (first - 1, 0),
            (first, FULL),
            (first + full.len(), 2 * FULL),
            (sealed.len() - 1, 2 * FULL),
            (sealed.len(), clear),
        ] {
            assert_eq!(clear_bytes_within(&sealed, taken, clear), read, "{taken}");
        }
    }

    #[test]
    fn whole_records_end_before_an_incomplete_one() {
        let record = b"\x17\x03\x03\x00\x02ab";
        let mut bytes = record.repeat(3);
        assert_eq!(whole_records(&bytes), 21);
        for extra in 0..7 {
            bytes.extend_from_slice(&record[..extra]);
            assert_eq!(whole_records(&bytes), 21);
            bytes.truncate(21);
        }
        bytes.push(b'<');
        assert_eq!(whole_records(&bytes), 22);
        assert_eq!(whole_records(b""), 0);
    }
}
