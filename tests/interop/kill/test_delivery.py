"""`kill -9` while kept messages are being delivered at a login: nothing that was kept is missing, and
what comes twice had been handed to the socket and was not marked yet, with the same id and a delay."""

import os
import re

import pytest

from harness.listener import Listener
from harness.wire import Wire

# Kills; MEERKAT_KILLS asks for more.
ROUNDS = int(os.environ.get("MEERKAT_KILLS", "12"))
# Messages that wait at each login: some pages of them.
WAITING = 330
# One page is with the socket and not marked; the next is asked for when it is (store/offline.rs).
PAGE = 100
# Kills strike after so many, spread over the pages by a step that has no factor in common with them.
STEP = 97
MESSAGE = "<message to='reader@localhost' type='chat' id='m{0}'><body>{0}</body></message>"
# A roster set is answered when it is on the disk, and what was kept before it then is, too.
FENCE = (
    "<iq type='set' id='f{0}'><query xmlns='jabber:iq:roster'><item jid='c@example.org' name='{0}'/></query></iq>"
)
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
        wire.send("".join(MESSAGE.format(n) for n in burst) + FENCE.format(start))
        wire.until_tag("iq", f"f{start}", "result")
    wire.close()


def struck(server, closing, after):
    """Logs in and kills the server when so many kept messages have come; all that came."""
    wire = closing(Wire(server.listeners[0].address))
    wire.login("reader", "secret")
    wire.send("<presence/>")
    text = "".join(wire.until("</message>") for _ in range(after))
    server.kill()
    return KEPT.findall(text + wire.to_end())


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
    sections = {"[access.max_user_offline_messages]": {"acl": "all", "value": 100000}}
    server = start_server(
        listeners=[Listener()], accounts=dict.fromkeys(("writer", "reader"), "secret"), sections=sections
    )
    ids, first, again = {}, 0, 0
    for number in range(ROUNDS):
        keep(server, closing, first, WAITING)
        came = struck(server, closing, 1 + number * STEP % (WAITING - 1))
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
        again += twice
        first += WAITING + 1
    print(f"{ROUNDS} kills, {again} of {first} messages came twice")
