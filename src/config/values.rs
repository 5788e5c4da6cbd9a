//! Values that more than one section uses.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv6Addr;

/// A number or the word "infinity".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound<T> {
    /// At most this.
    At(T),
    /// No limit.
    Infinity,
}

impl<T: Default> Default for Bound<T> {
    fn default() -> Self {
        Self::At(T::default())
    }
}

impl<T: Copy> Bound<T> {
    /// The number, or `None` for "infinity".
    #[must_use]
    pub fn finite(self) -> Option<T> {
        match self {
            Self::At(value) => Some(value),
            Self::Infinity => None,
        }
    }
}

/// A password or other secret of the file. `Debug` hides it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself. It belongs into no log and no message.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The name of a domain as addresses have it (RFC 6122 section 2.2): prepared, without the root dot.
///
/// # Errors
/// Why the text is none.
pub(crate) fn domain(text: &str) -> Result<String, String> {
    let refused = |reason: String| format!("{text:?} is no domain: {reason}");
    let parts = crate::jid::parse(text).map_err(|error| refused(error.to_string()))?;
    if parts.node.is_some() || parts.resource.is_some() {
        return Err(refused("it is an address at one".into()));
    }
    Ok(parts.domain.into_owned())
}

/// Puts a name that passed the check into its prepared form.
pub(crate) fn prepare(name: &mut String) {
    if let Ok(prepared) = domain(name) {
        *name = prepared;
    }
}

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Default for Cidr {
    /// Nothing but the unspecified address, which no peer has.
    fn default() -> Self {
        Self {
            address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            prefix: 128,
        }
    }
}

impl Cidr {
    /// Reads `192.0.2.0/24`, `2001:db8::/32` or a single address. Bits behind the prefix may be
    /// set and do not count.
    ///
    /// # Errors
    /// Why the text is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("{address:?} is no IP address"))?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|p| *p <= longest && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| format!("the prefix is 0 to {longest}, not {digits:?}"))?,
        };
        Ok(Self { address, prefix })
    }

    /// Whether `address` is in this network. An IPv4-mapped IPv6 address is its IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let ignored = 32 - u32::from(self.prefix);
                u64::from(network.to_bits() ^ address.to_bits()) >> ignored == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing
                    .checked_shr(128 - u32::from(self.prefix))
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_by_prefix() {
        let seeds = [
            ("127.0.0.0/8", "127.255.1.1", true),
            ("127.0.0.0/8", "128.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.77/24", "192.0.2.2", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("192.0.2.0/24", "::ffff:192.0.2.7", true),
        ];
        for (network, address, expected) in seeds {
            let network = Cidr::parse(network).expect("a seed");
            let address = address.parse().expect("a seed");
            assert_eq!(network.contains(address), expected, "{network} {address}");
        }
    }

    #[test]
    fn malformed_networks_are_refused() {
        for text in [
            "",
            "a",
            "1.2.3",
            "1.2.3.4/33",
            "::/129",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "::1%lo",
        ] {
            assert!(Cidr::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn debug_hides_secrets() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "(hidden)");
    }
}
