"""SIGTERM while the store has much to write: what was acknowledged is there after the next start."""

import re
import signal

import pytest

from harness.listener import Listener
from harness.wire import Closed, Wire

PAIRS = 4
# Per recipient, as many as are kept.
MESSAGES = 90
CHANGES = 60
MESSAGE = "<message to='reader{0}@localhost' type='chat' id='m{1}'><body>{1}</body></message>"
CHANGE = (
    "<iq type='set' id='s{0}'><query xmlns='jabber:iq:roster'><item jid='c{0}@example.org'/></query></iq>"
)
GET = "<iq type='get' id='get'><query xmlns='jabber:iq:roster'/></iq>"


def said(number):
    """Messages to somebody who is away and roster changes by turns, in one write."""
    parts = [MESSAGE.format(number, at) + (CHANGE.format(at) if at < CHANGES else "") for at in range(MESSAGES)]
    return "".join(parts)


@pytest.mark.timeout(90)
def test_a_stop_writes_what_was_acknowledged(start_server, closing):
    people = [f"{who}{number}" for who in ("writer", "reader") for number in range(PAIRS)]
    server = start_server(accounts=dict.fromkeys(people, "secret"), listeners=[Listener()])
    writers = [closing(Wire(server.listeners[0].address)) for _ in range(PAIRS)]
    for number, wire in enumerate(writers):
        wire.login(f"writer{number}", "secret")
    for number, wire in enumerate(writers):
        wire.send(said(number))
    # The stop comes while the first change has just been told, and the rest is on its way.
    first = [wire.until_tag("iq", "'s0'", "result") for wire in writers]
    server.signal(signal.SIGTERM)
    told = [set(acknowledged(before + wire.to_end())) for before, wire in zip(first, writers, strict=True)]
    assert server.ended_within(20) and server.child.returncode == 0
    server.serve()
    for number in range(PAIRS):
        wire = closing(Wire(server.listeners[0].address))
        wire.login(f"writer{number}", "secret")
        wire.send(GET)
        there = {int(contact) for contact in re.findall(r"jid='c(\d+)@example.org'", wire.until("</iq>"))}
        assert told[number] <= there, told[number] - there
        # A message is handled before the change behind it: what was told vouches for those before.
        vouched = max(told[number]) + 1
        reader = closing(Wire(server.listeners[0].address))
        reader.login(f"reader{number}", "secret")
        reader.send("<presence/>")
        numbers = kept(reader, vouched)
        assert numbers == list(range(len(numbers))), numbers
        assert vouched <= len(numbers) <= MESSAGES


def acknowledged(text):
    tags = re.findall(r"<iq\b[^>]*>", text)
    found = [re.search(r" id='s(\d+)'", tag) for tag in tags if "result" in tag]
    return [int(match[1]) for match in found if match]


def kept(wire, least):
    """The numbers of the messages that come, at least so many, and what else there is."""
    text = ""
    while len(re.findall("</message>", text)) < least:
        text += wire.until("</message>")
    try:
        text += wire.ping("behind")
    except Closed as closed:
        text += closed.seen.decode()
    return [int(number) for number in re.findall(r"<body>(\d+)</body>", text)]
