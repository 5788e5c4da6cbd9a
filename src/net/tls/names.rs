//! RFC 9525, XEP-0178: for which XMPP domains a certificate is.
//!
//! Three kinds of names in subjectAltName count: XmppAddr and SRVName (RFC 6120 section 13.7.1.2),
//! and DNS names, of which the leftmost label may be `*`. The common name does not (RFC 9525
//! section 2). Whether the certificate itself can be trusted is another question (`verify`).

use x509_parser::asn1_rs::Any;
use x509_parser::asn1_rs::Class;
use x509_parser::asn1_rs::FromDer;
use x509_parser::asn1_rs::Tag;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// id-on-xmppAddr (RFC 6120 section 13.7.1.4).
const XMPP_ADDR: &str = "1.3.6.1.5.5.7.8.5";
/// id-on-dnsSRV (RFC 4985 section 2).
const SRV_NAME: &str = "1.3.6.1.5.5.7.8.7";
/// The service of a server, as SRV names begin.
const SRV_SERVICE: &str = "_xmpp-server.";

/// Whether a DER certificate names `domain`, prepared, as one that it is for.
pub fn names_domain(der: &[u8], domain: &str) -> bool {
    let Ok((_, certificate)) = parse_x509_certificate(der) else {
        return false;
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return false;
    };
    let Ok(ascii) = idna::domain_to_ascii(domain) else {
        return false;
    };
    let mut names = names.value.general_names.iter();
    names.any(|name| match name {
        GeneralName::DNSName(pattern) => is_dns_match(pattern, &ascii),
        GeneralName::OtherName(oid, value) => match oid.to_id_string().as_str() {
            XMPP_ADDR => text(value, Tag::Utf8String).is_some_and(|address| {
                address.eq_ignore_ascii_case(domain) || address.eq_ignore_ascii_case(&ascii)
            }),
            SRV_NAME => text(value, Tag::Ia5String).is_some_and(|name| {
                let name = name.to_ascii_lowercase();
                name.strip_prefix(SRV_SERVICE)
                    .is_some_and(|name| is_dns_match(name, &ascii) && !name.starts_with('*'))
            }),
            _ => false,
        },
        // Mail addresses, URIs, IP addresses and the like name no XMPP domain.
        _ => false,
    })
}

/// The string inside `[0] EXPLICIT`.
fn text(value: &[u8], kind: Tag) -> Option<&str> {
    let (rest, outer) = Any::from_der(value).ok()?;
    let is_explicit = outer.class() == Class::ContextSpecific && outer.tag() == Tag(0);
    let (inner_rest, inner) = Any::from_der(outer.data).ok()?;
    let whole = rest.is_empty() && inner_rest.is_empty() && is_explicit && inner.tag() == kind;
    whole.then(|| std::str::from_utf8(inner.data).ok())?
}

/// RFC 9525 section 6.3: equal without regard to case, or `*` as the whole leftmost label, which
/// stands for exactly one label and not for a top-level domain.
fn is_dns_match(pattern: &str, domain: &str) -> bool {
    if pattern.contains('\0') || domain.is_empty() {
        return false;
    }
    if pattern.eq_ignore_ascii_case(domain) {
        return !pattern.contains('*');
    }
    let Some(parent) = pattern.strip_prefix("*.") else {
        return false;
    };
    if parent.contains('*') || !parent.contains('.') {
        return false;
    }
    domain
        .split_once('.')
        .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::CertificateParams;
    use rcgen::KeyPair;
    use rcgen::SanType;

    #[test]
    fn dns_names() {
        for (pattern, domain, right) in [
            ("example.org", "example.org", true),
            ("Example.ORG", "example.org", true),
            ("example.org", "example.com", false),
            ("example.org", "a.example.org", false),
            ("*.example.org", "a.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "a.b.example.org", false),
            ("a*.example.org", "ab.example.org", false),
            ("*.org", "example.org", false),
            ("*", "localhost", false),
            ("*.*.org", "a.b.org", false),
            ("*.example.org", "*.example.org", false),
            ("", "", false),
            ("example.org\0.evil", "example.org", false),
        ] {
            assert_eq!(is_dns_match(pattern, domain), right, "{pattern} {domain}");
        }
    }

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("key");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    fn other(oid: &[u64], value: &str) -> SanType {
        SanType::OtherName((oid.to_vec(), value.into()))
    }

    #[test]
    fn all_kinds() {
        let xmpp: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 8, 5];
        let strange: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 8, 6];
        let dns = |name: &str| SanType::DnsName(name.try_into().expect("name"));
        let der = certificate(vec![
            other(xmpp, "münchen.example"),
            other(strange, "strange.example"),
            dns("dns.example"),
            dns("*.wild.example"),
            dns("xn--kln-sna.example"),
        ]);
        for domain in [
            "münchen.example",
            "dns.example",
            "a.wild.example",
            "köln.example",
        ] {
            assert!(names_domain(&der, domain), "{domain}");
        }
        for domain in [
            "strange.example",
            "wild.example",
            "example",
            "",
            "other.example",
        ] {
            assert!(!names_domain(&der, domain), "{domain}");
        }
        assert!(!names_domain(b"no certificate", "dns.example"));
        assert!(!names_domain(&certificate(Vec::new()), "dns.example"));
    }

    #[test]
    fn strings_of_other_names() {
        let utf8 = b"\xa0\x05\x0c\x03a.b";
        assert_eq!(text(utf8, Tag::Utf8String), Some("a.b"));
        assert_eq!(text(utf8, Tag::Ia5String), None);
        for bad in [
            &b""[..],
            b"\xa0\x05\x0c\x03a.",
            b"\xa0\x05\x0c\x03a.bX",
            b"\xa1\x05\x0c\x03a.b",
            b"\xa0\x03\x0c\x01\xff",
            b"\x0c\x03a.b",
        ] {
            assert_eq!(text(bad, Tag::Utf8String), None, "{bad:x?}");
        }
    }
}
