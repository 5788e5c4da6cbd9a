"""Bodies of HTTP requests that never end, from strangers: together they have a bound."""

import contextlib
import time

import pytest

from harness.web import Http, http_listener

MEMORY = 4 << 20
EACH = 500_000
STRANGERS = 40


@pytest.mark.timeout(60)
def test_unfinished_bodies_together_have_a_bound(start_server, closing):
    listeners = [http_listener(mongoose_bosh_handler={"path": "/http-bind"})]
    sections = {"runtime": {"partial_stanza_memory": MEMORY, "cores": 1}}
    server = start_server(listeners=listeners, accounts={"romeo": "secret"}, sections=sections)
    address = server.listeners[0].address
    strangers = [closing(Http(address)) for _ in range(STRANGERS)]
    head = "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\n"
    for stranger in strangers:
        with contextlib.suppress(ConnectionError):
            stranger.send(f"{head}Content-Length: {2 * EACH}\r\n\r\n" + "<" * EACH)
    # Those with the most have made room: the others fit.
    deadline = time.monotonic() + 10
    while server.connections() > MEMORY // EACH:
        assert time.monotonic() < deadline, "more is held than the bound says"
    # Others are served.
    other = closing(Http(address))
    other.send("GET /.well-known/host-meta HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert other.answer().status == 200
