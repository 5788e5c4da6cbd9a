"""XMPP over WebSocket (RFC 7395), frame by frame."""

import asyncio
import struct
import time

import pytest

from harness.listener import Listener
from harness.web import BINARY, CLOSE, CLOSED, CONTINUATION, FRAMING, OPEN, PING, PONG, WebSocket, frame, http_listener

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
PLAIN = {"auth": {"allow_plain_without_tls": True}}
MAX = 2000
MESSAGE = "<message xmlns='jabber:client' to='{}' type='chat'><body>{}</body></message>"


def handler(**keys):
    return {"mongoose_websocket_handler": {"path": "/ws-xmpp", "max_stanza_size": MAX} | keys}


@pytest.fixture
def server(start_server):
    listeners = [http_listener(**handler()), Listener(), http_listener(tls="tls", **handler())]
    return start_server(listeners=listeners, accounts=ACCOUNTS, sections=PLAIN)


@pytest.fixture
def socket(server, closing):
    def connect(listener=0):
        return closing(WebSocket(server.listeners[listener].address))

    return connect


def test_two_sessions_chat(server, socket, closing):
    romeo, juliet = socket().upgrade(), socket().upgrade()
    romeo.login("romeo", "secret")
    to = juliet.login("juliet", "secret")
    for number in range(20):
        romeo.say(MESSAGE.format(to, f"{number} "))
    for number in range(20):
        heard = juliet.element()
        assert heard.startswith("<message xmlns='jabber:client'"), heard
        assert f"<body>{number} " in heard and romeo.jid in heard
    romeo.say(CLOSE)
    seen, code = romeo.until_closed()
    assert seen == [f"<close xmlns='{FRAMING}'/>"] and code == 1000


async def test_chat_with_a_client_on_tcp(server, socket, connect):
    juliet = await connect(server, "juliet", "secret", mechanism="SCRAM-SHA-256", listener=1)
    romeo = socket().upgrade()
    romeo.login("romeo", "secret")
    romeo.say(MESSAGE.format(juliet.boundjid.full, "hello"))
    assert (await juliet.next_message())["body"] == "hello"
    juliet.say(romeo.jid, "and to you")
    assert "<body>and to you</body>" in await asyncio.to_thread(romeo.element)


def test_a_frame_behind_the_request(socket):
    wire = socket().upgrade(behind=frame(OPEN))
    assert wire.element().startswith("<open ")
    assert "<stream:features xmlns:stream=" in wire.element()
    wire.login_opened("romeo", "secret")


def test_wss(server, socket):
    wire = socket(2)
    wire.secure(server.certificate.context())
    wire.upgrade().login("romeo", "secret")
    wire.say(MESSAGE.format(wire.jid, "to myself"))
    assert "to myself" in wire.element()


def test_fragments_and_pings_between_them(socket):
    wire = socket().upgrade()
    wire.login("romeo", "secret")
    text = MESSAGE.format(wire.jid, "in pieces")
    for at, letter in enumerate(text):
        last = at == len(text) - 1
        wire.say(letter, opcode=CONTINUATION if at else 1, last=last)
        if at % 50 == 0:
            wire.say(b"?", opcode=PING)
            assert wire.hear() == (PONG, b"?")
    assert "in pieces" in wire.element()


def test_frames_that_come_byte_by_byte(socket):
    wire = socket().upgrade()
    wire.login("romeo", "secret")
    for byte in frame(MESSAGE.format(wire.jid, "slowly")):
        wire.send(bytes([byte]))
    assert "slowly" in wire.element()


@pytest.mark.parametrize(
    ("sent", "code", "condition"),
    [
        (frame(" " * (MAX + 1)), 1009, "policy-violation"),
        # The head alone, of a frame that would take hours.
        (b"\x81\xff\x00\x00\x00\x10\x00\x00\x00\x00abcd", 1009, "policy-violation"),
        (frame("<a>", last=False) + frame("x" * MAX, opcode=CONTINUATION), 1009, "policy-violation"),
        (frame("<iq/>", masked=False), 1002, "bad-format"),
        (frame("<iq/>", opcode=BINARY), 1003, "bad-format"),
        (frame("<iq/>", opcode=CONTINUATION), 1002, "bad-format"),
        (frame("<iq/>", opcode=3), 1002, "bad-format"),
        (frame("<a/><b/>"), 1000, "bad-format"),
        (frame("<a>"), 1000, "bad-format"),
        (frame("<a></b>"), 1000, "not-well-formed"),
        (frame("<stream:features/>"), 1000, "not-well-formed"),
        (frame("<!-- x -->"), 1000, "restricted-xml"),
        (frame(b"<a>\xff</a>"), 1007, "encoding"),
        (frame(b"<a>\xe2", last=False) + frame(b"\x82</a>", opcode=CONTINUATION), 1007, "encoding"),
        (frame(b"\x03", opcode=CLOSED), 1002, "bad-format"),
        (frame(struct.pack("!H", 1005), opcode=CLOSED), 1002, "bad-format"),
        (frame(struct.pack("!H", 999), opcode=CLOSED), 1002, "bad-format"),
        (frame(struct.pack("!H", 1000) + b"\xff", opcode=CLOSED), 1007, "bad-format"),
    ],
)
def test_bad_frames_end_the_stream(server, socket, sent, code, condition):
    wire = socket().upgrade()
    wire.login("romeo", "secret")
    wire.send(sent)
    seen, closed_with = wire.until_closed()
    assert closed_with == code
    assert condition in seen[-2] and seen[-2].startswith("<stream:error xmlns:stream="), seen
    assert seen[-1].startswith("<close ")
    assert wire.is_at_end()
    assert server.ended("stream_error") == 1


@pytest.mark.parametrize(("payload", "code"), [(b"", 1000), (b"\x03\xe9bye", 1001), (b"\x0b\xb8", 3000)])
def test_a_close_frame_is_echoed(server, socket, payload, code):
    """RFC 6455 section 5.5.1; to the stream it is the end of a TCP connection."""
    wire = socket().upgrade()
    wire.login("romeo", "secret")
    wire.say(payload, opcode=CLOSED)
    assert wire.until_closed() == ([], code)
    assert wire.is_at_end()
    assert server.ended("peer_closed") >= 1


def test_before_login_less_is_allowed(start_server, closing):
    server = start_server(listeners=[http_listener(**handler(max_stanza_size=100_000))])
    wire = closing(WebSocket(server.listeners[0].address)).upgrade()
    wire.say("<open " + " " * 10_000)
    seen, code = wire.until_closed()
    assert code == 1009 and "policy-violation" in seen[1], seen


def test_fragments_without_end_hold_nothing(server, socket):
    wire = socket().upgrade()
    wire.login("romeo", "secret")
    wire.say("<a>", last=False)
    for _ in range(20_000):
        wire.send(frame(b"", opcode=CONTINUATION, last=False))
    wire.say("</a>", opcode=CONTINUATION)
    seen, _ = wire.until_closed()
    assert "unsupported-stanza-type" in seen[0], seen


def test_silence_ends_it_and_pings_do_not(start_server, closing):
    listeners = [http_listener(**handler(timeout=1500, ping_rate=200))]
    server = start_server(listeners=listeners, accounts=ACCOUNTS, sections=PLAIN)
    wire = closing(WebSocket(server.listeners[0].address)).upgrade()
    wire.login("romeo", "secret")
    started = time.monotonic()
    opcode, _ = wire.hear()
    assert opcode == PING
    wire.say(b"", opcode=PONG)
    answered = time.monotonic()
    seen, _ = wire.until_closed()
    assert "connection-timeout" in seen[0]
    assert time.monotonic() - answered >= 1.4 and answered - started < 1.4


def test_state_timeout_of_the_handler(start_server, closing):
    listeners = [http_listener(**handler(state_timeout=300))]
    server = start_server(listeners=listeners)
    wire = closing(WebSocket(server.listeners[0].address)).upgrade()
    seen, _ = wire.until_closed()
    assert [part.split(" ")[0] for part in seen] == ["<open", "<stream:error", "<close"], seen
    assert "connection-timeout" in seen[1]


def test_plain_is_not_offered_in_clear(start_server, closing):
    server = start_server(listeners=[http_listener()], accounts=ACCOUNTS)
    wire = closing(WebSocket(server.listeners[0].address)).upgrade()
    features = wire.open_stream()
    assert "SCRAM-SHA-256" in features and "PLAIN" not in features and "starttls" not in features


def test_the_server_stops(server, socket):
    wire = socket().upgrade()
    wire.login("romeo", "secret")
    server.signal(15)
    seen, code = wire.until_closed()
    assert "system-shutdown" in seen[0] and seen[1].startswith("<close ") and code == 1000
