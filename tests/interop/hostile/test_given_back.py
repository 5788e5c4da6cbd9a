"""A crowd of strangers takes memory: when it has gone the system has it back."""

import os
import time
from pathlib import Path

import pytest

from harness.crowd import Crowd
from harness.listener import Listener
from harness.wire import HEADER

STRANGERS = 6000
# Less than may be said before a login.
BEGUN = HEADER + b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + b"A" * 9800
# What is not worth giving back.
REST_BYTES = 32 * 1024 * 1024
PEAK_BYTES = STRANGERS * 9800
SECONDS = 30


def resident(server):
    return int(Path(f"/proc/{server.child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(120)
def test_what_a_crowd_took_is_given_back(start_server, closing):
    listener = Listener(options={"state_timeout": "infinity"})
    server = start_server(listeners=[listener], sections={"runtime": {"cores": 1}})
    before = resident(server)
    crowd = closing(Crowd(listener.address, STRANGERS, BEGUN))
    assert server.becomes(connections=STRANGERS, seconds=SECONDS)
    deadline = time.monotonic() + SECONDS
    while resident(server) < before + PEAK_BYTES:
        assert time.monotonic() < deadline, "what is unfinished is held"
    crowd.close()
    assert server.becomes(connections=0, seconds=SECONDS)
    deadline = time.monotonic() + SECONDS
    while resident(server) > before + REST_BYTES:
        assert time.monotonic() < deadline, f"{(resident(server) - before) >> 20} MiB more than before are kept"
