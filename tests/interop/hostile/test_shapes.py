"""Legal input in awkward pieces, and peers that vanish."""

import socket

import pytest

from harness.wire import BIND, FOOTER, HEADER, PING, Wire, plain, stream_error

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}


@pytest.fixture
def server(start_server):
    return start_server(accounts=ACCOUNTS)


def drip(wire, text):
    for byte in text if isinstance(text, bytes) else text.encode():
        wire.send(bytes([byte]))


@pytest.mark.portable
def test_a_whole_login_byte_by_byte(server, closing):
    wire = closing(Wire(server.listeners[0].address))
    drip(wire, HEADER)
    wire.until("</stream:features>")
    drip(wire, plain("juliet", "secret"))
    assert "<success" in wire.until("/>", "</success>")
    drip(wire, HEADER)
    wire.until("</stream:features>")
    drip(wire, BIND.format("<resource>drip</resource>"))
    assert "juliet@localhost/drip" in wire.until("</iq>")
    drip(wire, PING.format("slow"))
    wire.until_tag("iq", "slow", "result")
    drip(wire, FOOTER)
    assert wire.to_end().endswith("</stream:stream>")


@pytest.mark.portable
def test_a_whole_login_in_one_segment_per_answer(server, closing):
    wire = closing(Wire(server.listeners[0].address))
    wire.login("juliet", "secret")
    many = 200
    wire.send("".join(PING.format(f"id{number}-") for number in range(many)))
    for number in range(many):
        # Each search begins where the one before ended: in order, or it does not end.
        wire.until_tag("iq", f"id{number}-", "result")


@pytest.mark.portable
def test_the_end_tag_is_answered_and_the_connection_closed(server, closing):
    wire = closing(Wire(server.listeners[0].address))
    wire.login("juliet", "secret")
    wire.send(FOOTER)
    assert wire.to_end().endswith("</stream:stream>")


@pytest.mark.portable
@pytest.mark.parametrize("said", [b"", HEADER, HEADER + b"<auth"])
def test_a_peer_that_only_stops_sending_is_let_go(server, closing, said):
    wire = closing(Wire(server.listeners[0].address))
    wire.send(said)
    wire.socket.shutdown(socket.SHUT_WR)
    wire.to_end()


@pytest.mark.portable
def test_a_half_closed_session_ends(server, closing):
    address = server.listeners[0].address
    watcher = closing(Wire(address))
    watcher.login("juliet", "secret", "watcher")
    watcher.presence()
    wire = closing(Wire(address))
    wire.login("juliet", "secret", "leaver")
    wire.presence()
    watcher.until_tag("presence", "leaver")
    wire.socket.shutdown(socket.SHUT_WR)
    wire.to_end()
    watcher.until_tag("presence", "leaver", "unavailable")


@pytest.mark.portable
def test_a_session_reset_in_the_middle_of_a_stanza_ends(server, closing):
    address = server.listeners[0].address
    watcher = closing(Wire(address))
    watcher.login("juliet", "secret", "watcher")
    watcher.presence()
    wire = Wire(address)
    wire.login("juliet", "secret", "leaver")
    wire.presence()
    watcher.until_tag("presence", "leaver")
    wire.send("<message to='romeo@localhost'><body>never to be fin")
    wire.reset()
    watcher.until_tag("presence", "leaver", "unavailable")
    watcher.ping()


RUBBISH = {
    "http": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "not-well-formed"),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), "not-well-formed"),
    "proxy": (b"PROXY TCP4 10.0.0.1 10.0.0.2 4711 5222\r\n" + HEADER, "not-well-formed"),
    "every byte": (bytes(range(256)) * 40, "not-well-formed unsupported-encoding"),
    "mismatched tags": (HEADER + b"<a></b>", "not-well-formed"),
    "bad utf-8": (HEADER + b"<iq>\xff\xfe</iq>", "not-well-formed unsupported-encoding"),
    "comment": (HEADER + b"<!-- hidden -->", "restricted-xml"),
    "instruction": (HEADER + b"<?php ?>", "restricted-xml"),
    "doctype": (HEADER + b"<!DOCTYPE x>", "restricted-xml"),
    "entity": (HEADER + b"<iq>&bomb;</iq>", "restricted-xml"),
    "text": (HEADER + b"hello?", "bad-format"),
    "stanza before login": (HEADER + b"<message to='romeo@localhost'/>", "not-authorized"),
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_rubbish_closes_only_its_own_connection(server, closing, kind):
    said, conditions = RUBBISH[kind]
    address = server.listeners[0].address
    witness = closing(Wire(address))
    witness.login("romeo", "secret")
    wire = closing(Wire(address))
    wire.send(said)
    answer = wire.to_end()
    assert stream_error(answer) in conditions.split(), answer
    # Ours first, whatever came (RFC 6120 4.9.1.2).
    assert answer.removeprefix("<?xml version='1.0'?>").startswith("<stream:stream ")
    witness.ping()
