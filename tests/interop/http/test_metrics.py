"""The exposition, as promtool and as a reader sees it, and the operations of the command line."""

import contextlib
import re
import subprocess
from pathlib import Path

import pytest

from harness.component import shake_hands
from harness.listener import Listener
from harness.web import Http, WebSocket, http_listener
from harness.wire import Closed, Wire, plain, stream_error

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}


@pytest.fixture
def server(start_server):
    listeners = [
        Listener(),
        http_listener(mongoose_prometheus_handler={"path": "/metrics"}),
        Listener(tls="starttls"),
    ]
    return start_server(listeners=listeners, accounts=ACCOUNTS)


@pytest.fixture
def scrape(server, closing):
    def read():
        answer = closing(Http(server.listeners[1].address)).get("/metrics")
        assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return answer.body

    return read


def total(text, name, **labels):
    """The sum over all samples of that name with these labels."""
    found = 0.0
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
        if match and all(f'{key}="{of}"' in (match[1] or "") for key, of in labels.items()):
            found += float(match[2])
    return found


def test_promtool_accepts_it(server, scrape, closing):
    wire = closing(Wire(server.listeners[0].address))
    wire.login("juliet", "secret")
    text = scrape()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30
    )
    # Names of MongooseIM keep their own style, about which promtool has an opinion; and days of a
    # certificate are what people count.
    ours = [line for line in checked.stderr.splitlines() if line.startswith("meerkat_")]
    lint = [line for line in ours if "base unit" not in line]
    assert checked.returncode in (0, 3) and not lint, checked.stdout + checked.stderr


def test_it_counts_what_happens(server, scrape, closing):
    wire = closing(Wire(server.listeners[0].address))
    jid = wire.login("juliet", "secret")
    for number in range(10):
        wire.send(f"<message to='{jid}' id='m{number}' type='chat'><body>x</body></message>")
    wire.until_tag("message", "m9")
    bad = closing(Wire(server.listeners[0].address))
    bad.open()
    bad.send(plain("juliet", "wrong"))
    bad.until("</failure>")
    bad.send("<!-- -->")
    assert stream_error(bad.to_end()) == "restricted-xml"
    text = scrape()
    clients = {"connection_type": "c2s"}
    first = {"listener": "listen.c2s[0]"}
    assert total(text, "meerkat_sessions") == total(text, "meerkat_users") == 1
    assert total(text, "meerkat_stanzas_received_total", kind="message", **clients) == 10
    assert total(text, "meerkat_stanzas_sent_total", kind="message", **clients) == 10
    # What comes back has a `from`, and is longer.
    received = total(text, "meerkat_stanza_bytes_received_total", kind="message", **clients)
    assert received == 10 * len(f"<message to='{jid}' id='m0' type='chat'><body>x</body></message>")
    assert total(text, "meerkat_stanza_bytes_sent_total", kind="message", **clients) > received
    assert total(text, "meerkat_read_to_write_seconds_count") >= 10
    assert total(text, "meerkat_stream_errors_total", condition="restricted-xml", **first) == 1
    assert total(text, "meerkat_logins_failed_total") == 1
    assert total(text, "meerkat_store_seconds_count") >= 2
    for name in ["received", "sent"]:
        assert total(text, f"meerkat_{name}_bytes_total", **first) > 1000
    assert total(text, "meerkat_accepted_total", **first) >= 2
    assert total(text, "meerkat_connections_taken_total") >= 3
    assert total(text, "meerkat_listener_connections", **first) >= 1
    assert total(text, "meerkat_certificate_days", listener="listen.c2s[1]") > 0
    assert total(text, "meerkat_hibernated_connections") == 1
    wire.send("<message to='" + "x" * 3000)
    while total(scrape(), "meerkat_partial_stanza_bytes") < 3000:
        pass
    wire.close()
    server.becomes(connections=0, seconds=5)
    text = scrape()
    assert total(text, "meerkat_partial_stanza_bytes") == 0
    assert total(text, "meerkat_logins_total") == total(text, "meerkat_logouts_total") == 1
    assert total(text, "meerkat_connections_ended_total", reason="peer_closed", **first) >= 1


def test_names_of_mongooseim(server, scrape, closing):
    """Exact names and labels: a dashboard made for it shows the same here."""
    before = scrape()
    wire = closing(Wire(server.listeners[0].address))
    jid = wire.login("juliet", "secret")
    wire.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
    wire.until_tag("iq", "r")
    wire.send("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='romeo@localhost'/></query></iq>")
    wire.until_tag("iq", "s")
    for number in range(10):
        wire.send(f"<message to='{jid}' id='m{number}' type='chat'><body>x</body></message>")
    wire.until_tag("message", "m9")
    wire.send(f"<message to='{jid}' id='e' type='error'><error type='cancel'/></message>")
    wire.until_tag("message", "e")
    wire.send("<message to='nobody@localhost' id='b' type='groupchat'><body>x</body></message>")
    wire.until_tag("message", "b")
    wire.ping()
    bad = closing(Wire(server.listeners[0].address))
    bad.open()
    bad.send(plain("juliet", "wrong"))
    bad.until("</failure>")
    secured = closing(Wire(server.listeners[2].address))
    secured.open()
    secured.secure(server.certificate.context(), starttls=True)
    text = scrape()

    def sample(name, **labels):
        inside = ",".join(f'{key}="{of}"' for key, of in labels.items())
        lines = [name + (f"{{{inside}}}" if labels else "")]
        found = [line.split(" ")[1] for line in text.splitlines() if line.split(" ")[0] in lines]
        assert len(found) == 1, (name, found)
        return float(found[0])

    host = {"host_type": "localhost"}
    clients = {"connection_type": "c2s"}
    for name in ["sm_node_sessions_count", "sm_total_sessions_count", "sm_unique_sessions_count"]:
        assert sample(name) == 1
    for name in ["sm_session_count", "sm_session_logins", "c2s_auth_failed_count", "sm_message_bounced_count"]:
        assert sample(name, **host) == 1, name
    for name in ["mod_roster_get_count", "mod_roster_set_count", "mod_roster_push_count"]:
        assert sample(name, **host) == 1, name
    assert sample("sm_session_logouts", **host) == 0
    assert sample("system_tcp_ports_count") >= 3
    assert sample("system_up_time_seconds") >= total(before, "system_up_time_seconds")
    for name in ["xmpp_element_in", "xmpp_element_out"]:
        messages = 11 if name.endswith("in") else 10
        assert sample(f"{name}_message_count", **clients, **host) == messages
        assert sample(f"{name}_iq_count", **clients, **host) >= 3
        assert sample(f"{name}_byte_size_count", **clients, **host) >= 15
        assert sample(f"{name}_byte_size_sum", **clients, **host) > 1000
        older = name.replace("xmpp", "c2s")
        for kind in ["message", "iq", "presence", "stanza", "error", "message_error"]:
            newer = sample(f"{name}_{kind}_count", **clients, **host)
            assert newer == sample(f"{older}_{kind}_count", **host), (name, kind)
    assert sample("xmpp_element_in_message_error_count", **clients, **host) == 1
    assert sample("xmpp_element_out_message_error_count", **clients, **host) == 2
    assert sample("xmpp_element_in_stanza_count", connection_type="component", host_type="") == 0
    assert sample("tcp_data_in_byte_size", **clients) > 1000 < sample("tcp_data_out_byte_size", **clients)
    secured.open()
    text = scrape()
    assert sample("tls_data_in_byte_size", **clients) > 50 < sample("tls_data_out_byte_size", **clients)
    address, port = server.listeners[2].address
    assert sample("tls_cert_remaining_days_count", listener_id=f"{address}@tcp/{port}") > 0


def test_every_failure_has_its_place(start_server, closing):
    """PROXY headers, handshakes, slow readers: by listener."""
    proxied = Listener(options={"proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]})
    small = Listener(options={"outbound_buffer": 16384})
    metrics = http_listener(mongoose_prometheus_handler={"path": "/metrics"})
    listeners = [proxied, Listener(tls="tls"), small, metrics]
    server = start_server(listeners=listeners, accounts=ACCOUNTS)
    read = lambda: closing(Http(server.listeners[3].address)).get("/metrics").body  # noqa: E731
    for header in ["PROXY TCP9 1 2 3 4\r\n", "<stream:stream>\r\n"]:
        wire = closing(Wire(server.listeners[0].address))
        wire.send(header)
        assert wire.to_end() == ""
    wire = closing(Wire(server.listeners[1].address))
    wire.send("this is no TLS record, and long enough to see it")
    wire.socket.shutdown(1)
    with contextlib.suppress(Closed):
        while True:
            wire.read_more()
    slow = closing(Wire(server.listeners[2].address, receive_buffer=4096))
    jid = slow.login("juliet", "secret")
    busy = closing(Wire(server.listeners[2].address))
    busy.login("romeo", "secret")
    big = f"<message to='{jid}' type='headline'><body>{'x' * 7000}</body></message>"
    while server.ended("slow_reader") == 0:
        busy.send(big * 20)
        busy.ping()
    text = read()
    assert total(text, "meerkat_proxy_failures_total", listener="listen.c2s[0]", kind="malformed_v1") >= 1
    assert total(text, "meerkat_proxy_failures_total", listener="listen.c2s[0]") >= 2
    assert total(text, "meerkat_tls_handshakes_failed_total", listener="listen.c2s[1]") == 1
    ended = "meerkat_connections_ended_total"
    assert total(text, ended, listener="listen.c2s[0]", reason="bad_proxy_header") >= 2
    assert total(text, ended, listener="listen.c2s[1]", reason="tls_failed") == 1
    assert total(text, ended, listener="listen.c2s[2]", reason="slow_reader") == 1
    assert total(text, ended, listener="listen.c2s[0]", reason="slow_reader") == 0


def test_other_ways_are_counted(start_server, closing):
    """A component, a WebSocket and BOSH: each by its own name."""
    handlers = {
        "mongoose_websocket_handler": {"path": "/ws-xmpp"},
        "mongoose_bosh_handler": {"path": "/http-bind"},
        "mongoose_prometheus_handler": {"path": "/metrics"},
    }
    service = Listener(kind="service", options={"password": "secret"})
    plain_too = {"auth": {"allow_plain_without_tls": True}}
    listeners = [http_listener(**handlers), service]
    server = start_server(listeners=listeners, accounts=ACCOUNTS, sections=plain_too)
    web = server.listeners[0].address
    wire = closing(WebSocket(web))
    wire.upgrade()
    wire.login("juliet", "secret")
    rest = "xmlns='http://jabber.org/protocol/httpbind' to='localhost' wait='1' hold='1'"
    closing(Http(web)).get("/http-bind", "POST", body=f"<body rid='1' {rest}/>")
    component = closing(Wire(server.listeners[1].address))
    shake_hands(component, "echo.localhost", "secret")
    wire.say("<message xmlns='jabber:client' to='echo.localhost' type='chat'><body>x</body></message>")
    component.until("</message>")
    component.send("<message from='echo.localhost' to='juliet@localhost/ws' type='chat'><body>y</body></message>")
    assert "<body>y</body>" in wire.element()
    stranger = closing(Wire(server.listeners[1].address))
    stranger.send(
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' "
        "to='other.localhost'><handshake>wrong</handshake>"
    )
    assert stream_error(stranger.to_end()) == "not-authorized"
    text = closing(Http(web)).get("/metrics").body
    components = {"connection_type": "component"}
    for direction in ["in", "out"]:
        assert total(text, f"xmpp_element_{direction}_message_count", **components) == 1
        assert total(text, f"tcp_data_{direction}_byte_size", **components) > 100
        assert total(text, f"component_tcp_data_{direction}_byte_size") > 100
        assert total(text, f"tcp_data_{direction}_byte_size", connection_type="c2s") == 0
    for name in ["websocket_data_received", "websocket_data_sent", "bosh_data_received", "bosh_data_sent"]:
        assert total(text, f"{name}_byte_size") == total(text, f"mod_{name}_byte_size") > 80, name
    assert total(text, "component_auth_failed_count") == 1


def test_the_page_about_them_is_right(start_server, closing):
    """Every name that it lists is there, or is not, as it says."""
    listeners = [
        Listener(tls="starttls", options={"max_connections_per_ip": 50, "proxy_protocol": True}),
        http_listener(mongoose_prometheus_handler={"path": "/metrics"}),
    ]
    server = start_server(listeners=listeners)
    text = closing(Http(server.listeners[1].address)).get("/metrics").body
    there = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    page = (Path(__file__).parents[3] / "docs/metrics.md").read_text()
    here, absent = page.split("### Not here")
    listed = {name for row in re.findall(r"^\| (.*?) \|", here, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert len(listed) > 70 and listed <= there, listed - there
    # "and its likes" stands for the rest.
    assert all(name in listed for name in there if name.startswith("meerkat_"))
    missing = {name for row in re.findall(r"^\| (.*?) \|", absent, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert missing and not missing & there, missing & there
    for name in listed:
        assert re.search(rf"^{name}(_bucket)?(\{{.*\}})? \S+$", text, re.MULTILINE), f"{name} has no sample"


def test_the_grafana_dashboard_names_what_is_there(scrape):
    text = scrape()
    there = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    there |= {f"{name}_bucket" for name in there}
    board = (Path(__file__).parents[3] / "config/examples/grafana-dashboard.json").read_text()
    queries = re.findall(r'"expr": "(.*)"', board)
    named = {name for query in queries for name in re.findall(r"\b(?:meerkat|sm|c2s|system|xmpp)_\w+", query)}
    assert len(queries) > 20 and len(named) > 15
    assert named <= there, named - there


def test_refusals_and_accepts(start_server, closing):
    limited = Listener(options={"max_connections_per_ip": 1})
    metrics = http_listener(mongoose_prometheus_handler={"path": "/metrics"})
    server = start_server(listeners=[limited, metrics], accounts={"juliet": "secret"})
    wire = closing(Wire(server.listeners[0].address))
    wire.open()
    assert closing(Wire(server.listeners[0].address)).to_end() == ""
    text = closing(Http(server.listeners[1].address)).get("/metrics").body
    assert total(text, "meerkat_address_refusals_total", reason="too_many_per_ip") == 1
    assert total(text, "meerkat_address_refusals_total", reason="too_fast_per_ip") == 0
    assert total(text, "meerkat_connections_taken_total") >= 3


def test_many_read_it_at_once_on_one_connection(server, closing):
    wire = closing(Http(server.listeners[1].address))
    wire.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
    assert [wire.answer().status for _ in range(20)] == [200] * 20
    assert wire.get("/metrics", method="POST").status == 405
    wire.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    wire.socket.shutdown(1)
    assert wire.answer().status == 200


def test_sessions_on_the_command_line(server, closing):
    wire = closing(Wire(server.listeners[0].address))
    jid = wire.login("juliet", "secret", "balcony")
    assert jid in server.must_run("session", "list")
    assert jid not in server.must_run("session", "list", "romeo")
    shown = server.must_run("session", "show", "juliet@localhost")
    assert "transport  tcp" in shown and "listen.c2s[0]" in shown
    assert server.run("session", "show", "romeo@localhost").returncode == 1
    assert server.run("session", "kick", "juliet@localhost/window").returncode == 1
    wire.ping()
    assert server.must_run("session", "kick", "juliet@localhost/balcony").strip() == jid
    assert stream_error(wire.to_end()) == "policy-violation"
    assert server.ended("kicked") == 1
    assert jid not in server.must_run("session", "list")


def test_stats_move(server, closing):
    wire = closing(Wire(server.listeners[0].address))
    wire.login("juliet", "secret")
    table = server.must_run("stats")
    assert "listen.c2s[0]" in table and "core" in table
    watched = server.must_run("stats", "--watch", "--times", "1")
    assert "accepted/s" in watched and "1 sessions of 1 users" in watched
