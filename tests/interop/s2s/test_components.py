"""Components of meerkat and users, servers and components of another server, through streams between servers."""

import asyncio

import pytest

from harness.component import Component, Echo
from harness.federation import FAR, NEAR, SECRET

ECHO, BOT = f"echo.{NEAR}", f"bot.{FAR}"
PEERS = [("prosody", "dialback"), ("prosody", "certificate"), ("ejabberd", "dialback")]
SECONDS = 20


async def next_presence(client, sender, seconds=SECONDS):
    """The next presence of that address."""
    while (presence := await client.next_presence(seconds))["from"].bare != sender:
        pass
    return presence


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "proof"), PEERS)
async def test_a_component_and_a_user_of_another_server(federation, connect, kind, proof):
    near, far = federation(kind, proof, components={})
    echo = await Echo(near, ECHO, SECRET).begin()
    juliet = await connect(far, "juliet", "secret")
    juliet.register_plugin("xep_0030")
    juliet.register_plugin("xep_0199")
    # Messages there and back, in order, from whatever address of the component they were for.
    for number in range(50):
        juliet.say(f"bot{number % 3}@{ECHO}/x", str(number))
    answers = [await juliet.next_message(SECONDS) for _ in range(50)]
    assert [answer["body"] for answer in answers] == [str(number) for number in range(50)]
    assert {answer["from"].full for answer in answers} == {f"bot{number}@{ECHO}/x" for number in range(3)}
    # The component speaks first, and asks and is asked.
    echo.send_message(mto=juliet.boundjid.full, mfrom=f"bot@{ECHO}", mbody="first", mtype="chat")
    assert (await juliet.next_message(SECONDS))["body"] == "first"
    assert await juliet.plugin["xep_0199"].ping(ECHO, timeout=SECONDS) < SECONDS
    assert await echo.plugin["xep_0199"].ping(juliet.boundjid.full, ifrom=ECHO, timeout=SECONDS) < SECONDS
    info = await juliet.plugin["xep_0030"].get_info(jid=ECHO, timeout=SECONDS)
    assert "urn:xmpp:ping" in info["disco_info"]["features"]
    info = await echo.plugin["xep_0030"].get_info(jid=FAR, ifrom=ECHO, timeout=SECONDS)
    assert "http://jabber.org/protocol/disco#info" in info["disco_info"]["features"]
    # Presence, as a gateway sends it, and as a user sends it to one.
    echo.send_presence(pto=juliet.boundjid.full, pfrom=f"bot@{ECHO}/x", pstatus="at work")
    assert (await next_presence(juliet, f"bot@{ECHO}"))["status"] == "at work"
    seen = asyncio.get_running_loop().create_future()
    echo.add_event_handler("presence_available", lambda p: seen.done() or seen.set_result(p["from"].full))
    juliet.send_presence(pto=f"bot@{ECHO}")
    assert await asyncio.wait_for(seen, SECONDS) == juliet.boundjid.full
    echo.send_presence(pto=juliet.boundjid.full, pfrom=f"bot@{ECHO}/x", ptype="unavailable")
    assert (await next_presence(juliet, f"bot@{ECHO}"))["type"] == "unavailable"
    # It goes in the middle of the conversation: that is said, and then it is there again.
    await echo.stop()
    juliet.say(f"bot@{ECHO}", "gone?")
    error = await juliet.next_message(SECONDS)
    assert (error["type"], error["from"].full) == ("error", f"bot@{ECHO}")
    assert error["error"]["condition"] in ("service-unavailable", "remote-server-not-found")
    again = await Echo(near, ECHO, SECRET).begin()
    juliet.say(f"bot@{ECHO}", "back?")
    answer = await juliet.next_message(SECONDS)
    assert (answer["type"], answer["body"]) == ("chat", "back?")
    await again.stop()


@pytest.mark.timeout(60)
async def test_components_of_two_servers(federation):
    near, far = federation("prosody", "dialback", components={})
    ours, theirs = Component(near, ECHO, SECRET), Component(far, BOT, SECRET)
    await asyncio.gather(ours.begin(), theirs.begin())
    for number in range(20):
        ours.send_message(mto=f"x@{BOT}", mfrom=f"y@{ECHO}", mbody=str(number), mtype="chat")
        theirs.send_message(mto=f"y@{ECHO}", mfrom=f"x@{BOT}", mbody=str(number), mtype="chat")
    for component, sender in ((theirs, f"y@{ECHO}"), (ours, f"x@{BOT}")):
        messages = [await component.next_message(SECONDS) for _ in range(20)]
        assert [message["body"] for message in messages] == [str(number) for number in range(20)]
        assert {message["from"].full for message in messages} == {sender}
    await asyncio.gather(ours.stop(), theirs.stop())


@pytest.mark.timeout(60)
async def test_who_may_send_to_a_component(federation, connect):
    """`access` holds for users of other servers, by their domain."""
    near, far = federation(
        "prosody", "dialback", components={"access": "friends"},
        rules=f"[acl]\nfar = [{{server = '{FAR}', user = 'juliet'}}]\n"
        "[access]\nfriends = [{acl = 'far', value = 'allow'}]\n",
    )
    echo = await Echo(near, ECHO, SECRET).begin()
    juliet, romeo = await connect(far, "juliet", "secret"), await connect(far, "romeo", "secret")
    juliet.say(f"bot@{ECHO}", "a friend")
    answer = await juliet.next_message(SECONDS)
    assert (answer["type"], answer["body"]) == ("chat", "a friend")
    romeo.say(f"bot@{ECHO}", "a stranger")
    error = await romeo.next_message(SECONDS)
    assert error["type"] == "error"
    await echo.stop()


@pytest.mark.timeout(60)
async def test_a_component_that_says_it_is_another(federation, connect):
    """`check_from`: nothing of it reaches the other server, and its stream ends."""
    near, far = federation("prosody", "dialback", components={})
    echo = await Component(near, ECHO, SECRET).begin()
    juliet = await connect(far, "juliet", "secret")
    echo.send_message(mto=juliet.boundjid.full, mfrom=f"bot@{ECHO}", mbody="mine", mtype="chat")
    echo.send_message(mto=juliet.boundjid.full, mfrom=f"romeo@{NEAR}", mbody="not mine", mtype="chat")
    await asyncio.wait_for(echo.ended, SECONDS)
    assert echo.stream_errors == ["invalid-from"]
    romeo = await connect(near, "romeo", "secret")
    romeo.say(juliet.boundjid.full, "his own")
    assert {(await juliet.next_message(SECONDS))["body"] for _ in range(2)} == {"mine", "his own"}
