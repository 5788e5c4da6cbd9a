"""protocol.compress: gzip for who asks for it, and never for what a dashboard says behind its login."""

import gzip
import json
import re

import pytest

from harness.web import Http, http_listener

LOGIN = {"path": "/dashboard", "username": "admin", "password": "open sesame"}
GZIP = "Accept-Encoding: deflate, gzip;q=0.5\r\n"
BOSH = (
    "<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='localhost' wait='1' hold='1' "
    "xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh'/>"
)
# src/listeners/http/gzip.rs
BODY_BYTES_MIN = 512


@pytest.fixture
def listener():
    return http_listener(
        mongoose_bosh_handler={"path": "/http-bind"},
        mongoose_prometheus_handler={"path": "/metrics"},
        meerkat_dashboard=LOGIN,
    )


@pytest.fixture
def wire(start_server, listener, closing):
    listener.options["protocol.compress"] = True
    server = start_server(listeners=[listener], sections={"runtime": {"cores": 1}})
    return closing(Http(server.listeners[0].address))


def is_packed(answer):
    assert ("accept-encoding" in answer.headers.get("vary", "")) or "content-encoding" not in answer.headers
    return answer.headers.get("content-encoding") == "gzip"


def unpacked(answer):
    assert is_packed(answer) and len(answer.raw) == int(answer.headers["content-length"])
    return gzip.decompress(answer.raw).decode()


def test_who_asks_for_gzip_gets_it(wire):
    plain = wire.get("/metrics")
    assert not is_packed(plain) and plain.headers["vary"] == "accept-encoding"
    packed = wire.get("/metrics", headers=GZIP)
    assert "meerkat_info" in unpacked(packed) and len(packed.raw) < len(plain.raw) / 2
    assert unpacked(wire.get("/dashboard/page.js", headers=GZIP)) == wire.get("/dashboard/page.js").body
    opened = wire.get("/http-bind", "POST", GZIP, BOSH)
    assert "<stream:features" in unpacked(opened)
    sid = re.search(r" sid='([^']+)'", unpacked(opened))[1]
    wire.get("/http-bind", "POST", body=BOSH.replace("rid='1'", f"rid='2' sid='{sid}' type='terminate'"))
    assert not is_packed(wire.get("/metrics", headers="Accept-Encoding: gzip;q=0, *\r\n"))
    # Too small to be worth it.
    small = wire.get("/.well-known/host-meta.json", headers=GZIP)
    assert len(small.raw) < BODY_BYTES_MIN and "links" in json.loads(small.body)
    # The head alone says what the whole would be.
    wire.send(f"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n{GZIP}\r\n")
    assert "content-encoding: gzip" in wire.until("\r\n\r\n").lower()
    assert wire.get("/nothing", headers=GZIP).status == 404


def test_what_is_behind_a_login_stays_as_it_is(wire):
    sent = json.dumps({"username": LOGIN["username"], "password": LOGIN["password"]})
    kind = "Content-Type: application/json\r\n"
    answer = wire.get("/dashboard/login", "POST", GZIP + kind, sent)
    cookie = f"Cookie: {answer.headers['set-cookie'].split(';')[0]}\r\n"
    session = wire.get("/dashboard/session", headers=GZIP + cookie)
    token = f"X-Meerkat-Token: {json.loads(session.body)['token']}\r\n"
    found = wire.get("/dashboard/sessions", "POST", GZIP + kind + cookie + token, json.dumps({"text": ""}))
    for answered in [answer, session, found]:
        assert answered.status == 200 and "vary" not in answered.headers and not is_packed(answered)
    wire.send(f"GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\n{GZIP}{cookie}\r\n")
    assert "content-encoding" not in wire.until("\r\n\r\n").lower()
    # An event is longer than what is packed elsewhere.
    assert len(wire.until("\n\n")) > BODY_BYTES_MIN


def test_nothing_is_packed_unless_the_file_says_so(start_server, listener, closing):
    server = start_server(listeners=[listener])
    answer = closing(Http(server.listeners[0].address)).get("/metrics", headers=GZIP)
    assert answer.status == 200 and "vary" not in answer.headers and not is_packed(answer)
