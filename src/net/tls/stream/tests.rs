//! A library client against the stream, in memory.

use rustls::ClientConfig;
use rustls::SupportedProtocolVersion;
use rustls::version::TLS12;
use rustls::version::TLS13;

use super::*;
use crate::net::tls::TlsOptions;
use crate::net::tls::options::VerifyMode;
use crate::net::tls::testing::Authority;
use crate::net::tls::testing::Leaf;
use crate::net::tls::testing::Pair;
use crate::net::tls::testing::Site;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn joined(site: &Site, version: &'static SupportedProtocolVersion) -> Pair {
    let mut pair = Pair::new(&site.server(), site.client_config(&[version], None));
    let progress = pair.run().unwrap();
    assert!(!progress.handshaking);
    pair
}

#[test]
fn a_stream_may_move_between_threads_and_is_small() {
    fn is_send<T: Send>() {}
    is_send::<TlsStream>();
    assert_eq!(size_of::<TlsStream>(), size_of::<usize>());
    assert!(size_of::<Inner>() <= 1280, "{}", size_of::<Inner>());
}

#[test]
fn handshake_and_data_in_pieces_of_any_size() {
    let site = Site::new();
    let server = site.server();
    for version in VERSIONS {
        for piece in [1, 2, 3, 5, 6, 100, 1000, usize::MAX] {
            let mut pair = Pair::new(&server, site.client_config(&[version], None));
            pair.piece = piece;
            assert_eq!(pair.server.protocol_version(), None);
            let progress = pair.run().unwrap();
            let done = Progress {
                handshaking: false,
                peer_closed: false,
            };
            assert_eq!(progress, done, "{version:?} {piece}");
            for text in [&b"<presence/>"[..], b"x", b"<iq id='1'/>"] {
                pair.client_says(text).unwrap();
                assert_eq!(pair.plain, text);
                pair.plain.clear();
                assert_eq!(pair.server_says(text), text);
            }
            assert_eq!(pair.server.inner.pending.capacity(), 0);
        }
    }
}

#[test]
fn what_was_agreed_is_told() {
    let site = Site::new();
    let pair = joined(&site, &TLS13);
    assert_eq!(pair.server.protocol_version(), Some("tlsv1.3"));
    assert_eq!(pair.server.cipher(), Some("TLS_AES_256_GCM_SHA384"));
    assert_eq!(pair.server.server_name(), Some("example.com"));
    assert_eq!(pair.server.application_protocol(), None);
    assert!(!pair.server.resumed());
    assert!(pair.server.peer_certificate().is_none());

    let pair = joined(&site, &TLS12);
    assert_eq!(pair.server.protocol_version(), Some("tlsv1.2"));
    assert_eq!(pair.server.cipher(), Some("ECDHE-ECDSA-AES256-GCM-SHA384"));
    assert_eq!(pair.server.server_name(), Some("example.com"));
}

#[test]
fn a_client_without_server_name_leaves_none_from_another() {
    let site = Site::new();
    let server = site.server();
    let mut named = Pair::new(&server, site.client_config(&[&TLS13], None));
    let mut config = site.client_config(&[&TLS13], None);
    config.enable_sni = false;
    let mut unnamed = Pair::new(&server, config);
    named.run().unwrap();
    unnamed.run().unwrap();
    assert_eq!(named.server.server_name(), Some("example.com"));
    assert_eq!(unnamed.server.server_name(), None);
}

#[test]
fn a_megabyte_each_way() {
    let site = Site::new();
    let data: Vec<u8> = (0..1 << 20).map(|i: u32| (i ^ (i >> 8)) as u8).collect();
    for version in VERSIONS {
        let mut pair = joined(&site, version);
        pair.client.set_buffer_limit(None);
        pair.piece = 50_000;
        pair.client_says(&data).unwrap();
        assert!(pair.plain == data, "{version:?}");
        let mut send = Vec::new();
        pair.server.encrypt(&data, &mut send).unwrap();
        assert!(send.len() <= data.len() + 64 * 29, "{}", send.len());
        let mut heard = Vec::new();
        for piece in send.chunks(4000) {
            pair.give_client(piece).unwrap();
            heard.extend(pair.client_heard());
        }
        assert!(heard == data, "{version:?}");
        assert_eq!(pair.server.inner.pending.capacity(), 0);
    }
}

#[test]
fn encrypting_appends_and_needs_no_room() {
    let site = Site::new();
    let mut pair = joined(&site, &TLS13);
    let mut send = Vec::with_capacity(200);
    let before = send.as_ptr();
    for _ in 0..2 {
        pair.server.encrypt(b"0123456789", &mut send).unwrap();
    }
    pair.server.encrypt(b"", &mut send).unwrap();
    assert_eq!(send.len(), 2 * (10 + 22));
    assert_eq!(send.as_ptr(), before);
    pair.give_client(&send).unwrap();
    assert_eq!(pair.client_heard(), b"01234567890123456789");
}

#[test]
fn encrypting_too_early_or_too_late_is_refused() {
    let site = Site::new();
    let mut pair = Pair::new(&site.server(), site.client_config(&[&TLS13], None));
    let mut send = Vec::new();
    let hello = pair.client_bytes();
    let (front, back) = hello.split_at(40);
    for part in [&[], front, back] {
        pair.give_server(part).unwrap();
        assert_eq!(
            pair.server.encrypt(b"x", &mut send),
            Err(TlsError::Handshaking)
        );
        assert!(send.is_empty());
    }
    pair.run().unwrap();
    pair.server.encrypt(b"x", &mut send).unwrap();
    pair.server.close_notify(&mut send);
    let length = send.len();
    assert_eq!(pair.server.encrypt(b"x", &mut send), Err(TlsError::Closed));
    pair.server.close_notify(&mut send);
    assert_eq!(send.len(), length);
    pair.give_client(&send).unwrap();
    assert_eq!(pair.client_heard(), b"x");
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    // What comes after is thrown away.
    assert!(pair.client_says(b"late").unwrap().peer_closed);
    assert_eq!(pair.plain, b"");
}

#[test]
fn closing_before_the_handshake_says_nothing() {
    let site = Site::new();
    let mut stream = TlsStream::new(&site.server()).unwrap();
    let mut send = Vec::new();
    stream.close_notify(&mut send);
    assert!(send.is_empty());
    assert!(stream.progress().peer_closed);
}

#[test]
fn the_peer_closes_and_can_still_be_answered() {
    let site = Site::new();
    for version in VERSIONS {
        for piece in [1, usize::MAX] {
            let mut pair = joined(&site, version);
            pair.piece = piece;
            pair.client_says(b"bye").unwrap();
            pair.client.send_close_notify();
            let mut bytes = pair.client_bytes();
            bytes.extend_from_slice(b"bytes after the end");
            let progress = pair.give_server(&bytes).unwrap();
            assert!(progress.peer_closed && !progress.handshaking);
            assert_eq!(pair.plain, b"bye");
            assert_eq!(pair.server.inner.pending.capacity(), 0);
            assert_eq!(pair.server_says(b"farewell"), b"farewell");
            let mut send = Vec::new();
            pair.server.close_notify(&mut send);
            pair.give_client(&send).unwrap();
            assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
        }
    }
}

#[test]
fn application_protocols() {
    let mut site = Site::new();
    type Offer<'a> = (&'a [&'a str], &'a [&'a str], Result<Option<&'a str>, ()>);
    let offers: [Offer<'_>; 6] = [
        (&["xmpp-client"], &["xmpp-client"], Ok(Some("xmpp-client"))),
        (
            &["xmpp-client"],
            &["h2", "xmpp-client"],
            Ok(Some("xmpp-client")),
        ),
        (&["xmpp-client"], &[], Ok(None)),
        (&["xmpp-client"], &["h2", "http/1.1"], Err(())),
        (&[], &["h2"], Ok(None)),
        (&[], &[], Ok(None)),
    ];
    for version in VERSIONS {
        for (ours, theirs, expected) in offers {
            site.options.alpn = ours.iter().map(|&name| name.to_owned()).collect();
            let mut config = site.client_config(&[version], None);
            config.alpn_protocols = theirs.iter().map(|name| name.as_bytes().to_vec()).collect();
            let mut pair = Pair::new(&site.server(), config);
            match (pair.run(), expected) {
                (Ok(progress), Ok(agreed)) => {
                    assert!(!progress.handshaking);
                    let agreed = agreed.map(str::as_bytes);
                    assert_eq!(pair.server.application_protocol(), agreed);
                }
                (Err(error), Err(())) => assert_eq!(error.reason(), "tls-incompatible"),
                (result, _) => panic!("{ours:?} {theirs:?}: {result:?}"),
            }
        }
    }
}

/// Handshakes with `identity` and one message from the client; gives what the server came to know.
fn with_identity(
    site: &Site,
    version: &'static SupportedProtocolVersion,
    identity: Option<&Leaf>,
) -> Result<Option<Trust>, &'static str> {
    let config = site.client_config(&[version], identity);
    let mut pair = Pair::new(&site.server(), config);
    pair.run().map_err(|error| error.reason())?;
    assert!(pair.client_says(b"hello").is_ok());
    assert_eq!(pair.plain, b"hello");
    let certificate = pair.server.peer_certificate();
    if let (Some(certificate), Some(identity)) = (certificate, identity) {
        assert_eq!(certificate.der, identity.der.as_ref());
    }
    Ok(certificate.map(|certificate| certificate.trust.clone()))
}

const REFUSED: Result<Option<Trust>, &str> = Err("tls-client-certificate");
const VERIFIED: Result<Option<Trust>, &str> = Ok(Some(Trust::Verified));
const UNCHECKED: Result<Option<Trust>, &str> = Ok(Some(Trust::Unchecked));
const ABSENT: Result<Option<Trust>, &str> = Ok(None);

#[test]
fn every_verify_mode_with_every_kind_of_client() {
    let mut site = Site::new();
    let good = site.authority.issue("juliet");
    let stranger = Authority::new("Other CA").issue("romeo");
    let own = Leaf::self_signed("mercutio");
    let ca = site.authority.pem();
    site.options.cacertfile = Some(site.files.add("ca.pem", ca));
    let clients = [Some(&good), Some(&stranger), Some(&own), None];
    let failed = || {
        let why = "invalid peer certificate: UnknownIssuer";
        Ok(Some(Trust::Failed(why.into())))
    };
    let (peer, selfsigned) = (VerifyMode::Peer, VerifyMode::SelfsignedPeer);
    let cases = [
        (peer, true, [VERIFIED, REFUSED, REFUSED, REFUSED]),
        (peer, false, [VERIFIED, failed(), failed(), ABSENT]),
        (selfsigned, true, [UNCHECKED, UNCHECKED, UNCHECKED, REFUSED]),
        (selfsigned, false, [UNCHECKED, UNCHECKED, UNCHECKED, ABSENT]),
        (VerifyMode::None, true, [ABSENT, ABSENT, ABSENT, ABSENT]),
        (VerifyMode::None, false, [ABSENT, ABSENT, ABSENT, ABSENT]),
    ];
    for (mode, disconnect, expected) in cases {
        site.options.verify_mode = mode;
        site.options.disconnect_on_failure = disconnect;
        for version in VERSIONS {
            let results = clients.map(|client| with_identity(&site, version, client));
            assert_eq!(results, expected, "{version:?} {mode:?} {disconnect}");
        }
    }
}

#[test]
fn expired_certificates() {
    let mut site = Site::new();
    let expired = site.authority.issue_until("late", 2021);
    let ca = site.authority.pem();
    site.options.cacertfile = Some(site.files.add("ca.pem", ca));
    for version in VERSIONS {
        site.options.verify_mode = VerifyMode::Peer;
        site.options.disconnect_on_failure = true;
        assert_eq!(with_identity(&site, version, Some(&expired)), REFUSED);
        site.options.disconnect_on_failure = false;
        let Ok(Some(Trust::Failed(why))) = with_identity(&site, version, Some(&expired)) else {
            panic!("the result is kept");
        };
        assert!(
            why.starts_with("invalid peer certificate: certificate expired"),
            "{why}"
        );
        site.options.verify_mode = VerifyMode::SelfsignedPeer;
        assert_eq!(with_identity(&site, version, Some(&expired)), UNCHECKED);
    }
}

#[test]
fn revoked_certificates() {
    let mut site = Site::new();
    let good = site.authority.issue("juliet");
    let revoked = site.authority.issue("iago");
    let ca = site.authority.pem();
    site.options.cacertfile = Some(site.files.add("ca.pem", ca));
    site.options.verify_mode = VerifyMode::Peer;
    let list = site.authority.revoke(&[&revoked], 2100);
    site.options.crl_files = vec![site.files.add("crl.pem", list)];
    for version in VERSIONS {
        site.options.disconnect_on_failure = true;
        assert_eq!(with_identity(&site, version, Some(&good)), VERIFIED);
        let refused = with_identity(&site, version, Some(&revoked));
        assert_eq!(refused, REFUSED);
        site.options.disconnect_on_failure = false;
        let kept = with_identity(&site, version, Some(&revoked));
        let why = "invalid peer certificate: Revoked";
        assert_eq!(kept, Ok(Some(Trust::Failed(why.into()))));
    }
    // A list that is out of date says nothing for certain.
    let list = site.authority.revoke(&[&revoked], 2021);
    site.files.add("crl.pem", list);
    site.options.disconnect_on_failure = true;
    let refused = with_identity(&site, &TLS13, Some(&good));
    assert_eq!(refused, REFUSED);
}

/// Connects twice with one client; whether the second time took up the session of the first.
fn reconnect(site: &Site, config: ClientConfig) -> (bool, Option<Trust>) {
    let server = site.server();
    let mut first = Pair::new(&server, config.clone());
    first.run().unwrap();
    first.client_says(b"one").unwrap();
    let mut second = Pair::new(&server, config);
    second.run().unwrap();
    second.client_says(b"two").unwrap();
    assert_eq!(second.plain, b"two");
    let certificate = second.server.peer_certificate();
    let trust = certificate.map(|certificate| certificate.trust.clone());
    (second.server.resumed(), trust)
}

#[test]
fn sessions_are_taken_up_only_where_asked_for() {
    let mut site = Site::new();
    let juliet = site.authority.issue("juliet");
    let ca = site.authority.pem();
    site.options.cacertfile = Some(site.files.add("ca.pem", ca));
    for version in VERSIONS {
        for stateless in [false, true] {
            site.options.session_tickets_stateless = stateless;
            site.options.verify_mode = VerifyMode::None;
            let (resumed, _) = reconnect(&site, site.client_config(&[version], None));
            assert_eq!(resumed, stateless, "{version:?}");
            site.options.verify_mode = VerifyMode::Peer;
            let config = site.client_config(&[version], Some(&juliet));
            let (resumed, trust) = reconnect(&site, config);
            assert_eq!((resumed, trust), (stateless, Some(Trust::Verified)));
        }
    }
}

#[test]
fn early_data_comes_while_handshaking_and_once() {
    use std::io::Write;
    let mut site = Site::new();
    site.options.early_data = true;
    let server = site.server();
    let mut config = site.client_config(&[&TLS13], None);
    config.enable_early_data = true;
    Pair::new(&server, config.clone()).run().unwrap();

    let mut pair = Pair::new(&server, config.clone());
    pair.client
        .early_data()
        .unwrap()
        .write_all(b"<stream>")
        .unwrap();
    let flight = pair.client_bytes();
    let progress = pair.give_server(&flight).unwrap();
    assert!(progress.handshaking);
    assert_eq!(pair.plain, b"<stream>");
    assert_eq!(pair.server_says(b"<features/>"), b"<features/>");
    assert!(!pair.run().unwrap().handshaking);
    assert!(pair.client.is_early_data_accepted());
    assert!(pair.server.resumed());
    pair.client_says(b"<auth/>").unwrap();
    assert_eq!(pair.plain, b"<stream><auth/>");

    // The same flight again finds its ticket used: no early data, no session.
    let mut replay = Pair::new(&server, config);
    let progress = replay.give_server(&flight).unwrap();
    assert!(progress.handshaking);
    assert_eq!(replay.plain, b"");
}

#[test]
fn refused_early_data_is_skipped() {
    use std::io::Write;
    let mut site = Site::new();
    site.options.early_data = true;
    for piece in [1, 100, usize::MAX] {
        let mut config = site.client_config(&[&TLS13], None);
        config.enable_early_data = true;
        Pair::new(&site.server(), config.clone()).run().unwrap();
        // Another server of the same name knows nothing of the session.
        let mut pair = Pair::new(&site.server(), config);
        pair.piece = piece;
        pair.client
            .early_data()
            .unwrap()
            .write_all(b"<stream>")
            .unwrap();
        assert!(!pair.run().unwrap().handshaking);
        assert!(!pair.client.is_early_data_accepted());
        pair.client_says(b"<again>").unwrap();
        assert_eq!(pair.plain, b"<again>");
    }
}

#[test]
fn a_server_is_told_which_domain_is_asked_for() {
    for (names_host, expected) in [(true, Some("far.example")), (false, None)] {
        let options = TlsOptions {
            names_host,
            between_servers: true,
            certfile: String::new(),
            verify_mode: VerifyMode::None,
            ..TlsOptions::default()
        };
        // No file is named, so none may be missed.
        let client = TlsClient::build(&options, &|_| Err(std::io::ErrorKind::NotFound.into()));
        let client = client.expect("a client");
        let mut hello = Vec::new();
        TlsStream::connect(&client, "far.example", false, &mut hello).expect("it begins");
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor.read_tls(&mut hello.as_slice()).expect("memory");
        let accepted = acceptor.accept().ok().flatten().expect("a whole hello");
        assert_eq!(accepted.client_hello().server_name(), expected);
    }
}
