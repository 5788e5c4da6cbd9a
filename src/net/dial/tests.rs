//! Lookups and connections against a name server of the test, on loopback.

use super::*;
use crate::runtime::background::Background;
use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::rdata::AAAA;
use hickory_resolver::proto::rr::rdata::SRV;
use socket2::Domain;
use socket2::SockRef;
use socket2::Socket;
use socket2::Type;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::TcpListener;
use std::net::UdpSocket;
use std::sync::mpsc::sync_channel;

type Answers = fn(&str, RecordType, u16) -> Option<Vec<RData>>;

/// A name server that answers from `answers`, which also gets the port of the test's listener;
/// None: no such name.
#[expect(clippy::disallowed_methods, reason = "a name server of the test")]
fn name_server(port: u16, answers: Answers) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let query = Message::from_vec(&buffer[..length]).expect("a query");
            let question = query.queries.first().expect("one question").clone();
            let name = question.name().to_string().to_ascii_lowercase();
            let found = answers(&name, question.query_type(), port);
            let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
            answer.metadata.recursion_available = true;
            answer.add_query(question.clone());
            match found {
                None => answer.metadata.response_code = ResponseCode::NXDomain,
                Some(all) => {
                    let owner = question.name().clone();
                    answer.add_answers(
                        all.into_iter()
                            .map(|data| Record::from_rdata(owner.clone(), 60, data)),
                    );
                }
            }
            let _ = socket.send_to(&answer.to_vec().expect("encoded"), peer);
        }
    });
    address
}

fn dial(
    answers: Answers,
    change: impl FnOnce(&mut DialOptions, u16),
) -> (Result<Dialled, DialError>, u16) {
    dial_to("far.example", answers, change)
}

#[expect(clippy::disallowed_methods, reason = "the peer of the test")]
fn dial_to(
    domain: &str,
    answers: Answers,
    change: impl FnOnce(&mut DialOptions, u16),
) -> (Result<Dialled, DialError>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let mut options = DialOptions {
        overrides: HashMap::new(),
        port,
        families: vec![4, 6],
        timeout: Some(Duration::from_secs(5)),
        direct_tls: true,
        direct_only: false,
        dns: DnsOptions {
            timeout: Duration::from_secs(2),
            retries: 1,
            server: Some(name_server(port, answers)),
        },
    };
    change(&mut options, port);
    let background = Background::start().expect("a thread");
    let dialler = Dialler::new(background.tasks(), options).expect("a dialler");
    let (sender, results) = sync_channel(1);
    let reply = move |result| sender.send(result).expect("told");
    dialler.dial(domain, None, reply).expect("room");
    (results.recv().expect("a result"), port)
}

fn srv(port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(0, 5, port, target.parse().expect("a name")))
}

fn here() -> RData {
    RData::A(A(Ipv4Addr::LOCALHOST))
}

#[test]
fn service_records_lead_to_a_server() {
    let (dialled, port) = dial(
        |name, kind, port| match (name, kind) {
            ("_xmpp-server._tcp.far.example.", RecordType::SRV) => {
                Some(vec![srv(port, "xmpp.far.example.")])
            }
            ("xmpp.far.example.", RecordType::A) => Some(vec![here()]),
            ("xmpp.far.example.", _) => Some(Vec::new()),
            (_, _) => None,
        },
        |options, _| options.port = 1,
    );
    let dialled = dialled.expect("a connection");
    assert_eq!(dialled.peer, SocketAddr::from(([127, 0, 0, 1], port)));
    assert!(!dialled.direct_tls && dialled.rest.is_empty());
    // Half-open: what the other end does not acknowledge, and what is asked of it where nothing is sent.
    let socket = SockRef::from(&dialled.socket);
    assert_eq!(
        socket.tcp_user_timeout().expect("told"),
        Some(Duration::from_secs(60))
    );
    assert!(socket.keepalive().expect("told"));
}

#[test]
fn direct_tls_goes_by_the_same_order() {
    let answers: Answers =
        |name, kind, port| match (name, kind) {
            ("_xmpps-server._tcp.far.example.", RecordType::SRV) => Some(vec![RData::SRV(
                SRV::new(0, 5, port, "xmpp.far.example.".parse().expect("a name")),
            )]),
            ("_xmpp-server._tcp.far.example.", RecordType::SRV) => Some(vec![RData::SRV(
                SRV::new(1, 5, port, "xmpp.far.example.".parse().expect("a name")),
            )]),
            ("xmpp.far.example.", RecordType::A) => Some(vec![here()]),
            (_, _) => None,
        };
    let dialled = dial(answers, |_, _| {}).0.expect("a connection");
    assert!(dialled.direct_tls);
    assert_eq!(dialled.rest.len(), 1, "the other way is kept");
    let dialled = dial(answers, |options, _| options.direct_tls = false)
        .0
        .expect("a connection");
    assert!(!dialled.direct_tls);
}

#[test]
fn without_service_records_the_domain_itself() {
    let answers: Answers = |name, kind, _| match (name, kind) {
        ("far.example.", RecordType::A) => Some(vec![here()]),
        ("far.example.", _) => Some(Vec::new()),
        (_, _) => None,
    };
    assert!(dial(answers, |_, _| {}).0.is_ok());
}

#[test]
fn the_other_family_is_raced() {
    // 100::/64 is discarded by whoever knows it (RFC 6666); here there is no way to it at all.
    let answers: Answers = |name, kind, _| match (name, kind) {
        ("far.example.", RecordType::AAAA) => Some(vec![RData::AAAA(AAAA(Ipv6Addr::new(
            0x100, 0, 0, 0, 0, 0, 0, 1,
        )))]),
        ("far.example.", RecordType::A) => Some(vec![here()]),
        (_, _) => None,
    };
    let (dialled, port) = dial(answers, |options, _| options.families = vec![6, 4]);
    let peer = dialled.expect("a connection").peer;
    assert_eq!(peer, SocketAddr::from(([127, 0, 0, 1], port)));
}

#[test]
fn what_is_not_there() {
    let refuses: Answers = |name, kind, _| match (name, kind) {
        ("_xmpp-server._tcp.far.example.", RecordType::SRV) => Some(vec![srv(0, ".")]),
        ("far.example.", RecordType::A) => Some(vec![here()]),
        (_, _) => None,
    };
    assert_eq!(dial(refuses, |_, _| {}).0.err(), Some(DialError::NotFound));
    assert_eq!(
        dial(|_, _, _| None, |_, _| {}).0.err(),
        Some(DialError::NotFound)
    );
    let answers: Answers = |_, kind, _| match kind {
        RecordType::A => Some(vec![here()]),
        _ => Some(Vec::new()),
    };
    let (dialled, _) = dial(answers, |options, _| options.port = 1);
    assert_eq!(dialled.err(), Some(DialError::Unreachable));
}

#[test]
fn a_named_address_needs_no_lookup() {
    let (dialled, _) = dial(
        |_, _, _| None,
        |options, port| {
            let place = |port, direct_tls| Override {
                address: SocketAddr::from(([127, 0, 0, 1], port)),
                direct_tls,
            };
            let places = vec![place(1, false), place(port, true), place(port, false)];
            options.overrides.insert("far.example".into(), places);
        },
    );
    let dialled = dialled.expect("a connection");
    assert!(dialled.direct_tls, "the first that answers");
    assert_eq!(dialled.rest.len(), 1);
    assert!(dial_to("127.0.0.1", |_, _, _| None, |_, _| {}).0.is_ok());
}

/// A place whose host answers nothing: its queue is full. Lasts as long as what is returned.
fn silent(port: u16) -> (Socket, Vec<std::net::TcpStream>) {
    let address = SocketAddr::from(([127, 0, 0, 2], port));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&address.into()).expect("bound");
    socket.listen(0).expect("it listens");
    let connect =
        || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    let waiting: Vec<_> = std::iter::from_fn(connect).take(8).collect();
    assert!(waiting.len() < 8, "it is silent by now");
    (socket, waiting)
}

#[test]
fn who_does_not_answer_is_not_waited_for() {
    let answers: Answers = |name, kind, _| match (name, kind) {
        ("far.example.", RecordType::A) => {
            Some(vec![RData::A(A(Ipv4Addr::new(127, 0, 0, 2))), here()])
        }
        ("silent.example.", RecordType::A) => Some(vec![RData::A(A(Ipv4Addr::new(127, 0, 0, 2)))]),
        (_, _) => None,
    };
    let mut place = None;
    let (dialled, port) = dial_to("far.example", answers, |options, port| {
        place = Some(silent(port));
        // As long as the kernel takes, which is two minutes.
        options.timeout = None;
    });
    let peer = dialled.expect("a connection").peer;
    assert_eq!(peer, SocketAddr::from(([127, 0, 0, 1], port)));
    let (dialled, _) = dial_to("silent.example", answers, |options, port| {
        place = Some(silent(port));
        options.timeout = Some(Duration::from_millis(100));
    });
    assert_eq!(dialled.err(), Some(DialError::Unreachable));
}
