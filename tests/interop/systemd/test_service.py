"""The service as systemd sees it: readiness, watchdog, inherited sockets, and the unit's text."""

import signal
import subprocess
from pathlib import Path

import pytest

from harness.listener import Listener
from harness.manager import Manager
from harness.meerkat import Meerkat
from harness.wire import HEADER, Wire

ROOT = Path(__file__).parents[3]
UNITS = ROOT / "config" / "systemd"
# Seconds of the watchdog; the service has to call twice as often.
WATCHDOG = 1.0
CALLS = 6


@pytest.fixture
def manager(folder, closing):
    def manage(**wanted):
        return closing(Manager(folder, **wanted))

    return manage


def test_it_says_ready_reloading_and_stopping(start_server, manager):
    systemd = manager()
    server = start_server(manager=systemd)
    systemd.wait_for("READY=1")
    server.signal(signal.SIGHUP)
    systemd.wait_for("RELOADING=1")
    systemd.wait_for("READY=1")
    assert any(line.startswith("MONOTONIC_USEC=") for line in systemd.seen)
    assert server.terminate() == 0
    systemd.wait_for("STOPPING=1")
    assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in systemd.seen)


def test_the_watchdog_is_called_in_time(start_server, manager):
    systemd = manager(watchdog=WATCHDOG)
    start_server(manager=systemd)
    moments = systemd.wait_for("WATCHDOG=1", times=CALLS)
    # A busy machine may be late; systemd would have waited a whole period.
    assert all(later - earlier < WATCHDOG for earlier, later in zip(moments, moments[1:]))


def test_without_a_manager_nothing_is_told(start_server):
    server = start_server(env={"NOTIFY_SOCKET": "/nonexistent/notify"})
    assert "service manager cannot be told" in server.log()
    assert server.terminate() == 0


@pytest.mark.parametrize("sockets", [1, 2])
def test_inherited_sockets_serve_their_listener(start_server, manager, closing, sockets):
    listener = Listener()
    systemd = manager(listens=[listener.address] * sockets)
    server = start_server(listeners=[listener], manager=systemd, accounts={"romeo": "secret"})
    assert f"listen.c2s[0] on 127.0.0.1:{listener.port} (inherited socket;" in server.log()
    wires = [closing(Wire(listener.address)) for _ in range(8)]
    for number, wire in enumerate(wires):
        wire.login("romeo", "secret", f"r{number}")
        wire.ping()
    cores = len(server.status()["shards"])
    assert len(server.status()["listeners"][0]["acceptors"]) == sockets
    assert sum(shard["connections"] for shard in server.status()["shards"]) == 8, cores


def test_the_socket_outlives_the_service(start_server, manager, closing):
    """Who connects while the service restarts is served by the next one."""
    listener = Listener()
    systemd = manager(listens=[listener.address])
    server = start_server(listeners=[listener], manager=systemd, accounts={"romeo": "secret"})
    closing(Wire(listener.address)).login("romeo", "secret")
    assert server.terminate() == 0
    between = closing(Wire(listener.address, seconds=30))
    between.send(HEADER)
    server.serve(manager=systemd)
    between.until("</stream:features>")


def refused(folder, listener, systemd):
    server = Meerkat(folder, listeners=[listener])
    with pytest.raises(AssertionError, match="ended with 1"):
        server.serve(manager=systemd)
    return server.log()


def test_a_socket_without_a_listener_ends_the_start(folder, manager):
    other = Listener()
    text = refused(folder, Listener(), manager(listens=[other.address]))
    assert f"inherited socket 127.0.0.1:{other.port} (LISTEN_FDS)" in text


def test_a_socket_of_both_families_ends_the_start(folder, manager):
    text = refused(folder, Listener(), manager(listens=[("::", 0)]))
    assert "BindIPv6Only=ipv6-only" in text


def test_systemd_activates_it(start_server, folder, closing):
    """systemd's own tool opens the socket and starts the service with the first connection."""
    listener = Listener()
    server = Meerkat(folder, listeners=[listener], accounts={"romeo": "secret"})
    address = "{}:{}".format(*listener.address)
    command = ["systemd-socket-activate", "-l", address, "--", *server.command()]
    try:
        # The tool's own accept would be the service's first connection.
        server.start(command)
        wire = connected(server, listener, closing)
        wire.login("romeo", "secret")
        assert "(inherited socket;" in server.log()
    finally:
        server.stop()


def connected(server, listener, closing):
    while True:
        try:
            return closing(Wire(listener.address, seconds=30))
        except ConnectionRefusedError:
            assert not server.ended_within(0.05), server.tail()


def test_the_units_are_valid(folder):
    """As `systemd-analyze verify` judges them, with the program where the unit expects it."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/usr/bin/meerkat", "/bin/true")
        (folder / unit.name).write_text(text)
    for unit in sorted(path.name for path in UNITS.iterdir()):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", folder / unit], capture_output=True, text=True, timeout=30
        )
        assert (done.returncode, done.stderr) == (0, ""), unit


def test_the_sandbox_is_tight(folder):
    """systemd's own score of the unit's exposure: 10 is none at all."""
    (folder / "meerkat.service").write_text((UNITS / "meerkat.service").read_text())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", folder / "meerkat.service"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_leaves_io_uring_usable():
    """Its system call filter, as systemd expands it, has what the ring needs."""
    lines = (UNITS / "meerkat.service").read_text().splitlines()
    groups = [line.split("=")[1].split() for line in lines if line.startswith("SystemCallFilter=")]
    allowed = {call for group in groups for name in group if not name.startswith("~") for call in expand(name)}
    assert {"io_uring_setup", "io_uring_enter", "io_uring_register"} <= allowed


def expand(name):
    if not name.startswith("@"):
        return [name]
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True, timeout=30
    )
    inside = [line.strip() for line in done.stdout.splitlines()[1:] if line.strip() and "#" not in line]
    return [call for entry in inside for call in expand(entry)]
