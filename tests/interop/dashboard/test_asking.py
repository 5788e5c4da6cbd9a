"""What a dashboard does with those who may not see it, and with what is no request of its page."""

import json
import re

import pytest

from harness.listener import Listener
from harness.web import Http, http_listener
from harness.wire import Closed, Wire, stream_error

# src/listeners/http/dashboard: streams of events on a core, bytes of a request.
STREAMS_MAX = 32
BODY_BYTES_MAX = 4096
JSON = "Content-Type: application/json\r\n"


@pytest.fixture
def server(start_server):
    login = {"path": "/dashboard", "username": "admin", "password": "open sesame"}
    listeners = [http_listener(meerkat_dashboard=login), Listener()]
    return start_server(listeners=listeners, accounts={"juliet": "x"}, sections={"runtime": {"cores": 1}})


@pytest.fixture
def web(server, closing):
    return lambda **options: closing(Http(server.listeners[0].address, **options))


class Page:
    """Signed in, as the page is."""

    def __init__(self, web):
        self.web = web
        answer = sign_in(web())
        assert answer.status == 200, answer.body
        cookie = answer.headers["set-cookie"]
        assert "httponly" in cookie and "samesite=strict" in cookie and "path=/dashboard/" in cookie
        self.cookie = f"Cookie: {cookie.split(';')[0]}\r\n"
        session = self.ask("session")
        self.token = f"X-Meerkat-Token: {json.loads(session.body)['token']}\r\n"

    def ask(self, name, wire=None):
        return (wire or self.web()).get(f"/dashboard/{name}", headers=self.cookie)

    def post(self, name, body, headers=""):
        return post(self.web(), name, body, self.cookie + self.token + headers)

    def events(self, **options):
        wire = self.web(**options)
        wire.send(f"GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\n{self.cookie}\r\n")
        head = wire.until("\r\n\r\n")
        return int(head.split(" ")[1]), wire


def post(wire, name, body, headers="", kind=JSON):
    text = body if isinstance(body, str) else json.dumps(body)
    return wire.get(f"/dashboard/{name}", method="POST", headers=kind + headers, body=text)


def sign_in(wire, password="open sesame", username="admin", headers=""):
    return post(wire, "login", {"username": username, "password": password}, headers)


def event(wire):
    """The next event; a chunk's size stands before it."""
    return json.loads(wire.until("\n\n").split("data: ", 1)[1])


def test_nothing_is_told_without_a_login(web):
    moved = web().get("/dashboard")
    assert moved.status == 308 and moved.headers["location"] == "/dashboard/"
    page = web().get("/dashboard/")
    assert page.status == 200 and "default-src 'none'" in page.headers["content-security-policy"]
    for name in ["page.css", "page.js", "icon.svg"]:
        assert web().get(f"/dashboard/{name}").status == 200
    forged = "Cookie: meerkat_dashboard=99999999999.0.00\r\n"
    for headers in ["", forged]:
        for name in ["session", "events"]:
            assert web().get(f"/dashboard/{name}", headers=headers).status == 401
        for name in ["sessions", "kick", "logout"]:
            assert post(web(), name, {"text": ""}, headers).status == 401
    for name in ["x", "page.html", "../metrics", "login/x", "events/"]:
        assert web().get(f"/dashboard/{name}").status == 404
    for name in ["login", "logout", "sessions", "kick"]:
        refused = web().get(f"/dashboard/{name}")
        assert refused.status == 405 and refused.headers["allow"] == "post"
    for name in ["", "page.js", "session", "events"]:
        assert post(web(), name, {}).status == 405


def test_every_answer_is_guarded(start_server, closing):
    """By the same headers, whatever it is; and the cookie is for TLS where there is TLS."""
    login = {"path": "/dashboard", "username": "admin", "password": "open sesame"}
    server = start_server(listeners=[http_listener(tls="tls", meerkat_dashboard=login)])

    def web():
        wire = closing(Http(server.listeners[0].address))
        wire.secure(server.certificate.context())
        return wire

    answers = [web().get(f"/dashboard{name}") for name in ["", "/", "/page.js", "/zz", "/kick", "/session", "/events"]]
    answers += [post(web(), "", {}), post(web(), "session", {}), post(web(), "login", {}), post(web(), "kick", {})]
    answers.append(post(web(), "login", "x" * (BODY_BYTES_MAX + 1)))
    answers.append(sign_in(web()))
    assert {answer.status for answer in answers} == {200, 308, 400, 401, 404, 405, 413}
    assert "; secure" in answers[-1].headers["set-cookie"]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff", answer.status
        assert "access-control-allow-origin" not in answer.headers, answer.status
    # The last one knows of no dashboard: it is said before the body is read.
    for answer in (answer for answer in answers if answer.status != 413):
        assert "default-src 'none'" in answer.headers["content-security-policy"], answer.status
        assert answer.headers["x-frame-options"] == "deny" and answer.headers["referrer-policy"] == "no-referrer"


def test_wrong_passwords_have_to_wait(server, web):
    assert sign_in(web(), password="wrong").status == 403
    paused = sign_in(web())
    assert paused.status == 429 and paused.headers["retry-after"] == "3"
    other = web(source="127.0.0.2")
    assert sign_in(other).status == 200
    assert sign_in(web(source="127.0.0.3"), username="root").status == 403
    assert "open sesame" not in server.tail() and "wrong login" in server.tail()


def test_wrong_passwords_behind_a_trusted_proxy_pause_their_client(start_server, closing):
    """All come over connections of the proxy's; what others say of themselves does not count."""
    login = {"path": "/dashboard", "username": "admin", "password": "open sesame"}
    web = http_listener(options={"trusted_proxies": ["127.0.0.1"]}, meerkat_dashboard=login)
    server = start_server(listeners=[web])
    proxy = closing(Http(server.listeners[0].address))
    stranger = closing(Http(server.listeners[0].address, source="127.0.0.2"))

    def try_it(wire, client, password):
        return sign_in(wire, password, headers=f"X-Forwarded-For: 192.0.2.99, {client}\r\n").status

    assert try_it(proxy, "192.0.2.1", "wrong") == 403
    assert try_it(proxy, "192.0.2.1", "open sesame") == 429
    assert try_it(proxy, "192.0.2.2", "open sesame") == 200
    assert try_it(stranger, "192.0.2.3", "wrong") == 403
    assert try_it(stranger, "192.0.2.4", "open sesame") == 429, "a pause that a header chose"


def test_what_is_no_request_of_the_page_is_refused(web):
    page = Page(web)
    for body in ["", "x", "[]", "{}", '{"text": 1}', "{" * 2000, "\x00"]:
        assert page.post("kick", body).status == 400
        assert post(web(), "login", body).status == 400
    big = json.dumps({"username": "a" * BODY_BYTES_MAX, "password": ""})
    assert post(web(), "login", big).status == 413
    chunked = "Transfer-Encoding: chunked\r\n"
    wire = web()
    wire.send(f"POST /dashboard/login HTTP/1.1\r\nHost: localhost\r\n{JSON}{chunked}\r\n2000\r\n{'x' * 0x2000}\r\n")
    assert wire.answer().status == 413
    kick = {"text": "juliet@localhost"}
    for headers in ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"]:
        assert page.post("kick", kick, headers).status == 403
    assert post(web(), "kick", kick, page.cookie + page.token, kind="").status == 403
    assert post(web(), "kick", kick, page.cookie).status == 403
    assert post(web(), "kick", kick, page.cookie + "X-Meerkat-Token: 00\r\n").status == 403
    assert page.post("kick", kick, "Origin: http://localhost\r\n").status == 404


def test_sessions_are_found_and_end_once(server, web, closing):
    page = Page(web)
    wire = closing(Wire(server.listeners[1].address))
    jid = wire.login("juliet", "x", "balcony")
    found = json.loads(page.post("sessions", {"text": "juliet"}).body)
    assert [session["jid"] for session in found["sessions"]] == [jid]
    assert json.loads(page.post("sessions", {"text": "romeo"}).body)["sessions"] == []
    kicked = page.post("kick", {"text": jid})
    assert kicked.status == 200 and json.loads(kicked.body)["kicked"] == [jid]
    assert stream_error(wire.to_end()) == "policy-violation"
    for gone in [jid, "nobody@localhost", "not an address", "@"]:
        assert page.post("kick", {"text": gone}).status == 404


def test_events_are_bounded_and_end_with_the_login(web):
    page = Page(web)
    streams = [page.events() for _ in range(STREAMS_MAX)]
    assert [status for status, _ in streams] == [200] * STREAMS_MAX
    assert page.events()[0] == 503
    first = event(streams[0][1])
    assert len(first["shards"]) == 1
    # Everybody hears figures when somebody comes, so the next ones may be of the same millisecond.
    while event(streams[0][1])["now_ms"] == first["now_ms"]:
        pass
    assert not any(isinstance(first[name], list) for name in ["s2s", "components"])
    # One that leaves makes room.
    streams.pop()[1].close()
    while (opened := page.events())[0] != 200:
        opened[1].close()
    assert page.post("logout", {}).status == 200
    for _, wire in streams:
        assert re.search(r"\r\n0\r\n\r\n$", wire.to_end())
    assert page.ask("session").status == 401


@pytest.mark.timeout(60)
def test_who_does_not_read_events_is_cut(start_server, closing):
    login = {"path": "/dashboard", "username": "admin", "password": "open sesame"}
    # Many listeners make events of a size that the kernel's buffers do not take for long.
    ports = {}
    while len(ports) < 250:
        one = Listener()
        ports[one.port] = one
    listeners = [http_listener(meerkat_dashboard=login), *ports.values()]
    server = start_server(listeners=listeners, sections={"runtime": {"cores": 1}})
    page = Page(lambda **options: closing(Http(server.listeners[0].address, **options)))
    status, wire = page.events(receive_buffer=2048)
    assert status == 200
    reader = page.events()[1]
    while server.ended("slow_reader") == 0:
        event(reader)
    with pytest.raises(Closed):
        while True:
            wire.until("\n\n")
