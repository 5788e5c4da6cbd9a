"""A component comes and goes while users write to it: each message arrives or comes back, once."""

import asyncio

import pytest

from harness.client import Client
from harness.component import messages_in, shake_hands
from harness.listener import Listener
from harness.meerkat import DOMAIN
from harness.wire import Wire

SECRET = "a secret of the component"
NAME = f"gate.{DOMAIN}"
USERS = 6
MESSAGES = 400
RESTARTS = 12
END = "</stream:stream>"


async def write(client, user):
    for number in range(MESSAGES):
        message = client.make_message(f"bot@{NAME}", "x" * 300, mtype="chat")
        message["id"] = f"m{user * MESSAGES + number}"
        message.send()
        # The outgoing queue of slixmpp, and the component, run here.
        await asyncio.sleep(0)


def come_and_go(address, seen):
    """Each time it takes a few messages, says goodbye and reads to the end of its stream."""
    for _ in range(RESTARTS):
        wire = Wire(address)
        shake_hands(wire, NAME, SECRET)
        text = wire.until("</message>")
        wire.send(END)
        text += wire.to_end()
        assert text.endswith(END)
        seen += messages_in(text)
        wire.close()


@pytest.mark.timeout(90)
async def test_nothing_is_lost_or_doubled(start_server):
    service = Listener(kind="service", options={"password": SECRET})
    accounts = {f"user{number}": "secret" for number in range(USERS)}
    server = start_server(listeners=[Listener(), service], accounts=accounts)
    clients = [Client(server, user, "secret") for user in accounts]
    await asyncio.gather(*(client.login() for client in clients))
    seen = []
    going = asyncio.create_task(asyncio.to_thread(come_and_go, service.address, seen))
    await asyncio.gather(*(write(client, user) for user, client in enumerate(clients)))
    # Further messages let the component go to its last end.
    while not going.done():
        clients[0].say(f"bot@{NAME}", "filler")
        await asyncio.sleep(0.01)
    await going
    returned = []
    whole = {f"m{number}" for number in range(USERS * MESSAGES)}
    for client in clients:
        last = client.make_message(f"bot@{NAME}", "nobody is there", mtype="chat")
        last["id"] = "last"
        last.send()
        while (message := await client.next_message(30))["id"] != "last":
            assert message["type"] == "error"
            returned.append(message["id"])
    returned = [one for one in returned if one in whole]
    assert whole - set(seen) - set(returned) == set(), "nothing is lost"
    assert len(seen) + len(returned) == len(whole), "nothing arrives and comes back"
    for user in range(USERS):
        own = [int(one[1:]) for one in seen if int(one[1:]) // MESSAGES == user]
        assert own == sorted(own), "in order"
    await asyncio.gather(*(client.logout() for client in clients))
