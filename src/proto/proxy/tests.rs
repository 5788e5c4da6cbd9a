//! Headers good and bad, cut at every byte, and against a writer of our own.

mod headers;
mod writer;

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use headers::bad;
use headers::good;
use writer::tlv;
use writer::v1_line;
use writer::v2_block;
use writer::v2_header;
use writer::with_crc;

const STREAM: &[u8] = b"<stream:stream to='localhost'>";

#[test]
fn good_headers_at_every_cut() {
    for (name, header, addresses) in good() {
        let wanted = Sniff::Header {
            length: header.len(),
            addresses,
        };
        for cut in 0..header.len() {
            assert_eq!(
                sniff(&header[..cut]),
                Sniff::More,
                "{name}, {cut} bytes of it"
            );
        }
        assert_eq!(sniff(&header), wanted, "{name}");
        assert_eq!(
            sniff(&[&header, STREAM].concat()),
            wanted,
            "{name} and its stream"
        );
        assert_eq!(
            sniff(&[&header[..], &header].concat()),
            wanted,
            "{name} twice"
        );
    }
}

#[test]
fn bad_headers_at_the_first_byte_that_shows_it() {
    for (name, input, refused_at, kind) in bad() {
        for cut in 0..=input.len() {
            let wanted = if cut < refused_at {
                Sniff::More
            } else {
                Sniff::Bad(kind)
            };
            assert_eq!(sniff(&input[..cut]), wanted, "{name}, {cut} bytes of it");
        }
        assert_eq!(
            sniff(&[&input, STREAM].concat()),
            Sniff::Bad(kind),
            "{name} and a stream"
        );
    }
}

/// PROXY 2.1: "any sequence which does not exactly match the protocol".
#[test]
fn malformed_v1_lines() {
    let rows = [
        "TCP4 192.0.2.1 192.0.2.2 56324\r\n",
        "TCP4 192.0.2.1 192.0.2.2 56324 \r\n",
        "TCP4 192.0.2.1 192.0.2.2 56324 5222 \r\n",
        "TCP4 192.0.2.1 192.0.2.2 56324 5222 1\r\n",
        "TCP4  192.0.2.1 192.0.2.2 56324 5222\r\n",
        "TCP4 192.0.2.1  192.0.2.2 56324 5222\r\n",
        "TCP4 192.0.2.01 192.0.2.2 56324 5222\r\n",
        "TCP4 192.0.2 192.0.2.2 56324 5222\r\n",
        "TCP4 192.0.2.256 192.0.2.2 56324 5222\r\n",
        "TCP4 0xc0.0.2.1 192.0.2.2 56324 5222\r\n",
        "TCP4 192.0.2.1 192.0.2.2 65536 5222\r\n",
        "TCP4 192.0.2.1 192.0.2.2 056324 5222\r\n",
        "TCP4 192.0.2.1 192.0.2.2 +56324 5222\r\n",
        "TCP4 192.0.2.1 192.0.2.2 -1 5222\r\n",
        "TCP4 192.0.2.1 192.0.2.2 56324 00\r\n",
        "TCP4 192.0.2.1 192.0.2.2 56324 a\r\n",
        "TCP4 192.0.2.1\t192.0.2.2 56324 5222\r\n",
        "TCP4 2001:db8::1 2001:db8::2 56324 5222\r\n",
        "TCP4 192.0.2.1 2001:db8::2 56324 5222\r\n",
        "TCP4 192.0.2.1 192.0.2.2 56324 5222\n",
        "TCP4 192.0.2.1 192.0.2.2 56324 5222\r<",
        "TCP4 192.0.2.1 192.0.2.2 56324 5222\r\r\n",
        "TCP6 192.0.2.1 192.0.2.2 56324 5222\r\n",
        "TCP6 2001:db8::1::2 2001:db8::2 56324 5222\r\n",
        "TCP6 2001:db8:1 2001:db8::2 56324 5222\r\n",
        "TCP6 02001:db8::1 2001:db8::2 56324 5222\r\n",
        "TCP6 fe80::1%lo 2001:db8::2 56324 5222\r\n",
        "TCP6 [::1] [::1] 56324 5222\r\n",
        "TCP5 192.0.2.1 192.0.2.2 56324 5222\r\n",
        "TCP4 localhost 192.0.2.2 56324 5222\r\n",
        "UNKNOW\r\n",
    ];
    for row in rows {
        let line = format!("PROXY {row}");
        assert_eq!(
            sniff(line.as_bytes()),
            Sniff::Bad(BadHeader::MalformedV1),
            "{line:?}"
        );
    }
}

#[test]
fn labels_and_counters_fit() {
    for (place, kind) in BadHeader::ALL.into_iter().enumerate() {
        assert_eq!(kind.index(), place);
        assert!(
            kind.label()
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || b"_12".contains(&byte))
        );
    }
}

#[test]
fn crc32c_of_known_inputs() {
    // RFC 3720 appendix B.4, which uses the same polynomial and bit order.
    let ascending: Vec<u8> = (0..32).collect();
    assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
    assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
    assert_eq!(crc32c(&[&ascending]), 0x46dd_794e);
    assert_eq!(crc32c(&[b"1234", b"", b"56789"]), 0xe306_9283);
}

// ---- properties

fn any_ends() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = || {
        (any::<Ipv4Addr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.into(), port))
    };
    let v6 = || {
        (any::<Ipv6Addr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.into(), port))
    };
    prop_oneof![(v4(), v4()), (v6(), v6())]
}

fn any_tlvs() -> impl Strategy<Value = Vec<u8>> {
    let one = (
        any::<u8>().prop_filter("the sum is added later", |kind| *kind != 3),
        prop::collection::vec(any::<u8>(), 0..40),
    );
    prop::collection::vec(one, 0..6).prop_map(|all| {
        all.iter()
            .flat_map(|(kind, value)| tlv(*kind, value))
            .collect()
    })
}

/// Noise that gets past the first checks often enough to matter.
fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        Just(Vec::new()),
        Just(b"PROXY TCP4 ".to_vec()),
        Just(b"PROXY TCP6 ".to_vec()),
        Just(b"PROXY UNKNOWN".to_vec()),
        Just(b"\r\n\r\n\0\r\nQUIT\n".to_vec()),
        (0x1f..0x23u8, any::<u8>(), 0..70u8).prop_map(|(command, family, length)| {
            [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family, 0, length]].concat()
        }),
    ];
    let rest = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..160),
        "[0-9a-f:. ]{0,60}\r?\n?".prop_map(String::into_bytes),
        any_tlvs(),
    ];
    (start, rest).prop_map(|(start, rest)| [start, rest].concat())
}

fn canonical((source, destination): (SocketAddr, SocketAddr)) -> Addresses {
    let address =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Addresses::Proxied {
        source: address(source),
        destination: address(destination),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(ends in any_ends(), tlvs in any_tlvs(), rest in prop::collection::vec(any::<u8>(), 0..20)) {
        let (family, block) = v2_block(ends.0, ends.1);
        let block = [block, tlvs].concat();
        for header in [v1_line(ends.0, ends.1), v2_header(0x21, family, &block), with_crc(0x21, family, block)] {
            let wanted = Sniff::Header { length: header.len(), addresses: canonical(ends) };
            prop_assert_eq!(sniff(&[header, rest.clone()].concat()), wanted);
        }
    }

    /// Of the addresses: a changed TLV length may hide the checksum itself, which nothing can see.
    #[test]
    fn a_changed_address_never_passes_the_checksum(
        ends in any_ends(),
        tlvs in any_tlvs(),
        bit in any::<prop::sample::Index>(),
    ) {
        let (family, block) = v2_block(ends.0, ends.1);
        let bit = V2_FIXED_BYTES * 8 + bit.index(block.len() * 8);
        let mut header = with_crc(0x21, family, [block, tlvs].concat());
        header[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(sniff(&header), Sniff::Bad(BadHeader::BadCrc));
    }

    /// No panic; the first verdict stands, whatever follows; a header lies within its input.
    #[test]
    fn verdicts_are_final(input in any_input()) {
        let whole = sniff(&input);
        prop_assert_eq!(whole, sniff(&input));
        let first = (0..=input.len()).map(|cut| (cut, sniff(&input[..cut]))).find(|(_, verdict)| *verdict != Sniff::More);
        match first {
            None => prop_assert_eq!(whole, Sniff::More),
            Some((cut, verdict)) => {
                for longer in cut..=input.len() {
                    prop_assert_eq!(sniff(&input[..longer]), verdict);
                }
                if let Sniff::Header { length, .. } = verdict {
                    prop_assert_eq!(length, cut);
                    prop_assert!(length <= HEADER_BYTES_MAX);
                }
            }
        }
        prop_assert!(input.len() < HEADER_BYTES_MAX || whole != Sniff::More);
    }
}
