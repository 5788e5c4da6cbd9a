"""What slixmpp's plugins make of vCards, avatars, private storage, blocking, carbons and discovery."""

import asyncio
import hashlib
import re
import xml.etree.ElementTree as ET

import pytest
from slixmpp.exceptions import IqError
from slixmpp.jid import JID

from harness.client import STANZA_SECONDS
from harness.listener import Listener
from harness.meerkat import DOMAIN
from harness.wire import Wire

ACCOUNTS = {"romeo": "secret", "juliet": "secret"}
# What a PNG begins with is enough for whoever only hashes it.
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20


async def two(start_server, connect, **options):
    server = start_server(accounts=ACCOUNTS, **options)
    romeo = await connect(server, "romeo", "secret", resource="orchard")
    juliet = await connect(server, "juliet", "secret", resource="balcony")
    return server, romeo, juliet


def condition(error):
    return error.value.iq["error"]["condition"]


def addresses(command):
    """The addresses of a blocking command."""
    return [item.get("jid") for item in command.xml]


@pytest.mark.portable
async def test_vcard_and_avatar(start_server, connect):
    server, romeo, juliet = await two(start_server, connect)
    for client in (romeo, juliet):
        client.register_plugin("xep_0054")
    card = romeo.plugin["xep_0054"].make_vcard()
    card["FN"] = "Romeo Montague"
    card["NICKNAME"] = "Rom & Co <3"
    await romeo.plugin["xep_0054"].publish_vcard(card, timeout=STANZA_SECONDS)
    # Another resource of romeo sees the hash that follows from the new picture.
    garden = await connect(server, "romeo", "secret", resource="garden")
    romeo.register_plugin("xep_0153")
    await romeo.plugin["xep_0153"].set_avatar(
        jid=JID(romeo.boundjid.bare), avatar=PICTURE, mtype="image/png", timeout=STANZA_SECONDS
    )
    romeo.send_presence()
    wanted = hashlib.sha1(PICTURE).hexdigest()
    while True:
        presence = await garden.next_presence()
        photo = presence.xml.find("{vcard-temp:x:update}x/{vcard-temp:x:update}photo")
        if photo is not None and photo.text == wanted:
            assert presence["from"] == romeo.boundjid
            break
    answer = await juliet.plugin["xep_0054"].get_vcard(JID(f"romeo@{DOMAIN}"), timeout=STANZA_SECONDS)
    found = answer["vcard_temp"]
    assert found["FN"] == "Romeo Montague" and found["NICKNAME"] == ["Rom & Co <3"]
    assert found["PHOTO"]["BINVAL"] == PICTURE
    with pytest.raises(IqError) as missing:
        await romeo.plugin["xep_0054"].get_vcard(JID(f"juliet@{DOMAIN}"), timeout=STANZA_SECONDS)
    assert condition(missing) == "item-not-found"


@pytest.mark.portable
async def test_private_storage(start_server, connect):
    server, romeo, juliet = await two(start_server, connect)

    async def private(client, kind, element):
        iq = client.make_iq(itype=kind)
        query = ET.SubElement(iq.xml, "{jabber:iq:private}query")
        query.append(element)
        answer = await client.ask(iq)
        return answer.xml.find("{jabber:iq:private}query")

    bookmarks = ET.fromstring(
        "<storage xmlns='storage:bookmarks'><conference jid='a@b' name='x &amp; y'><nick>é</nick></conference></storage>"
    )
    empty = ET.fromstring("<storage xmlns='storage:bookmarks'/>")
    assert len((await private(romeo, "get", empty))[0]) == 0
    await private(romeo, "set", bookmarks)
    garden = await connect(server, "romeo", "secret", resource="garden")
    stored = (await private(garden, "get", empty))[0]
    assert ET.tostring(stored) == ET.tostring(bookmarks)
    assert len((await private(juliet, "get", empty))[0]) == 0


@pytest.mark.portable
async def test_blocking(start_server, connect):
    server, romeo, juliet = await two(start_server, connect)
    garden = await connect(server, "romeo", "secret", resource="garden")
    pushed = asyncio.Queue()
    for client in (romeo, garden):
        client.register_plugin("xep_0191")
        blocked = await client.plugin["xep_0191"].get_blocked(timeout=STANZA_SECONDS)
        assert addresses(blocked["blocklist"]) == []
    garden.add_event_handler("blocked", pushed.put_nowait)
    garden.add_event_handler("unblocked", pushed.put_nowait)
    plugin = romeo.plugin["xep_0191"]
    await plugin.block(f"juliet@{DOMAIN}", timeout=STANZA_SECONDS)
    push = await asyncio.wait_for(pushed.get(), STANZA_SECONDS)
    assert addresses(push["block"]) == [f"juliet@{DOMAIN}"]
    juliet.say(romeo.boundjid, "let me in")
    refused = await juliet.next_message()
    assert refused["type"] == "error" and refused["error"]["condition"] == "service-unavailable"
    romeo.say(juliet.boundjid, "no")
    refused = await romeo.next_message()
    assert refused["error"]["condition"] == "not-acceptable"
    assert refused["error"].xml.find("{urn:xmpp:blocking:errors}blocked") is not None
    blocked = await plugin.get_blocked(timeout=STANZA_SECONDS)
    assert addresses(blocked["blocklist"]) == [f"juliet@{DOMAIN}"]
    await plugin.unblock(f"juliet@{DOMAIN}", timeout=STANZA_SECONDS)
    await asyncio.wait_for(pushed.get(), STANZA_SECONDS)
    juliet.say(romeo.boundjid, "and now?")
    assert (await romeo.next_message())["body"] == "and now?"


async def test_a_block_list_outlives_the_server(start_server, connect):
    server, romeo, juliet = await two(start_server, connect)
    romeo.register_plugin("xep_0191")
    await romeo.plugin["xep_0191"].block(f"juliet@{DOMAIN}", timeout=STANZA_SECONDS)
    await romeo.logout()
    again = await connect(server, "romeo", "secret", resource="orchard")
    juliet.say(again.boundjid, "let me in")
    refused = await juliet.next_message()
    assert refused["error"]["condition"] == "service-unavailable"


@pytest.mark.portable
async def test_carbons(start_server, connect):
    server, romeo, juliet = await two(start_server, connect)
    garden = await connect(server, "romeo", "secret", resource="garden")
    garden.register_plugin("xep_0280")
    await garden.plugin["xep_0280"].enable(timeout=STANZA_SECONDS)
    copies = asyncio.Queue()
    garden.add_event_handler("carbon_received", lambda m: copies.put_nowait(("received", m["carbon_received"])))
    garden.add_event_handler("carbon_sent", lambda m: copies.put_nowait(("sent", m["carbon_sent"])))
    juliet.say(romeo.boundjid, "Wherefore & <why>?")
    assert (await romeo.next_message())["body"] == "Wherefore & <why>?"
    kind, copy = await asyncio.wait_for(copies.get(), STANZA_SECONDS)
    assert (kind, copy["body"], copy["from"]) == ("received", "Wherefore & <why>?", juliet.boundjid)
    romeo.say(juliet.boundjid, "Neither")
    assert (await juliet.next_message())["body"] == "Neither"
    kind, copy = await asyncio.wait_for(copies.get(), STANZA_SECONDS)
    assert (kind, copy["body"], copy["to"]) == ("sent", "Neither", juliet.boundjid)
    await garden.plugin["xep_0280"].disable(timeout=STANZA_SECONDS)
    juliet.say(romeo.boundjid, "alone")
    assert (await romeo.next_message())["body"] == "alone"
    # What is sent now comes behind a copy, had there been one.
    juliet.say(garden.boundjid, "end")
    while (await garden.next_message())["body"] != "end":
        pass
    assert copies.empty()


async def test_what_is_announced(start_server, connect):
    _, romeo, _ = await two(start_server, connect)
    for plugin in ("xep_0012", "xep_0030", "xep_0115"):
        romeo.register_plugin(plugin)
    disco = romeo.plugin["xep_0030"]
    info = (await disco.get_info(jid=DOMAIN, timeout=STANZA_SECONDS))["disco_info"]
    announced = {
        "http://jabber.org/protocol/caps",
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "jabber:iq:last",
        "jabber:iq:version",
        "urn:xmpp:ping",
        "urn:xmpp:time",
        "urn:xmpp:blocking",
        "urn:xmpp:carbons:2",
        "vcard-temp",
    }
    assert announced <= info["features"]
    # The hash of what it announces is what slixmpp computes of it (XEP-0115 section 5).
    caps = romeo.plugin["xep_0115"]
    ver = caps.generate_verstring(info, "sha-1")
    named = await disco.get_info(jid=DOMAIN, node=f"https://meerkat.example#{ver}", timeout=STANZA_SECONDS)
    assert named["disco_info"]["features"] == info["features"]
    own = (await disco.get_info(jid=romeo.boundjid.bare, timeout=STANZA_SECONDS))["disco_info"]
    assert ("account", "registered") in {identity[:2] for identity in own["identities"]}
    uptime = await romeo.plugin["xep_0012"].get_last_activity(jid=JID(DOMAIN), timeout=STANZA_SECONDS)
    assert 0 <= uptime["last_activity"]["seconds"] < 600


async def test_modules_that_are_off(start_server, connect):
    _, romeo, _ = await two(start_server, connect, sections={"modules.mod_ping": {}, "modules.mod_presence": {}})
    romeo.register_plugin("xep_0054")
    romeo.register_plugin("xep_0280")
    with pytest.raises(IqError) as off:
        await romeo.plugin["xep_0054"].get_vcard(romeo.boundjid.bare, timeout=STANZA_SECONDS)
    assert condition(off) == "service-unavailable"
    with pytest.raises(IqError) as off:
        await romeo.plugin["xep_0280"].enable(timeout=STANZA_SECONDS)
    assert condition(off) == "service-unavailable"


async def test_a_block_list_has_a_limit(start_server, connect):
    _, romeo, _ = await two(start_server, connect)
    romeo.register_plugin("xep_0191")
    plugin = romeo.plugin["xep_0191"]
    await plugin.block({JID(f"n{number}@elsewhere.example") for number in range(999)}, timeout=STANZA_SECONDS)
    # Two more would be one too many: neither is blocked.
    with pytest.raises(IqError) as full:
        await plugin.block({JID("a@elsewhere.example"), JID("b@elsewhere.example")}, timeout=STANZA_SECONDS)
    assert condition(full) == "not-acceptable"
    blocked = await plugin.get_blocked(timeout=STANZA_SECONDS)
    assert len(addresses(blocked["blocklist"])) == 999
    # One that is there already takes no room.
    await plugin.block({JID("n7@elsewhere.example"), JID("a@elsewhere.example")}, timeout=STANZA_SECONDS)
    blocked = await plugin.get_blocked(timeout=STANZA_SECONDS)
    assert len(addresses(blocked["blocklist"])) == 1000



def test_every_push_has_an_id_of_its_own(start_server, closing):
    """Or the answer to one could not be told from that to another."""
    server = start_server(listeners=[Listener()], accounts=ACCOUNTS)
    wire = closing(Wire(server.listeners[0].address))
    wire.login("romeo", "secret")
    blocks = "".join(
        f"<iq type='set' id='{n}'><block xmlns='urn:xmpp:blocking'><item jid='{n}@x.example'/></block></iq>"
        for n in range(3)
    )
    wire.send(f"<iq type='get' id='list'><blocklist xmlns='urn:xmpp:blocking'/></iq>{blocks}")
    text = wire.until_match("(?s)(?:.*?</block>){3}")
    pushes = re.findall(r"<iq type='set' to='[^']*' id='([^']*)'", text)
    assert len(set(pushes)) == 3, pushes
