"""A stop with very many sessions: every client is told and closed in order, within the drain time."""

import resource
import signal
import time

import pytest

from harness.crowd import Crowd
from harness.listener import Listener
from harness.wire import BIND, HEADER, Closed, Wire, stream_error

SESSIONS = 18_000
# They connect so many at a time: no more than the backlog holds.
BATCH = 1_000
# Loopback addresses, so that no limit of one address or its ports is met.
SOURCES = [f"127.0.1.{number}" for number in range(1, 21)]
LOGIN_SECONDS = 30
DRAIN_SECONDS = 10
# What a loaded machine may need to notice the end of the process.
SLACK_SECONDS = 5
ANONYMOUS = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>"
LOGIN = HEADER + ANONYMOUS + HEADER
BOUND = BIND.format("").encode()
SECTIONS = {"auth": {"methods": ["anonymous"]}, "auth.anonymous": {}}


def log_in(wire):
    wire.send(LOGIN)
    wire.until("<bind ")
    wire.send(BOUND)
    wire.until("</iq>")


def sessions_of(start_server, sessions, **runtime):
    server = start_server(listeners=[Listener()], sections=SECTIONS | {"runtime": runtime})
    crowds = []
    for begun in range(0, sessions, BATCH):
        size = min(BATCH, sessions - begun)
        crowd = Crowd(server.listeners[0].address, size, said=LOGIN, sources=SOURCES)
        assert crowd.until(lambda: len(crowd.with_answer(b"<bind ")) == size, LOGIN_SECONDS)
        for member in crowd.members:
            member.socket.send(BOUND)
        assert crowd.until(lambda: len(crowd.with_answer(b"</iq>")) == size, LOGIN_SECONDS)
        crowds.append(crowd)
    return server, crowds


@pytest.mark.timeout(240)
def test_18000_sessions_are_drained_in_time(start_server, closing):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > SESSIONS, "raise the limit of open files (tests/interop/run does)"
    server, crowds = sessions_of(start_server, SESSIONS, drain_ms=DRAIN_SECONDS * 1000)
    assert server.status()["sessions"] == SESSIONS
    server.signal(signal.SIGTERM)
    begun = time.monotonic()
    seconds = watch(crowds)
    # As polite clients, these close once they are told; so the end comes with the last of them.
    assert server.ended_within(DRAIN_SECONDS + SLACK_SECONDS)
    assert server.child.returncode == 0
    assert time.monotonic() - begun < DRAIN_SECONDS + SLACK_SECONDS
    members = [member for crowd in crowds for member in crowd.members]
    told = [member for member in members if stream_error(member.seen.decode()) == "system-shutdown"]
    ended = [member for member in told if member.seen.endswith(b"</stream:stream>")]
    assert (len(told), len(ended)) == (SESSIONS, SESSIONS)
    # Spread: no fifth of the time sees most of them.
    moments = sorted(moment - begun for moment in seconds)
    print(f"first {moments[0]:.2f} s, median {moments[SESSIONS // 2]:.2f} s, last {moments[-1]:.2f} s")
    window = DRAIN_SECONDS / 5
    most = max(sum(at <= moment < at + window for moment in moments) for at in moments[:: SESSIONS // 20])
    assert most < SESSIONS / 2, most
    for crowd in crowds:
        crowd.close()


def watch(crowds):
    """Handles what comes on all of them until all are closed; the moment at which each was."""
    moments = []
    deadline = time.monotonic() + DRAIN_SECONDS + SLACK_SECONDS
    while any(crowd.selector.get_map() for crowd in crowds) and time.monotonic() < deadline:
        for crowd in crowds:
            for key, _ in crowd.selector.select(0.005):
                crowd.handle(key.data)
                if key.data.closed:
                    key.data.socket.close()
                    moments.append(time.monotonic())
    return moments


def test_a_few_sessions_end_at_once(start_server):
    server, crowds = sessions_of(start_server, 50, drain_ms=DRAIN_SECONDS * 1000)
    server.signal(signal.SIGTERM)
    begun = time.monotonic()
    assert len(watch(crowds)) == 50
    assert server.ended_within(DRAIN_SECONDS)
    assert time.monotonic() - begun < DRAIN_SECONDS / 2


def test_who_does_not_close_is_cut_at_the_deadline(start_server, closing):
    server = start_server(listeners=[Listener()], sections=SECTIONS | {"runtime": {"drain_ms": 1_000}})
    wire = closing(Wire(server.listeners[0].address))
    log_in(wire)
    server.signal(signal.SIGTERM)
    # Reads nothing, says nothing: the server goes all the same.
    assert server.ended_within(1 + SLACK_SECONDS)
    assert server.child.returncode == 0
    assert stream_error(wire.to_end()) == "system-shutdown"
    assert "the drain time is over" in server.log()


def test_a_second_signal_ends_at_once(start_server, closing):
    server = start_server(listeners=[Listener()], sections=SECTIONS | {"runtime": {"drain_ms": 60_000}})
    wire = closing(Wire(server.listeners[0].address))
    log_in(wire)
    server.signal(signal.SIGTERM)
    wire.until("</stream:stream>")
    server.signal(signal.SIGINT)
    assert server.ended_within(2), "the second signal"
    assert server.child.returncode == 1


def test_nobody_comes_in_while_it_stops(start_server, closing):
    server = start_server(listeners=[Listener()], sections=SECTIONS | {"runtime": {"drain_ms": 3_000}})
    wire = closing(Wire(server.listeners[0].address))
    log_in(wire)
    server.signal(signal.SIGTERM)
    wire.until("</stream:stream>")
    with pytest.raises((ConnectionError, Closed)):
        Wire(server.listeners[0].address).open()
