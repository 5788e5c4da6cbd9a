"""Fixtures of the interop tests, and the table at their end. Started by tests/interop/run."""

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.client import Client
from harness.meerkat import Meerkat
from harness.prosody import Prosody
from harness.terminal import Terminals

SERVERS = {"meerkat": Meerkat, "prosody": Prosody}


def pytest_addoption(parser):
    parser.addoption("--server", choices=SERVERS, default="meerkat", help="what the portable tests talk to")


def pytest_collection_modifyitems(config, items):
    """Against another server only the portable tests make sense; they are chosen, not skipped."""
    if config.getoption("--server") != "meerkat":
        others = [item for item in items if item.get_closest_marker("portable") is None]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


@pytest.fixture
def folder():
    """A short path: the names of unix sockets are limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="meerkat-") as name:
        yield Path(name)


@pytest.fixture
def start_server(folder, request):
    """start_server(listeners=…, accounts=…, sections=…) -> a serving server, ended with the test."""
    kind = SERVERS[request.config.getoption("--server")]
    started = []

    def start(*, limits=(), manager=None, env=None, **wanted):
        home = folder / f"server-{len(started)}"
        home.mkdir()
        server = kind(home, **wanted)
        started.append(server)
        serving = {"limits": limits, "manager": manager, "env": env}
        return server.serve(**{name: given for name, given in serving.items() if given})

    yield start
    for server in started:
        server.stop()
        print(f"--- log of {server.name}\n{server.tail()}")


@pytest.fixture
async def connect():
    """connect(server, user, password, …) -> a logged in client, logged out with the test."""
    clients = []

    async def login(*arguments, presence=True, **options):
        client = Client(*arguments, **options)
        clients.append(client)
        return await client.login(presence)

    yield login
    await asyncio.gather(*(client.logout() for client in clients))


@pytest.fixture
async def terminals(folder):
    """Programs on terminals, each with a home of its own, told to quit with the test."""
    terminals = Terminals(folder)
    yield terminals
    await terminals.close()


@pytest.fixture
def closing():
    """closing(x) -> x, closed with the test."""
    with ExitStack() as stack:
        yield lambda thing: stack.callback(thing.close) and thing


def pytest_terminal_summary(terminalreporter, config):
    rows = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            seconds, worst = rows.get(report.nodeid, (0.0, outcome))
            # A file that cannot be read takes no time.
            rows[report.nodeid] = (seconds + getattr(report, "duration", 0.0), worst)
    for report in terminalreporter.stats.get("", []):
        if report.nodeid in rows:
            seconds, outcome = rows[report.nodeid]
            rows[report.nodeid] = (seconds + report.duration, outcome)
    terminalreporter.section("cells")
    for name, (seconds, outcome) in sorted(rows.items()):
        terminalreporter.write_line(f"{outcome:8}{seconds:7.1f} s  {name}")


def pytest_sessionfinish(session, exitstatus):
    """A skipped test proves nothing: it fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == 0 and reporter and reporter.stats.get("skipped"):
        session.exitstatus = 1
