"""A whole negotiation in one segment, for users of every core."""

import re
import socket
import time
from pathlib import Path

from harness.listener import Listener
from harness.wire import BIND, HEADER, READ_BYTES, Closed, Wire, plain

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


def test_who_says_it_all_and_closes_its_side_is_answered(start_server, closing):
    # Passwords are stored as keys: what follows the first one comes while it is computed.
    server = start_server(accounts={user: "secret" for user in USERS}, sections={"auth": {"password.format": "scram"}})
    for user in USERS[:4]:
        wire = closing(Wire(server.listeners[0].address))
        bind = BIND.format("<resource>hasty</resource>")
        wire.send(HEADER + plain(user, "secret").encode() + HEADER + bind.encode())
        wire.socket.shutdown(socket.SHUT_WR)
        answer = wire.to_end()
        assert f"<jid>{user}@localhost/hasty</jid>" in answer, answer


def test_who_says_far_too_much_meanwhile_gets_no_further(start_server, closing):
    server = start_server(accounts={"user0": "secret"}, sections={"auth": {"password.format": "scram"}})
    wire = closing(Wire(server.listeners[0].address))
    ahead = BIND.format("<resource>hasty</resource>").encode() + b" " * 2_000_000
    wire.send(HEADER + plain("user0", "secret").encode() + HEADER + ahead)
    assert "<jid>user0@localhost/hasty</jid>" in wire.until("</iq>", "</stream:error>").split("</stream:features>")[-1]
    wire.ping()


REGISTER = "<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>"
PROCEED = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
# More than the kernel takes for a peer that does not read, and less than the server keeps for one.
ANSWERS_BYTES = 7_000_000
UNREAD_SECONDS = 30


def until_read(address, wire):
    """Waits until the server has read all that was sent."""
    ours, theirs = (f":{port:04X}" for port in (wire.socket.getsockname()[1], address[1]))
    until = time.monotonic() + UNREAD_SECONDS
    while True:
        queued = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            local, remote, _, queues = line.split()[1:5]
            sending, received = (int(bytes_, 16) for bytes_ in queues.split(":"))
            if local.endswith(ours) and remote.endswith(theirs):
                queued += sending
            elif local.endswith(theirs) and remote.endswith(ours):
                queued += received
        if queued == 0:
            return
        assert time.monotonic() < until, "the server does not read"


def test_clear_text_behind_starttls_is_never_taken_for_secured(start_server, closing):
    options = {"outbound_buffer": 16_000_000}
    server = start_server(
        listeners=[Listener(tls="starttls", options=options)],
        accounts={"user0": "secret"},
        sections={"modules.mod_register": {}, "modules.mod_presence": {}},
    )
    address = server.listeners[0].address
    wire = closing(Wire(address, receive_buffer=4096))
    wire.open()
    wire.send(REGISTER)
    size = len(wire.until("</iq>"))
    for _ in range(ANSWERS_BYTES // size // 1000):
        wire.send(REGISTER * 1000)
    wire.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    for data in (plain("user0", "secret"), "<message/>"):
        until_read(address, wire)
        wire.send(data)
    until_read(address, wire)
    said = b""
    while not said.endswith(PROCEED):
        try:
            said = said[-READ_BYTES:] + wire.read_more()
        except Closed:
            # The server had come to `<proceed/>`, though not through with it: to TLS it is nonsense.
            return
        assert b"<success" not in said
    wire.socket = server.certificate.context().wrap_socket(wire.socket, server_hostname="localhost")
    wire.login("user0", "secret")
    wire.presence()
