"""A component that does not read is cut at `outbound_buffer`; nothing that it was owed is lost."""

import asyncio

import pytest

from harness.component import messages_in, shake_hands
from harness.listener import Listener
from harness.meerkat import DOMAIN
from harness.wire import Wire

SECRET = "a secret of the component"
NAME = f"slow.{DOMAIN}"
MESSAGES = 3_000
BODY = "x" * 1_000


@pytest.mark.timeout(90)
@pytest.mark.parametrize("tls", [None, "tls"])
async def test_what_a_slow_component_is_owed_comes_back(start_server, connect, closing, tls):
    options = {"password": SECRET, "outbound_buffer": 100_000}
    service = Listener(tls, kind="service", options=options)
    server = start_server(listeners=[Listener(), service], accounts={"juliet": "secret"})
    wire = closing(Wire(service.address, receive_buffer=4096))
    if tls:
        wire.secure(server.certificate.context())
    await asyncio.to_thread(shake_hands, wire, NAME, SECRET)
    client = await connect(server, "juliet", "secret")
    client.register_plugin("xep_0199")

    def say(number):
        message = client.make_message(f"bot@{NAME}", f"{number}:{BODY}", mtype="chat")
        message["id"] = f"m{number}"
        message.send()

    # The kernel has the first one when the answer is here; of the rest a busy server may get so much at
    # once that it cuts the component before it sends anything.
    say(0)
    await client.plugin["xep_0199"].ping(DOMAIN)
    for number in range(1, MESSAGES):
        say(number)
    returned = []

    async def take():
        message = await client.next_message(30)
        assert message["type"] == "error"
        returned.append(message["id"])

    while f"m{MESSAGES - 1}" not in returned:
        await take()
    # The kernel still holds what it took for the component before that was cut.
    read = await asyncio.to_thread(wire.to_end)
    seen = messages_in(read)
    whole = {f"m{number}" for number in range(MESSAGES)}
    while whole - set(seen) - set(returned):
        # Nothing is lost: what is missing is on its way, or this ends in a timeout.
        await take()
    assert len(returned) == len(set(returned)) and len(seen) == len(set(seen)), "nothing twice"
    assert returned and seen
    assert await asyncio.to_thread(server.ended, "slow_reader") == 1
    assert (await asyncio.to_thread(server.status))["components"] == []
