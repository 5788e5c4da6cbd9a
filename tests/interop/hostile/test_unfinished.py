"""What strangers begin and never end, beside stanzas: together it has a bound."""

import contextlib
import time

import pytest

from harness.listener import Listener
from harness.web import Http, http_listener

MEMORY = 1 << 20
HEAD = "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\n"
# The beginning of a TLS record of 16 KiB that holds a ClientHello.
RECORD = bytes.fromhex("1603014000 01003ffc 0303")
BEGUN = {
    "body": (f"{HEAD}Content-Length: 1000000\r\n\r\n{'<' * 200_000}".encode(), 20, "http"),
    "head": (f"{HEAD}X-Long: {'x' * 15_000}".encode(), 200, "http"),
    "record": (RECORD + bytes(15_000), 200, "c2s"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", BEGUN)
def test_what_is_unfinished_has_a_bound(start_server, closing, what):
    said, strangers, kind = BEGUN[what]
    web = http_listener(mongoose_bosh_handler={"path": "/http-bind"})
    listeners = [web, Listener()] if kind == "http" else [Listener(tls="tls", options={"state_timeout": "infinity"}), web]
    sections = {"runtime": {"partial_stanza_memory": MEMORY, "cores": 1}}
    server = start_server(listeners=listeners, accounts={"romeo": "secret"}, sections=sections)
    begun = [closing(Http(listeners[0].address)) for _ in range(strangers)]
    for stranger in begun:
        with contextlib.suppress(ConnectionError):
            stranger.send(said)
    # Those with the most have made room: the others fit.
    deadline = time.monotonic() + 10
    while server.connections() > MEMORY // len(said) + 1:
        assert time.monotonic() < deadline, "more is held than the bound says"
    # Others are served.
    other = closing(Http(web.address))
    other.send("GET /.well-known/host-meta HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert other.answer().status == 200
    assert server.status()["shards"][0]["partial_bytes"] <= MEMORY
    # Nothing is left of them in the sum when they go.
    for stranger in [*begun, other]:
        stranger.close()
    assert server.becomes(connections=0, seconds=10)
    assert server.status()["shards"][0]["partial_bytes"] == 0
