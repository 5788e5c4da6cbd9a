"""A whole negotiation in one segment, for users of every core."""

import re

from harness.wire import BIND, HEADER, Wire, plain

USERS = [f"user{number}" for number in range(16)]


def test_a_whole_negotiation_in_one_segment(start_server, closing):
    server = start_server(accounts={user: "secret" for user in USERS})
    for user in USERS:
        wire = closing(Wire(server.listeners[0].address))
        bind = BIND.format("<resource>hasty</resource>")
        wire.send(HEADER + plain(user, "secret").encode() + HEADER + bind.encode())
        wire.until("<success")
        bound = re.search("<jid>(.*)</jid>", wire.until("</iq>"))
        assert bound and bound[1] == f"{user}@localhost/hasty"
        wire.ping()


ANONYMOUS = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>"


def test_the_same_for_somebody_without_an_account(start_server, closing):
    server = start_server(sections={"auth": {"methods": ["anonymous"]}, "auth.anonymous": {}})
    bind = BIND.format("<resource>hasty</resource>").encode()
    for _ in range(16):
        wire = closing(Wire(server.listeners[0].address))
        wire.send(HEADER + ANONYMOUS + HEADER + bind)
        wire.until("<success")
        assert "<jid>" in wire.until("</iq>")
        wire.ping()
