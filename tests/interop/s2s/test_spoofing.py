"""What a server may not do: streams said byte by byte, and a server that vouches for its domain."""

import re
import socket
import threading
import time
from contextlib import suppress

import pytest

from harness import ports
from harness.dns import Dns
from harness.federation import FAR, NEAR, Authority, NearMeerkat
from harness.wire import Wire

HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0' {}>"
)
OPEN = HEADER.format(f"from='{FAR}' to='{NEAR}'")
CLAIM = f"<db:result from='{FAR}' to='{NEAR}'>abc</db:result>"
MESSAGE = "<message from='{}' to='{}' id='m'><body>x</body></message>"
EVIL = "evil.interop"


class Vouching:
    """A server of FAR that says of every key that it is right, and keeps what else it is sent."""

    def __init__(self):
        # What it does with a new connection: "serve", "wait" without a word, or "stall": it reads
        # nothing once it has let the peer in.
        self.manner = "serve"
        self.listener = socket.create_server((ports.LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]
        self.seen = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with suppress(OSError):
            while True:
                stream, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=[stream], daemon=True).start()

    def serve(self, stream):
        answered, text = 0, ""
        with suppress(OSError), stream:
            if self.manner == "wait":
                return threading.Event().wait()
            while data := stream.recv(65536):
                opened = "<stream:stream" in text
                text += data.decode()
                if not opened and "<stream:stream" in text:
                    header = HEADER.format(f"from='{FAR}' to='{NEAR}' id='far'")
                    stream.sendall(f"{header}<stream:features/>".encode())
                asked = re.findall(r"<db:verify from='([^']*)' to='([^']*)' id='([^']*)'>", text)
                for local, remote, name in asked[answered:]:
                    answer = f"<db:verify from='{remote}' to='{local}' id='{name}' type='valid'/>"
                    stream.sendall(answer.encode())
                answered = len(asked)
                if "<db:result" in data.decode() and self.manner != "serve":
                    stream.sendall(f"<db:result from='{FAR}' to='{NEAR}' type='valid'/>".encode())
                    return threading.Event().wait()
                self.seen.append(data.decode())

    def close(self):
        self.listener.close()


@pytest.fixture
def near(folder):
    """meerkat in clear, which reaches FAR at a server that vouches for everything."""
    dns, vouching = Dns(), Vouching()
    (folder / "near").mkdir()
    address = [{"host": FAR, "ip_address": ports.LOOPBACK, "port": vouching.port}]
    server = NearMeerkat(
        folder / "near", NEAR, dns, Authority(folder), {"romeo": "secret"}, clear=True, addresses=address,
        s2s={"outgoing.state_timeout": 2000},
    )
    server.vouching = vouching
    yield server.serve()
    server.stop()
    print(server.tail())
    vouching.close()
    dns.close()


@pytest.fixture
def connected(near, closing):
    """connected() -> a connection to the listener for servers."""
    return lambda: closing(Wire((ports.LOOPBACK, near.s2s)))


HEADERS = [
    (f"from='{FAR}'", "improper-addressing"),
    (f"from='{FAR}' to='nowhere.interop'", "host-unknown"),
    (f"from='{NEAR}' to='{NEAR}'", "invalid-from"),
    (f"from='a b' to='{NEAR}'", "improper-addressing"),
]


@pytest.mark.parametrize(("attributes", "condition"), HEADERS)
def test_headers(connected, attributes, condition):
    wire = connected()
    wire.send(HEADER.format(attributes))
    answer = wire.until("</stream:stream>")
    assert "<stream:stream" in answer
    assert condition in answer


WRONG_STREAMS = [
    (OPEN.replace("jabber:server'", "jabber:client'", 1), "invalid-namespace"),
    (OPEN.replace("version='1.0' from", "from"), "unsupported-version"),
    (f"{OPEN}<message/>", "not-authorized"),
    (f"{OPEN}{MESSAGE.format(f'x@{FAR}', f'romeo@{NEAR}')}", "not-authorized"),
    (f"{OPEN}<db:result/>", "improper-addressing"),
    (f"{OPEN}<db:result from='{FAR}' to='{NEAR}' type='perhaps'/>", "invalid-xml"),
    (f"{OPEN}<!DOCTYPE x>", "restricted-xml"),
]


@pytest.mark.parametrize(("stream", "condition"), WRONG_STREAMS)
def test_streams_before_any_proof(connected, stream, condition):
    wire = connected()
    wire.send(stream)
    assert condition in wire.until("</stream:stream>")


CLAIMS = [
    (FAR, "nowhere.interop", "item-not-found"),
    (NEAR, NEAR, "not-allowed"),
    ("nowhere.interop", NEAR, "remote-server-not-found"),
]


@pytest.mark.parametrize(("domain", "to", "condition"), CLAIMS)
def test_claims_that_are_refused(connected, domain, to, condition):
    wire = connected()
    wire.send(f"{OPEN}<db:result from='{domain}' to='{to}'>abc</db:result>")
    answer = wire.until("</db:result>")
    assert "type='error'" in answer
    assert condition in answer


def test_a_key_that_we_did_not_make(connected):
    wire = connected()
    wire.send(f"{OPEN}<db:verify from='{FAR}' to='{NEAR}' id='x'>00ff</db:verify>")
    assert "type='invalid'" in wire.until("type='invalid'/>")


SPOOFS = [
    (MESSAGE.format(f"x@{EVIL}", f"romeo@{NEAR}"), "invalid-from"),
    (MESSAGE.format(f"x@sub.{FAR}", f"romeo@{NEAR}"), "invalid-from"),
    (MESSAGE.format(f"romeo@{NEAR}", f"romeo@{NEAR}"), "invalid-from"),
    (MESSAGE.format(NEAR, f"romeo@{NEAR}"), "invalid-from"),
    (MESSAGE.format(f"x@{FAR}", f"x@{EVIL}"), "improper-addressing"),
    (MESSAGE.format(f"x@{FAR}", f"x@{FAR}"), "improper-addressing"),
    (f"<message to='romeo@{NEAR}'/>", "improper-addressing"),
    (f"<message from='x@{FAR}'/>", "improper-addressing"),
    (f"<message from='' to='romeo@{NEAR}'/>", "improper-addressing"),
    (f"<iq type='set' id='1' from='x@{EVIL}' to='{NEAR}'/>", "invalid-from"),
    (f"<presence from='x@{EVIL}' to='romeo@{NEAR}'/>", "invalid-from"),
    (f"<other from='x@{FAR}' to='romeo@{NEAR}'/>", "unsupported-stanza-type"),
]


@pytest.mark.parametrize(("stanza", "condition"), SPOOFS)
def test_nothing_but_what_is_proven(connected, stanza, condition):
    wire = connected()
    wire.send(OPEN + CLAIM)
    wire.until("type='valid'/>")
    wire.send(stanza)
    assert condition in wire.until("</stream:stream>")


def test_what_is_proven_arrives_and_answers_go_to_the_domain(near, connected):
    wire = connected()
    wire.send(OPEN + CLAIM)
    wire.until("type='valid'/>")
    ping = f"<iq type='get' id='p1' from='x@{FAR}/y' to='{NEAR}'><ping xmlns='urn:xmpp:ping'/></iq>"
    wire.send(ping)
    # The answer is no business of this stream: it goes on one of ours, which has to be authenticated.
    wire.send(f"<db:verify from='{FAR}' to='{NEAR}' id='x'>00ff</db:verify>")
    answer = wire.until("type='invalid'/>")
    assert "p1" not in answer
    deadline = time.monotonic() + 10
    while not any("<db:result" in text for text in near.vouching.seen):
        assert time.monotonic() < deadline, near.vouching.seen


class Client(Wire):
    """A client of NEAR."""

    def open(self):
        self.send(HEADER_OF_CLIENT)
        return self.until("</stream:features>", "<stream:features/>")


HEADER_OF_CLIENT = (
    f"<stream:stream to='{NEAR}' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
)


def test_a_server_that_says_nothing(near, closing):
    near.vouching.manner = "wait"
    romeo = closing(Client(near.listeners[0].address))
    romeo.login("romeo", "secret")
    romeo.send(f"<message to='x@{FAR}' id='m1'><body>x</body></message>")
    assert "remote-server-timeout" in romeo.until("</message>")


def test_a_server_that_stops_reading(near, closing):
    near.vouching.manner = "stall"
    romeo = closing(Client(near.listeners[0].address, seconds=40))
    romeo.login("romeo", "secret")
    body = "x" * 100_000
    for number in range(200):
        romeo.send(f"<message to='x@{FAR}' id='n{number}'><body>{body}</body></message>")
    # The buffers of both are full long before 20 MB: what did not get through comes back, the last
    # among it, and romeo's own stream lives.
    assert "resource-constraint" in romeo.until_match("<message[^>]*id='n199'.*?</message>")
    romeo.send(f"<iq type='get' id='p' to='{NEAR}'><ping xmlns='urn:xmpp:ping'/></iq>")
    romeo.until_tag("iq", "id='p'", "result")
