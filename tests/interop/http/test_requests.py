"""Requests that are none, are meant to deceive, or never end: the right status, and the end."""

import json
import time
from xml.etree import ElementTree

import pytest

from harness.listener import Listener
from harness.ports import wait_readable
from harness.web import Http, WebSocket, http_listener
from harness.wire import Closed

HEAD_BYTES_MAX = 16 * 1024


@pytest.fixture
def server(start_server):
    handlers = {
        "mongoose_websocket_handler": {"path": "/ws-xmpp"},
        "mongoose_admin_api": {"path": "/api"},
    }
    return start_server(listeners=[http_listener(options={"max_connections_per_ip": 50}, **handlers)])


@pytest.fixture
def wire(server, closing):
    return closing(Http(server.listeners[0].address))


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /api/users HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("POST /ws-xmpp HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET /ws-xmpp HTTP/1.1\r\nHost: a\r\n\r\n", 426),
        ("OPTIONS /ws-xmpp HTTP/1.1\r\nHost: a\r\n\r\n", 204),
        ("POST /ws-xmpp HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 413),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 413),
        # RFC 9110 section 7.8: Upgrade of a request of HTTP/1.0 is none.
        (WebSocket.HANDSHAKE.format(path="/ws-xmpp").replace("HTTP/1.1", "HTTP/1.0"), 426),
        # A body, if an empty one, before what is no HTTP any more.
        (WebSocket.HANDSHAKE.format(path="/ws-xmpp").removesuffix("\r\n") + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        # MongooseIM's HTTP server takes both for the same.
        ("GET /ws-xmpp/ HTTP/1.1\r\nHost: a\r\n\r\n", 426),
        ("GET /nothing HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET /nothing HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET /nothing HTTP/1.1\r\nHost: x@a\r\n\r\n", 400),
        ("GET /nothing HTTP/1.1\r\nHost:\r\n\r\n", 404),
        ("GET /nothing HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 404),
    ],
)
def test_answers(wire, request_text, status):
    assert wire.ask(request_text).status == status


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("hello\r\n\r\n", 400),
        ("<stream:stream>\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 400),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: " + "y" * HEAD_BYTES_MAX + "\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: a\r\n" + "X: y\r\n" * 200 + "\r\n", 431),
    ],
)
def test_what_is_no_request_ends_the_connection(server, wire, request_text, status):
    answer = wire.ask(request_text)
    assert answer.status == status
    assert wire.to_end() == ""


def test_two_requests_in_one(wire):
    """Both are answered, in their order."""
    one = "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n"
    wire.send(one.format("x") + one.format("api/y"))
    assert [wire.answer().status, wire.answer().status] == [404, 501]


def test_nothing_is_read_behind_a_chunked_request(wire):
    """A length beside chunks: whoever goes by the length sees another request behind it."""
    hidden = "GET /api HTTP/1.1\r\nHost: a\r\n\r\n"
    head = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = wire.ask(head + "0\r\n\r\n" + hidden)
    assert answer.status == 404 and answer.headers["connection"] == "close"
    assert wire.to_end() == ""


def test_a_request_that_comes_byte_by_byte(wire):
    for letter in "GET /api HTTP/1.1\r\nHost: a\r\n\r\n":
        wire.send(letter)
    assert wire.answer().status == 501


def test_a_body_that_is_too_large_is_not_waited_for(wire):
    answer = wire.ask("POST /ws-xmpp HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
    assert answer.status == 413 and answer.headers["connection"] == "close"


def test_one_who_closes_its_side_is_answered(wire):
    wire.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
    wire.socket.shutdown(1)
    assert wire.answer().status == 404
    assert wire.to_end() == ""


def test_a_thousand_requests_that_nobody_reads_the_answers_of(server, closing):
    """The next request is looked at when the answer before is sent, so nothing piles up."""
    wire = closing(Http(server.listeners[0].address, receive_buffer=4096))
    wire.socket.setblocking(False)
    request = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
    sent = 0
    started = time.monotonic()
    while time.monotonic() - started < 1:
        try:
            sent += wire.socket.send(request)
        except BlockingIOError:
            wait_readable(wire.socket, 0.05)
    assert sent < 20_000_000, "the server read on and on"
    other = closing(Http(server.listeners[0].address))
    assert other.get("/nothing").status == 404


@pytest.mark.timeout(60)
def test_half_a_request_is_not_waited_for_for_ever(start_server, closing):
    """30 seconds for head and body; bytes alone do not extend them."""
    server = start_server(listeners=[http_listener(mongoose_bosh_handler={"path": "/http-bind"})])
    head, body = (closing(Http(server.listeners[0].address)) for _ in range(2))
    started = time.monotonic()
    head.send("GET / HTTP/1.1\r\nHost: a\r\nX: ")
    body.send("POST /http-bind HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n<body ")
    waiting = {head, body}
    while waiting:
        for wire in tuple(waiting):
            if wait_readable(wire.socket, 0.5):
                assert wire.answer().status == 408
                waiting.remove(wire)
            else:
                wire.send("y")
        assert time.monotonic() - started < 40
    assert wire.to_end() == ""
    assert 29 <= time.monotonic() - started < 40


def test_limits_of_an_address(server, closing):
    held = [closing(Http(server.listeners[0].address)) for _ in range(50)]
    assert all(wire.get("/nothing").status == 404 for wire in held)
    refused = closing(Http(server.listeners[0].address))
    with pytest.raises(Closed):
        refused.get("/nothing")


def test_a_proxy_header_comes_first(start_server, closing):
    options = {"proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]}
    server = start_server(listeners=[Listener(), http_listener(options=options)])
    wire = closing(WebSocket(server.listeners[1].address))
    wire.send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
    wire.upgrade().open_stream()
    bare = closing(Http(server.listeners[1].address))
    with pytest.raises(Closed):
        bare.get("/")
    assert server.ended("bad_proxy_header") >= 1


def test_a_trusted_proxy_names_the_client(start_server, closing):
    """Each client behind it counts for itself; what others say of themselves does not count."""
    options = {"max_connections_per_ip": 2, "trusted_proxies": ["127.0.0.1"]}
    server = start_server(listeners=[http_listener(options=options)])

    def connect(client):
        wire = closing(WebSocket(server.listeners[0].address))
        named = f"X-Forwarded-For: 192.0.2.99, {client}\r\n\r\n"
        wire.send(WebSocket.HANDSHAKE.format(path="/ws-xmpp").removesuffix("\r\n") + named)
        return wire.answer().status

    assert [connect("192.0.2.1") for _ in range(3)] == [101, 101, 429]
    assert [connect("192.0.2.2") for _ in range(3)] == [101, 101, 429]


def test_host_meta_says_where_xmpp_is(start_server, closing):
    handlers = {"mongoose_websocket_handler": {"path": "/ws-xmpp"}, "mongoose_bosh_handler": {"path": "/http-bind"}}
    options = {"trusted_proxies": ["127.0.0.1"]}
    server = start_server(listeners=[http_listener(options=options, **handlers)])
    wire = closing(Http(server.listeners[0].address))
    answer = wire.get("/.well-known/host-meta.json")
    assert answer.status == 200 and answer.headers["access-control-allow-origin"] == "*"
    links = {link["rel"].split(":")[-1]: link["href"] for link in json.loads(answer.body)["links"]}
    assert links == {"websocket": "ws://localhost/ws-xmpp", "xbosh": "http://localhost/http-bind"}
    answer = wire.get("/.well-known/host-meta", headers="X-Forwarded-Proto: https\r\n")
    assert answer.headers["content-type"] == "application/xrd+xml"
    hrefs = [link.get("href") for link in ElementTree.fromstring(answer.body)]
    assert sorted(hrefs) == ["https://localhost/http-bind", "wss://localhost/ws-xmpp"]


def test_host_meta_keeps_what_is_near_from_those_who_are_far(start_server, closing):
    """TLS first; a listener on loopback is named only on loopback."""
    far = http_listener(tls="tls", options={"ip_address": "0.0.0.0"})
    near = http_listener()
    server = start_server(listeners=[near, far])
    answers = [closing(Http(near.address)), closing(Http(far.address))]
    answers[1].secure(server.certificate.context())
    links = [json.loads(wire.get("/.well-known/host-meta.json").body)["links"] for wire in answers]
    assert [link["href"] for link in links[0]] == [f"wss://localhost:{far.port}/ws-xmpp", "ws://localhost/ws-xmpp"]
    assert [link["href"] for link in links[1]] == ["wss://localhost/ws-xmpp"]
