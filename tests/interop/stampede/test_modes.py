"""Every mode of stampede with a few clients, against meerkat and against the canned answers."""

import json
import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.listener import Listener
from harness.meerkat import binary
from harness.process import Process
from harness.web import http_listener

RUN_SECONDS = 60
USERS = 20
ACCOUNTS = {f"user{number}": "secret" for number in range(USERS + 10)}
# PLAIN in clear through WebSocket and PROXY headers, from loopback only.
SECTIONS = {"auth": {"allow_plain_without_tls": True}}
PATH = "/ws-xmpp"
SVG = "{http://www.w3.org/2000/svg}"


def stampede():
    """Built beside meerkat, in release even where that is not; or what STAMPEDE_BIN names."""
    beside = binary().parent.parent / "release" / "stampede"
    return os.environ.get("STAMPEDE_BIN", beside)


class Load:
    """Runs stampede against one process; every run has to be whole."""

    def __init__(self, folder, server):
        self.folder = folder
        self.server = server
        self.pid = server.child.pid

    def run(self, port, mode, *words, status=0):
        out, picture = self.folder / "out.json", self.folder / "out.svg"
        files = ["--json", out, "--svg", picture]
        at = ["--to", f"127.0.0.1:{port}", "--pid", self.pid, "--users", USERS]
        command = [str(word) for word in (stampede(), mode, *at, *files, *words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
        print(done.stdout, done.stderr)
        assert done.returncode == status, " ".join(command)
        report = json.loads(out.read_text())
        assert report["mode"] == mode
        assert ET.parse(picture).getroot().findall(f"{SVG}polyline"), "a plot"
        return report

    def whole(self, port, mode, *words):
        report = self.run(port, mode, *words)
        wrong = {name: report.get(name, 0) for name in ("failed", "lost", "twice", "late")}
        assert not any(wrong.values()), wrong
        assert report["server_cpu_us"] > 0 and report["stampede_cpu_us"] > 0
        return report


LISTENERS = {
    "clear": lambda: Listener(),
    "starttls": lambda: Listener(tls="starttls"),
    "direct": lambda: Listener(tls="tls"),
    "proxied": lambda: Listener(options={"proxy_protocol": True}),
    "websocket": lambda: http_listener(mongoose_websocket_handler={"path": PATH}),
    "secure websocket": lambda: http_listener(tls="tls", mongoose_websocket_handler={"path": PATH}),
}


@pytest.fixture
def meerkat(start_server, folder):
    """(run, whole) by the name of a listener."""
    listeners = {name: make() for name, make in LISTENERS.items()}
    server = start_server(listeners=list(listeners.values()), accounts=ACCOUNTS, sections=SECTIONS)
    load = Load(folder, server)
    return lambda name, mode, *words: load.whole(listeners[name].port, mode, *words)


@pytest.fixture
def floor(folder):
    server = Process(folder, "floor")
    server.start([stampede(), "floor"])
    try:
        while not server.log().endswith("\n"):
            assert not server.ended_within(0.01), server.log()
        yield Load(folder, server), int(server.log())
    finally:
        server.stop()


def test_visits_by_every_way_in(meerkat):
    assert meerkat("clear", "connect", "-n", 50)["per_second"] > 0
    for words in [("clear",), ("starttls",), ("direct",), ("proxied", "v1"), ("proxied", "v2")]:
        listener, *version = words
        options = {"starttls": ("--tls", "starttls"), "direct": ("--tls", "direct")}.get(listener, ())
        options += ("--proxy", *version) if version else ()
        report = meerkat(listener, "stream", "-n", 50, "--at-once", 10, *options)
        assert report["count"] == 50 and 0 < report["p50_us"] <= report["max_us"]
        meerkat(listener, "session", "-n", 20, "--at-once", 10, *options)
    for listener, tls in [("websocket", "none"), ("secure websocket", "direct")]:
        meerkat(listener, "session", "-n", 20, "--at-once", 10, "--websocket", PATH, "--tls", tls)


@pytest.mark.parametrize("mechanism", ["plain", "scram-sha-1", "scram-sha-256"])
def test_logins(meerkat, mechanism):
    options = ["-n", 30, "--at-once", 5, "--mechanism", mechanism]
    meerkat("clear", "login", *options)
    meerkat("starttls", "session", *options, "--tls", "starttls")


def test_conversations(meerkat):
    ways = [("clear",), ("direct", "--tls", "direct"), ("websocket", "--websocket", PATH)]
    for listener, *options in ways:
        report = meerkat(listener, "chat", "-n", 400, "--window", 5, *options)
        assert report["count"] == 400
        # Presence is for sessions: each mode's users have left when the next one's come.
        assert meerkat(listener, "broadcast", "-n", 190, "--window", 2, *options)["count"] == 190
        meerkat(listener, "churn", "-n", 40, "--at-once", 5, *options)
    meerkat("clear", "chat", "-n", 100, "--rate", 500, "--full", "--beside", 10)


def test_memory_of_idle_sessions(meerkat):
    for listener, *options in [("clear",), ("direct", "--tls", "direct")]:
        report = meerkat(listener, "idle", "-n", 27, *options)
        sessions = [count for count, _ in report["rss_kib_by_sessions"]]
        assert sessions == [3 * part for part in range(1, 10)]
        assert report["server_rss_kib"] > 0


def test_the_floor_answers_every_mode(floor):
    load, port = floor
    for mode in ("connect", "stream", "login", "session", "idle", "chat", "churn"):
        load.whole(port, mode, "-n", 100, "--at-once", 10)
    load.whole(port, "broadcast", "-n", 95)
    load.whole(port, "session", "-n", 20, "--at-once", 10, "--mechanism", "sasl2", "--proxy", "v1", "--sources", 0)
    load.whole(port, "chat", "-n", 100, "--window", 10, "--sources", 5000)


def test_what_a_server_refuses_is_counted(floor):
    load, port = floor
    words = ["-n", 20, "--at-once", 10]
    report = load.run(port, "stream", *words, "--tls", "starttls", status=1)
    assert report["failures"] == {"not offered": 20}
    report = load.run(port, "login", *words, "--mechanism", "scram-sha-1", status=1)
    assert report["failures"] == {"not offered": 20}
    report = load.run(port, "stream", *words, "--tls", "direct", status=1)
    assert report["failures"] == {"tls": 20}


def test_nobody_listens(floor):
    load, port = floor
    load.server.kill()
    load.pid = os.getpid()
    report = load.run(port, "session", "-n", 20, "--at-once", 10, status=1)
    assert report["failed"] == 20 and sum(report["failures"].values()) == 20
    assert set(report["failures"]) <= {"refused", "reset"}


def test_only_loopback():
    command = [stampede(), "stream", "--to", "192.0.2.1:5222"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
    assert done.returncode == 2 and "--anywhere" in done.stderr
