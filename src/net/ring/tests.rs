//! The ring against real sockets of this machine.

#![expect(
    clippy::disallowed_methods,
    reason = "the other end is a thread or a socket of the test"
)]

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use super::*;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(5));

fn ring() -> (Ring, Buffers) {
    Ring::new(Arc::new(Waker::new().expect("eventfd"))).expect("io_uring")
}

fn next(ring: &mut Ring) -> Event {
    for _ in 0..8 {
        if let Some(event) = ring.next_event() {
            return event;
        }
        ring.wait(PATIENCE).expect("wait");
    }
    panic!("nothing happened");
}

fn accepted(ring: &mut Ring) -> (TcpStream, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    ring.accept(3, listener.as_raw_fd());
    ring.wait(Some(Duration::ZERO)).expect("submit");
    let client = TcpStream::connect(address).expect("connect");
    let Event::Accepted {
        listener: 3,
        result: Ok((socket, peer)),
    } = next(ring)
    else {
        panic!("not accepted");
    };
    assert_eq!(peer, client.local_addr().expect("address"));
    (client, socket)
}

#[test]
fn accepts_receives_and_sends() {
    let (mut ring, mut buffers) = ring();
    let (mut client, socket) = accepted(&mut ring);
    let key = Key {
        slot: 7,
        generation: 9,
    };
    ring.receive(key, socket.as_raw_fd(), Reception::Many);
    client.write_all(b"hello").expect("write");
    let Event::Received {
        key: who,
        outcome: Received::Bytes(id, length),
        armed,
    } = next(&mut ring)
    else {
        panic!("no bytes");
    };
    assert_eq!(
        (who, armed, &*buffers.bytes(&id, length)),
        (key, true, &b"hello"[..])
    );
    buffers.give_back(id);

    ring.send(key, socket.as_raw_fd(), b"xxworld".to_vec(), 2);
    let Event::Sent {
        key: who,
        buffer,
        from,
        result,
    } = next(&mut ring)
    else {
        panic!("not sent");
    };
    assert_eq!(
        (who, from, result.expect("sent"), buffer.len()),
        (key, 2, 5, 7)
    );
    let mut got = [0; 5];
    client.read_exact(&mut got).expect("read");
    assert_eq!(&got, b"world");

    drop(client);
    let Event::Received {
        outcome: Received::End,
        armed: false,
        ..
    } = next(&mut ring)
    else {
        panic!("no end");
    };
}

#[test]
fn one_read_of_a_given_size() {
    let (mut ring, mut buffers) = ring();
    let (mut client, socket) = accepted(&mut ring);
    let key = Key {
        slot: 1,
        generation: 1,
    };
    client.write_all(b"abcdef").expect("write");
    ring.receive(key, socket.as_raw_fd(), Reception::Once(4));
    let Event::Received {
        outcome: Received::Bytes(id, length),
        armed: false,
        ..
    } = next(&mut ring)
    else {
        panic!("no bytes");
    };
    assert_eq!(&*buffers.bytes(&id, length), b"abcd");
}

#[test]
fn a_wake_ends_the_sleep() {
    let waker = Arc::new(Waker::new().expect("eventfd"));
    let (mut ring, _buffers) = Ring::new(Arc::clone(&waker)).expect("io_uring");
    for _ in 0..3 {
        waker.park();
        let other = Arc::clone(&waker);
        let thread = std::thread::spawn(move || other.wake());
        assert!(matches!(next(&mut ring), Event::Woken));
        thread.join().expect("joined");
    }
}

/// A shard that sleeps, and one that has put something into its inbox.
#[test]
fn a_message_ends_the_sleep_of_another_ring() {
    let waker = Arc::new(Waker::new().expect("eventfd"));
    let (sleeper, asleep) = (Arc::clone(&waker), std::sync::mpsc::channel());
    let thread = std::thread::spawn(move || {
        let (mut ring, _buffers) = Ring::new(Arc::clone(&sleeper)).expect("io_uring");
        for _ in 0..3 {
            sleeper.park();
            asleep
                .0
                .send(ring.takes_messages())
                .expect("somebody rouses");
            assert!(matches!(next(&mut ring), Event::Woken));
        }
    });
    let (mut rouser, _buffers) = ring();
    rouser.wait(Some(Duration::ZERO)).expect("submit");
    for _ in 0..3 {
        let by_message = asleep.1.recv().expect("it parks");
        rouser.rouse(1, &waker);
        rouser.rouse(1, &waker);
        assert_eq!(rouser.ring.submission().len(), usize::from(by_message));
        rouser.wait(Some(Duration::ZERO)).expect("submit");
        assert!(rouser.next_event().is_none(), "nothing failed");
    }
    thread.join().expect("it was woken each time");
}

#[test]
fn who_cannot_be_told_is_named() {
    let waker = Waker::new().expect("eventfd");
    waker.sleeps_in(std::fs::File::open("/dev/null").expect("a file").into());
    let (mut rouser, _buffers) = ring();
    waker.park();
    rouser.rouse(7, &waker);
    assert!(matches!(next(&mut rouser), Event::Unheard(7)));
}

#[test]
fn every_buffer_comes_round_again() {
    let (mut ring, mut buffers) = ring();
    let (mut client, socket) = accepted(&mut ring);
    let key = Key {
        slot: 1,
        generation: 1,
    };
    ring.receive(key, socket.as_raw_fd(), Reception::Many);
    for round in 0..2000u32 {
        client.write_all(&round.to_be_bytes()).expect("write");
        let Event::Received {
            outcome: Received::Bytes(id, 4),
            armed: true,
            ..
        } = next(&mut ring)
        else {
            panic!("no bytes in round {round}");
        };
        assert_eq!(&*buffers.bytes(&id, 4), round.to_be_bytes());
        buffers.give_back(id);
    }
}

#[test]
fn cancelled_accepts_leave_the_socket_listening() {
    let (mut ring, _buffers) = ring();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    ring.accept(3, listener.as_raw_fd());
    ring.accept(3, listener.as_raw_fd());
    ring.wait(Some(Duration::ZERO)).expect("submit");
    ring.cancel_accepts(listener.as_raw_fd());
    for _ in 0..2 {
        let Event::Accepted { result, .. } = next(&mut ring) else {
            panic!("not an accept");
        };
        let error = result.expect_err("cancelled");
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
    }
    // Whoever else holds the socket goes on accepting.
    let client = TcpStream::connect(address).expect("still listening");
    let (_, peer) = listener.accept().expect("accepted");
    assert_eq!(peer, client.local_addr().expect("address"));
}

#[test]
fn a_cancelled_receive_ends_behind_what_came_before() {
    let (mut ring, mut buffers) = ring();
    let (mut client, socket) = accepted(&mut ring);
    let key = Key {
        slot: 5,
        generation: 2,
    };
    ring.receive(key, socket.as_raw_fd(), Reception::Many);
    ring.wait(Some(Duration::ZERO)).expect("submit");
    client.write_all(b"before").expect("write");
    ring.cancel_receive(key);
    let mut seen = Vec::new();
    loop {
        match next(&mut ring) {
            Event::Received {
                outcome: Received::Bytes(id, length),
                armed: true,
                ..
            } => {
                seen.extend_from_slice(buffers.bytes(&id, length));
                buffers.give_back(id);
            }
            Event::Received {
                outcome: Received::Cancelled,
                armed: false,
                ..
            } => break,
            other => panic!("{other:?}"),
        }
    }
    // What came too late for it is there for the next.
    client.write_all(b" behind").expect("write");
    ring.receive(key, socket.as_raw_fd(), Reception::Many);
    while seen != b"before behind" {
        let Event::Received {
            outcome: Received::Bytes(id, length),
            ..
        } = next(&mut ring)
        else {
            panic!("no bytes");
        };
        seen.extend_from_slice(buffers.bytes(&id, length));
        buffers.give_back(id);
    }
    // One that is not there cannot be cancelled, and nothing comes of it.
    drop(client);
    let Event::Received {
        outcome: Received::End,
        ..
    } = next(&mut ring)
    else {
        panic!("no end");
    };
    ring.cancel_receive(key);
    ring.wait(Some(Duration::ZERO)).expect("submit");
    assert!(ring.next_event().is_none());
}
