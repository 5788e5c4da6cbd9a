"""PROXY headers from a socket: split anywhere, with bytes behind them, bad ones, late ones."""

import socket
import ssl
import time

import pytest

from harness import proxy_header
from harness.listener import Listener
from harness.ports import wait_readable
from harness.wire import FOOTER, HEADER, Wire

# The header's deadline is 1 s; a loaded machine gets some more.
CLOSED_SECONDS = 4
DRIP_SECONDS = 0.2


@pytest.fixture
def server(start_server):
    return start_server(listeners=[Listener(options={"proxy_protocol": True})])


def opens(wire):
    assert "<stream:features" in wire.until("</stream:features>", "<stream:features/>")


# HAProxy itself refuses these, which are in order.
OUR_OWN = {"v1 unknown with addresses", "v2 unspec", "v2 unix stream"}
PORTABLE = [
    pytest.param(kind, marks=[] if kind in OUR_OWN else pytest.mark.portable) for kind in proxy_header.GOOD
]


@pytest.mark.parametrize("kind", PORTABLE)
def test_a_header_and_the_stream_in_one_segment(server, closing, kind):
    wire = closing(Wire(server.listeners[0].address))
    wire.send(proxy_header.GOOD[kind] + HEADER)
    opens(wire)
    wire.send(FOOTER)
    wire.to_end()


@pytest.mark.parametrize("kind", proxy_header.GOOD)
def test_a_header_split_at_every_byte(server, closing, kind):
    """One connection for each place; all first halves go out before any second one."""
    said = proxy_header.GOOD[kind] + HEADER
    splits = range(len(said) + 1)
    wires = [closing(Wire(server.listeners[0].address)) for _ in splits]
    for wire, split in zip(wires, splits):
        wire.send(said[:split])
    witness = closing(Wire(server.listeners[0].address))
    witness.send(said)
    opens(witness)
    for wire, split in zip(wires, splits):
        wire.send(said[split:])
    for wire in wires:
        opens(wire)


@pytest.mark.parametrize("kind", proxy_header.GOOD)
def test_a_header_byte_by_byte(server, closing, kind):
    wire = closing(Wire(server.listeners[0].address))
    for byte in proxy_header.GOOD[kind] + HEADER:
        wire.send(bytes([byte]))
    opens(wire)
    wire.send(FOOTER)
    wire.to_end()


@pytest.mark.portable
def test_a_tls_handshake_in_the_headers_segment(start_server, closing):
    server = start_server(listeners=[Listener("tls", options={"proxy_protocol": True})])
    wire = closing(Wire(server.listeners[0].address))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = server.certificate.context().wrap_bio(incoming, outgoing, server_hostname="localhost")

    def pump(step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                wire.send(outgoing.read())
                incoming.write(wire.read_more())

    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    wire.send(proxy_header.V2_TCP4 + outgoing.read())
    incoming.write(wire.read_more())
    pump(tls.do_handshake)
    tls.write(HEADER)
    answer = b""
    while b"features" not in answer:
        answer += pump(tls.read)


@pytest.mark.parametrize("kind", proxy_header.BAD)
def test_a_bad_header_is_closed_without_a_byte(server, closing, kind):
    wire = closing(Wire(server.listeners[0].address, seconds=CLOSED_SECONDS))
    bad = server.ended("bad_proxy_header")
    wire.send(proxy_header.BAD[kind])
    assert wire.to_end() == ""
    assert server.ended("bad_proxy_header") == bad + 1


def test_no_header_is_closed_without_a_byte(server, closing):
    wires = [closing(Wire(server.listeners[0].address, seconds=CLOSED_SECONDS)) for _ in range(50)]
    for wire in wires:
        assert wire.to_end() == ""


def test_bytes_alone_do_not_extend_the_headers_deadline(server, closing):
    wire = closing(Wire(server.listeners[0].address, seconds=CLOSED_SECONDS))
    started = time.monotonic()
    for byte in proxy_header.V2_TLVS:
        try:
            wire.send(bytes([byte]))
        except ConnectionError:
            break
        if wait_readable(wire.socket, DRIP_SECONDS):
            break
    assert time.monotonic() - started < CLOSED_SECONDS
    assert wire.to_end() == ""


def test_a_header_then_nothing_is_the_listeners_own_timeout(start_server, closing):
    options = {"proxy_protocol": True, "state_timeout": 1000}
    server = start_server(listeners=[Listener(options=options)])
    wire = closing(Wire(server.listeners[0].address))
    wire.send(proxy_header.V2_TCP4)
    assert "connection-timeout" in wire.to_end()


def test_with_the_option_off_a_header_is_malformed_xml(start_server, closing):
    server = start_server()
    wire = closing(Wire(server.listeners[0].address))
    wire.send(proxy_header.V1_TCP4)
    assert "not-well-formed" in wire.to_end()


def test_a_header_cut_off_by_the_peer_leaves_nothing(server, closing):
    witness = closing(Wire(server.listeners[0].address))
    witness.send(proxy_header.V1_UNKNOWN + HEADER)
    opens(witness)
    for length in range(len(proxy_header.V2_TCP4)):
        wire = closing(Wire(server.listeners[0].address))
        wire.send(proxy_header.V2_TCP4[:length])
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.to_end() == ""
    assert server.becomes(connections=1, seconds=CLOSED_SECONDS)
