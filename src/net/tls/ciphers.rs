//! Cipher suites by name, as OpenSSL and as IANA spell them.
//!
//! A list names all that is offered, of TLS 1.3 too: an operator who restricts the suites gets
//! nothing that is not in the list.

use rustls::CipherSuite;
use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;

/// The supported suites, strongest first: OpenSSL's name, IANA's name, suite.
static SUITES: &[(&str, &str, SupportedCipherSuite)] = &[
    (
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_256_GCM_SHA384",
        suite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_128_GCM_SHA256",
        suite::TLS13_AES_128_GCM_SHA256,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
        suite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Every supported suite, in our order of preference.
pub(super) fn all() -> Vec<SupportedCipherSuite> {
    SUITES.iter().map(|(_, _, suite)| *suite).collect()
}

/// The suites that `names` lists, in its order, each once.
///
/// # Errors
/// The text for the operator: every name that is not a supported suite, and all that are.
pub(super) fn from_names(names: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
    let mut unknown = Vec::new();
    for name in names.split(':') {
        match find(name) {
            Some(suite) if chosen.contains(&suite) => {}
            Some(suite) => chosen.push(suite),
            None => unknown.push(format!("\"{name}\"")),
        }
    }
    if unknown.is_empty() {
        return Ok(chosen);
    }
    let verb = if unknown.len() == 1 {
        "is not a supported cipher suite"
    } else {
        "are not supported cipher suites"
    };
    Err(format!(
        "{} {verb}; supported are {}",
        unknown.join(", "),
        supported()
    ))
}

/// OpenSSL's name of a suite, for logs.
pub(super) fn openssl_name(wanted: CipherSuite) -> &'static str {
    SUITES
        .iter()
        .find(|(_, _, suite)| suite.suite() == wanted)
        .map_or("unknown", |(openssl, _, _)| openssl)
}

fn find(name: &str) -> Option<SupportedCipherSuite> {
    let same = |known: &str| known.eq_ignore_ascii_case(name);
    SUITES
        .iter()
        .find(|(openssl, iana, _)| same(openssl) || same(iana))
        .map(|(_, _, suite)| *suite)
}

fn supported() -> String {
    let names: Vec<String> = SUITES
        .iter()
        .map(|(openssl, iana, _)| match openssl == iana {
            true => (*openssl).to_owned(),
            false => format!("{openssl} ({iana})"),
        })
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_form_finds_its_suite() {
        for (openssl, iana, suite) in SUITES {
            for name in [openssl, iana] {
                assert_eq!(from_names(name).unwrap(), [*suite], "{name}");
                assert_eq!(from_names(&name.to_lowercase()).unwrap(), [*suite]);
            }
            assert_eq!(openssl_name(suite.suite()), *openssl);
        }
    }

    #[test]
    fn the_table_is_all_that_the_provider_has() {
        assert_eq!(all(), rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES);
    }

    #[test]
    fn order_is_kept_and_repeats_are_dropped() {
        let list = "ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256:\
                    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        assert_eq!(
            from_names(list).unwrap(),
            [
                suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                suite::TLS13_AES_128_GCM_SHA256
            ]
        );
    }

    #[test]
    fn unknown_names_are_all_told_with_what_is_supported() {
        let text = from_names("AES128-SHA:TLS_AES_128_GCM_SHA256:!aNULL:").unwrap_err();
        assert!(
            text.starts_with(
                "\"AES128-SHA\", \"!aNULL\", \"\" are not supported cipher suites; supported are "
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "ECDHE-ECDSA-AES128-GCM-SHA256 (TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)"
            )
        );
        let text = from_names("").unwrap_err();
        assert!(text.starts_with("\"\" is not a supported cipher suite; "));
    }
}
