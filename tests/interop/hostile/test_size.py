"""Stanzas that are too large, too many of them unfinished, and readers that do not read."""

import re

import pytest

from harness.listener import Listener
from harness.wire import HEADER, PING, Closed, Wire, stream_error

ACCOUNTS = {user: "secret" for user in ("juliet", "romeo", "nurse", "paris")}
MAX = 2000
# The cap before authentication, whatever the listener allows.
PRE_AUTH_MAX = 10_000


def message(to, size, finished=True):
    """A message of exactly `size` bytes; without its end tags, so many bytes of one."""
    start, end = f"<message to='{to}' id='sized'><body>", "</body></message>"
    return start + "x" * (size - len(start) - (len(end) if finished else 0)) + (end if finished else "")


@pytest.fixture
def sized(start_server, closing):
    """A session on a listener with max_stanza_size = MAX."""
    server = start_server(listeners=[Listener(options={"max_stanza_size": MAX})], accounts=ACCOUNTS)
    wire = closing(Wire(server.listeners[0].address))
    wire.login("juliet", "secret")
    return wire


def test_exactly_the_maximum_passes(sized):
    sized.send(message(sized.jid, MAX))
    sized.until_tag("message", "sized", "juliet")
    sized.ping()


def test_one_byte_more_is_a_policy_violation(sized):
    sized.send(message(sized.jid, MAX + 1))
    assert stream_error(sized.to_end()) == "policy-violation"


def test_so_is_an_unfinished_stanza_of_that_size(sized):
    sized.send(message(sized.jid, MAX, finished=False))
    assert stream_error(sized.to_end()) == "policy-violation"


def test_stanzas_before_it_in_the_same_segment_are_processed(sized):
    sized.send(PING.format("before") + message(sized.jid, MAX + 1))
    sized.until_tag("iq", "before", "result")
    assert stream_error(sized.to_end()) == "policy-violation"


def test_whitespace_between_stanzas_does_not_count(sized):
    sized.send(" " * 100 * MAX)
    sized.ping()


@pytest.mark.parametrize(
    "said",
    [
        HEADER[:-1] + b" x='" + b"y" * PRE_AUTH_MAX,
        HEADER + b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + b"A" * PRE_AUTH_MAX,
    ],
    ids=["header", "auth"],
)
def test_strangers_get_less(start_server, closing, said):
    server = start_server(accounts=ACCOUNTS)
    wire = closing(Wire(server.listeners[0].address))
    wire.send(said)
    assert stream_error(wire.to_end()) == "policy-violation"


def test_unfinished_stanzas_together_have_a_bound(start_server, closing):
    """All of one user and thus on one core: 8 times 300 kB do not fit into 1 MiB."""
    memory, each = 1 << 20, 300_000
    server = start_server(accounts=ACCOUNTS, sections={"runtime": {"partial_stanza_memory": memory}})
    wires = [closing(Wire(server.listeners[0].address)) for _ in range(8)]
    for wire in wires:
        wire.login("juliet", "secret")
    for wire in wires:
        wire.send(message(wire.jid, each, finished=False))
    cut = 0
    for _number, wire in enumerate(wires):
        try:
            wire.send("</body></message>" + PING.format("alive"))
            wire.until_tag("iq", "alive", "result")
        except (Closed, ConnectionError) as end:
            assert not isinstance(end, Closed) or stream_error(end.seen.decode()) == "resource-constraint"
            cut += 1
    assert 0 < cut < len(wires)
    closing(Wire(server.listeners[0].address)).login("juliet", "secret")


OUTBOUND = 262_144
BODY = 4_000
BATCH = 50
# The kernel's own buffers take some megabytes before the server's count.
BATCHES_MAX = 400


def test_a_reader_that_does_not_read_is_cut_and_hurts_nobody(start_server, closing):
    listener = Listener(options={"outbound_buffer": OUTBOUND})
    server = start_server(listeners=[listener], accounts=ACCOUNTS)
    slow = closing(Wire(listener.address, receive_buffer=4096))
    slow.login("juliet", "secret", "asleep")
    writer, nurse, paris = (closing(Wire(listener.address)) for _ in range(3))
    writer.login("romeo", "secret")
    nurse.login("nurse", "secret")
    paris.login("paris", "secret")
    for batch in range(BATCHES_MAX):
        writer.send(message(slow.jid, BODY) * BATCH)
        bounced = "service-unavailable" in writer.ping(f"batch{batch}-")
        # The others do not notice.
        nurse.send(message(paris.jid, 200))
        paris.until_tag("message", "sized")
        if bounced:
            break
    assert bounced, "the slow reader is never cut"
    assert server.status()["sessions"] == 3
    slow.to_end()


# Where nothing is kept, what did not arrive goes back.
NO_OFFLINE = {"modules.mod_ping": {}, "modules.mod_presence": {}}
NUMBERED = "<message type='chat' to='{}' id='n{}'><body>{}</body></message>"


@pytest.mark.parametrize("tls", [None, "tls"])
def test_what_a_cut_reader_was_owed_is_in_its_socket_or_goes_back(start_server, closing, tls):
    """Also what was on its way when it was cut, be it half of a stanza or encrypted."""
    listener = Listener(tls=tls, options={"outbound_buffer": OUTBOUND})
    plain_listener = Listener()
    server = start_server(listeners=[listener, plain_listener], accounts=ACCOUNTS, sections=NO_OFFLINE)
    slow = closing(Wire(listener.address, receive_buffer=4096))
    if tls:
        slow.secure(server.certificate.context())
    slow.login("juliet", "secret", "asleep")
    writer = closing(Wire(plain_listener.address))
    writer.login("romeo", "secret")
    said, heard = 0, ""
    for batch in range(BATCHES_MAX):
        for _ in range(BATCH):
            writer.send(NUMBERED.format(slow.jid, said, "x" * BODY))
            said += 1
        heard += writer.ping(f"batch{batch}-")
        if "service-unavailable" in heard:
            break
    arrived = numbers(slow.to_end(), r"(?:(?!<message).)*</message>")
    back = numbers(heard)
    assert back, "the slow reader is never cut"
    # A bounce may come from another core; one that never comes ends the test.
    while len(arrived | back) < said:
        back |= numbers(writer.until("</message>"))


def numbers(text, and_then=""):
    return set(re.findall(r"<message[^>]* id='n(\d+)'" + and_then, text))


@pytest.mark.parametrize("tls", [None, "tls"])
def test_what_waits_for_a_peer_that_vanishes_goes_back(start_server, closing, tls):
    """More than the kernel's buffers hold, less than outbound_buffer: then the peer is gone."""
    listener, plain_listener = Listener(tls=tls, options={"outbound_buffer": 16 << 20}), Listener()
    server = start_server(listeners=[listener, plain_listener], accounts=ACCOUNTS, sections=NO_OFFLINE)
    gone, writer = closing(Wire(listener.address, receive_buffer=4096)), closing(Wire(plain_listener.address))
    if tls:
        gone.secure(server.certificate.context())
    gone.login("juliet", "secret", "gone")
    writer.login("romeo", "secret")
    last = 2000
    for number in range(last + 1):
        writer.send(NUMBERED.format(gone.jid, number, "x" * BODY))
    writer.ping("all-said")
    gone.reset()
    back = set()
    while str(last) not in back:
        back |= numbers(writer.until("</message>"))


def test_a_stanza_too_large_for_its_reader_bounces(start_server, closing):
    narrow, wide = Listener(options={"outbound_buffer": 100_000}), Listener()
    server = start_server(listeners=[narrow, wide], accounts=ACCOUNTS)
    juliet, romeo = closing(Wire(narrow.address)), closing(Wire(wide.address))
    juliet.login("juliet", "secret")
    romeo.login("romeo", "secret")
    romeo.send(message(juliet.jid, 200_000))
    romeo.until_tag("message", "type='error'")
    assert "policy-violation" in romeo.until("</message>")
    romeo.send(message(juliet.jid, 200))
    juliet.until_tag("message", "sized")
    assert server.status()["sessions"] == 2
