//! The PROXY header, versions 1 and 2, that a client begins with as if it came through a proxy.

use std::net::Ipv4Addr;
use std::net::SocketAddrV4;

use clap::ValueEnum;

/// Clients behind the proxy, each with an address of 10/8.
const CLIENTS: u32 = 1 << 16;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 and the command PROXY; TCP over IPv4; twelve bytes of addresses and ports.
const KIND: &[u8] = &[0x21, 0x11, 0, 12];
/// Port of every client behind the proxy.
const PORT: u16 = 40_000;

/// Version of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// A line of text
    V1,
    /// Binary
    V2,
}

/// The header of client `number` that connects to `to`.
pub(crate) fn header(version: Version, number: usize, to: SocketAddrV4) -> Vec<u8> {
    let client = u32::from(Ipv4Addr::new(10, 0, 0, 1)) + number as u32 % CLIENTS;
    let client = Ipv4Addr::from(client);
    match version {
        Version::V1 => {
            format!("PROXY TCP4 {client} {} {PORT} {}\r\n", to.ip(), to.port()).into_bytes()
        }
        Version::V2 => [
            SIGNATURE,
            KIND,
            &client.octets(),
            &to.ip().octets(),
            &PORT.to_be_bytes(),
            &to.port().to_be_bytes(),
        ]
        .concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_name_the_same_addresses() {
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5222);
        let text = header(Version::V1, 2, to);
        assert_eq!(text, b"PROXY TCP4 10.0.0.3 127.0.0.1 40000 5222\r\n");
        let binary = header(Version::V2, 2, to);
        assert_eq!(binary.len(), 28);
        assert_eq!(binary[16..24], [10, 0, 0, 3, 127, 0, 0, 1]);
        assert_eq!(binary[24..], [0x9c, 0x40, 0x14, 0x66]);
    }
}
