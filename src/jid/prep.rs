//! The three profiles: what a node, a domain and a resource become before they are compared.
//!
//! Each has three ways, from cheap to dear, with one result: ASCII that is already prepared is
//! given back as it is; other ASCII needs no tables, only lower case; the rest goes through
//! stringprep. The tests hold each way against the stringprep crate alone.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{JID_BYTES_MAX, JidError, PART_BYTES_MAX, Part};

/// Bytes of a DNS label, at most (RFC 1035 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// Bytes of a DNS name without its root dot, at most (RFC 1035 2.3.4, less the length bytes).
const NAME_BYTES_MAX: usize = 253;

const IN_NODE: u8 = 1;
const IN_DOMAIN: u8 = 2;

/// What each byte may be part of without any preparation.
const CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut class = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        let b = byte as u8;
        // RFC 6122 A.5: prohibited in a node beside what stringprep prohibits.
        let barred = matches!(b, b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@');
        if !barred && !b.is_ascii_uppercase() {
            class[byte] |= IN_NODE;
        }
        if matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_') {
            class[byte] |= IN_DOMAIN;
        }
        byte += 1;
    }
    class
}

/// Nodeprep (RFC 6122 appendix A) and the length of a node.
pub fn node_prep(node: &str) -> Result<Cow<'_, str>, JidError> {
    if is_plain_node(node) {
        return sized(Cow::Borrowed(node), Part::Node);
    }
    if node.is_ascii() {
        let lower = node.to_ascii_lowercase();
        return match is_plain_node(&lower) {
            true => sized(Cow::Owned(lower), Part::Node),
            false => Err(JidError::Prohibited(Part::Node)),
        };
    }
    through_tables(node, Part::Node, |s| stringprep::nodeprep(s).ok())
}

/// Resourceprep (RFC 6122 appendix B) and the length of a resource.
pub fn resource_prep(resource: &str) -> Result<Cow<'_, str>, JidError> {
    if is_plain_resource(resource.as_bytes()) {
        return sized(Cow::Borrowed(resource), Part::Resource);
    }
    if resource.is_ascii() {
        return Err(JidError::Prohibited(Part::Resource));
    }
    through_tables(resource, Part::Resource, |s| {
        stringprep::resourceprep(s).ok()
    })
}

/// Nameprep and the rules of a host name (RFC 6122 2.2): labels that IDNA can encode, none of them
/// empty, no root dot in the result; or an IPv4 address, or an IPv6 address in brackets.
pub fn domain_prep(domain: &str) -> Result<Cow<'_, str>, JidError> {
    if is_plain_domain(domain.as_bytes()) {
        return Ok(Cow::Borrowed(domain));
    }
    if domain.is_empty() {
        return Err(JidError::Empty(Part::Domain));
    }
    through_tables(domain, Part::Domain, host_name)
}

fn is_plain_node(node: &str) -> bool {
    node.bytes()
        .fold(IN_NODE, |all, b| all & CLASS[usize::from(b)])
        != 0
}

/// Printable ASCII, the space included, is all that Resourceprep leaves alone there.
fn is_plain_resource(resource: &[u8]) -> bool {
    let printable = |b: u8| b.wrapping_sub(0x20) <= 0x7e - 0x20;
    // Blocks without an early exit become vector instructions.
    let (blocks, rest) = resource.as_chunks::<16>();
    blocks
        .iter()
        .all(|block| block.iter().fold(true, |all, &b| all & printable(b)))
        && rest.iter().fold(true, |all, &b| all & printable(b))
}

/// A lower-case ASCII name that DNS and IDNA take as it is. Two hyphens in a row may be an A-label
/// or a breach of the hyphen rule: such a name is left to the idna crate.
fn is_plain_domain(domain: &[u8]) -> bool {
    let mut label = 0;
    let mut before = b'.';
    for &b in domain {
        if CLASS[usize::from(b)] & IN_DOMAIN == 0 {
            return false;
        }
        if b == b'.' {
            if label == 0 || label > LABEL_BYTES_MAX || before == b'-' {
                return false;
            }
            label = 0;
        } else {
            if b == b'-' && (label == 0 || before == b'-') {
                return false;
            }
            label += 1;
        }
        before = b;
    }
    (1..=LABEL_BYTES_MAX).contains(&label) && before != b'-' && domain.len() <= NAME_BYTES_MAX
}

fn host_name(domain: &str) -> Option<Cow<'_, str>> {
    if domain.parse::<Ipv4Addr>().is_ok() {
        return Some(Cow::Borrowed(domain));
    }
    let inside = domain
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if inside.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
        return Some(Cow::Borrowed(domain));
    }
    let name = domain.strip_suffix('.').unwrap_or(domain);
    // Only the verdict counts: the comparable form is Nameprep's, as IDNA 2003 has it.
    Uts46::new()
        .to_ascii(
            name.as_bytes(),
            AsciiDenyList::URL,
            Hyphens::Check,
            DnsLength::Verify,
        )
        .ok()?;
    stringprep::nameprep(name).ok()
}

fn through_tables<'a>(
    part: &'a str,
    kind: Part,
    profile: fn(&str) -> Option<Cow<'_, str>>,
) -> Result<Cow<'a, str>, JidError> {
    if part.len() > JID_BYTES_MAX {
        return Err(JidError::TooLong);
    }
    let once = profile(part).ok_or(JidError::Prohibited(kind))?;
    // Mapped to nothing is empty; it has no second form to compare.
    let once = sized(once, kind)?;
    if once == part {
        return Ok(Cow::Borrowed(part));
    }
    match profile(&once) {
        Some(twice) if twice == once => Ok(Cow::Owned(once.into_owned())),
        Some(_) | None => Err(JidError::Unstable(kind)),
    }
}

fn sized(part: Cow<'_, str>, kind: Part) -> Result<Cow<'_, str>, JidError> {
    match part.len() {
        0 => Err(JidError::Empty(kind)),
        1..=PART_BYTES_MAX => Ok(part),
        _ => Err(JidError::PartTooLong(kind)),
    }
}
