"""`kill -9` while kept messages are being delivered at a login: nothing that was kept is missing, and
what comes twice had been handed to the socket and was not marked yet, with the same id and a delay.
How long a message stays so is the window of the store's commits, and what a commit takes."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from harness.listener import Listener
from harness.process import STOP_SECONDS
from harness.wire import FOOTER, Wire

# Kills; MEERKAT_KILLS asks for more.
ROUNDS = int(os.environ.get("MEERKAT_KILLS", "12"))
# Messages that wait at each login: some pages of them.
WAITING = 330
# A page is asked for when the one before is marked (store/offline.rs).
PAGE = 100
# The default of `commit_window_ms`.
WINDOW_SECONDS = 0.002
# Beside the window: a commit that is under way, the one that marks, and the machine's other work.
ALLOWANCE_SECONDS = 0.2
# A write to a session ends after so many bytes (modules/kept.rs: WRITE_BYTES_MAX), with a stamp for each message.
WRITE = 8 * 1024
# Kills strike after so many, spread over the pages by a step that has no factor in common with them.
STEP = 97
# Some more of 1000 bytes than the sockets on both sides have room for.
TOO_MANY = 4000
# Commits after which those sockets are full at last.
COMMITS_MAX = 2000
MANY = {"[access.max_user_offline_messages]": {"acl": "all", "value": 100000}}
MESSAGE = "<message to='reader@localhost' type='chat' id='m{0}'><body>{0}</body></message>"
# A roster set is answered when it is on the disk, and what was kept before it then is, too.
FENCE = (
    "<iq type='set' id='f{0}'><query xmlns='jabber:iq:roster'><item jid='c@example.org' name='{0}'/></query></iq>"
)
# Answered by the core that keeps the messages, once it has taken them all: only what is asked of the store after that
# is behind them.
TAKEN = "<iq type='get' id='t{0}' to='reader@localhost'><vCard xmlns='vcard-temp'/></iq>"
KEPT = re.compile(
    r"<body>(\d+)</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='[^']+'/>"
    r"<stanza-id xmlns='urn:xmpp:sid:0' by='reader@localhost' id='([^']+)'/></message>"
)


def keep(server, closing, first, number):
    """Writes to somebody who is away, until that is on the disk; a burst at a time."""
    wire = closing(Wire(server.listeners[0].address))
    wire.login("writer", "secret")
    for start in range(first, first + number, PAGE):
        burst = range(start, min(start + PAGE, first + number))
        wire.send("".join(MESSAGE.format(n) for n in burst))
        until_kept(wire, start)
    wire.close()


def until_kept(wire, number):
    wire.send(TAKEN.format(number))
    wire.until_tag("iq", f"'t{number}'")
    wire.send(FENCE.format(number))
    wire.until_tag("iq", f"f{number}", "result")


def struck(server, closing, after):
    """Logs in and kills the server when so many kept messages have come; all that came, when the last
    byte of each was read, and when the kill struck. What is read behind the kill came before it."""
    wire = closing(Wire(server.listeners[0].address))
    wire.login("reader", "secret")
    wire.send("<presence/>")
    text, read = "", []
    while len(read) < after:
        text += wire.until("</message>")
        read.append(time.monotonic())
    server.kill()
    killed = time.monotonic()
    came = KEPT.findall(text + wire.to_end())
    return came, read + [killed] * (len(came) - len(read)), killed


def rest(server, closing, last):
    """Logs in and takes what is left, up to the message that was kept last."""
    wire = closing(Wire(server.listeners[0].address))
    wire.login("reader", "secret")
    wire.send("<presence/>")
    text = wire.until_match(rf"<body>{last}</body>.*?</message>")
    # The page is marked before the next one is given, and nothing is in that.
    text += wire.ping("behind")
    wire.send("<presence type='unavailable'/>")
    text += wire.until_tag("presence", "unavailable")
    wire.close()
    return KEPT.findall(text)


@pytest.mark.timeout(600)
def test_kept_messages_survive_a_kill_while_they_are_delivered(start_server, closing):
    server = start_server(
        listeners=[Listener()], accounts=dict.fromkeys(("writer", "reader"), "secret"), sections=MANY
    )
    ids, first, again, oldest = {}, 0, 0, 0.0
    for number in range(ROUNDS):
        keep(server, closing, first, WAITING)
        came, read, killed = struck(server, closing, 1 + number * STEP % (WAITING - 1))
        server.serve()
        # One more, so that there is a last one to wait for even where all were marked.
        keep(server, closing, first + WAITING, 1)
        after = rest(server, closing, first + WAITING)
        # In order, without a gap, from the first; what an earlier round has seen does not come again
        # but for its last page.
        before = [int(message) for message, _ in came]
        behind = [int(message) for message, _ in after]
        assert before == list(range(before[0], before[0] + len(before))), before
        assert behind == list(range(behind[0], first + WAITING + 1)), behind
        assert before[0] <= first and behind[0] <= before[-1] + 1, (first, before, behind)
        twice = before[-1] + 1 - behind[0]
        assert twice <= PAGE, f"{twice} messages came twice, {before[-1]} was the last before the kill"
        assert first - before[0] <= PAGE, f"{first - before[0]} messages of the round before came again"
        for message, mark in came + after:
            assert ids.setdefault(message, mark) == mark, "the same message, another id"
        ages = [killed - at for at in read[len(read) - twice :]]
        assert max(ages, default=0) <= WINDOW_SECONDS + ALLOWANCE_SECONDS, f"{twice} came twice, {ages}"
        again, oldest = again + twice, max([oldest, *ages])
        first += WAITING + 1
    print(f"{ROUNDS} kills, {again} of {first} messages came twice, read {oldest * 1000:.1f} ms before the kill at most")


def under_way(server, wire):
    """Bytes that the sockets of a connection hold, at both ends."""
    far, near = server.listeners[0].port, wire.socket.getsockname()[1]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = {tuple(int(end.rpartition(":")[2], 16) for end in line[1:3]): line[4].split(":") for line in lines}
    (sent, _), (_, received) = ports[far, near], ports[near, far]
    return int(sent, 16) + int(received, 16)


def stuck(server, closing):
    """A reader whose sockets have taken all that they can of what was kept for it, and what it has read."""
    long = "x" * 1000
    writer = closing(Wire(server.listeners[0].address))
    writer.login("writer", "secret")
    for start in range(0, TOO_MANY, PAGE):
        burst = range(start, start + PAGE)
        writer.send("".join(MESSAGE.format(n).replace("<body>", f"<body>{long}") for n in burst))
        until_kept(writer, start)
    reader = closing(Wire(server.listeners[0].address, receive_buffer=4096))
    reader.login("reader", "secret")
    reader.send("<presence/>")
    text = reader.until("</message>")
    # Commits after which what the sockets took before the first of them is marked, until they took
    # nothing between the first and the last.
    full, commits = None, 0
    while full != (full := under_way(server, reader)):
        assert commits < COMMITS_MAX, "the sockets take more and more"
        for commits in range(commits + 1, commits + 21):
            writer.send(FENCE.format(f"-{commits}"))
            writer.until_tag("iq", f"f-{commits}", "result")
    writer.send(FOOTER)
    writer.close()
    return reader, text


def first_of_the_rest(server, closing):
    """The number of the first message that comes at the next login."""
    again = closing(Wire(server.listeners[0].address))
    again.login("reader", "secret")
    again.send("<presence/>")
    return int(re.search(r"(\d+)</body>", again.until("</message>"))[1])


def test_what_a_slow_reader_has_taken_does_not_come_again(start_server, closing):
    """The socket takes a part, then the window passes, then the kill strikes: of what was taken only
    what is in one write with something that was not may come twice."""
    server = start_server(
        listeners=[Listener()], accounts=dict.fromkeys(("writer", "reader"), "secret"), sections=MANY
    )
    reader, text = stuck(server, closing)
    server.kill()
    text += reader.to_end()
    taken = text.count("</message>")
    assert taken < TOO_MANY, "the sockets have taken everything"
    server.serve()
    behind = first_of_the_rest(server, closing)
    assert behind <= taken
    print(f"{taken} of {TOO_MANY} messages were taken, {taken - behind} came twice")
    assert taken - behind <= WRITE // 1000, f"{taken} were taken, and again comes {behind}"


@pytest.mark.parametrize("how", ["closes", "goes and closes", "server stops"])
def test_a_slow_reader_whose_stream_ends_in_order_gets_nothing_twice(start_server, closing, how):
    server = start_server(
        listeners=[Listener()], accounts=dict.fromkeys(("writer", "reader"), "secret"), sections=MANY
    )
    reader, text = stuck(server, closing)
    match how:
        case "closes":
            reader.send(FOOTER)
        case "goes and closes":
            reader.send(b"<presence type='unavailable'/>" + FOOTER)
        case "server stops":
            server.signal(signal.SIGTERM)
    text += reader.until("</stream:stream>")
    reader.close()
    if how == "server stops":
        assert server.ended_within(STOP_SECONDS)
        server.serve()
    taken = text.count("</message>")
    assert taken < TOO_MANY, "the sockets have taken everything"
    assert first_of_the_rest(server, closing) == taken
