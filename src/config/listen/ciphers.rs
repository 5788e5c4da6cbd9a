//! Cipher suites by name.

use super::tls::TlsVersion;
use crate::config::decode::Decode;
use crate::config::decode::text;
use crate::config::option::Kind;
use crate::config::option::Rule;
use crate::config::tree::Node;

/// A suite that the TLS library has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cipher {
    /// Name in the registry of IANA, as rustls names it too.
    pub iana: &'static str,
    /// Name in OpenSSL.
    pub openssl: &'static str,
    /// The version it belongs to.
    pub version: TlsVersion,
}

/// Every supported suite, the preferred first.
pub const SUPPORTED: &[Cipher] = &[
    tls13("TLS_AES_256_GCM_SHA384"),
    tls13("TLS_AES_128_GCM_SHA256"),
    tls13("TLS_CHACHA20_POLY1305_SHA256"),
    tls12(
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ),
    tls12(
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    tls12(
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
    tls12(
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    tls12(
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    tls12(
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ),
];

const fn tls13(name: &'static str) -> Cipher {
    Cipher {
        iana: name,
        openssl: name,
        version: TlsVersion::Tls13,
    }
}

const fn tls12(iana: &'static str, openssl: &'static str) -> Cipher {
    Cipher {
        iana,
        openssl,
        version: TlsVersion::Tls12,
    }
}

/// The suites of a listener, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ciphers(pub Vec<Cipher>);

/// A list of suites.
pub(crate) const KIND: Kind = Kind::Checked(Rule {
    accepted: "names separated by \":\" out of TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, \
               TLS_CHACHA20_POLY1305_SHA256, ECDHE-ECDSA-AES256-GCM-SHA384, \
               ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-ECDSA-CHACHA20-POLY1305, \
               ECDHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-AES128-GCM-SHA256, \
               ECDHE-RSA-CHACHA20-POLY1305 (or their IANA names)",
    check: |text| Ciphers::parse(text).map(drop),
});

impl Ciphers {
    fn parse(text: &str) -> Result<Self, String> {
        let named = |name: &str| {
            let found = SUPPORTED
                .iter()
                .find(|suite| suite.iana == name || suite.openssl == name);
            found
                .copied()
                .ok_or_else(|| format!("the cipher suite {name:?} is not supported"))
        };
        text.split(':')
            .map(named)
            .collect::<Result<Vec<_>, _>>()
            .map(Self)
    }

    /// Whether one of them can be used in this version.
    #[must_use]
    pub fn serve(&self, version: TlsVersion) -> bool {
        self.0.iter().any(|suite| suite.version == version)
    }
}

impl Decode for Ciphers {
    fn decode(node: &Node) -> Option<Self> {
        Self::parse(text(node)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_go_by_either_name() {
        let both =
            Ciphers::parse("ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256").expect("ok");
        assert_eq!(both.0[0].iana, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert!(both.serve(TlsVersion::Tls13));
        assert!(Ciphers::parse("").is_err());
        assert!(Ciphers::parse("AES128-SHA").is_err());
    }

    #[test]
    fn the_error_lists_every_suite() {
        let listed = KIND.accepted();
        assert!(SUPPORTED.iter().all(|suite| listed.contains(suite.openssl)));
    }
}
