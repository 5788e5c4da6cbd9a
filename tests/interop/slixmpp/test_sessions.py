"""Several resources of one user, replaced sessions, and how the server says good-bye."""

import asyncio

import pytest

from harness.client import Client
from harness.listener import Listener
from harness.meerkat import DOMAIN

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
# `max_user_sessions` where nothing is configured.
SESSIONS_MAX = 10


@pytest.mark.portable
async def test_a_second_session_replaces_the_first(start_server, connect):
    server = start_server(accounts=ACCOUNTS)
    first = await connect(server, "juliet", "secret", resource="balcony")
    second = await connect(server, "juliet", "secret", resource="balcony")
    assert await first.end() == "conflict"
    assert second.boundjid.full == f"juliet@{DOMAIN}/balcony"
    romeo = await connect(server, "romeo", "secret")
    romeo.say(second.boundjid, "still there?")
    assert (await second.next_message())["body"] == "still there?"


async def test_the_oldest_session_gives_way_to_one_too_many(start_server, connect):
    server = start_server(accounts=ACCOUNTS)
    sessions = [await connect(server, "juliet", "secret", presence=False) for _ in range(SESSIONS_MAX)]
    await connect(server, "juliet", "secret")
    assert await sessions[0].end() == "conflict"
    assert (await asyncio.to_thread(server.status))["sessions"] == SESSIONS_MAX
    assert not any(client.ended.done() for client in sessions[1:])


@pytest.mark.portable
async def test_own_resources_see_each_other_come_and_go(start_server, connect):
    server = start_server(accounts=ACCOUNTS)
    balcony = await connect(server, "juliet", "secret", resource="balcony")
    chamber = await connect(server, "juliet", "secret", resource="chamber")
    # The newcomer learns of the one that was there, and the other way round.
    seen = await chamber.next_presence()
    assert (seen["from"], seen["type"]) == (balcony.boundjid, "available")
    seen = await balcony.next_presence()
    assert (seen["from"], seen["type"]) == (chamber.boundjid, "available")
    chamber.send_presence(pshow="dnd", pstatus="asleep")
    seen = await balcony.next_presence()
    assert (seen["from"], seen["show"], seen["status"]) == (chamber.boundjid, "dnd", "asleep")
    await chamber.logout()
    seen = await balcony.next_presence()
    assert (seen["from"], seen["type"]) == (chamber.boundjid, "unavailable")


@pytest.mark.portable
async def test_a_lost_connection_is_announced_too(start_server, connect):
    server = start_server(accounts=ACCOUNTS)
    balcony = await connect(server, "juliet", "secret", resource="balcony")
    chamber = await connect(server, "juliet", "secret", resource="chamber")
    await balcony.next_presence()
    chamber.transport.abort()
    seen = await balcony.next_presence()
    assert (seen["from"], seen["type"]) == (chamber.boundjid, "unavailable")


@pytest.mark.portable
async def test_messages_follow_priority_and_full_address(start_server, connect):
    server = start_server(accounts=ACCOUNTS)
    low = await connect(server, "juliet", "secret", resource="low", presence=False)
    high = await connect(server, "juliet", "secret", resource="high", presence=False)
    hidden = await connect(server, "juliet", "secret", resource="hidden", presence=False)
    for client, priority in ((low, 1), (high, 5), (hidden, -1)):
        client.send_presence(ppriority=priority)
        await client.own_presence()
    romeo = await connect(server, "romeo", "secret")
    romeo.say(f"juliet@{DOMAIN}", "to the best")
    assert (await high.next_message())["body"] == "to the best"
    for client in (low, hidden):
        romeo.say(client.boundjid, "to you alone")
        # In order: had the first one come here too, it would come first.
        got = await client.next_message()
        assert (got["body"], got["from"]) == ("to you alone", romeo.boundjid)


@pytest.mark.portable
@pytest.mark.parametrize("tls", [None, "starttls", "tls"])
async def test_shutdown_is_said_on_every_stream(start_server, tls):
    server = start_server(listeners=[Listener(tls)], accounts=ACCOUNTS)
    clients = [Client(server, user, "secret", tls=tls) for user in ACCOUNTS for _ in range(5)]
    await asyncio.gather(*(client.login() for client in clients))
    stopping = asyncio.create_task(asyncio.to_thread(server.terminate))
    errors = await asyncio.gather(*(client.end() for client in clients))
    assert set(errors) == {"system-shutdown"}
    assert await stopping == 0


async def test_status_counts_what_is_connected(start_server, connect):
    server = start_server(listeners=[Listener(), Listener("tls")], accounts=ACCOUNTS)
    clients = [
        await connect(server, "juliet", "secret"),
        await connect(server, "romeo", "secret", tls="tls", listener=1),
        await connect(server, "romeo", "secret"),
    ]
    status = await asyncio.to_thread(server.status)
    assert status["version"]
    assert status["uptime_s"] >= 0
    assert status["sessions"] == 3
    assert sum(shard["sessions"] for shard in status["shards"]) == 3
    assert sum(shard["connections"] for shard in status["shards"]) == 3
    by_path = {listener["path"]: listener for listener in status["listeners"]}
    assert by_path["listen.c2s[0]"]["connections"] == 2
    assert by_path["listen.c2s[1]"]["connections"] == 1
    assert by_path["listen.c2s[0]"]["address"] == f"127.0.0.1:{server.listeners[0].port}"
    assert sum(by_path["listen.c2s[0]"]["acceptors"]) == 100
    assert "3 sessions" in await asyncio.to_thread(server.must_run, "status")
    await clients[0].logout()
    assert (await asyncio.to_thread(server.status))["sessions"] == 2
