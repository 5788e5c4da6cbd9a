//! Headers good and bad, by name.

use super::super::*;
use super::writer::from_to;
use super::writer::inet;
use super::writer::tlv;
use super::writer::v2_block;
use super::writer::v2_header;
use super::writer::with_crc;

/// What has to be accepted: name, header, the addresses that it gives.
pub(super) fn good() -> Vec<(&'static str, Vec<u8>, Addresses)> {
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

/// Name, input, the number of bytes after which it is refused, why.
pub(super) fn bad() -> Vec<(&'static str, Vec<u8>, usize, BadHeader)> {
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
