"""Limits of rosters: each has an error, and what is refused changes nothing."""

import re

from harness.component import shake_hands
from harness.listener import Listener
from harness.wire import Wire

ACCOUNTS = {"romeo": "secret", "juliet": "secret"}
# session/roster.rs
ITEMS_MAX, REQUESTS_MAX, BYTES_MAX, GROUPS_MAX, TEXT_MAX = 2000, 500, 1 << 20, 64, 1023
SET = "<iq type='set' id='s{0}'><query xmlns='jabber:iq:roster'><item jid='c{0}@example.org' name='{1}'>{2}</item></query></iq>"
GET = "<iq type='get' id='get'><query xmlns='jabber:iq:roster' ver=''/></iq>"
GROUP = "<group>{}</group>"
# Nobody waits for others here.
AT_ONCE = {
    "runtime": {"commit_window_ms": 0},
    "modules.mod_roster": {"versioning": True},
    "modules.mod_presence": {},
    "modules.mod_ping": {},
}


def enter(server, closing, user="romeo"):
    wire = closing(Wire(server.listeners[0].address))
    wire.login(user, "secret")
    return wire


def roster(wire):
    """The contacts' addresses, and the version."""
    wire.send(GET)
    text = wire.until_tag("iq", "'get'", "result") + wire.ping("behind")
    return re.findall(r"<item jid='([^']*)'", text), re.search(r"ver='(\d+)'", text)[1]


def answer(wire, number):
    """None, or the condition of the error that answers a set."""
    found = wire.until_match(rf"<iq[^>]*id='s{number}'[^>]*>(?:<error.*?</iq>)?")
    condition = re.search(r"<error type='\w+'><([a-z-]+)", found)
    return condition and condition[1]


def test_so_many_contacts(start_server, closing):
    wire = enter(start_server(listeners=[Listener()], accounts=ACCOUNTS, sections=AT_ONCE), closing)
    wire.send("".join(SET.format(number, "", "") for number in range(ITEMS_MAX)))
    for number in range(ITEMS_MAX):
        assert answer(wire, number) is None, number
    before = roster(wire)
    assert len(before[0]) == ITEMS_MAX
    wire.send(SET.format(ITEMS_MAX, "", ""))
    assert answer(wire, ITEMS_MAX) == "policy-violation"
    # A subscription would list one more.
    wire.send("<presence to='more@example.org' type='subscribe' id='more'/>")
    wire.until_match("<presence[^>]*id='more'[^>]*><error type='\\w+'><policy-violation")
    assert roster(wire) == before
    # One that is there can be changed, and one that goes makes room.
    wire.send(SET.format(0, "renamed", ""))
    assert answer(wire, 0) is None
    wire.send("<iq type='set' id='s1'><query xmlns='jabber:iq:roster'><item jid='c1@example.org' subscription='remove'/></query></iq>")
    assert answer(wire, 1) is None
    wire.send(SET.format(ITEMS_MAX, "", ""))
    assert answer(wire, ITEMS_MAX) is None


def test_so_many_bytes_and_groups(start_server, closing):
    wire = enter(start_server(listeners=[Listener()], accounts=ACCOUNTS, sections=AT_ONCE), closing)
    long = "".join(GROUP.format(f"{n:02}" + "x" * (TEXT_MAX - 2)) for n in range(GROUPS_MAX))
    fits = BYTES_MAX // (GROUPS_MAX * (TEXT_MAX + 2) + 100)
    for number in range(fits):
        wire.send(SET.format(number, "", long))
        assert answer(wire, number) is None, number
    before = roster(wire)
    wire.send(SET.format(fits, "", long))
    assert answer(wire, fits) == "policy-violation"
    for name, groups in (
        ("x" * (TEXT_MAX + 1), ""),
        ("", GROUP.format("x" * (TEXT_MAX + 1))),
        ("", "".join(GROUP.format(n) for n in range(GROUPS_MAX + 1))),
    ):
        wire.send(SET.format(fits, name, groups))
        assert answer(wire, fits) == "not-acceptable"
    assert roster(wire) == before and len(before[0]) == fits


def test_so_many_strangers(start_server, closing):
    """Who asks and is not in the roster takes no room of those who are, and finds none where so many have asked."""
    component = Listener(kind="service", options={"password": "secret"})
    server = start_server(listeners=[Listener(), component], accounts=ACCOUNTS, sections=AT_ONCE)
    romeo = enter(server, closing)
    romeo.presence()
    strangers = closing(Wire(component.address))
    shake_hands(strangers, "strangers.localhost", "secret")
    asks = "<presence from='s{}@strangers.localhost' to='romeo@localhost' type='subscribe'/>"
    for number in range(REQUESTS_MAX + 10):
        strangers.send(asks.format(number))
        if number < REQUESTS_MAX:
            romeo.until_tag("presence", f"s{number}@strangers.localhost", "subscribe")
    romeo.send(SET.format(1, "", ""))
    assert answer(romeo, 1) is None
    strangers.send("<message from='s@strangers.localhost' to='romeo@localhost'><body>behind</body></message>")
    assert "<presence" not in romeo.until("behind")
