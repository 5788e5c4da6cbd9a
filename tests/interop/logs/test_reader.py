"""Who reads the log: nobody, for a while, and a terminal."""

import asyncio
import fcntl
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from harness.meerkat import Meerkat
from harness.ports import accepts
from harness.terminal import Terminal
from harness.wire import Wire

SECONDS = 20
# The smallest that Linux gives.
PIPE_BYTES = 4096
LOGINS_MAX = 200
COLOUR = re.compile(rb"\x1b\[\d+m")


def waits_to_write(pid):
    """Whether the thread that writes the log is held in write(2) to stderr."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == "log":
            number, *arguments = (task / "syscall").read_text().split()
            return number == "1" and int(arguments[0], 16) == 2
    return False


def test_a_log_that_nobody_reads_holds_no_core(folder, closing):
    server = Meerkat(folder, accounts={"juliet": "x"})
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    env = os.environ | {"MEERKAT_LOG": "debug"}
    command = ["setpriv", "--pdeathsig", "KILL", *server.command()]
    child = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stderr=writer)
    os.close(writer)
    try:
        address = server.listeners[0].address
        deadline = time.monotonic() + SECONDS
        while not accepts(address[1]):
            assert time.monotonic() < deadline and child.poll() is None
        logins = 0
        while not waits_to_write(child.pid):
            logins += 1
            assert logins < LOGINS_MAX, "nothing is logged"
            with_log(closing, address)
        # Served by every core, with the writer held.
        for _ in range(10):
            with_log(closing, address)
        assert waits_to_write(child.pid)
        child.terminate()
        with os.fdopen(reader, "rb") as pipe:
            lines = pipe.read().decode().splitlines()
        assert child.wait(SECONDS) == 0
    finally:
        child.kill()
        child.wait()
    assert sum("session is gone" in line or "connection ended" in line for line in lines) >= logins
    assert not COLOUR.search("\n".join(lines).encode())


def with_log(closing, address):
    wire = closing(Wire(address))
    wire.login("juliet", "x")
    wire.ping()
    wire.close()


@pytest.mark.parametrize("env, coloured", [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_a_terminal_has_colours_unless_its_user_wants_none(folder, closing, env, coloured):
    server = Meerkat(folder)
    seen = bytearray()
    terminal = Terminal([str(part) for part in server.command()], os.environ | env)
    feed = terminal.stream.feed
    terminal.stream.feed = lambda data: (seen.extend(data), feed(data))
    try:
        await terminal.shows("account    make one")
        os.kill(terminal.pid, 15)
        await asyncio.wait_for(terminal.ended.wait(), SECONDS)
    finally:
        await terminal.close("")
    line = next(line for line in seen.splitlines() if b"stopping" in line)
    assert bool(COLOUR.search(line)) == coloured, line
