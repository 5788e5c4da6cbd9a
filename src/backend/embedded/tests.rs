//! The store as its users see it: order, groups, durability, other processes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use std::time::Instant;

use super::worker::GROUP_REQUESTS_MAX;
use super::*;
use crate::base::data_dir::tests::Scratch;
use crate::store::conformance::id;
use crate::store::conformance::scram;
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;

fn create(user: &str) -> Request {
    Request::Create {
        id: id(user),
        credentials: scram(user),
        created_at: 1,
    }
}

#[test]
fn what_was_acknowledged_is_there_after_reopening() {
    let scratch = Scratch::new("reopen");
    let data = scratch.path().join("data");
    let store = Store::open(&data).expect("made");
    assert!(matches!(
        store.handle().call(create("romeo")),
        Ok(Response::Done)
    ));
    store.close();
    assert_eq!(fs::metadata(&data).expect("there").mode() & 0o777, 0o700);
    assert_eq!(
        fs::metadata(data.join(FILE_NAME)).expect("there").mode() & 0o777,
        0o600
    );
    let store = Store::open(&data).expect("reopened");
    for file in fs::read_dir(&data).expect("a folder") {
        let file = file.expect("readable");
        let mode = file.metadata().expect("there").mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
    let lookup = store.handle().call(Request::Lookup { id: id("romeo") });
    assert!(matches!(lookup, Ok(Response::Credentials(Some(_)))));
    assert!(matches!(
        store.handle().call(create("romeo")),
        Ok(Response::AlreadyExists)
    ));
}

#[test]
fn every_request_is_answered_once_and_in_order() {
    let scratch = Scratch::new("order");
    let store = Store::open(scratch.path()).expect("made");
    let handle = store.handle();
    let (sender, answers) = crossbeam_channel::unbounded();
    let ask = |number: usize, request: Request| {
        let sender = sender.clone();
        let reply = move |result| sender.send((number, result)).expect("the test listens");
        handle
            .submit_waiting(request, Box::new(reply))
            .expect("open");
    };
    // Reads between writes of the same account: each sees exactly what came before it.
    for round in 0..500 {
        let user = format!("u{round}");
        ask(round * 4, Request::Exists { id: id(&user) });
        ask(round * 4 + 1, create(&user));
        ask(round * 4 + 2, Request::Exists { id: id(&user) });
        ask(round * 4 + 3, create(&user));
    }
    store.close();
    drop(sender);
    let answers: Vec<_> = answers.iter().collect();
    assert_eq!(answers.len(), 2000);
    let mut last = vec![None; 500];
    for (number, answer) in answers {
        // What concerns other accounts may come before or behind.
        let before = last[number / 4].replace(number);
        assert_eq!(before, number.checked_sub(1).filter(|_| number % 4 > 0));
        let as_expected = match number % 4 {
            0 => matches!(answer, Ok(Response::Exists(false))),
            1 => matches!(answer, Ok(Response::Done)),
            2 => matches!(answer, Ok(Response::Exists(true))),
            _ => matches!(answer, Ok(Response::AlreadyExists)),
        };
        assert!(as_expected, "{number}: {answer:?}");
    }
}

#[test]
fn one_bad_request_does_not_fail_its_neighbours() {
    let scratch = Scratch::new("neighbours");
    let store = Store::open(scratch.path()).expect("made");
    let (sender, answers) = crossbeam_channel::unbounded();
    let (release, released) = crossbeam_channel::bounded::<()>(1);
    let handle = store.handle();
    // Holds the thread, so that the rest becomes one group.
    let hold = move |_| released.recv().expect("the test releases");
    handle
        .submit(Request::Count { host: None }, Box::new(hold))
        .expect("room");
    let too_long = crate::proto::sasl::keys::Credentials::Scram {
        sha1: Some(crate::proto::sasl::keys::ScramKeys {
            salt: vec![0; 300].into(),
            iterations: 1,
            stored_key: Box::from([0; 20]),
            server_key: Box::from([0; 20]),
        }),
        sha256: None,
        sha512: None,
    };
    let bad = Request::Create {
        id: id("bad"),
        credentials: too_long,
        created_at: 1,
    };
    for request in [create("before"), bad, create("behind")] {
        let sender = sender.clone();
        let reply = move |result| sender.send(result).expect("the test listens");
        handle.submit(request, Box::new(reply)).expect("room");
    }
    release.send(()).expect("held");
    assert!(matches!(answers.recv(), Ok(Ok(Response::Done))));
    assert!(matches!(answers.recv(), Ok(Err(StoreError::Failed { .. }))));
    assert!(matches!(answers.recv(), Ok(Ok(Response::Done))));
    assert!(matches!(
        handle.call(Request::Count { host: None }),
        Ok(Response::Count(2))
    ));
}

#[test]
fn a_full_queue_and_a_closed_store_are_said() {
    let scratch = Scratch::new("full");
    let store = Store::open(scratch.path()).expect("made");
    let handle = store.handle();
    let (started, has_started) = crossbeam_channel::unbounded();
    let (release, released) = crossbeam_channel::bounded::<()>(1);
    let hold = move |_| {
        started.send(()).expect("the test listens");
        released.recv().expect("the test releases");
    };
    handle
        .submit(Request::Count { host: None }, Box::new(hold))
        .expect("room");
    has_started.recv().expect("held");
    for _ in 0..QUEUE_REQUESTS_MAX {
        handle
            .submit(Request::Count { host: None }, Box::new(|_| ()))
            .expect("room");
    }
    let never = |_| panic!("a refused request has no answer");
    let refused = handle.submit(Request::Count { host: None }, Box::new(never));
    assert_eq!(refused, Err(Refused::Busy));
    release.send(()).expect("held");
    store.close();
    let refused = handle.submit(Request::Count { host: None }, Box::new(never));
    assert_eq!(refused, Err(Refused::Stopped));
    assert!(matches!(
        handle.call(Request::Count { host: None }),
        Err(StoreError::Stopped)
    ));
}

#[test]
fn a_panicking_reply_does_not_end_the_store() {
    let scratch = Scratch::new("panic");
    let store = Store::open(scratch.path()).expect("made");
    let reply = Box::new(|_| panic!("on purpose"));
    store
        .handle()
        .submit(Request::Count { host: None }, reply)
        .expect("room");
    assert!(matches!(
        store.handle().call(create("romeo")),
        Ok(Response::Done)
    ));
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "bounds the wait for an event of another thread"
)]
fn changes_of_another_process_are_noticed() {
    let scratch = Scratch::new("outside");
    let server = Store::open(scratch.path()).expect("made");
    let handle = server.handle();
    assert!(matches!(handle.call(create("own")), Ok(Response::Done)));
    let seen = handle.changed_outside();
    assert!(matches!(
        handle.call(Request::Count { host: None }),
        Ok(Response::Count(1))
    ));
    assert_eq!(
        handle.changed_outside(),
        seen,
        "its own writes are none of another's"
    );

    let command_line = Store::open(scratch.path()).expect("opened beside it");
    assert!(matches!(
        command_line.handle().call(create("other")),
        Ok(Response::Done)
    ));
    // With the next request at once.
    let found = handle.call(Request::Exists { id: id("other") });
    assert!(matches!(found, Ok(Response::Exists(true))));
    assert_ne!(handle.changed_outside(), seen);
    // And without one after a moment: this is a wait for an event, bounded in case it never comes.
    let seen = handle.changed_outside();
    assert!(matches!(
        command_line.handle().call(create("third")),
        Ok(Response::Done)
    ));
    let limit = Instant::now() + Duration::from_secs(20);
    while handle.changed_outside() == seen {
        assert!(Instant::now() < limit, "an idle store never looked");
        std::thread::yield_now();
    }
}

#[test]
fn two_processes_write_at_the_same_time() {
    let scratch = Scratch::new("beside");
    let stores = [
        Store::open(scratch.path()).expect("made"),
        Store::open(scratch.path()).expect("opened beside it"),
    ];
    std::thread::scope(|scope| {
        for (number, store) in stores.iter().enumerate() {
            let handle = store.handle();
            scope.spawn(move || {
                for account in 0..200 {
                    let answer = handle.call(create(&format!("{number}-{account}")));
                    assert!(matches!(answer, Ok(Response::Done)), "{answer:?}");
                }
            });
        }
    });
    let count = stores[0].handle().call(Request::Count { host: None });
    assert!(matches!(count, Ok(Response::Count(400))));
}

/// Longer than any test takes: what is answered did not wait for it.
const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn a_window_is_cut_short_by_a_full_group_and_by_the_end() {
    let scratch = Scratch::new("window");
    let store = Store::open_with(scratch.path(), NEVER).expect("made");
    let handle = store.handle();
    let found = handle.call(Request::Lookup { id: id("romeo") });
    assert!(
        matches!(found, Ok(Response::Credentials(None))),
        "what only reads does not wait: {found:?}"
    );
    let (sender, answers) = crossbeam_channel::unbounded();
    let ask = |user: String| {
        let sender = sender.clone();
        let reply = Box::new(move |result| drop(sender.send(result)));
        handle.submit_waiting(create(&user), reply).expect("taken");
    };
    for n in 0..GROUP_REQUESTS_MAX {
        ask(format!("user{n}"));
    }
    for _ in 0..GROUP_REQUESTS_MAX {
        let written = answers.recv().expect("answered");
        assert!(matches!(written, Ok(Response::Done)), "{written:?}");
    }
    ask("juliet".to_owned());
    // What only reads does not wait either, unless it has to see what is written.
    let read = |request: Request| {
        let sender = sender.clone();
        let reply = Box::new(move |result| drop(sender.send(result)));
        handle.submit_waiting(request, reply).expect("taken");
    };
    read(Request::Lookup { id: id("juliet") });
    read(Request::Count { host: None });
    let found = handle.call(Request::Lookup { id: id("romeo") });
    assert!(
        matches!(found, Ok(Response::Credentials(None))),
        "{found:?}"
    );
    let silence = answers.try_recv();
    assert!(silence.is_err(), "it waits for others: {silence:?}");
    store.close();
    let next = || answers.recv().expect("answered");
    assert!(matches!(next(), Ok(Response::Done)));
    assert!(matches!(next(), Ok(Response::Credentials(Some(_)))));
    let all = GROUP_REQUESTS_MAX as u64 + 1;
    assert!(matches!(next(), Ok(Response::Count(count)) if count == all));
}

fn was_here(user: &str) -> Request {
    Request::Data(DataRequest::Put {
        id: id(user),
        area: Area::Last,
        thing: (Box::default(), Box::from(*b"then")),
    })
}

fn when(user: &str) -> Request {
    Request::Data(DataRequest::Value {
        id: id(user),
        area: Area::Last,
        name: Box::default(),
        asker: None,
    })
}

#[test]
fn what_may_wait_holds_up_nobody_and_is_read_as_if_it_did_not() {
    let scratch = Scratch::new("late");
    let store = Store::open(scratch.path()).expect("made");
    let handle = store.handle();
    assert!(matches!(handle.call(create("romeo")), Ok(Response::Done)));
    let (sender, answers) = crossbeam_channel::unbounded();
    let (release, released) = crossbeam_channel::bounded::<()>(1);
    // Holds the thread, so that the rest becomes one group.
    let hold = move |_| released.recv().expect("the test releases");
    handle
        .submit(Request::Count { host: None }, Box::new(hold))
        .expect("room");
    for (name, request) in [
        ("written", was_here("romeo")),
        ("login", Request::Lookup { id: id("romeo") }),
        ("read", when("romeo")),
    ] {
        let sender = sender.clone();
        let reply = move |result| sender.send((name, result)).expect("the test listens");
        handle.submit(request, Box::new(reply)).expect("room");
    }
    release.send(()).expect("held");
    let next = || answers.recv().expect("answered");
    assert!(matches!(
        next(),
        ("login", Ok(Response::Credentials(Some(_))))
    ));
    assert!(matches!(
        next(),
        ("written", Ok(Response::Data(DataResponse::Done)))
    ));
    let ("read", Ok(Response::Data(DataResponse::Value(Some(value))))) = next() else {
        panic!("it is there for whoever asks");
    };
    assert_eq!(&*value, b"then");
}

#[test]
fn what_waits_is_written_when_the_store_closes() {
    let scratch = Scratch::new("late-end");
    let store = Store::open(scratch.path()).expect("made");
    assert!(matches!(
        store.handle().call(create("romeo")),
        Ok(Response::Done)
    ));
    store
        .handle()
        .submit(was_here("romeo"), Box::new(|_| ()))
        .expect("room");
    store.close();
    let store = Store::open(scratch.path()).expect("reopened");
    let found = store.handle().call(when("romeo"));
    assert!(matches!(
        found,
        Ok(Response::Data(DataResponse::Value(Some(_))))
    ));
}
