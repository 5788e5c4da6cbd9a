//! Headers good and bad, cut at every byte, and against a writer of our own.

use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

const STREAM: &[u8] = b"<stream:stream to='localhost'>";

// ---- a writer that shares nothing with the parser

fn v2_header(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    out.extend([version_command, family]);
    out.extend(
        u16::try_from(block.len())
            .expect("a test block fits")
            .to_be_bytes(),
    );
    out.extend(block);
    out
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(
        u16::try_from(value.len())
            .expect("a test value fits")
            .to_be_bytes(),
    );
    out.extend(value);
    out
}

fn v2_block(source: SocketAddr, destination: SocketAddr) -> (u8, Vec<u8>) {
    let mut block = Vec::new();
    let mut put = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => block.extend(ip.octets()),
        IpAddr::V6(ip) => block.extend(ip.octets()),
    };
    put(source);
    put(destination);
    block.extend(source.port().to_be_bytes());
    block.extend(destination.port().to_be_bytes());
    (if source.is_ipv4() { 0x11 } else { 0x21 }, block)
}

/// Bit by bit, so that it has nothing in common with the table.
fn crc_naive(bytes: &[u8]) -> u32 {
    let mut sum = !0u32;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                (sum >> 1) ^ 0x82f6_3b78
            } else {
                sum >> 1
            };
        }
    }
    !sum
}

/// A header whose last TLV is its checksum.
fn with_crc(version_command: u8, family: u8, mut block: Vec<u8>) -> Vec<u8> {
    block.extend(tlv(0x03, &[0; 4]));
    let mut header = v2_header(version_command, family, &block);
    let sum = crc_naive(&header).to_be_bytes();
    let at = header.len() - sum.len();
    header[at..].copy_from_slice(&sum);
    header
}

fn v1_line(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!(
        "PROXY {family} {from} {to} {} {}\r\n",
        source.port(),
        destination.port()
    )
    .into_bytes()
}

fn inet(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 0, 2, last).into(), port)
}

fn from_to(source: &str, destination: &str) -> Addresses {
    let address = |text: &str| text.parse().expect("a socket address in a test");
    Addresses::Proxied {
        source: address(source),
        destination: address(destination),
    }
}

// ---- what has to be accepted

fn good() -> Vec<(&'static str, Vec<u8>, Addresses)> {
    let v4 = from_to("192.0.2.1:56324", "192.0.2.2:5222");
    let v6 = from_to("[2001:db8::1]:56324", "[2001:db8::2]:5222");
    let (_, inet_block) = v2_block(inet(1, 56324), inet(2, 5222));
    let six = |text: &str| {
        text.parse::<SocketAddr>()
            .expect("a socket address in a test")
    };
    let (_, inet6_block) = v2_block(six("[2001:db8::1]:56324"), six("[2001:db8::2]:5222"));
    let mapped = v2_block(
        six("[::ffff:192.0.2.1]:56324"),
        six("[::ffff:192.0.2.2]:5222"),
    )
    .1;
    let with = |block: &[u8], tlvs: &[Vec<u8>]| [block, &tlvs.concat()].concat();
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_BYTES_MAX - 16));
    let v1 = |text: &str| text.as_bytes().to_vec();
    vec![
        (
            "v1 TCP4",
            v1("PROXY TCP4 192.0.2.1 192.0.2.2 56324 5222\r\n"),
            v4,
        ),
        (
            "v1 TCP6",
            v1("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 56324 5222\r\n"),
            v6,
        ),
        (
            "v1 TCP6 with mapped addresses",
            v1("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 56324 5222\r\n"),
            v4,
        ),
        (
            "v1 port 0",
            v1("PROXY TCP4 192.0.2.1 192.0.2.2 0 5222\r\n"),
            from_to("192.0.2.1:0", "192.0.2.2:5222"),
        ),
        ("v1 UNKNOWN", v1("PROXY UNKNOWN\r\n"), Addresses::Own),
        (
            "v1 UNKNOWN with addresses",
            v1("PROXY UNKNOWN ::1 ::1 1 2\r\n"),
            Addresses::Own,
        ),
        (
            "v1 UNKNOWN with many words",
            v1("PROXY UNKNOWN a b c d e f g h i j\r\n"),
            Addresses::Own,
        ),
        (
            "v1 UNKNOWN with other bytes",
            b"PROXY UNKNOWN \xff\xfe\0\r\n".to_vec(),
            Addresses::Own,
        ),
        ("v1 of 107 bytes", longest.into_bytes(), Addresses::Own),
        ("v2 INET", v2_header(0x21, 0x11, &inet_block), v4),
        ("v2 INET6", v2_header(0x21, 0x21, &inet6_block), v6),
        (
            "v2 INET6 with mapped addresses",
            v2_header(0x21, 0x21, &mapped),
            v4,
        ),
        (
            "v2 TLVs",
            v2_header(
                0x21,
                0x11,
                &with(
                    &inet_block,
                    &[tlv(1, b"xmpp-client"), tlv(4, b""), tlv(0xe0, &[7; 300])],
                ),
            ),
            v4,
        ),
        ("v2 CRC32C", with_crc(0x21, 0x11, inet_block.clone()), v4),
        (
            "v2 CRC32C behind a TLV",
            with_crc(0x21, 0x21, with(&inet6_block, &[tlv(2, b"example.org")])),
            v6,
        ),
        (
            "v2 largest block",
            v2_header(
                0x21,
                0x11,
                &with(&inet_block, &[tlv(4, &[0; V2_BLOCK_BYTES_MAX - 15])]),
            ),
            v4,
        ),
        ("v2 LOCAL", v2_header(0x20, 0x00, &[]), Addresses::Own),
        (
            "v2 LOCAL with addresses",
            v2_header(0x20, 0x11, &inet_block),
            Addresses::Own,
        ),
        (
            "v2 LOCAL with a short block",
            v2_header(0x20, 0x21, &[1, 2, 3]),
            Addresses::Own,
        ),
        (
            "v2 LOCAL with an unassigned family",
            v2_header(0x20, 0xff, &[3, 0, 9]),
            Addresses::Own,
        ),
        (
            "v2 LOCAL with CRC32C",
            with_crc(0x20, 0x00, Vec::new()),
            Addresses::Own,
        ),
        ("v2 UNSPEC", v2_header(0x21, 0x00, &[]), Addresses::Own),
        (
            "v2 UNSPEC with a block",
            v2_header(0x21, 0x00, &[9; 40]),
            Addresses::Own,
        ),
        (
            "v2 INET without a transport",
            v2_header(0x21, 0x10, &[]),
            Addresses::Own,
        ),
        (
            "v2 stream without a family",
            v2_header(0x21, 0x01, &inet_block),
            Addresses::Own,
        ),
        (
            "v2 UNIX stream",
            v2_header(0x21, 0x31, &[0; 216]),
            Addresses::Own,
        ),
    ]
}

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

// ---- what has to be refused, and at which byte

/// Name, input, the number of bytes after which it is refused, why.
fn bad() -> Vec<(&'static str, Vec<u8>, usize, BadHeader)> {
    use BadHeader::*;
    let text = |text: &str| text.as_bytes().to_vec();
    let (_, block) = v2_block(inet(1, 56324), inet(2, 5222));
    let with = |more: &[u8]| [&block[..], more].concat();
    let mut crc = with_crc(0x21, 0x11, block.clone());
    crc[20] ^= 1;
    let mut crc_local = with_crc(0x20, 0x00, Vec::new());
    crc_local[19] ^= 1;
    let two_sums = with_crc(0x21, 0x11, with(&tlv(3, &[0; 4])));
    let mut tlv_too_long = with(&tlv(4, b"abc"));
    tlv_too_long[14] = 4;
    let mut rows = vec![
        ("a stream", text("<?xml version='1.0'?>"), 1, Missing),
        ("TLS", vec![0x16, 3, 1], 1, Missing),
        ("lower case", text("proxy TCP4"), 1, Missing),
        ("HTTP POST", text("POST / HTTP/1.1\r\n"), 2, Missing),
        ("another word", text("PROXY2 TCP4"), 6, Missing),
        ("v1 without its space", text("PROXY\r\n"), 6, Missing),
        (
            "v2 signature cut",
            b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
            12,
            Missing,
        ),
        ("blank lines", text("\r\n\r\n<"), 5, Missing),
        ("v1 family", text("PROXY UDP4 "), 8, MalformedV1),
        (
            "v1 family in lower case",
            text("PROXY tcp4"),
            7,
            MalformedV1,
        ),
        ("v1 two spaces", text("PROXY  TCP4"), 7, MalformedV1),
        (
            "v1 no more than a family",
            text("PROXY TCP4\r\n"),
            11,
            MalformedV1,
        ),
        (
            "v1 UNKNOWN glued",
            text("PROXY UNKNOWNS\r\n"),
            14,
            MalformedV1,
        ),
        ("v1 bare CR", text("PROXY UNKNOWN\r\r\n"), 15, MalformedV1),
        (
            "v1 bare LF",
            text("PROXY UNKNOWN x\ny\r\n"),
            16,
            MalformedV1,
        ),
        (
            "v2 version 1",
            v2_header(0x11, 0x11, &block),
            13,
            Unsupported,
        ),
        (
            "v2 version 3",
            v2_header(0x31, 0x11, &block),
            13,
            Unsupported,
        ),
        ("v2 command", v2_header(0x22, 0x11, &block), 13, Unsupported),
        ("v2 family", v2_header(0x21, 0x41, &block), 14, Unsupported),
        (
            "v2 transport",
            v2_header(0x21, 0x13, &block),
            14,
            Unsupported,
        ),
        ("v2 UDP", v2_header(0x21, 0x12, &block), 14, Unsupported),
        ("v2 UDP6", v2_header(0x21, 0x22, &[0; 36]), 14, Unsupported),
        (
            "v2 UNIX datagram",
            v2_header(0x21, 0x32, &[0; 216]),
            14,
            Unsupported,
        ),
        (
            "v2 UNSPEC datagram",
            v2_header(0x21, 0x02, &[]),
            14,
            Unsupported,
        ),
        (
            "v2 block short for INET",
            v2_header(0x21, 0x11, &block[..11]),
            16,
            MalformedV2,
        ),
        (
            "v2 block short for INET6",
            v2_header(0x21, 0x21, &[0; 35]),
            16,
            MalformedV2,
        ),
        (
            "v2 block short for UNIX",
            v2_header(0x21, 0x31, &[0; 215]),
            16,
            MalformedV2,
        ),
        (
            "v2 block too long",
            v2_header(0x21, 0x11, &[0; V2_BLOCK_BYTES_MAX + 1]),
            16,
            TooLong,
        ),
        (
            "v2 LOCAL too long",
            v2_header(0x20, 0, &[0; V2_BLOCK_BYTES_MAX + 1]),
            16,
            TooLong,
        ),
        (
            "v2 half a TLV",
            v2_header(0x21, 0x11, &with(&[4, 0])),
            30,
            MalformedV2,
        ),
        (
            "v2 TLV overruns",
            v2_header(0x21, 0x11, &tlv_too_long),
            34,
            MalformedV2,
        ),
        (
            "v2 CRC32C of 3 bytes",
            v2_header(0x21, 0x11, &with(&tlv(3, b"abc"))),
            34,
            MalformedV2,
        ),
        (
            "v2 two CRC32C",
            two_sums.clone(),
            two_sums.len(),
            MalformedV2,
        ),
        ("v2 wrong CRC32C", crc.clone(), crc.len(), BadCrc),
        (
            "v2 LOCAL with a wrong CRC32C",
            crc_local.clone(),
            crc_local.len(),
            BadCrc,
        ),
    ];
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_BYTES_MAX - 15));
    rows.push((
        "v1 of 108 bytes",
        long.into_bytes(),
        V1_BYTES_MAX - 1,
        TooLong,
    ));
    rows.push((
        "v1 without end",
        format!("PROXY TCP4 {}", "1".repeat(200)).into_bytes(),
        V1_BYTES_MAX - 1,
        TooLong,
    ));
    rows
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
