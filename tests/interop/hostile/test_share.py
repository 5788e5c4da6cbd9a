"""One user's stanzas are much work, or very many: others on the same core are served in between."""

import sqlite3
import threading
import time

import pytest

from harness.listener import Listener
from harness.wire import PING, Wire

ACCOUNTS = dict.fromkeys(("romeo", "juliet", "nurse"), "secret")
CONTACTS = 1500
# Each for all contacts; and messages to nobody that are read as trees before they come back.
FLOODS = {"presence": "<presence/>" * 3000, "trees": f"<message to='x@localhost'>{'<a>' * 60}{'</a>' * 60}</message>" * 6000}
# The part of the flood's time that anybody else may wait.
SHARE = 4
ROSTER = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>"


def make_popular(server, closing):
    """Romeo shows his presence to juliet, and to many more like her."""
    romeo, juliet = (closing(Wire(server.listeners[0].address)) for _ in range(2))
    for wire, name in ((romeo, "romeo"), (juliet, "juliet")):
        wire.login(name, "secret")
        wire.send(f"{ROSTER}<presence/>")
        wire.until_tag("iq", "roster")
    juliet.send("<presence to='romeo@localhost' type='subscribe'/>")
    romeo.until("type='subscribe'")
    romeo.send("<presence to='juliet@localhost' type='subscribed'/>")
    juliet.until("type='subscribed'")
    for wire in (romeo, juliet):
        wire.send("</stream:stream>")
        wire.to_end()
    (file,) = server.folder.rglob("meerkat.db")
    with sqlite3.connect(file, timeout=10) as store:
        store.executemany(
            "INSERT INTO data (host, user, area, name, value)"
            " SELECT host, user, area, ?, value FROM data WHERE user = 'romeo' AND name = 'juliet@localhost'",
            [(f"contact{number}@localhost",) for number in range(CONTACTS)],
        )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("flood", FLOODS)
def test_who_floods_holds_up_nobody(start_server, closing, flood):
    modules = ("presence", "roster", "ping", "offline")
    sections = {f"modules.mod_{name}": {} for name in modules}
    server = start_server(listeners=[Listener()], accounts=ACCOUNTS, sections=sections | {"runtime": {"cores": 1}})
    make_popular(server, closing)
    address = server.listeners[0].address
    romeo, nurse = closing(Wire(address, seconds=60)), closing(Wire(address, seconds=60))
    romeo.login("romeo", "secret")
    nurse.login("nurse", "secret")
    waited, over = [], threading.Event()

    def others():
        while not over.is_set():
            began = time.monotonic()
            nurse.ping()
            waited.append(time.monotonic() - began)

    nursing = threading.Thread(target=others)
    nursing.start()
    began = time.monotonic()
    romeo.send(FLOODS[flood] + PING.format("last"))
    romeo.until_tag("iq", "last", "result")
    took = time.monotonic() - began
    over.set()
    nursing.join()
    assert max(waited) < took / SHARE, f"a ping took {max(waited):.3f} s of {took:.3f} s"
