//! Good and bad files, each with what the operator is told.

use rcgen::KeyPair;
use rcgen::PKCS_ECDSA_P384_SHA384;
use rcgen::PKCS_ED25519;
use rcgen::PKCS_RSA_SHA256;
use rcgen::RsaKeySize;

use super::*;
use crate::net::tls::options::KeyPassword;
use crate::net::tls::options::VerifyMode;
use crate::net::tls::testing::Authority;
use crate::net::tls::testing::Leaf;
use crate::net::tls::testing::Pair;
use crate::net::tls::testing::Site;

fn faults(site: &Site) -> Vec<String> {
    let errors = site.files.build(&site.options).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

fn warnings(site: &Site) -> Vec<String> {
    let server = site.server();
    server.warnings().iter().map(ToString::to_string).collect()
}

fn handshakes(site: &Site) {
    let server = site.server();
    for version in [&version::TLS12, &version::TLS13] {
        let mut config = site.client_config(&[version], None);
        // The kind of key is the matter here, not who signed its certificate.
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(AnyServer));
        let mut pair = Pair::new(&server, config);
        assert!(!pair.run().unwrap().handshaking);
    }
}

#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        let provider = aws_lc_rs::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[test]
fn every_form_of_key() {
    let p256 = Leaf::self_signed("example.com");
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = Leaf::self_signed_with("example.com", p384);
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let ed25519 = Leaf::self_signed_with("example.com", ed25519);
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let rsa = Leaf::self_signed_with("example.com", rsa);
    let forms = [
        (&p256, p256.key_pem()),
        (&p256, p256.bare_key_pem("EC PRIVATE KEY")),
        (&p256, p256.encrypted_key_pem("open sesame")),
        (&p384, p384.key_pem()),
        (&ed25519, ed25519.key_pem()),
        (&rsa, rsa.key_pem()),
        (&rsa, rsa.bare_key_pem("RSA PRIVATE KEY")),
        (&rsa, rsa.encrypted_key_pem("open sesame")),
    ];
    let mut site = Site::new();
    site.options.password = Some(KeyPassword::new("open sesame"));
    for (leaf, key) in forms {
        site.files.add("cert.pem", leaf.pem.clone());
        site.options.keyfile = Some(site.files.add("key.pem", key.clone()));
        handshakes(&site);
        // Both in one file, the key before and behind, with the line ends of another system.
        site.options.keyfile = None;
        site.files.add("cert.pem", format!("{key}{}", leaf.pem));
        handshakes(&site);
        let both = format!("A comment.\n{}\n{key}", leaf.pem).replace('\n', "\r\n");
        site.files.add("cert.pem", both);
        handshakes(&site);
    }
}

#[test]
fn bad_certificates() {
    let mut site = Site::new();
    let good = site.files.read("cert.pem").unwrap();
    let leaf = Leaf::self_signed("example.com");
    let not_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    let dashes = "-----BEGIN CERTIFICATE---\nAAAA\n-----END CERTIFICATE-----\n";
    let cases: [(&[u8], &str); 7] = [
        (b"", "is empty; a PEM certificate is needed"),
        (b"hello", "no PEM certificate in \"cert.pem\""),
        (
            &leaf.der,
            "is DER, not PEM; convert it with: openssl x509 -inform DER -in FILE -out FILE.pem",
        ),
        (
            &good[..200],
            "is cut short: no \"-----END CERTIFICATE-----\"",
        ),
        (
            not_x509.as_bytes(),
            "section 1 of \"cert.pem\" is not an X.509 certificate",
        ),
        (broken.as_bytes(), "is not PEM: base64 decode error"),
        (
            dashes.as_bytes(),
            "is not PEM at the line \"-----BEGIN CERTIFICATE---\"",
        ),
    ];
    for (certificate, text) in cases {
        site.files.add("cert.pem", certificate);
        let [fault] = &faults(&site)[..] else {
            panic!("one fault: {text}");
        };
        let whole = format!("tls.certfile: {text}");
        let with_path = format!("tls.certfile: \"cert.pem\" {text}");
        assert!(
            fault.starts_with(&whole) || fault.starts_with(&with_path),
            "{fault}"
        );
    }
}

#[test]
fn bad_keys() {
    let mut site = Site::new();
    let certificate = site.files.read("cert.pem").unwrap();
    let leaf = Leaf::self_signed("example.com");
    let (stranger, encrypted) = (leaf.key_pem(), leaf.encrypted_key_pem("x"));
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                  DEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let noise = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let cases: [(&[u8], &str); 5] = [
        (&certificate, "no PEM private key in \"key.pem\""),
        (
            stranger.as_bytes(),
            "the private key in \"key.pem\" does not belong to the first certificate of \
             \"cert.pem\"",
        ),
        (
            legacy.as_bytes(),
            "the private key in \"key.pem\" has OpenSSL's legacy encryption; convert it with: \
             openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.new",
        ),
        (
            noise.as_bytes(),
            "the private key in \"key.pem\" is of no supported kind (RSA of 2048 to 8192 bits, \
             ECDSA on P-256, P-384 or P-521, Ed25519)",
        ),
        (
            encrypted.as_bytes(),
            "the private key in \"key.pem\" is encrypted and password is not set",
        ),
    ];
    for (key, text) in cases {
        site.options.keyfile = Some(site.files.add("key.pem", key));
        assert_eq!(faults(&site), [format!("tls.keyfile: {text}")]);
    }
    site.options.keyfile = None;
    let text = "tls.certfile: \"cert.pem\" holds no private key and keyfile is not set";
    assert_eq!(faults(&site), [text]);
}

#[test]
fn passwords() {
    let mut site = Site::new();
    let leaf = Leaf::self_signed("example.com");
    site.files.add("cert.pem", leaf.pem.clone());
    site.files.add("key.pem", leaf.encrypted_key_pem("right"));
    for wrong in 0..300 {
        site.options.password = Some(KeyPassword::new(format!("wrong {wrong}")));
        let text = "tls.password: does not open the private key in \"key.pem\"";
        assert_eq!(faults(&site), [text]);
    }
    site.options.password = Some(KeyPassword::new("right"));
    handshakes(&site);
    assert_eq!(
        format!("{:?}", site.options.password),
        "Some(KeyPassword(..))"
    );
    let damaged = leaf.encrypted_key_pem("right").replace("MI", "MA");
    site.files.add("key.pem", damaged);
    let text = "tls.keyfile: the encrypted private key in \"key.pem\" is damaged";
    assert!(faults(&site)[0].starts_with(text), "{:?}", faults(&site));
}

#[test]
fn every_fault_is_told_at_once() {
    let mut site = Site::new();
    site.options.certfile = "nowhere.pem".to_owned();
    site.options.versions = TlsVersions {
        tls12: false,
        tls13: false,
    };
    site.options.ciphers = Some("NULL".to_owned());
    site.options.dhfile = Some("dh.pem".to_owned());
    site.options.verify_mode = VerifyMode::Peer;
    site.options.cacertfile = Some("ca.pem".to_owned());
    site.options.crl_files = vec!["a.crl".to_owned(), "b.crl".to_owned()];
    let faults = faults(&site);
    let starts = [
        "tls.certfile: cannot read \"nowhere.pem\": no such file",
        "tls.versions: names no version; at least one of \"tlsv1.2\" and \"tlsv1.3\" is needed",
        "tls.ciphers: \"NULL\" is not a supported cipher suite; supported are TLS_AES_256",
        "tls.dhfile: cannot read \"dh.pem\": no such file",
        "tls.cacertfile: cannot read \"ca.pem\": no such file",
        "tls.crl_files[0]: cannot read \"a.crl\": no such file",
        "tls.crl_files[1]: cannot read \"b.crl\": no such file",
    ];
    assert_eq!(faults.len(), starts.len(), "{faults:?}");
    for (fault, start) in faults.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault}");
    }
}

#[test]
fn certificate_and_key_are_both_looked_at() {
    let mut site = Site::new();
    site.files.add("cert.pem", "");
    site.files.add("key.pem", "");
    let expected = [
        "tls.certfile: \"cert.pem\" is empty; a PEM certificate is needed",
        "tls.keyfile: no PEM private key in \"key.pem\"",
    ];
    assert_eq!(faults(&site), expected);
}

#[test]
fn bad_authorities_and_lists() {
    let mut site = Site::new();
    let ca = site.authority.pem();
    let list = site.authority.revoke(&[], 2100);
    let ca_der = site.authority.der();
    for mode in [
        VerifyMode::Peer,
        VerifyMode::SelfsignedPeer,
        VerifyMode::None,
    ] {
        site.options.verify_mode = mode;
        site.options.crl_files = vec![];
        let cases: [(&[u8], &str); 3] = [
            (
                b"\n",
                "tls.cacertfile: \"ca.pem\" is empty; a PEM certificate is needed",
            ),
            (
                list.as_bytes(),
                "tls.cacertfile: no PEM certificate in \"ca.pem\"",
            ),
            (
                &ca_der,
                "tls.cacertfile: \"ca.pem\" is DER, not PEM; convert it with: \
                 openssl x509 -inform DER -in FILE -out FILE.pem",
            ),
        ];
        for (content, text) in cases {
            site.options.cacertfile = Some(site.files.add("ca.pem", content));
            assert_eq!(faults(&site), [text], "{mode:?}");
        }
        site.files.add("ca.pem", ca.clone());
        site.files.add("good.crl", list.clone());
        let bad = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
        let cases = [
            (
                ca.as_str(),
                "tls.crl_files[1]: no PEM certificate revocation list in \"bad.crl\"",
            ),
            (
                bad,
                "tls.crl_files[1]: section 1 of \"bad.crl\" is not a revocation list",
            ),
        ];
        for (content, text) in cases {
            let bad = site.files.add("bad.crl", content);
            site.options.crl_files = vec!["good.crl".to_owned(), bad];
            assert_eq!(faults(&site), [text], "{mode:?}");
        }
    }
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "certificates are judged by the wall clock"
)]
fn what_an_operator_is_warned_of() {
    let mut site = Site::new();
    assert_eq!(warnings(&site), [""; 0]);
    let expired = site.authority.issue_until("old.example", 2021);
    let other = Authority::new("Other CA");
    site.files
        .add("cert.pem", format!("{}{}", expired.pem, other.pem()));
    site.files.add("key.pem", expired.key_pem());
    site.options.dhfile = Some(site.files.add("dh.pem", "anything"));
    let list = site.authority.revoke(&[], 2021);
    site.options.crl_files = vec![site.files.add("old.crl", list)];
    let expected = [
        "tls.dhfile: has no effect: keys are exchanged on elliptic curves only",
        "tls.crl_files: the list of \"CN=Test CA\" in \"old.crl\" is out of date: its certificates \
         are refused until it is replaced",
        "tls.crl_files: has no effect: only verify_mode = \"peer\" checks who issued a certificate",
        "tls.certfile: the certificate of \"CN=old.example\" has expired",
        "tls.certfile: the chain is out of order: \"CN=old.example\" was issued by \"CN=Test CA\", \
         but \"CN=Other CA\" follows; clients may refuse it",
    ];
    assert_eq!(warnings(&site), expected);
    let server = site.server();
    assert!(server.days_left(SystemTime::now()) < 0);
    let [own, issuer] = server.certificates() else {
        panic!("two certificates");
    };
    assert_eq!(own.dns_names, ["old.example"]);
    assert!(issuer.days_left(SystemTime::now()) > 700_000);
    assert_eq!(own.days_left(SystemTime::UNIX_EPOCH), 18_628);
}

#[test]
fn suites_that_leave_a_version_without() {
    let mut site = Site::new();
    let rsa12 = "no listed suite can be used for TLS 1.2 with the certificate's key (ECDSA)";
    let both = (true, true);
    let cases = [
        (
            "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
            both,
            Ok(None),
        ),
        ("TLS_AES_128_GCM_SHA256", (false, true), Ok(None)),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", (true, false), Ok(None)),
        (
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            both,
            Ok(Some("no listed suite is for TLS 1.3")),
        ),
        (
            "TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256",
            both,
            Ok(Some(rsa12)),
        ),
        ("ECDHE-RSA-AES128-GCM-SHA256", (true, false), Err(rsa12)),
        (
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            (false, true),
            Err("no listed suite is for TLS 1.3"),
        ),
        (
            "ECDHE-RSA-AES128-GCM-SHA256",
            both,
            Err("no listed suite can be used with the certificate's key (ECDSA)"),
        ),
    ];
    for (names, (tls12, tls13), expected) in cases {
        site.options.ciphers = Some(names.to_owned());
        site.options.versions = TlsVersions { tls12, tls13 };
        match expected {
            Ok(None) => assert_eq!(warnings(&site), [""; 0]),
            Ok(Some(text)) => {
                let text = format!("tls.ciphers: {text}: that version is not offered");
                assert_eq!(warnings(&site), [text]);
            }
            Err(text) => {
                let remedy = match tls13 {
                    true => "one of TLS 1.3, such as TLS_AES_256_GCM_SHA384",
                    false => "an ECDHE suite for that kind of key",
                };
                assert_eq!(
                    faults(&site),
                    [format!("tls.ciphers: {text}; add {remedy}")]
                );
            }
        }
    }
}

#[test]
fn listed_suites_and_versions_are_what_is_offered() {
    let mut site = Site::new();
    let list = "TLS_CHACHA20_POLY1305_SHA256:TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    site.options.ciphers = Some(list.to_owned());
    let server = site.server();
    for (version, suite) in [
        (&version::TLS13, "TLS_CHACHA20_POLY1305_SHA256"),
        (&version::TLS12, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ] {
        let mut pair = Pair::new(&server, site.client_config(&[version], None));
        pair.run().unwrap();
        assert_eq!(pair.server.cipher(), Some(suite));
    }
    site.options.ciphers = None;
    site.options.versions.tls13 = false;
    let mut pair = Pair::new(&site.server(), site.client_config(&[&version::TLS13], None));
    assert_eq!(pair.run().unwrap_err().reason(), "tls-incompatible");
}

#[test]
fn resumption_options_that_contradict() {
    let mut site = Site::new();
    site.options.early_data = true;
    site.options.session_tickets_stateless = true;
    let text = "tls.session_tickets: early_data needs tickets that work once: sessions are kept in \
                memory instead";
    assert_eq!(warnings(&site), [text]);
    site.options.versions.tls13 = false;
    let text = "tls.early_data: has no effect without \"tlsv1.3\" in versions";
    assert_eq!(warnings(&site), [text]);
}

#[test]
fn few_authorities_are_named_to_clients_and_many_are_not() {
    let mut site = Site::new();
    site.options.verify_mode = VerifyMode::Peer;
    for (count, hints) in [(1, 1), (16, 16), (17, 0)] {
        let pem: String = (0..count)
            .map(|number| Authority::new(&format!("CA {number}")).pem())
            .collect();
        site.options.cacertfile = Some(site.files.add("ca.pem", pem));
        let check = site.server().check.unwrap();
        assert_eq!(check.root_hint_subjects().len(), hints);
    }
}

#[test]
fn the_systems_authorities_are_taken_where_none_are_named() {
    let mut site = Site::new();
    site.options.verify_mode = VerifyMode::Peer;
    match site.files.build(&site.options) {
        Ok(server) => {
            let check = server.check.unwrap();
            assert!(
                check.chain.is_some(),
                "they are what a chain is checked against"
            );
            assert!(check.root_hint_subjects().is_empty());
        }
        // A machine without any.
        Err(errors) => {
            let text = errors[0].to_string();
            let start = "tls.cacertfile: is not set and the system has no CA certificates";
            assert!(text.starts_with(start), "{text}");
        }
    }
}
