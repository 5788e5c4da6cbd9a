"""biboumi, an IRC gateway of Debian: a client joins a channel through it, and talks."""

import asyncio
import os
from xml.etree.ElementTree import Element

import pytest

from harness.irc import Irc
from harness.listener import Listener
from harness.meerkat import DOMAIN
from harness.process import Process

SECRET = "a secret of the gateway"
NAME = f"irc.{DOMAIN}"
STANZA_SECONDS = 20


class Biboumi(Process):
    """Serves NAME through the second listener of `server`."""

    def __init__(self, folder, server):
        super().__init__(folder, "biboumi")
        _, port = server.listeners[1].address
        self.config = folder / "biboumi.cfg"
        self.config.write_text(
            f"hostname={NAME}\npassword={SECRET}\nxmpp_server_ip=127.0.0.1\nport={port}\n"
            f"db_name={folder}/biboumi.sqlite\nlog_level=0\nidentd_port=0\n"
        )

    def serve(self):
        self.start(["biboumi", self.config])
        return self


@pytest.fixture
async def gateway(start_server, folder):
    service = Listener(kind="service", options={"password": SECRET, "domains": [NAME]})
    server = start_server(listeners=[Listener(), service], accounts={"juliet": "secret"})
    biboumi = Biboumi(folder, server).serve()
    deadline = asyncio.get_running_loop().time() + STANZA_SECONDS
    while not (await asyncio.to_thread(server.status))["components"]:
        assert asyncio.get_running_loop().time() < deadline, f"not admitted:\n{biboumi.tail()}"
    yield server, biboumi
    biboumi.stop()


async def test_the_gateway_is_found_and_answers(gateway, connect):
    server, _ = gateway
    client = await connect(server, "juliet", "secret")
    client.register_plugin("xep_0030")
    client.register_plugin("xep_0050")
    client.register_plugin("xep_0092")
    items = await client.plugin["xep_0030"].get_items(jid=DOMAIN)
    assert [item[0] for item in items["disco_items"]["items"]] == [NAME]
    info = await client.plugin["xep_0030"].get_info(jid=NAME)
    assert ("conference", "irc") in {(i[0], i[1]) for i in info["disco_info"]["identities"]}
    commands = await client.plugin["xep_0050"].get_commands(NAME)
    assert any(item[1] == "configure" for item in commands["disco_items"]["items"])
    version = await client.plugin["xep_0092"].get_version(NAME)
    assert version["software_version"]["name"] == "biboumi"


@pytest.mark.timeout(90)
async def test_a_channel_through_the_gateway(gateway, connect):
    server, biboumi = gateway
    # The port is IRC's; the address is this test's own.
    number = os.getpid()
    irc = await Irc(f"127.77.{number // 250 % 250}.{number % 250 + 1}").begin()
    room = f"#test%{irc.address}@{NAME}"
    client = await connect(server, "juliet", "secret")
    join = client.make_presence(pto=f"{room}/juliet")
    join.xml.append(Element("{http://jabber.org/protocol/muc}x"))
    join.send()
    joined = []
    while f"{room}/juliet" not in joined:
        presence = await client.next_presence(STANZA_SECONDS)
        assert presence["type"] == "available", f"{presence}\n{biboumi.tail()}"
        joined.append(str(presence["from"]))
    assert f"{room}/other" in joined
    client.say(room, "from here", kind="groupchat")
    assert await irc.next() == ("#test", "from here")
    irc.tell(":other!u@h PRIVMSG #test :from there")
    bodies = {}
    while f"{room}/other" not in bodies:
        message = await client.next_message(STANZA_SECONDS)
        bodies[str(message["from"])] = message["body"]
    assert bodies[f"{room}/other"] == "from there"
    assert bodies[f"{room}/juliet"] == "from here", "the room's own echo"
    # A gateway that is gone is said at once, and its name stays its own.
    await asyncio.to_thread(biboumi.stop)
    client.say(room, "nobody hears this", kind="groupchat")
    while (message := await client.next_message(STANZA_SECONDS))["type"] != "error":
        pass
    assert message["error"]["condition"] == "service-unavailable"
    await irc.stop()

