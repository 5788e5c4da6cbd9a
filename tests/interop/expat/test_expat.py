"""What one client's bytes become in another client's expat, the parser of many clients and servers.

Each stream of the scanner's corpus is sent as the content of a message. Either the sender's stream
ends with an error, or the recipient's expat reads it and finds in it what expat finds in the original.
"""

import socket
from pathlib import Path
from xml.parsers import expat

import pytest

from harness.listener import Listener
from harness.wire import HEADER, Closed, Wire, stream_error

CORPUS = Path(__file__).parents[2] / "data" / "xml"
FILES = sorted(CORPUS.glob("*/*.xml"))
ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
START, END = "<message to='{}' type='chat' id='{}'>", "</message>"
# What the server changes: the address it vouches for, and a language that the sender's stream had.
STAMPED = {"from", "http://www.w3.org/XML/1998/namespace lang"}


class Stream:
    """A client's expat: it reads one stream and keeps what it finds, one list for each stanza."""

    def __init__(self, header=b""):
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.buffer_text = True
        self.depth = 0
        self.stanza, self.stanzas = [], []
        self.parser.Parse(header, False)

    def feed(self, data):
        self.parser.Parse(data, False)

    def start(self, name, attributes):
        self.depth += 1
        kept = {key: value for key, value in attributes.items() if self.depth != 2 or key not in STAMPED}
        if self.depth >= 2:
            self.stanza.append((name, kept))

    def text(self, text):
        if self.depth >= 2:
            self.stanza.append(text)

    def end(self, name):
        self.depth -= 1
        if self.depth == 1:
            self.stanzas.append(self.stanza)
            self.stanza = []


def original(content, to, number):
    """What expat finds in the message as it was sent; None where it is not one message for it."""
    stream = Stream(HEADER)
    try:
        stream.feed(START.format(to, number).encode() + content + END.encode())
    except expat.ExpatError:
        return None
    # Content that closes the message itself is not what this test is about.
    return stream.stanzas[0] if len(stream.stanzas) == 1 else None


class Recipient:
    """A session whose bytes all go through one expat, as in a client."""

    def __init__(self, wire):
        self.wire, self.stream = wire, Stream(HEADER)
        wire.login("juliet", "secret", "expat")
        wire.pending = b""

    def stanza(self, number):
        """The next stanza with that id; ExpatError where the server sent what no client can read."""
        while True:
            while self.stream.stanzas:
                stanza = self.stream.stanzas.pop(0)
                if stanza[0][1].get("id") == str(number):
                    return stanza
            self.stream.feed(self.wire.read_more())


@pytest.fixture
def server(start_server):
    return start_server(listeners=[Listener()], accounts=ACCOUNTS)


def test_the_corpus_means_the_same_to_the_recipient(server, closing):
    assert len(FILES) > 200, "the corpus is not there"
    address = server.listeners[0].address
    recipient = Recipient(closing(Wire(address)))
    relayed, refused = 0, 0
    sender = None
    for number, file in enumerate(FILES):
        if sender is None:
            sender = closing(Wire(address))
            sender.login("romeo", "secret")
        content = file.read_bytes()
        meant = original(content, recipient.wire.jid, number)
        try:
            sender.send(START.format(recipient.wire.jid, number).encode() + content + END.encode())
            if meant is not None:
                sender.ping(f"after-{number}-")
                assert recipient.stanza(number) == meant, file.name
                relayed += 1
                continue
            sender.socket.shutdown(socket.SHUT_WR)
            refused += "<stream:error" in sender.to_end()
        except (Closed, ConnectionError):
            refused += 1
        sender = None
    assert relayed > 60 and refused > 100, (relayed, refused)


@pytest.mark.parametrize("separator", ["}", "{", "|", "^", " ", "&#10;"])
def test_no_client_can_end_the_stream_of_another(server, closing, separator):
    """expat ends a stream in which a namespace name holds what the program separates names with."""
    juliet, romeo = (closing(Wire(server.listeners[0].address)) for _ in range(2))
    juliet.login("juliet", "secret")
    romeo.login("romeo", "secret")
    romeo.send(START.format(juliet.jid, "x") + f"<body xmlns='urn:{separator}x'/>" + END)
    assert stream_error(romeo.to_end()) == "not-well-formed"
    assert "<message" not in juliet.ping()
