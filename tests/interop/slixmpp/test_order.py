"""Messages of one sender come in order, and once, across every moment at which their recipient comes or goes."""

import re
import threading

import pytest

from harness.listener import Listener
from harness.wire import Wire

WRITERS = ("paris", "romeo")
ACCOUNTS = dict.fromkeys((*WRITERS, "juliet"), "secret")
MANY = {"[access.max_user_offline_messages]": {"acl": "all", "value": 100000}}
MESSAGE = "<message to='juliet@localhost' type='chat' id='m{0}'><body>{0}</body></message>"
# Answered by the core and the store that keep the messages, when they have got so far: a sender waits for that after
# each burst, or the store would refuse what is too much.
FENCE = "<iq type='get' id='f{0}' to='juliet@localhost'><vCard xmlns='vcard-temp'/></iq>"
BURST = 20
# Times that the recipient comes and goes.
ROUNDS = 12
# What she reads before she goes: of what was kept, behind it, or nothing.
READS = (1, 30, 77, 150)
CAME = re.compile(r"<message[^>]* from='(\w+)@[^>]*><body>(\d+)</body>")


class Writer(threading.Thread):
    """Writes numbered messages until it is told to stop; `next` is the number of the first unwritten one."""

    def __init__(self, server, name, stop):
        super().__init__(daemon=True)
        self.name, self.stop, self.next = name, stop, 0
        self.wire = Wire(server.listeners[0].address)
        self.wire.login(name, "secret")

    def run(self):
        while not self.stop.is_set():
            burst = range(self.next, self.next + BURST)
            self.wire.send("".join(MESSAGE.format(number) for number in burst))
            self.next += BURST
            self.wire.send(FENCE.format(self.next))
            self.wire.until_tag("iq", f"'f{self.next}'")


def come_and_go(server, closing, count, goes):
    """Logs in, reads so many messages at least, and goes; all that came."""
    wire = closing(Wire(server.listeners[0].address))
    wire.login("juliet", "secret")
    wire.send("<presence/>")
    text = "".join(wire.until("</message>") for _ in range(count))
    wire.send(goes)
    text += wire.to_end()
    wire.close()
    return CAME.findall(text)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "goes", ["</stream:stream>", "<presence type='unavailable'/></stream:stream>"], ids=["ends", "unavailable"]
)
def test_in_order_and_once(start_server, closing, goes):
    server = start_server(listeners=[Listener()], accounts=ACCOUNTS, sections=MANY)
    stop = threading.Event()
    writers = [Writer(server, name, stop) for name in WRITERS]
    for writer in writers:
        writer.start()
    came = []
    for number in range(ROUNDS):
        came += come_and_go(server, closing, READS[number % len(READS)], goes)
    stop.set()
    for writer in writers:
        writer.join(20)
        writer.wire.ping("last")
        closing(writer.wire)
    wire = closing(Wire(server.listeners[0].address))
    wire.login("juliet", "secret")
    wire.send("<presence/>")
    due = sum(writer.next for writer in writers) - len(came)
    text = "".join(wire.until("</message>") for _ in range(due))
    came += CAME.findall(text + wire.ping("behind"))
    for writer in writers:
        numbers = [int(number) for name, number in came if name == writer.name]
        assert numbers == list(range(writer.next)), first_wrong(numbers)


def first_wrong(numbers):
    wrong = next((at for at, number in enumerate(numbers) if at != number), len(numbers))
    return f"at {wrong} of {len(numbers)}: {numbers[max(0, wrong - 3) : wrong + 5]}"
