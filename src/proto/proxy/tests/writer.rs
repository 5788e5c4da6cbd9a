//! A writer of headers that shares nothing with the parser.

use std::net::Ipv4Addr;

use super::super::*;

pub(super) fn v2_header(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
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

pub(super) fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(
        u16::try_from(value.len())
            .expect("a test value fits")
            .to_be_bytes(),
    );
    out.extend(value);
    out
}

pub(super) fn v2_block(source: SocketAddr, destination: SocketAddr) -> (u8, Vec<u8>) {
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
pub(super) fn crc_naive(bytes: &[u8]) -> u32 {
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
pub(super) fn with_crc(version_command: u8, family: u8, mut block: Vec<u8>) -> Vec<u8> {
    block.extend(tlv(0x03, &[0; 4]));
    let mut header = v2_header(version_command, family, &block);
    let sum = crc_naive(&header).to_be_bytes();
    let at = header.len() - sum.len();
    header[at..].copy_from_slice(&sum);
    header
}

pub(super) fn v1_line(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!(
        "PROXY {family} {from} {to} {} {}\r\n",
        source.port(),
        destination.port()
    )
    .into_bytes()
}

pub(super) fn inet(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(192, 0, 2, last).into(), port)
}

pub(super) fn from_to(source: &str, destination: &str) -> Addresses {
    let address = |text: &str| text.parse().expect("a socket address in a test");
    Addresses::Proxied {
        source: address(source),
        destination: address(destination),
    }
}
