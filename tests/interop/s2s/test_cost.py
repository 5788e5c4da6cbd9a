"""What a message between servers costs meerkat and the other server, on the same exchange.

Both have clients and one stream each way; all messages go through both. Bursts, as when many users
write at once, so that it is the servers that are measured and not their sleep.
"""

import os

import pytest

from harness import wire
from harness.meerkat import binary
from harness.wire import Wire

# MEERKAT_S2S_USERS, _BURST, _ROUNDS ask for others; small bursts tell what a wake-up costs. MEERKAT_S2S_MODULES:
# of Prosody, such as s2s_bidi.
USERS = int(os.environ.get("MEERKAT_S2S_USERS", "1"))
MODULES = os.environ.get("MEERKAT_S2S_MODULES", "").split()
BURST = int(os.environ.get("MEERKAT_S2S_BURST", "500"))
ROUNDS = int(os.environ.get("MEERKAT_S2S_ROUNDS", "40"))
BODY = "Shall I hear more, or shall I speak at this?"


class Client(Wire):
    """A client of either server."""

    def __init__(self, server):
        super().__init__(server.listeners[0].address, seconds=30)
        self.domain = server.domain

    def open(self):
        self.send(wire.HEADER.replace(b"localhost", self.domain.encode()))
        return self.until("</stream:features>", "<stream:features/>")

    def write(self, to, burst):
        self.send(f"<message type='chat' to='{to.jid}' id='m1'><body>{BODY}</body></message>" * burst)

    def read(self, burst):
        """So many messages, whatever they say; looking at each would cost more than they do."""
        end = b"</message>"
        data, seen = self.pending, 0
        while True:
            seen += data.count(end)
            if seen == burst:
                break
            # An end may be cut in two.
            data = data[data.rfind(end) + 1 :][-len(end) + 1 :] + self.read_more()
        self.pending = b""


@pytest.mark.timeout(120)
def test_a_message_costs_a_fraction(federation, closing):
    near, far = federation("prosody", "certificate", modules=MODULES)
    pairs = [(closing(Client(near)), closing(Client(far))) for _ in range(USERS)]
    for number, (romeo, juliet) in enumerate(pairs):
        romeo.login("romeo", "secret", f"r{number}")
        juliet.login("juliet", "secret", f"r{number}")

    def exchange(rounds):
        for _ in range(rounds):
            for romeo, juliet in pairs:
                romeo.write(juliet, BURST)
                juliet.write(romeo, BURST)
            for romeo, juliet in pairs:
                romeo.read(BURST)
                juliet.read(BURST)

    exchange(5)
    before = near.cpu_seconds(), far.cpu_seconds()
    exchange(ROUNDS)
    ours, theirs = near.cpu_seconds() - before[0], far.cpu_seconds() - before[1]
    messages = 2 * ROUNDS * BURST * USERS
    print(f"{messages} messages: meerkat {ours / messages * 1e6:.1f} us each, Prosody {theirs / messages * 1e6:.1f} us")
    # The figures are in benches/record; here only what no noise can hide, and less of a debug build.
    assert ours < theirs / (8 if "release" in binary().parts else 1)
