"""However a session ends, whoever saw it sees it leave (RFC 6121 4.5)."""

import pytest

from harness.listener import Listener
from harness.wire import FOOTER, Closed, Wire

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
SUBSCRIPTION = "<presence type='{}' to='{}@localhost'/>"
# The default of `access.max_user_sessions`.
SESSIONS_MAX = 10
# What a session that does not read may have waiting, in bytes.
BUFFER = 65_536
LONG = "<message to='juliet@localhost/balcony' type='error'><body>" + 8000 * "x" + "</body></message>"


def vanishes(juliet, romeo, server):
    juliet.close()


def resets(juliet, romeo, server):
    juliet.reset()


def ends_the_stream(juliet, romeo, server):
    juliet.send(FOOTER)


def writes_what_is_no_xml(juliet, romeo, server):
    juliet.send("<<")


def writes_as_somebody_else(juliet, romeo, server):
    juliet.send("<presence from='romeo@localhost'/>")


def is_kicked(juliet, romeo, server):
    server.must_run("session", "kick", "juliet@localhost/balcony")


def is_replaced(juliet, romeo, server):
    Wire(server.listeners[0].address).login("juliet", "secret", "balcony")


def is_one_of_too_many(juliet, romeo, server):
    others = [Wire(server.listeners[0].address) for _ in range(SESSIONS_MAX)]
    for number, other in enumerate(others):
        other.login("juliet", "secret", f"other{number}")
    for other in others:
        other.close()


def does_not_read(juliet, romeo, server):
    for _ in range(1000):
        romeo.send(LONG)


def is_removed(juliet, romeo, server):
    server.must_run("account", "del", "juliet@localhost")


ENDINGS = [
    vanishes,
    resets,
    ends_the_stream,
    writes_what_is_no_xml,
    writes_as_somebody_else,
    is_kicked,
    is_replaced,
    is_one_of_too_many,
    does_not_read,
    is_removed,
]


def test_whoever_saw_it_sees_it_leave(start_server, closing):
    server = start_server(listeners=[Listener(options={"outbound_buffer": BUFFER})], accounts=ACCOUNTS)
    romeo = closing(Wire(server.listeners[0].address))
    romeo.login("romeo", "secret")
    romeo.presence()
    for number, ends in enumerate(ENDINGS):
        juliet = closing(Wire(server.listeners[0].address, receive_buffer=4096))
        juliet.login("juliet", "secret", "balcony")
        if number == 0:
            juliet.send(SUBSCRIPTION.format("subscribed", "romeo"))
            juliet.ping()
            romeo.send(SUBSCRIPTION.format("subscribe", "juliet"))
        juliet.presence()
        romeo.until_tag("presence", "juliet@localhost/balcony")
        ends(juliet, romeo, server)
        try:
            romeo.until_match(r"<presence\b(?=[^>]*juliet@localhost/balcony)(?=[^>]*unavailable)[^>]*>")
        except (TimeoutError, Closed) as why:
            pytest.fail(f"nobody hears that she {ends.__name__}: {why!r}")
        # What he sent to a session that does not read must not meet the next one.
        romeo.ping(f"p{number}")
