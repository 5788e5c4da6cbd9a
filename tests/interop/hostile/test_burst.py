"""The server stands still for a moment, as on an overloaded machine, and everything comes at once."""

import signal

import pytest

from harness.crowd import Crowd
from harness.listener import Listener
from harness.wire import HEADER, PING, Wire

ACCOUNTS = {f"user{number}": "secret" for number in range(50)}
SESSIONS = 200
# Several times as many readable sockets on each core as it has receive buffers.
STRANGERS = 4000
PINGS = 40
ROUNDS = 3
ANSWER_SECONDS = 30


@pytest.mark.timeout(120)
def test_nobody_is_forgotten(start_server, closing):
    server = start_server(
        listeners=[Listener(options={"state_timeout": "infinity"})], accounts=ACCOUNTS
    )
    address = server.listeners[0].address
    wires = [closing(Wire(address, seconds=ANSWER_SECONDS)) for _ in range(SESSIONS)]
    for number, wire in enumerate(wires):
        wire.login(f"user{number % len(ACCOUNTS)}", "secret")
    for turn in range(ROUNDS):
        crowd = closing(Crowd(address, STRANGERS))
        assert server.becomes(connections=SESSIONS + STRANGERS, seconds=ANSWER_SECONDS)
        server.signal(signal.SIGSTOP)
        for member in crowd.members:
            member.socket.send(HEADER)
        for wire in wires:
            wire.send("".join(PING.format(f"ping-{turn}-{number}-") for number in range(PINGS)))
        server.signal(signal.SIGCONT)
        for wire in wires:
            for number in range(PINGS):
                wire.until_tag("iq", f"ping-{turn}-{number}-", "result")
        assert crowd.until(lambda crowd=crowd: len(crowd.with_answer()) == STRANGERS, ANSWER_SECONDS)
        crowd.close()
        assert server.becomes(connections=SESSIONS, seconds=ANSWER_SECONDS)
