"""The exposition, as promtool and as a reader sees it, and the operations of the command line."""

import re
import subprocess

import pytest

from harness.listener import Listener
from harness.web import Http, http_listener
from harness.wire import Wire, plain, stream_error

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
    ours = [line for line in checked.stderr.splitlines() if "meerkat_" in line or "error" in line]
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
    assert total(text, "sm_total_sessions_count") == total(text, "sm_unique_sessions_count") == 1
    assert total(text, "c2s_element_in_message_count") == 10
    assert total(text, "meerkat_stanzas_sent_total", kind="message") == 10
    assert total(text, "meerkat_read_to_write_seconds_count") >= 10
    assert total(text, "meerkat_stream_errors_total", condition="restricted-xml") == 1
    assert total(text, "c2s_auth_failed_count") == 1
    assert total(text, "meerkat_store_seconds_count") >= 2
    assert total(text, "meerkat_received_bytes_total") > 1000
    assert total(text, "meerkat_listener_connections", listener="listen.c2s[0]") >= 1
    assert total(text, "meerkat_certificate_days", listener="listen.c2s[1]") > 0
    wire.close()
    server.becomes(connections=0, seconds=5)
    text = scrape()
    assert total(text, "sm_session_logouts_count") == total(text, "sm_session_logins_count") == 1
    assert total(text, "meerkat_connections_ended_total", reason="peer_closed") >= 1


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
    assert total(text, "meerkat_core_accepted_total") >= 3


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
