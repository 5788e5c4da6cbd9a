//! The PROXY protocol, versions 1 and 2: what a load balancer says before the stream begins.
//!
//! [`sniff`] looks at the bytes received so far and answers with a verdict: wait for more, here is
//! a header of so many bytes, or this connection has to end. It borrows the receive buffer and
//! keeps no state, so a header may arrive in any number of pieces; the deadline for it is the
//! caller's. `ppp` decodes the header, and this file decides what the decoder leaves open: the
//! first byte at which a header can be refused, the limits, the checksum, and the forms that keep
//! the socket's own addresses.
//!
//! Normative text: HAProxy's `doc/proxy-protocol.txt`, cited below as PROXY with its section.
//!
//! Deliberately not here: who may send a header (`trusted_proxies`) and how long it may take.

use std::net::IpAddr;
use std::net::SocketAddr;

use ppp::v1;
use ppp::v2;

#[cfg(test)]
mod tests;

/// Longest version 1 header in bytes, its CR LF included (PROXY 2.1).
pub const V1_BYTES_MAX: usize = 107;

/// Longest block behind the 16 fixed bytes of version 2. The format allows 65,535; no sender needs
/// more than a few certificates' names, and the bytes of an unproven peer are held in memory.
pub const V2_BLOCK_BYTES_MAX: usize = 4096;

/// Bytes of version 2 before its block: signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;

/// The most bytes a header can have: what a caller has to be able to hold.
pub const HEADER_BYTES_MAX: usize = V2_FIXED_BYTES + V2_BLOCK_BYTES_MAX;

const _: () = assert!(V1_BYTES_MAX < HEADER_BYTES_MAX);

/// The verdict of [`sniff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// So far so good: call again with these bytes and those that follow.
    More,
    /// A complete header. What follows its `length` bytes belongs to the stream.
    Header {
        /// Bytes of the header.
        length: usize,
        /// Whose connection this is.
        addresses: Addresses,
    },
    /// Close the connection without a byte; more input cannot change this.
    Bad(BadHeader),
}

/// Where a connection comes from, according to its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The proxy relays this client. IPv4-mapped IPv6 addresses are given as the IPv4 addresses
    /// they stand for, so that limits and logs see one address for one client.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// What the client connected to.
        destination: SocketAddr,
    },
    /// The socket's own addresses hold: a health check, or a client whose address the proxy
    /// cannot express (LOCAL, UNKNOWN, UNSPEC, a UNIX socket).
    Own,
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadHeader {
    /// The bytes begin with neither signature: most likely a client that came without a proxy.
    Missing,
    /// A version 1 line that PROXY 2.1 does not allow.
    MalformedV1,
    /// A version 2 block that is too short for its addresses, or TLVs that overrun it.
    MalformedV2,
    /// More than [`V1_BYTES_MAX`] bytes without CR LF, or more than [`V2_BLOCK_BYTES_MAX`] announced.
    TooLong,
    /// The CRC32C of a version 2 header does not match.
    BadCrc,
    /// A version, command, address family or transport that no stream can have.
    Unsupported,
}

impl BadHeader {
    /// Every kind, in the order of [`BadHeader::index`].
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::MalformedV1,
        Self::MalformedV2,
        Self::TooLong,
        Self::BadCrc,
        Self::Unsupported,
    ];

    /// The place of this kind in a table of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The metric label and log field.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::MalformedV1 => "malformed_v1",
            Self::MalformedV2 => "malformed_v2",
            Self::TooLong => "too_long",
            Self::BadCrc => "bad_crc",
            Self::Unsupported => "unsupported",
        }
    }
}

/// Judges the first bytes of a connection, which must carry a PROXY header.
///
/// Call it with everything received so far, from the connection's first byte on. A verdict other
/// than [`Sniff::More`] is final: it is the same for every longer input.
#[must_use]
pub fn sniff(input: &[u8]) -> Sniff {
    let verdict = match input.first() {
        None => Ok(None),
        Some(b'P') => sniff_v1(input),
        Some(b'\r') => sniff_v2(input),
        Some(_) => Err(BadHeader::Missing),
    };
    match verdict {
        Ok(None) => Sniff::More,
        Ok(Some((length, addresses))) => Sniff::Header { length, addresses },
        Err(bad) => Sniff::Bad(bad),
    }
}

/// `None` while the header is incomplete, then its length and addresses.
type Verdict = Result<Option<(usize, Addresses)>, BadHeader>;

// ---- version 1

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V1_TCP4: &[u8] = b"TCP4 ";
const V1_TCP6: &[u8] = b"TCP6 ";
const V1_UNKNOWN: &[u8] = b"UNKNOWN";

fn sniff_v1(input: &[u8]) -> Verdict {
    let Some(rest) = after(input, V1_SIGNATURE, BadHeader::Missing)? else {
        return Ok(None);
    };
    let family = [V1_TCP4, V1_TCP6, V1_UNKNOWN]
        .into_iter()
        .find(|family| agree(rest, family))
        .ok_or(BadHeader::MalformedV1)?;
    let Some(rest) = after(rest, family, BadHeader::MalformedV1)? else {
        return Ok(None);
    };
    let unknown = family == V1_UNKNOWN;
    if unknown && !matches!(rest.first(), None | Some(b' ' | b'\r')) {
        return Err(BadHeader::MalformedV1);
    }
    let Some(length) = v1_line(input, unknown)? else {
        return Ok(None);
    };
    if unknown {
        // SPEC(PROXY 2.1): whatever stands between UNKNOWN and CR LF is ignored; ppp would refuse
        // more than four words there, or bytes that are not UTF-8.
        return Ok(Some((length, Addresses::Own)));
    }
    let line = input.get(..length).ok_or(BadHeader::MalformedV1)?;
    Ok(Some((length, v1_addresses(line)?)))
}

/// The length of the line with its CR LF, as soon as that has arrived.
///
/// Every byte before it is checked as it comes. For TCP that is the alphabet of addresses and
/// ports, which also keeps out the `+80` that integer parsing would take for a port. In the part of
/// UNKNOWN that is ignored only a bare LF is refused: some would take it for the end of the line.
fn v1_line(input: &[u8], unknown: bool) -> Result<Option<usize>, BadHeader> {
    let window = input.get(..V1_BYTES_MAX - 1).unwrap_or(input);
    let is_content = |byte: u8| {
        if unknown {
            byte != b'\n'
        } else {
            byte.is_ascii_hexdigit() || b" .:".contains(&byte)
        }
    };
    let content = V1_SIGNATURE.len() + V1_TCP4.len();
    let end = window
        .iter()
        .enumerate()
        .skip(content)
        .find(|(_, byte)| !is_content(**byte) || **byte == b'\r');
    match end {
        None if input.len() >= V1_BYTES_MAX - 1 => Err(BadHeader::TooLong),
        None => Ok(None),
        Some((at, b'\r')) => match input.get(at + 1) {
            None => Ok(None),
            Some(b'\n') => Ok(Some(at + 2)),
            Some(_) => Err(BadHeader::MalformedV1),
        },
        Some(_) => Err(BadHeader::MalformedV1),
    }
}

fn v1_addresses(line: &[u8]) -> Result<Addresses, BadHeader> {
    let header = v1::Header::try_from(line).map_err(|_| BadHeader::MalformedV1)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(ends) => proxied(
            (ends.source_address.into(), ends.source_port),
            (ends.destination_address.into(), ends.destination_port),
        ),
        v1::Addresses::Tcp6(ends) => proxied(
            (ends.source_address.into(), ends.source_port),
            (ends.destination_address.into(), ends.destination_port),
        ),
        v1::Addresses::Unknown => Addresses::Own,
    })
}

// ---- version 2

const V2_VERSION: u8 = 0x2;
const V2_LOCAL: u8 = 0x0;
const V2_PROXY: u8 = 0x1;
const V2_UNSPEC: u8 = 0x0;
const V2_INET: u8 = 0x1;
const V2_INET6: u8 = 0x2;
const V2_UNIX: u8 = 0x3;
const V2_STREAM: u8 = 0x1;
/// Bytes of a TLV before its value: type and length.
const V2_TLV_FIXED_BYTES: usize = 3;

fn sniff_v2(input: &[u8]) -> Verdict {
    let Some(rest) = after(input, v2::PROTOCOL_PREFIX, BadHeader::Missing)? else {
        return Ok(None);
    };
    let Some([version, command]) = rest.first().map(nibbles) else {
        return Ok(None);
    };
    if version != V2_VERSION || !matches!(command, V2_LOCAL | V2_PROXY) {
        return Err(BadHeader::Unsupported);
    }
    let Some([family, transport]) = rest.get(1).map(nibbles) else {
        return Ok(None);
    };
    if command == V2_PROXY && (family > V2_UNIX || transport > V2_STREAM) {
        return Err(BadHeader::Unsupported);
    }
    // SPEC(PROXY 2.2): with LOCAL the family is ignored, with either half UNSPEC the addresses are.
    let says_who = command == V2_PROXY && family != V2_UNSPEC && transport != V2_UNSPEC;
    let Some(&[_, _, high, low]) = rest.first_chunk() else {
        return Ok(None);
    };
    let block_length = usize::from(u16::from_be_bytes([high, low]));
    let address_length = v2_address_length(family);
    if block_length > V2_BLOCK_BYTES_MAX {
        return Err(BadHeader::TooLong);
    }
    if says_who && block_length < address_length {
        return Err(BadHeader::MalformedV2);
    }
    let length = V2_FIXED_BYTES + block_length;
    let Some(header) = input.get(..length) else {
        return Ok(None);
    };
    let checked = check_crc(header, V2_FIXED_BYTES + address_length);
    if !says_who {
        // The block is skipped unread, so only a checksum that is there and wrong is an error.
        return match checked {
            Err(BadHeader::BadCrc) => Err(BadHeader::BadCrc),
            Ok(()) | Err(_) => Ok(Some((length, Addresses::Own))),
        };
    }
    checked?;
    Ok(Some((length, v2_addresses(header)?)))
}

fn nibbles(byte: &u8) -> [u8; 2] {
    [byte >> 4, byte & 0xf]
}

/// Bytes of both addresses and ports at the start of the block.
fn v2_address_length(family: u8) -> usize {
    match family {
        V2_INET => 2 * (4 + 2),
        V2_INET6 => 2 * (16 + 2),
        V2_UNIX => 2 * 108,
        _ => 0,
    }
}

fn v2_addresses(header: &[u8]) -> Result<Addresses, BadHeader> {
    let header = v2::Header::try_from(header).map_err(|_| BadHeader::MalformedV2)?;
    Ok(match header.addresses {
        v2::Addresses::IPv4(ends) => proxied(
            (ends.source_address.into(), ends.source_port),
            (ends.destination_address.into(), ends.destination_port),
        ),
        v2::Addresses::IPv6(ends) => proxied(
            (ends.source_address.into(), ends.source_port),
            (ends.destination_address.into(), ends.destination_port),
        ),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => Addresses::Own,
    })
}

/// Walks the TLVs from `start` on and checks the CRC32C among them, where there is one.
fn check_crc(header: &[u8], start: usize) -> Result<(), BadHeader> {
    let tlvs = header.get(start..).ok_or(BadHeader::MalformedV2)?;
    let mut at = start;
    let mut found: Option<(usize, [u8; 4])> = None;
    for tlv in v2::TypeLengthValues::from(tlvs) {
        let tlv = tlv.map_err(|_| BadHeader::MalformedV2)?;
        let value_at = at + V2_TLV_FIXED_BYTES;
        if tlv.kind == u8::from(v2::Type::CRC32C) {
            let sum = <[u8; 4]>::try_from(&*tlv.value).map_err(|_| BadHeader::MalformedV2)?;
            if found.replace((value_at, sum)).is_some() {
                return Err(BadHeader::MalformedV2);
            }
        }
        at = value_at + tlv.len();
    }
    let Some((value_at, sum)) = found else {
        return Ok(());
    };
    let (before, after) = (header.get(..value_at), header.get(value_at + sum.len()..));
    let (Some(before), Some(after)) = (before, after) else {
        return Err(BadHeader::MalformedV2);
    };
    // SPEC(PROXY 2.2.3): the sum is taken with its own four bytes as zero.
    if crc32c(&[before, &[0; 4], after]) == u32::from_be_bytes(sum) {
        Ok(())
    } else {
        Err(BadHeader::BadCrc)
    }
}

// ---- shared by both versions

/// What follows `expected`; `None` while `input` ends inside it, `otherwise` where it differs.
fn after<'a>(
    input: &'a [u8],
    expected: &[u8],
    otherwise: BadHeader,
) -> Result<Option<&'a [u8]>, BadHeader> {
    if agree(input, expected) {
        Ok(input.get(expected.len()..))
    } else {
        Err(otherwise)
    }
}

/// Whether neither contradicts the other as far as both go.
fn agree(input: &[u8], expected: &[u8]) -> bool {
    input.iter().zip(expected).all(|(a, b)| a == b)
}

fn proxied(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Addresses {
    // COMPAT(HAProxy): a client of the other family than the server's is sent as ::ffff:a.b.c.d.
    let address = |(ip, port): (IpAddr, u16)| SocketAddr::new(ip.to_canonical(), port);
    Addresses::Proxied {
        source: address(source),
        destination: address(destination),
    }
}

/// CRC32C (Castagnoli) of the parts in a row, as PROXY 2.2.3 takes it from RFC 4960 appendix B.
fn crc32c(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().copied().flatten();
    !bytes.fold(!0, |sum, byte| {
        let [low, ..] = sum.to_le_bytes();
        // A byte always finds its entry.
        CRC32C
            .get(usize::from(low ^ byte))
            .copied()
            .unwrap_or_default()
            ^ (sum >> 8)
    })
}

static CRC32C: [u32; 256] = {
    const POLYNOMIAL_REFLECTED: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 {
                (sum >> 1) ^ POLYNOMIAL_REFLECTED
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};
