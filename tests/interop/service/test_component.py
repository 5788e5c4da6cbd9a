"""slixmpp's component: an echo service used by clients on all cores, restarted under load."""

import asyncio

import pytest

from harness.client import Client
from harness.component import Component, Echo
from harness.listener import Listener
from harness.meerkat import DOMAIN

SECRET = "a secret of the component"
USERS = 20
MESSAGES = 50
NAME = f"echo.{DOMAIN}"


def listeners(**options):
    service = Listener(kind="service", options={"password": SECRET} | options)
    return [Listener(), service]


def accounts(users=1):
    return {f"user{number}": "secret" for number in range(users)}


async def log_in(server, users):
    clients = [Client(server, f"user{number}", "secret") for number in range(users)]
    await asyncio.gather(*(client.login() for client in clients))
    return clients


@pytest.mark.timeout(120)
async def test_echo(start_server):
    server = start_server(listeners=listeners(), accounts=accounts(USERS))
    echo = await Echo(server, NAME, SECRET).begin()
    clients = await log_in(server, USERS)
    shards = (await asyncio.to_thread(server.status))["shards"]
    assert all(shard["sessions"] > 0 for shard in shards), "the users must be on all cores"
    for number in range(MESSAGES):
        for client in clients:
            client.say(f"bot{number % 3}@{NAME}/x", str(number))
    for client in clients:
        bodies = [(await client.next_message())["body"] for _ in range(MESSAGES)]
        # One bot's answers come in order; between bots there is only one stream, so all do.
        assert bodies == [str(number) for number in range(MESSAGES)]
    components = (await asyncio.to_thread(server.status))["components"]
    assert [component["name"] for component in components] == [NAME]
    await echo.stop()
    assert (await asyncio.to_thread(server.status))["components"] == []
    await asyncio.gather(*(client.logout() for client in clients))


async def test_disco_and_ping(start_server, connect):
    server = start_server(listeners=listeners(), accounts=accounts())
    echo = await Component(server, NAME, SECRET).begin()
    client = await connect(server, "user0", "secret")
    client.register_plugin("xep_0030")
    client.register_plugin("xep_0199")
    items = await client.plugin["xep_0030"].get_items(jid=DOMAIN)
    assert [item[0] for item in items["disco_items"]["items"]] == [NAME]
    # The component answers users, users' server answers the component.
    info = await client.plugin["xep_0030"].get_info(jid=NAME)
    assert "urn:xmpp:ping" in info["disco_info"]["features"]
    assert await client.plugin["xep_0199"].ping(jid=NAME) > 0
    assert await echo.plugin["xep_0199"].ping(jid=DOMAIN, ifrom=NAME) > 0
    info = await echo.plugin["xep_0030"].get_info(jid=DOMAIN, ifrom=NAME)
    assert "http://jabber.org/protocol/disco#items" in info["disco_info"]["features"]
    await echo.stop()


async def test_a_wrong_secret_is_said(start_server):
    server = start_server(listeners=listeners())
    component = Component(server, NAME, "another")
    component.connect()
    await asyncio.wait_for(component.ended, 20)
    assert component.stream_errors == ["not-authorized"]


async def test_the_secret_that_a_first_start_makes(start_server):
    service = Listener(kind="component", options={"password_file": "data/secrets/service"})
    server = start_server(listeners=[Listener(), service], sections={"runtime": {"data_dir": "data"}})
    file = server.folder / "data" / "secrets" / "service"
    assert file.stat().st_mode & 0o777 == 0o600
    secret = file.read_text().strip()
    assert len(secret) > 40 and secret not in server.log()
    assert "secret data/secrets/service" in server.log()
    component = await Component(server, NAME, secret).begin()
    await component.stop()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("behaviour", ["disconnect", "kick_old"])
async def test_restarts_under_load(start_server, behaviour):
    """Each message is answered once: by a component, or by the server in its place; in order."""
    server = start_server(listeners=listeners(conflict_behaviour=behaviour), accounts=accounts(4))
    clients = await log_in(server, 4)
    component = await Echo(server, NAME, SECRET).begin()
    sent = 0
    for round_ in range(5):
        for _ in range(40):
            for client in clients:
                client.say(f"bot@{NAME}", str(sent))
            sent += 1
            await asyncio.sleep(0)
        if round_ % 2 and behaviour == "kick_old":
            new = await Echo(server, NAME, SECRET).begin()
            await asyncio.wait_for(component.ended, 20)
            assert component.stream_errors == ["conflict"]
        else:
            await component.stop()
            new = await Echo(server, NAME, SECRET).begin()
        component = new
    for client in clients:
        client.say(f"bot@{NAME}", "last")
    for client in clients:
        answers = []
        while not answers or answers[-1] != "last":
            message = await client.next_message()
            answers.append("error" if message["type"] == "error" else message["body"])
        echoed = [int(body) for body in answers if body not in ("error", "last")]
        assert echoed == sorted(set(echoed)), "each once, and in order"
        # What the component had read when it stopped is its own to answer or not.
        assert len(answers) <= sent + 1
        assert echoed[-1:] != [], "most are echoed"
    await component.stop()
    await asyncio.gather(*(client.logout() for client in clients))
