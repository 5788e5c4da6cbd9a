"""`kill -9` while contacts are added and messages are kept: what a client was told is there after
the next start, in order, and what comes twice has the same id."""

import os
import re
import threading

import pytest

from harness.listener import Listener
from harness.wire import Closed, Wire

# Kills; MEERKAT_KILLS asks for more.
ROUNDS = int(os.environ.get("MEERKAT_KILLS", "12"))
WRITERS = 3
# The kill comes when so many changes of each writer have been acknowledged in a round.
ACKNOWLEDGED = 10
SET = (
    "<iq type='set' id='s{0}'><query xmlns='jabber:iq:roster'><item jid='c{1}@example.org' name='n{0}'/>"
    "</query></iq>"
)
GET = "<iq type='get' id='get'><query xmlns='jabber:iq:roster'/></iq>"
# Contacts that a writer renames by turns.
CONTACTS = 5
MESSAGE = "<message to='reader{0}@localhost' type='chat' id='m{1}'><body>{1}</body></message>"
KEPT_ID = re.compile(r"<body>(\d+)</body>.*?by='reader\d+@localhost' id='([^']+)'")


class Writer(threading.Thread):
    """Renames contacts and writes to somebody who is away, one after the other, until the server dies."""

    def __init__(self, server, number, first):
        super().__init__(daemon=True)
        self.number, self.next, self.enough = number, first, threading.Semaphore(0)
        self.renamed = {}
        self.wire = Wire(server.listeners[0].address)
        self.wire.login(f"writer{number}", "secret")

    def run(self):
        try:
            while True:
                number = self.next
                self.wire.send(MESSAGE.format(self.number, number) + SET.format(number, number % CONTACTS))
                self.next += 1
                self.wire.until_tag("iq", f"s{number}", "result")
                self.renamed[number % CONTACTS] = number
                self.enough.release()
        except (Closed, ConnectionError):
            pass


def names(wire):
    wire.send(GET)
    answer = wire.until("</iq>")
    found = re.findall(r"jid='c(\d+)@example.org' name='n(\d+)'", answer)
    return {int(contact): int(name) for contact, name in found}


def kept(wire):
    """What is delivered at login: in one page, as many as come."""
    wire.send("<presence/>")
    text = wire.until("</message>")
    text += wire.ping("behind")
    return [(int(number), mark) for number, mark in KEPT_ID.findall(text)]


@pytest.mark.timeout(600)
def test_contacts_and_messages_survive(start_server, closing):
    people = [f"{who}{number}" for who in ("writer", "reader") for number in range(WRITERS)]
    sections = {"[access.max_user_offline_messages]": {"acl": "all", "value": 100000}}
    server = start_server(
        listeners=[Listener()], accounts=dict.fromkeys(people, "secret"), sections=sections
    )
    told = [{} for _ in range(WRITERS)]
    seen = [{} for _ in range(WRITERS)]
    first = [0] * WRITERS
    for _ in range(ROUNDS):
        writers = [Writer(server, number, first[number]) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers * ACKNOWLEDGED:
            assert writer.enough.acquire(timeout=20), "too little is acknowledged"
        server.kill()
        for writer in writers:
            writer.join(20)
        server.serve()
        for number, writer in enumerate(writers):
            told[number].update(writer.renamed)
            wire = closing(Wire(server.listeners[0].address))
            wire.login(f"writer{number}", "secret")
            there = names(wire)
            for contact, name in told[number].items():
                # The last that was acknowledged, or a later one that was under way.
                assert name <= there[contact] < writer.next, f"{contact}: {name}, now {there}"
            told[number].update(there)
            wire.close()
            wire = closing(Wire(server.listeners[0].address))
            wire.login(f"reader{number}", "secret")
            delivered = kept(wire)
            wire.close()
            numbers = [message for message, _ in delivered]
            # In order, none twice, and whatever is lost was the last that was sent.
            assert numbers == list(range(first[number], first[number] + len(numbers))), numbers
            assert numbers, "nothing was kept"
            for message, mark in delivered:
                assert seen[number].setdefault(message, mark) == mark, "the same message, another id"
            first[number] = writer.next
