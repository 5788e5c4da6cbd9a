"""Contacts with slixmpp: add each other, see who comes and goes, find what was said meanwhile."""

from harness.meerkat import DOMAIN

ACCOUNTS = {"romeo": "secret", "juliet": "secret"}


async def befriend(one, other):
    """`one` asks, `other` grants."""
    one.send_presence_subscription(pto=other.boundjid.bare, ptype="subscribe")
    request = await other.presence_of("subscribe")
    assert request["from"] == one.boundjid.bare
    other.send_presence_subscription(pto=one.boundjid.bare, ptype="subscribed")
    await one.presence_of("subscribed")


async def items(client):
    roster = await client.get_roster()
    return {
        str(jid): (item["subscription"], item["name"], tuple(item["groups"]))
        for jid, item in roster["roster"]["items"].items()
    }


async def test_friends_see_each_other_and_find_what_was_said(start_server, connect):
    server = start_server(accounts=ACCOUNTS)
    romeo = await connect(server, "romeo", "secret")
    juliet = await connect(server, "juliet", "secret")
    await items(romeo)
    await items(juliet)
    await befriend(romeo, juliet)
    await befriend(juliet, romeo)
    await romeo.update_roster(f"juliet@{DOMAIN}", name="Juliet", groups=["Capulet", "Balcony"])
    there = (await items(romeo))[f"juliet@{DOMAIN}"]
    assert there[:2] == ("both", "Juliet") and set(there[2]) == {"Capulet", "Balcony"}
    await juliet.logout()
    gone = await romeo.presence_of("unavailable")
    assert gone["from"].bare == f"juliet@{DOMAIN}"
    for number in range(5):
        romeo.say(f"juliet@{DOMAIN}", f"line {number}")
    # What was sent before is with the store when a change of the roster is answered by it.
    await romeo.update_roster(f"nurse@{DOMAIN}", name="Nurse")
    juliet = await connect(server, "juliet", "secret")
    for number in range(5):
        message = await juliet.next_message()
        assert message["body"] == f"line {number}"
        assert message.xml.find("{urn:xmpp:delay}delay") is not None
    assert (await items(juliet))[f"romeo@{DOMAIN}"][0] == "both"
    while (await romeo.next_presence())["from"] != juliet.boundjid:
        pass
    assert (await romeo.del_roster_item(f"juliet@{DOMAIN}"))["type"] == "result"
    await juliet.presence_of("unsubscribed")
    assert f"juliet@{DOMAIN}" not in await items(romeo)
