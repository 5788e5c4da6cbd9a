//! Peers that send what they should not: no panic, a named error, a bound on what is kept.

use aws_lc_rs::aead;
use proptest::prelude::*;
use rustls::ConnectionTrafficSecrets;
use rustls::SupportedProtocolVersion;
use rustls::version::TLS12;
use rustls::version::TLS13;

use super::*;
use crate::net::tls::config::TlsServer;
use crate::net::tls::options::VerifyMode;
use crate::net::tls::testing::Leaf;
use crate::net::tls::testing::Pair;
use crate::net::tls::testing::Site;

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Seals records with a client's keys, whatever is in them.
struct Forger {
    key: aead::LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    tls13: bool,
}

impl Forger {
    /// Takes the client's keys over from an established pair.
    fn new(site: &Site, version: &'static SupportedProtocolVersion) -> (Self, TlsStream) {
        let mut config = site.client_config(&[version], None);
        config.enable_secret_extraction = true;
        let mut pair = Pair::new(&site.server(), config);
        pair.run().unwrap();
        let (sequence, secrets) = pair.client.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else {
            panic!("the site offers one suite");
        };
        let key = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key.as_ref()).unwrap();
        let forger = Self {
            key: aead::LessSafeKey::new(key),
            iv: iv.as_ref().try_into().unwrap(),
            sequence,
            tls13: *version == TLS13,
        };
        (forger, pair.server)
    }

    fn seal(&mut self, content_type: u8, payload: &[u8]) -> Vec<u8> {
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let mut inner = payload.to_vec();
        let outer = if self.tls13 {
            APPLICATION_DATA
        } else {
            content_type
        };
        let header = |length: usize| {
            let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
            [outer, 3, 3, high, low]
        };
        let associated = if self.tls13 {
            inner.push(content_type);
            header(inner.len() + 16).to_vec()
        } else {
            [&self.sequence.to_be_bytes()[..], &header(inner.len())].concat()
        };
        let associated = aead::Aad::from(associated);
        self.key
            .seal_in_place_append_tag(nonce, associated, &mut inner)
            .unwrap();
        self.sequence += 1;
        [&header(inner.len())[..], &inner].concat()
    }
}

fn one_suite() -> Site {
    let mut site = Site::new();
    let suites = "TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-CHACHA20-POLY1305";
    site.options.ciphers = Some(suites.to_owned());
    site
}

fn feed(stream: &mut TlsStream, bytes: &[u8]) -> (Result<Progress, TlsError>, Vec<u8>, Vec<u8>) {
    let (mut plain, mut send) = (Vec::new(), Vec::new());
    let result = stream.receive(&mut bytes.to_vec(), &mut plain, &mut send);
    (result, plain, send)
}

fn plain_record(payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[HANDSHAKE, 3, 1, high, low], payload].concat()
}

#[test]
fn the_forger_speaks_tls() {
    let site = one_suite();
    for version in [&TLS12, &TLS13] {
        let (mut forger, mut stream) = Forger::new(&site, version);
        let records = [
            forger.seal(APPLICATION_DATA, b"<a/>"),
            forger.seal(APPLICATION_DATA, b""),
            forger.seal(APPLICATION_DATA, b"<b/>"),
        ];
        let (result, plain, send) = feed(&mut stream, &records.concat());
        assert!(result.is_ok());
        assert_eq!((plain.as_slice(), send.len()), (&b"<a/><b/>"[..], 0));
    }
}

#[test]
fn writing_between_the_parts_of_a_split_message() {
    let site = one_suite();
    let update = [24, 0, 0, 1, 1];
    for cut in 1..update.len() {
        let (mut forger, mut stream) = Forger::new(&site, &TLS13);
        let (first, second) = update.split_at(cut);
        let first = forger.seal(HANDSHAKE, first);
        let second = forger.seal(HANDSHAKE, second);
        let (result, _, _) = feed(&mut stream, &first);
        assert!(result.is_ok());
        assert_eq!(stream.inner.shown, first.len());
        let mut send = Vec::new();
        stream.encrypt(b"in between", &mut send).unwrap();
        for byte in &second {
            stream.encrypt(b"in between", &mut send).unwrap();
            let (result, plain, _) = feed(&mut stream, &[*byte]);
            assert!(result.is_ok() && plain.is_empty());
        }
        assert_eq!(stream.inner.pending.capacity(), 0);
        let length = send.len();
        stream.encrypt(b"after", &mut send).unwrap();
        // The peer asked for an answer: it goes out before the data.
        assert_eq!(send.len() - length, (5 + 5 + 1 + 16) + (5 + 5 + 1 + 16));
        // The peer's old keys hold no more.
        let (result, _, send) = feed(&mut stream, &forger.seal(APPLICATION_DATA, b"old"));
        assert_eq!(result.unwrap_err().reason(), "tls-misbehaved");
        assert!(!send.is_empty());
    }
}

#[test]
fn a_message_in_one_byte_records_is_bounded() {
    let site = one_suite();
    for version in [&TLS12, &TLS13] {
        let (mut forger, mut stream) = Forger::new(&site, version);
        let mut kept = 0;
        // A handshake message that says it is long, and then never ends.
        for byte in [24, 0, 0xff, 0xff].into_iter().chain(std::iter::repeat(0)) {
            let (result, _, _) = feed(&mut stream, &forger.seal(HANDSHAKE, &[byte]));
            if let Err(error) = result {
                assert_eq!(error, TlsError::PendingTooLarge, "{version:?}");
                break;
            }
            kept = stream.inner.pending.len();
        }
        assert!(kept > PENDING_BYTES_MAX - 100);
        assert_eq!(stream.inner.pending.capacity(), 0);
    }
}

#[test]
fn a_client_hello_in_one_byte_records_is_heard() {
    let site = Site::new();
    for version in [&TLS12, &TLS13] {
        for whole in [true, false] {
            let mut pair = Pair::new(&site.server(), site.client_config(&[version], None));
            let hello = pair.client_bytes();
            let records: Vec<u8> = hello[5..]
                .iter()
                .flat_map(|&b| plain_record(&[b]))
                .collect();
            pair.piece = if whole { records.len() } else { 1 };
            pair.give_server(&records).unwrap();
            assert!(!pair.run().unwrap().handshaking);
            pair.client_says(b"hello").unwrap();
            assert_eq!(pair.plain, b"hello");
        }
    }
}

#[test]
fn a_client_hello_too_long() {
    let server = Site::new().server();
    // 60,000 bytes are announced, in records of 10,000.
    let mut stream = TlsStream::new(&server).unwrap();
    let mut message = vec![0; 60_004];
    message[..4].copy_from_slice(&[1, 0, 0xea, 0x60]);
    let mut results = message
        .chunks(10_000)
        .map(|part| feed(&mut stream, &plain_record(part)).0);
    assert_eq!(
        results.find_map(Result::err),
        Some(TlsError::PendingTooLarge)
    );
    drop(results);
    assert_eq!(stream.encrypt(b"x", &mut Vec::new()), Err(TlsError::Closed));
    assert!(feed(&mut stream, b"more").0.unwrap().peer_closed);
}

#[test]
fn other_protocols_are_refused_at_their_first_bytes() {
    let server = Site::new().server();
    let cases: [&[u8]; 6] = [
        b"<",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.1",
        b"\x16\x05",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
    ];
    for bytes in cases {
        let mut whole = TlsStream::new(&server).unwrap();
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().max(5), 1);
        let (result, _, send) = feed(&mut whole, &padded);
        assert_eq!(result.unwrap_err().reason(), "tls-misbehaved", "{bytes:?}");
        // A fatal alert in clear: decode_error.
        assert_eq!(send, [21, 3, 3, 0, 2, 2, 50]);
        let mut dripped = TlsStream::new(&server).unwrap();
        let failed = padded
            .iter()
            .any(|byte| feed(&mut dripped, &[*byte]).0.is_err());
        assert!(failed, "{bytes:?}");
    }
}

#[test]
fn an_altered_record_ends_the_stream_after_those_before_it() {
    let site = one_suite();
    for version in [&TLS12, &TLS13] {
        let (mut forger, mut stream) = Forger::new(&site, version);
        let good = forger.seal(APPLICATION_DATA, b"good");
        let mut bad = forger.seal(APPLICATION_DATA, b"bad");
        bad[7] ^= 1;
        let (result, plain, send) = feed(&mut stream, &[good, bad].concat());
        assert_eq!(
            result,
            Err(TlsError::Misbehaved(rustls::Error::DecryptError))
        );
        assert_eq!(plain, b"good");
        assert!(send.len() > 7);
        let (result, plain, send) = feed(&mut stream, b"anything");
        assert!(result.unwrap().peer_closed);
        assert!(plain.is_empty() && send.is_empty());
    }
}

#[test]
fn renegotiation_is_declined_once_and_then_fatal() {
    let site = one_suite();
    let mut client = Pair::new(&site.server(), site.client_config(&[&TLS12], None));
    let hello = client.client_bytes();
    let (mut forger, mut stream) = Forger::new(&site, &TLS12);
    let (result, _, send) = feed(&mut stream, &forger.seal(HANDSHAKE, &hello[5..]));
    assert!(result.is_ok());
    assert_eq!(send.first(), Some(&21));
    let (result, _, _) = feed(&mut stream, &forger.seal(HANDSHAKE, &hello[5..]));
    assert_eq!(result.unwrap_err().reason(), "tls-misbehaved");
}

#[test]
fn key_updates_without_data_are_limited() {
    let site = Site::new();
    let mut pair = Pair::new(&site.server(), site.client_config(&[&TLS13], None));
    pair.run().unwrap();
    for round in 0.. {
        pair.client.refresh_traffic_keys().unwrap();
        match pair.run() {
            Ok(_) => assert!(round < 32),
            Err(error) => {
                assert_eq!((round, error.reason()), (32, "tls-misbehaved"));
                break;
            }
        }
    }
}

#[test]
fn empty_records_are_limited() {
    let site = one_suite();
    for version in [&TLS12, &TLS13] {
        let (mut forger, mut stream) = Forger::new(&site, version);
        let records: Vec<u8> = (0..40)
            .flat_map(|_| forger.seal(APPLICATION_DATA, b""))
            .collect();
        let (result, _, _) = feed(&mut stream, &records);
        assert_eq!(result.unwrap_err().reason(), "tls-misbehaved");
    }
}

#[test]
fn a_refused_client_is_told_why() {
    let mut site = Site::new();
    let ca = site.authority.pem();
    site.options.cacertfile = Some(site.files.add("ca.pem", ca));
    site.options.verify_mode = VerifyMode::Peer;
    let stranger = Leaf::self_signed("romeo");
    for (version, identity, alert) in [
        (&TLS12, Some(&stranger), "UnknownCA"),
        (&TLS13, Some(&stranger), "UnknownCA"),
        (&TLS13, None, "CertificateRequired"),
    ] {
        let mut pair = Pair::new(&site.server(), site.client_config(&[version], identity));
        assert!(pair.run().is_err());
        let told = pair.client.process_new_packets().unwrap_err();
        assert_eq!(told.to_string(), format!("received fatal alert: {alert}"));
    }
}

/// A client's bytes with one change, at a place given in parts of 65,536.
fn change(bytes: &mut Vec<u8>, kind: u8, place: u16, value: u8) {
    let place = bytes.len() * usize::from(place) / 65_536;
    match kind {
        0 => bytes[place] ^= value,
        1 => bytes.truncate(place),
        2 => bytes.insert(place, value),
        3 => drop(bytes.remove(place)),
        _ => {
            let again = bytes[place..].to_vec();
            bytes.extend(again);
        }
    }
}

fn server_asking_for_certificates() -> (Site, TlsServer) {
    let mut site = Site::new();
    site.options.verify_mode = VerifyMode::SelfsignedPeer;
    site.options.early_data = true;
    let server = site.server();
    (site, server)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0usize..4) {
        let server = Site::new().server();
        let mut stream = TlsStream::new(&server).unwrap();
        // Half the cases begin like a record, so that more than the first byte is looked at.
        let like_record: [&[u8]; 4] = [b"", b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03",
            b"\x16\x03\x01\x00\x04\x01\x00\x00", b"\x17\x03\x03\x00\x10"];
        let bytes = [like_record[start], &bytes].concat();
        for piece in bytes.chunks(1 + start * 7) {
            let _ = feed(&mut stream, piece);
            let _ = stream.encrypt(b"x", &mut Vec::new());
            prop_assert!(stream.inner.pending.len() <= PENDING_BYTES_MAX);
        }
    }

    #[test]
    fn a_changed_flight_never_panics(
        tls13: bool,
        flight in 0usize..3,
        piece in prop_oneof![Just(1usize), 2usize..600, Just(usize::MAX)],
        (kind, place, value) in (0u8..5, any::<u16>(), 1u8..),
    ) {
        let (site, server) = server_asking_for_certificates();
        let juliet = Leaf::self_signed("juliet");
        let version = if tls13 { &TLS13 } else { &TLS12 };
        let mut pair = Pair::new(&server, site.client_config(&[version], Some(&juliet)));
        pair.piece = piece;
        for _ in 0..flight {
            let bytes = pair.client_bytes();
            pair.give_server(&bytes).unwrap();
        }
        if !pair.server.progress().handshaking {
            use std::io::Write;
            pair.client.writer().write_all(&[7; 3000]).unwrap();
        }
        let mut bytes = pair.client_bytes();
        prop_assume!(!bytes.is_empty());
        change(&mut bytes, kind, place, value);
        let result = pair.give_server(&bytes);
        let _ = pair.server.encrypt(b"x", &mut Vec::new());
        if result.is_ok() {
            // Cut short, or a change without meaning: the rest must not panic either.
            let _ = pair.give_server(&bytes);
        }
        prop_assert!(pair.server.inner.pending.len() <= PENDING_BYTES_MAX);
    }
}
