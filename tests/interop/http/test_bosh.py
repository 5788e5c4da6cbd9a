"""XMPP over BOSH (XEP-0124, XEP-0206), request by request."""

import base64
import re
import threading
import time

import pytest

from harness.listener import Listener
from harness.ports import wait_readable
from harness.web import Http, http_listener
from harness.wire import BIND, Wire

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
PLAIN = {"auth": {"allow_plain_without_tls": True}}
BODY = (
    "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' {attributes}>{payload}</body>"
)
MESSAGE = "<message xmlns='jabber:client' to='{}' type='chat' id='{}'><body>{}</body></message>"


@pytest.fixture
def server(start_server):
    listeners = [http_listener(mongoose_bosh_handler={"path": "/http-bind"}), Listener()]
    return start_server(listeners=listeners, accounts=ACCOUNTS, sections=PLAIN)


class Bosh:
    """A client of one request at a time, on a new connection for each."""

    def __init__(self, server, rid=1000):
        self.address = server.listeners[0].address
        self.rid = rid
        self.sid = None
        self.seen = ""
        self.headers = ""

    def body(self, payload="", rid=None, **attributes):
        named = {"rid": self.rid if rid is None else rid} | attributes
        if self.sid:
            named["sid"] = self.sid
        text = " ".join(f"{key.replace('__', ':')}='{of}'" for key, of in named.items())
        return BODY.format(attributes=text, payload=payload)

    def start(self, body):
        """A request under way."""
        wire = Http(self.address, seconds=70)
        wire.send(
            f"POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\n{self.headers}"
            f"Content-Length: {len(body.encode())}\r\n\r\n{body}"
        )
        return wire

    def finish(self, wire):
        answer = wire.answer()
        wire.close()
        assert answer.status == 200, answer.status
        assert answer.headers["access-control-allow-origin"] == "*"
        self.seen += answer.body
        return answer.body

    def ask(self, payload="", **attributes):
        body = self.body(payload, **attributes)
        self.rid += 1
        return self.finish(self.start(body))

    def open(self, wait=30, hold=1):
        answer = self.ask(to="localhost", wait=wait, hold=hold, ver="1.6", xmpp__version="1.0")
        self.sid = re.search(r" sid='([^']+)'", answer)[1]
        return answer

    def until(self, mark, payload="", **attributes):
        """Asks until the mark has come."""
        answer = self.ask(payload, **attributes)
        while mark not in answer:
            assert "terminate" not in answer, answer
            answer = self.ask()
        return answer

    def login(self, user, password, resource="bosh", **options):
        assert "<stream:features" in self.open(**options)
        return self.login_opened(user, password, resource)

    def login_opened(self, user, password, resource="bosh"):
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        auth = f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"
        self.until("<success", auth)
        assert "xmpp-bind" in self.until("<stream:features", xmpp__restart="true", to="localhost")
        bind = BIND.format(f"<resource>{resource}</resource>").replace("<iq ", "<iq xmlns='jabber:client' ")
        self.jid = self.until("<jid>", bind).split("<jid>")[1].split("</jid>")[0]
        return self.jid


def test_two_sessions_chat(server):
    romeo, juliet = Bosh(server), Bosh(server)
    opened = romeo.open()
    for part in ["wait='30'", "hold='1'", "requests='2'", "from='localhost'", "xmpp:restartlogic='true'"]:
        assert part in opened, opened
    romeo.login_opened("romeo", "secret")
    to = juliet.login("juliet", "secret")
    for number in range(10):
        waiting = juliet.start(juliet.body())
        juliet.rid += 1
        said = romeo.start(romeo.body(MESSAGE.format(to, number, f"no {number}")))
        heard = juliet.finish(waiting)
        assert f"<body>no {number}</body>" in heard and "<message xmlns='jabber:client'" in heard
        said.close()
        romeo.rid += 1
    shown = server.must_run("session", "list")
    assert shown.count(" bosh ") == 2, shown
    assert "type='terminate'" in juliet.ask(type="terminate")
    assert "item-not-found" in juliet.ask()
    assert server.must_run("session", "list").count(" bosh ") == 1


async def test_chat_with_a_client_on_tcp(server, connect):
    import asyncio

    juliet = await connect(server, "juliet", "secret", mechanism="SCRAM-SHA-256", listener=1)
    romeo = Bosh(server)
    await asyncio.to_thread(romeo.login, "romeo", "secret")
    waiting = romeo.start(romeo.body(MESSAGE.format(juliet.boundjid.full, 1, "hello")))
    assert (await juliet.next_message())["body"] == "hello"
    juliet.say(romeo.jid, "and to you")
    assert "<body>and to you</body>" in await asyncio.to_thread(romeo.finish, waiting)


def test_connections_that_break_at_every_request_lose_nothing(server, closing):
    """Each request is sent, its connection dropped, and the request repeated on another one."""
    romeo, juliet = Bosh(server), Bosh(server)
    romeo.login("romeo", "secret")
    to = juliet.login("juliet", "secret")
    count = 40
    for number in range(count):
        body = romeo.body(MESSAGE.format(to, number, f"r{number}.") + MESSAGE.format(romeo.jid, number, "echo"))
        romeo.start(body).close()
        # The first answer goes to nobody, or the request still waits: either way it is repeated.
        assert "echo" in romeo.finish(romeo.start(body))
        romeo.rid += 1
    while f"r{count - 1}." not in juliet.seen:
        body = juliet.body()
        juliet.start(body).close()
        juliet.finish(juliet.start(body))
        juliet.rid += 1
    assert re.findall(r"<body>r(\d+)\.</body>", juliet.seen) == [str(number) for number in range(count)]
    assert romeo.seen.count("echo") == count


def test_a_request_ahead_of_its_turn_waits_for_it(server):
    romeo = Bosh(server)
    romeo.login("romeo", "secret")
    second = romeo.start(romeo.body(MESSAGE.format(romeo.jid, "b", "second"), rid=romeo.rid + 1))
    assert not wait_readable(second.socket, 0.3)
    first = romeo.finish(romeo.start(romeo.body(MESSAGE.format(romeo.jid, "a", "first"))))
    seen = first + romeo.finish(second) if "second" not in first else first
    assert seen.index("first") < seen.index("second")


def test_requests_outside_of_the_window_end_the_session(server):
    romeo = Bosh(server)
    romeo.login("romeo", "secret")
    romeo.rid += 10
    assert "condition='item-not-found'" in romeo.ask()
    assert server.must_run("session", "list").count(" bosh ") == 0


@pytest.mark.parametrize("text", ["", "hello", "<body/>", "<body rid='1' xmlns='http://jabber.org/protocol/httpbind'>"])
def test_what_is_no_body(server, closing, text):
    wire = closing(Http(server.listeners[0].address))
    answer = wire.get("/http-bind", method="POST", body=text)
    assert answer.status == 200 and "condition='bad-request'" in answer.body
    # The connection goes on: the session, not HTTP, was refused.
    assert wire.get("/http-bind", method="OPTIONS").status == 204
    assert wire.get("/http-bind").status == 405


@pytest.mark.parametrize(
    ("host", "condition"),
    [
        ({"to": "nowhere.example"}, "host-unknown"),
        ({}, "improper-addressing"),
        ({"to": ""}, "improper-addressing"),
        ({"to": "a b"}, "improper-addressing"),
    ],
)
def test_a_host_that_is_none_of_ours(server, host, condition):
    """XEP-0124 section 17.2: there is no session, and so no stream with an error."""
    answer = Bosh(server).ask(wait=5, hold=1, **host)
    assert f"type='terminate' condition='{condition}'/>" in answer, answer


def test_a_restart_is_any_truth_of_xml_schema(server):
    romeo = Bosh(server)
    romeo.open()
    secret = base64.b64encode(b"\0romeo\0secret").decode()
    romeo.until("<success", f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>")
    assert "xmpp-bind" in romeo.until("<stream:features", xmpp__restart="1")


def test_pages_of_other_origins_see_why_a_request_is_refused(server, closing):
    wire = closing(Http(server.listeners[0].address))
    answer = wire.ask("POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
    assert answer.status == 413 and answer.headers["access-control-allow-origin"] == "*"


def test_a_stream_error_ends_the_session(server):
    romeo = Bosh(server)
    romeo.login("romeo", "secret")
    answer = romeo.ask("<foo xmlns='jabber:client'/>")
    assert "<unsupported-stanza-type" in answer and "type='terminate'" in answer
    assert server.ended("stream_error") == 1


def test_a_request_waits_no_longer_than_asked(server):
    romeo = Bosh(server)
    romeo.login("romeo", "secret", wait=1)
    started = time.monotonic()
    assert romeo.ask().endswith("></body>") or "/>" in romeo.seen[-10:]
    assert 0.9 <= time.monotonic() - started < 5


def test_who_polls_too_often_is_stopped(server):
    romeo = Bosh(server)
    opened = romeo.open(wait=0, hold=0)
    assert "requests='1'" in opened and "polling='1'" in opened
    romeo.ask()
    assert "condition='policy-violation'" in romeo.ask()


def test_sessions_on_all_cores(server):
    """Requests of one session come in on whichever core the kernel chooses."""
    clients = [Bosh(server) for _ in range(10)]
    threads = [
        threading.Thread(target=client.login, args=("romeo", "secret", f"r{at}"))
        for at, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for client in clients:
        assert "hello" in client.until("hello", MESSAGE.format(client.jid, 1, "hello"))
    assert server.must_run("session", "list").count(" bosh ") == 10


def test_who_stays_away_is_gone(start_server):
    listeners = [http_listener(mongoose_bosh_handler={"path": "/http-bind"})]
    sections = PLAIN | {"services.service_bosh": {"inactivity": 2}}
    server = start_server(listeners=listeners, accounts=ACCOUNTS, sections=sections)
    romeo, juliet = Bosh(server), Bosh(server)
    romeo.login("romeo", "secret", wait=1)
    juliet.login("juliet", "secret")
    # A message that nobody fetches is kept for her next session.
    romeo.ask(MESSAGE.format(juliet.jid, "x", "kept"))
    while not server.ended("timeout"):
        romeo.ask()
    assert server.must_run("session", "list").count(" bosh ") == 1
    assert server.ended("timeout") == 1
    juliet = Bosh(server)
    juliet.login("juliet", "secret")
    juliet.until("<body>kept</body>", "<presence xmlns='jabber:client'/>")


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_message_for_a_client_that_went_while_its_request_waited_is_kept(start_server, end):
    """The end of the connection says that nobody reads the answer: a tab that was closed."""
    listeners = [http_listener(mongoose_bosh_handler={"path": "/http-bind"})]
    times = {"modules.mod_bosh": {"inactivity": 1}}
    modules = {"modules.mod_presence": {}, "modules.mod_offline": {}, "modules.mod_roster": {}}
    server = start_server(listeners=listeners, accounts=ACCOUNTS, sections=PLAIN | times | modules)
    romeo, juliet = Bosh(server), Bosh(server)
    juliet.login("juliet", "secret")
    juliet.until("<presence", "<presence xmlns='jabber:client'/>")
    connections = server.connections()
    waiting = juliet.start(juliet.body())
    while server.connections() == connections:
        pass
    getattr(waiting, end)()
    while server.connections() > connections:
        pass
    romeo.login("romeo", "secret", wait=1)
    romeo.ask(MESSAGE.format("juliet@localhost", "x", "kept"))
    while not server.ended("timeout"):
        romeo.ask()
    juliet = Bosh(server)
    juliet.login("juliet", "secret")
    juliet.until("<body>kept</body>", "<presence xmlns='jabber:client'/>")


def test_a_pause_behind_a_trusted_proxy(start_server):
    """XEP-0124 section 10, on connections of the proxy's: the session outlives its inactivity."""
    web = http_listener(options={"trusted_proxies": ["127.0.0.1"]}, mongoose_bosh_handler={"path": "/http-bind"})
    times = {"modules.mod_bosh": {"inactivity": 1, "max_pause": 60}}
    server = start_server(listeners=[web], accounts=ACCOUNTS, sections=PLAIN | times)
    romeo, juliet = Bosh(server), Bosh(server)
    romeo.headers = "X-Forwarded-For: 192.0.2.1\r\n"
    juliet.headers = "X-Forwarded-For: 192.0.2.2\r\n"
    romeo.login("romeo", "secret")
    juliet.login("juliet", "secret")
    waiting = romeo.start(romeo.body())
    romeo.rid += 1
    assert "terminate" not in romeo.ask(pause=60)
    # It was answered because of the pause, long before its time.
    assert "terminate" not in romeo.finish(waiting)
    assert "192.0.2.1:" in server.must_run("session", "list")
    # Hers ends by the second that romeo stays away for, too.
    while not server.ended("timeout"):
        pass
    assert "192.0.2.2:" not in server.must_run("session", "list")
    assert "<body>back</body>" in romeo.until("back", MESSAGE.format(romeo.jid, 1, "back"))


def test_times_are_those_of_the_host(start_server):
    sections = PLAIN | {
        "general": {"hosts": ["localhost", "other.localhost"]},
        "modules.mod_bosh": {"max_wait": 7, "inactivity": 1, "max_pause": 9},
        "[host_config]": {"host": "other.localhost"},
        "host_config.modules.mod_bosh": {"inactivity": "infinity", "server_acks": True},
    }
    listeners = [http_listener(mongoose_bosh_handler={"path": "/http-bind"})]
    server = start_server(listeners=listeners, sections=sections)
    one, other = Bosh(server), Bosh(server)
    opened = one.open()
    assert "wait='7'" in opened and "inactivity='1'" in opened and "maxpause='9'" in opened, opened
    assert " ack=" not in opened
    opened = other.ask(to="OTHER.localhost", wait=600, hold=1)
    assert "wait='60'" in opened and "maxpause='120'" in opened and " ack='1000'" in opened, opened


def test_kept_messages_come_once(server, closing):
    """In several answers; behind them what comes meanwhile, and at the next login none of them."""
    count = 99
    juliet = closing(Wire(server.listeners[1].address))
    juliet.login("juliet", "secret")
    juliet.send("".join(MESSAGE.format("romeo@localhost", n, f"kept {n}.") for n in range(count)))
    juliet.ping()
    romeo = Bosh(server)
    romeo.login("romeo", "secret")
    romeo.until(f">kept {count - 1}.<", "<presence xmlns='jabber:client'/>")
    juliet.send(MESSAGE.format("romeo@localhost", count, "meanwhile"))
    romeo.until(">meanwhile<")
    assert re.findall(r">kept (\d+)\.<", romeo.seen) == [str(n) for n in range(count)]
    romeo.ask(type="terminate")
    again = Bosh(server)
    again.login("romeo", "secret")
    juliet.send(MESSAGE.format("romeo@localhost", count + 1, "afterwards"))
    again.until(">afterwards<", "<presence xmlns='jabber:client'/>")
    assert ">kept" not in again.seen, again.seen
    again.ask(type="terminate")
