"""Connections that say nothing, or never enough: state_timeout ends them all."""

import time

import pytest

from harness.crowd import Crowd
from harness.listener import Listener
from harness.ports import wait_readable
from harness.wire import HEADER, Wire, stream_error

ACCOUNTS = {"juliet": "secret"}
TIMEOUT_MS = 1500
# After the timeout: a thousand good-byes on a loaded machine.
SLACK_SECONDS = 5
SILENT = 1000
DRIP_SECONDS = 0.1
# How long the server waits for the other side's end.
LINGER_SECONDS = 5


@pytest.fixture
def server(start_server):
    return start_server(listeners=[Listener(options={"state_timeout": TIMEOUT_MS})], accounts=ACCOUNTS)


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "said",
    [b"", b"<", HEADER[:50], HEADER, HEADER + b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"],
    ids=["nothing", "one byte", "half a header", "a header", "half an auth"],
)
def test_a_thousand_silent_connections_are_closed(server, closing, said):
    address = server.listeners[0].address
    started = time.monotonic()
    crowd = closing(Crowd(address, SILENT, said))
    connected = time.monotonic()
    # A client that speaks is served meanwhile, and stays.
    speaker = closing(Wire(address))
    speaker.login("juliet", "secret")
    assert crowd.until(lambda: len(crowd.refused()) == SILENT, TIMEOUT_MS / 1000 + SLACK_SECONDS)
    assert time.monotonic() - started >= TIMEOUT_MS / 1000
    assert time.monotonic() - connected < TIMEOUT_MS / 1000 + SLACK_SECONDS
    for member in crowd.members:
        assert stream_error(member.seen.decode()) == "connection-timeout"
        assert member.seen.endswith(b"</stream:stream>")
    speaker.ping()
    # The harness itself connects once, and says nothing.
    assert SILENT <= server.ended("timeout") <= SILENT + 1
    crowd.close()
    assert server.becomes(connections=1, seconds=SLACK_SECONDS)


def test_who_never_closes_is_dropped_all_the_same(server, closing):
    """The end of the stream is said; a peer that keeps its side open keeps nothing here."""
    crowd = closing(Crowd(server.listeners[0].address, 50))
    assert crowd.until(lambda: len(crowd.refused()) == 50, TIMEOUT_MS / 1000 + SLACK_SECONDS)
    assert server.becomes(connections=0, seconds=LINGER_SECONDS + SLACK_SECONDS)


def test_bytes_alone_do_not_extend_the_timeout(server, closing):
    wire = closing(Wire(server.listeners[0].address))
    started = time.monotonic()
    for byte in HEADER:
        wire.send(bytes([byte]))
        if wait_readable(wire.socket, DRIP_SECONDS):
            break
    assert stream_error(wire.to_end()) == "connection-timeout"
    assert TIMEOUT_MS / 1000 <= time.monotonic() - started < TIMEOUT_MS / 1000 + SLACK_SECONDS


def test_a_session_may_be_silent(server, closing):
    wire = closing(Wire(server.listeners[0].address))
    wire.login("juliet", "secret")
    assert not wait_readable(wire.socket, 2 * TIMEOUT_MS / 1000), wire.read_more()
    wire.ping()
