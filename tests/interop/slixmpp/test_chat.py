"""200 users on all cores chat; every message arrives once, and in order between each pair."""

import asyncio
from collections import defaultdict

import pytest

from harness.client import Client
from harness.listener import Listener
from harness.meerkat import DOMAIN

USERS = 200
# Each user writes to these many others, chosen so that everybody is written to equally often.
PARTNERS = (1, 7, 50, 101, 199)
MESSAGES = 6
# Logins at a time: the clients share a processor with the server.
LOGINS = 20
CHAT_SECONDS = 60


def name(number):
    return f"user{number % USERS}"


async def log_in_all(server, tls):
    clients = [Client(server, name(number), "secret", tls=tls) for number in range(USERS)]
    gate = asyncio.Semaphore(LOGINS)

    async def log_in(client):
        async with gate:
            await client.login()

    await asyncio.gather(*(log_in(client) for client in clients))
    return clients


async def chat(clients):
    """Everybody writes to all partners by turns; returns what each received, by sender."""
    for turn in range(MESSAGES):
        for number, client in enumerate(clients):
            for partner in PARTNERS:
                # By turns to the account and to the resource: both must keep the order.
                to = clients[(number + partner) % USERS].boundjid
                client.say(to.bare if turn % 2 else to.full, str(turn))
        # The outgoing queues of slixmpp run here.
        await asyncio.sleep(0)

    async def collect(client):
        received = defaultdict(list)
        for _ in range(len(PARTNERS) * MESSAGES):
            message = await client.next_message(CHAT_SECONDS)
            received[message["from"].user].append(message["body"])
        return received

    return await asyncio.gather(*(collect(client) for client in clients))


@pytest.mark.portable
@pytest.mark.timeout(180)
@pytest.mark.parametrize("tls", [None, "starttls"])
async def test_chat(start_server, request, tls):
    accounts = {name(number): "secret" for number in range(USERS)}
    server = start_server(listeners=[Listener(tls)], accounts=accounts)
    clients = await log_in_all(server, tls)
    if request.config.getoption("--server") == "meerkat":
        shards = (await asyncio.to_thread(server.status))["shards"]
        assert sum(shard["sessions"] for shard in shards) == USERS
        # The owner of a user is drawn by a keyed hash: no core is left out of 200 draws.
        assert all(shard["sessions"] > 0 for shard in shards)

    everything = await chat(clients)
    expected = [str(turn) for turn in range(MESSAGES)]
    for number, received in enumerate(everything):
        senders = {name(number - partner) for partner in PARTNERS}
        assert set(received) == senders
        for sender in senders:
            assert received[sender] == expected, f"{sender}@{DOMAIN} to {name(number)}"
    # A repeated last message would come before what is sent now.
    await asyncio.gather(*(nothing_more(client) for client in clients))
    await asyncio.gather(*(client.logout() for client in clients))


async def nothing_more(client):
    client.say(client.boundjid, "last")
    assert (await client.next_message())["body"] == "last"
    assert client.messages.empty()
