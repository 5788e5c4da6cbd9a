//! Tests of the BOSH machine: requests in, answers out, at chosen times.

use super::body::read;
use super::*;
use crate::xml::scan::Limits;
use crate::xml::scan::Scanner;

fn body(text: &str) -> Result<Body, Condition> {
    read(&mut Scanner::new(), &Limits::default(), text.as_bytes())
}

fn request(rid: u64, payload: &str) -> Body {
    let text = format!(
        "<body rid='{rid}' sid='s' xmlns='http://jabber.org/protocol/httpbind'>{payload}</body>"
    );
    body(&text).expect("a body")
}

const OPTIONS: Options = Options {
    inactivity_s: 30,
    wait_max_s: 60,
    pause_max_s: 120,
    acks: false,
};

fn session(hold: u64) -> Session<u32> {
    session_with(hold, OPTIONS)
}

fn session_with(hold: u64, options: Options) -> Session<u32> {
    let text = format!(
        "<body rid='100' to='a' wait='60' hold='{hold}' \
         xmlns='http://jabber.org/protocol/httpbind'/>"
    );
    Session::new("s".into(), &body(&text).expect("a body"), options, 0)
}

/// Hands in a request, takes what is in order, and gives what is answered.
fn go(
    session: &mut Session<u32>,
    rid: u64,
    payload: &str,
    now_ms: u64,
) -> (Vec<String>, Vec<(u32, String)>) {
    let mut answers = Vec::new();
    let repeated = session.request(request(rid, payload), rid as u32, now_ms);
    if let Some((from, answer)) = repeated.expect("within the window") {
        answers.push((from, String::from_utf8(answer).expect("UTF-8")));
    }
    let mut taken = Vec::new();
    while let Some(body) = session.next(now_ms).expect("in order") {
        taken.push(String::from_utf8(body.payload).expect("UTF-8"));
    }
    session.answers(now_ms, false, |from, answer| {
        answers.push((from, String::from_utf8(answer).expect("UTF-8")));
    });
    (taken, answers)
}

#[test]
fn what_a_body_says() {
    let text = "<?xml version='1.0'?> <body rid='7' sid='x' wait='5' hold='1' type='terminate' \
                xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='true' xml:lang='de' key='k' newkey='n' \
                xmlns='http://jabber.org/protocol/httpbind'><iq xmlns='jabber:client'/> </body> ";
    let body = body(text).expect("a body");
    assert_eq!((body.rid, body.sid.as_deref()), (7, Some("x")));
    assert_eq!((body.wait, body.hold, body.pause), (Some(5), Some(1), None));
    assert!(body.terminate && body.restart);
    assert_eq!(body.payload, b"<iq xmlns='jabber:client'/> ");
    assert_eq!(body.scope.prefix("xmpp"), Some("urn:xmpp:xbosh"));
    assert_eq!(body.scope.lang(), Some("de"));
}

#[test]
fn what_is_no_body() {
    for bad in [
        "",
        "<body rid='1'/>",
        "<body xmlns='http://jabber.org/protocol/httpbind'/>",
        "<body rid='x' xmlns='http://jabber.org/protocol/httpbind'/>",
        "<body rid='9007199254740992' xmlns='http://jabber.org/protocol/httpbind'/>",
        "<body rid='1' wait='-1' xmlns='http://jabber.org/protocol/httpbind'/>",
        "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><a></body>",
        "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'/><body/>",
        "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><!-- --></body>",
        "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><a:b/></body>",
    ] {
        assert_eq!(body(bad).err(), Some(Condition::BadRequest), "{bad}");
    }
}

#[test]
fn a_request_waits_until_there_is_something_or_another_one() {
    let mut session = session(1);
    let (_, answers) = go(&mut session, 100, "", 0);
    assert!(answers.is_empty());
    session.write().extend_from_slice(b"<a/>");
    let (_, answers) = go(&mut session, 101, "<x/>", 10);
    assert_eq!(answers.len(), 1);
    assert!(answers[0].1.contains("sid='s'") && answers[0].1.ends_with("><a/></body>"));
    let (_, answers) = go(&mut session, 102, "", 20);
    assert_eq!(answers.len(), 1, "the older one is given back");
    assert_eq!(answers[0].0, 101);
    assert_eq!(session.due_ms(), 60_020);
    let mut late = Vec::new();
    session.answers(60_020, false, |from, _| late.push(from));
    assert_eq!(late, [102]);
    assert!(!session.is_inactive(60_020 + 29_999));
    assert!(session.is_inactive(60_020 + 30_000));
}

#[test]
fn content_is_taken_in_order_and_once() {
    let mut session = session(1);
    go(&mut session, 100, "", 0);
    let (taken, _) = go(&mut session, 102, "<c/>", 1);
    assert!(taken.is_empty());
    let (taken, answers) = go(&mut session, 101, "<b/>", 2);
    assert_eq!(taken, ["<b/>", "<c/>"]);
    assert_eq!(answers.len(), 1, "one goes on waiting");
    // Again, since the connection broke: the same answer, and nothing taken.
    let (taken, again) = go(&mut session, 101, "<b/>", 3);
    assert!(taken.is_empty());
    assert_eq!(again[0].1, answers[0].1);
    let (_, straggler) = go(&mut session, 90, "", 4);
    assert!(straggler[0].1.contains("item-not-found"));
    let refused = session.request(request(120, ""), 0, 4);
    assert_eq!(
        refused.err().map(|(_, why)| why),
        Some(Condition::ItemNotFound)
    );
}

#[test]
fn a_request_that_waits_is_answered_with_its_repetitions() {
    let mut session = session(1);
    go(&mut session, 100, "", 0);
    assert_eq!(session.request(request(100, ""), 7, 1), Ok(None));
    session.write().extend_from_slice(b"<a/>");
    let mut to = Vec::new();
    session.answers(2, false, |from, _| to.push(from));
    assert_eq!(to, [100, 7]);
}

/// What comes for a client whose connection is gone waits for the next one, or goes back.
#[test]
fn a_request_whose_connection_is_gone_takes_no_content() {
    let mut session = session(1);
    session.write().extend_from_slice(b"<f/>");
    go(&mut session, 100, "", 0);
    assert_eq!(go(&mut session, 101, "", 0).1, []);
    session.lost(&101, 2_000);
    session.write().extend_from_slice(b"<m/>");
    let mut answers = Vec::new();
    session.answers(2_000, false, |from, _| answers.push(from));
    assert_eq!((answers, session.outbound_bytes()), (Vec::new(), 4));
    // It is away from then on, not from the end of a wait of nobody.
    assert_eq!(session.due_ms(), 32_000);
    assert!(!session.is_inactive(31_999) && session.is_inactive(32_000));
    // Whoever asks again gets it.
    let (_, answers) = go(&mut session, 101, "", 3_000);
    assert_eq!(answers.len(), 1);
    assert!(
        answers[0].0 == 101 && answers[0].1.contains("<m/>"),
        "{answers:?}"
    );
}

#[test]
fn one_of_several_connections_is_gone() {
    let mut session = session(1);
    session.write().extend_from_slice(b"<f/>");
    go(&mut session, 100, "", 0);
    go(&mut session, 101, "", 0);
    assert_eq!(
        session.request(request(101, ""), 7, 0).expect("within"),
        None
    );
    session.lost(&101, 0);
    session.lost(&55, 0);
    assert_eq!(session.due_ms(), 60_000);
    session.write().extend_from_slice(b"<m/>");
    let mut answers = Vec::new();
    session.answers(0, false, |from, _| answers.push(from));
    assert_eq!(answers, [7]);
}

#[test]
fn what_nobody_waits_for_is_left_at_the_end() {
    let mut session = session(1);
    session.write().extend_from_slice(b"<f/>");
    go(&mut session, 100, "", 0);
    go(&mut session, 101, "", 0);
    session.lost(&101, 0);
    session.write().extend_from_slice(b"<m/>");
    session.end(None);
    session.answers(0, true, |_, _| panic!("nobody is there"));
    assert_eq!(session.take_outbound(), b"<m/>");
}

/// A pause of no time would end the session before its client could say more.
#[test]
fn a_pause_of_nothing_is_none() {
    for (pause, away_ms) in [(0, 30_000), (5, 5_000), (500, 120_000)] {
        let mut session = session(1);
        go(&mut session, 100, "", 0);
        let text = format!(
            "<body rid='101' sid='s' pause='{pause}' xmlns='http://jabber.org/protocol/httpbind'/>"
        );
        let request = session.request(body(&text).expect("a body"), 1, 0);
        assert_eq!(request.expect("within"), None);
        assert!(session.next(0).is_ok());
        session.answers(0, true, |_, _| {});
        assert_eq!(session.due_ms(), away_ms, "{pause}");
    }
}

#[test]
fn keys() {
    let hash = |text: &str| {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        hash.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let (k2, k1) = (hash("seed"), hash(&hash("seed")));
    let keyed = |rid, attributes: &str| {
        let text =
            format!("<body rid='{rid}' {attributes} xmlns='http://jabber.org/protocol/httpbind'/>");
        body(&text).expect("a body")
    };
    let mut session = session(1);
    let mut give = |rid, attributes: &str| {
        session
            .request(keyed(rid, attributes), 0, 0)
            .expect("within");
        let result = session.next(0).map(drop);
        session.answers(0, true, |_, _| {});
        result
    };
    assert_eq!(give(100, &format!("newkey='{}'", hash(&k1))), Ok(()));
    assert_eq!(give(101, &format!("key='{k1}'")), Ok(()));
    assert_eq!(give(102, &format!("key='{k2}'")), Ok(()));
    assert_eq!(
        give(103, &format!("key='{k2}'")),
        Err(Condition::ItemNotFound)
    );
}

/// Whoever has seen no more of a session than its name gets nothing by a number that was used.
#[test]
fn a_repetition_shows_the_same_key() {
    let keyed = |rid, attributes: &str| {
        let text =
            format!("<body rid='{rid}' {attributes} xmlns='http://jabber.org/protocol/httpbind'/>");
        body(&text).expect("a body")
    };
    let refused = |repeated: Result<Repeated<u32>, _>| {
        let (from, answer) = repeated.expect("the session lives").expect("an answer");
        assert_eq!(from, 2);
        String::from_utf8(answer)
            .expect("UTF-8")
            .contains("item-not-found")
    };
    let mut session = session(1);
    let first = keyed(100, "newkey='b1d5781111d84f7b3fe45a0852e59758cd7a87e5'");
    assert_eq!(session.request(first, 0, 0).expect("within"), None);
    assert!(session.next(0).is_ok());
    // While it waits, and when it was answered.
    assert!(refused(session.request(keyed(100, "key='x'"), 2, 0)));
    session.answers(0, true, |from, _| assert_eq!(from, 0));
    assert!(refused(session.request(keyed(100, ""), 2, 0)));
    let same = keyed(100, "newkey='b1d5781111d84f7b3fe45a0852e59758cd7a87e5'");
    assert!(matches!(session.request(same, 1, 0), Ok(Some((1, _)))));
}

#[test]
fn who_polls_must_not_do_it_too_often() {
    let mut session = session(0);
    session.write().extend_from_slice(b"<f/>");
    go(&mut session, 100, "", 1000);
    let (_, answers) = go(&mut session, 101, "", 2000);
    assert_eq!(answers.len(), 1);
    session.request(request(102, ""), 0, 2500).expect("within");
    assert_eq!(session.next(2500).err(), Some(Condition::PolicyViolation));
}

#[test]
fn the_end_is_said_once_with_what_is_left() {
    let mut session = session(1);
    go(&mut session, 100, "", 0);
    session.write().extend_from_slice(b"<e/>");
    session.end(Some(Condition::RemoteStreamError));
    let mut said = Vec::new();
    session.answers(1, false, |_, answer| {
        said.push(String::from_utf8(answer).expect("UTF-8"))
    });
    assert_eq!(
        said,
        [
            "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' \
          condition='remote-stream-error'><e/></body>"
        ]
    );
    assert!(session.is_over());
}

#[test]
fn times_are_the_operators() {
    let options = Options {
        inactivity_s: 5,
        wait_max_s: 20,
        pause_max_s: 40,
        acks: false,
    };
    let mut session = session_with(1, options);
    let (_, answers) = go(&mut session, 100, "", 0);
    assert!(answers.is_empty(), "nothing to say yet");
    assert_eq!(session.due_ms(), 20_000);
    session.write().extend_from_slice(b"<a/>");
    let mut opened = String::new();
    session.answers(0, false, |_, answer| {
        opened = String::from_utf8(answer).expect("UTF-8");
    });
    for part in [" wait='20'", " inactivity='5'", " maxpause='40'"] {
        assert!(opened.contains(part), "{opened}");
    }
    assert!(!opened.contains(" ack="), "{opened}");
    assert!(!session.is_inactive(4999) && session.is_inactive(5000));

    let text = "<body rid='101' sid='s' pause='300' xmlns='http://jabber.org/protocol/httpbind'/>";
    let asked = session.request(body(text).expect("a body"), 101, 1000);
    assert!(asked.expect("within the window").is_none());
    assert!(session.next(1000).expect("in order").is_some());
    session.answers(1000, true, |_, _| {});
    assert!(!session.is_inactive(40_999) && session.is_inactive(41_000));
}

#[test]
fn nothing_overflows_where_times_are_infinite() {
    let options = Options {
        inactivity_s: FOREVER_S,
        wait_max_s: FOREVER_S,
        pause_max_s: FOREVER_S,
        acks: false,
    };
    let text = format!(
        "<body rid='100' to='a' wait='{}' hold='1' xmlns='http://jabber.org/protocol/httpbind'/>",
        u64::MAX
    );
    let mut session: Session<u32> =
        Session::new("s".into(), &body(&text).expect("a body"), options, 0);
    assert!(!session.is_inactive(u64::from(u32::MAX)));
    let (_, answers) = go(&mut session, 100, "", 7);
    assert!(answers.is_empty());
    assert_eq!(session.due_ms(), FOREVER_S * 1000 + 7);
    session.write().extend_from_slice(b"<a/>");
    let mut opened = String::new();
    session.answers(7, false, |_, answer| {
        opened = String::from_utf8(answer).expect("UTF-8");
    });
    assert!(opened.contains(" maxpause='"), "{opened}");
    assert!(
        !opened.contains("inactivity"),
        "no limit has no number: {opened}"
    );
}

#[test]
fn answers_acknowledge_what_has_come() {
    let mut session = session_with(
        1,
        Options {
            acks: true,
            ..OPTIONS
        },
    );
    go(&mut session, 100, "", 0);
    session.write().extend_from_slice(b"<a/>");
    let mut said = Vec::new();
    let mut take = |session: &mut Session<u32>| {
        session.answers(0, false, |from, answer| {
            said.push((from, String::from_utf8(answer).expect("UTF-8")));
        });
    };
    take(&mut session);
    go(&mut session, 101, "", 0);
    session.write().extend_from_slice(b"<b/>");
    take(&mut session);
    // 102 waits; 103 has come too when it is answered.
    assert_eq!(go(&mut session, 102, "", 0).1, []);
    let (_, answers) = go(&mut session, 103, "", 0);
    said.extend(answers);
    let acks = said.iter().map(|(from, answer)| {
        let ack = answer.split(" ack='").nth(1);
        (*from, ack.and_then(|rest| rest.split('\'').next()))
    });
    let expected = [(100, Some("100")), (101, None), (102, Some("103"))];
    assert_eq!(acks.collect::<Vec<_>>(), expected);
}
