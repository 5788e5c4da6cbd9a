"""Messages, questions, presence and rooms between meerkat and other servers."""

import pytest
from harness.dns import SRV
from harness.federation import FAR, NEAR

PEERS = [("prosody", "dialback"), ("prosody", "certificate"), ("ejabberd", "dialback"), ("ejabberd", "certificate")]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "proof"), PEERS)
async def test_messages_both_ways(federation, connect, kind, proof):
    near, far = federation(kind, proof)
    romeo = await connect(near, "romeo", "secret")
    juliet = await connect(far, "juliet", "secret")
    romeo.say(juliet.boundjid.full, "But soft!")
    message = await juliet.next_message(20)
    assert (message["from"].full, message["body"]) == (romeo.boundjid.full, "But soft!")
    juliet.say(romeo.boundjid.full, "Ay me!")
    message = await romeo.next_message(20)
    assert (message["from"].full, message["body"]) == (juliet.boundjid.full, "Ay me!")
    streams = near.streams()
    proofs = {(stream["outgoing"], stream["proof"]) for stream in streams if stream["state"] == "ready"}
    assert proofs == {(True, proof), (False, proof)}, streams
    assert {(stream["local"], stream["remote"]) for stream in streams} == {(NEAR, FAR)}
    assert all(stream["tls"].startswith("tlsv1.") for stream in streams)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "proof"), PEERS)
async def test_questions_presence_and_rooms(federation, connect, kind, proof):
    near, far = federation(kind, proof)
    romeo = await connect(near, "romeo", "secret")
    juliet = await connect(far, "juliet", "secret")
    for plugin in ("xep_0030", "xep_0045", "xep_0092", "xep_0199"):
        romeo.register_plugin(plugin)
        juliet.register_plugin(plugin)
    # Questions to the other server and to its user, and the same the other way.
    info = await romeo["xep_0030"].get_info(jid=FAR, timeout=20)
    assert "http://jabber.org/protocol/disco#info" in info["disco_info"]["features"]
    info = await juliet["xep_0030"].get_info(jid=NEAR, timeout=20)
    assert "urn:xmpp:ping" in info["disco_info"]["features"]
    version = await juliet["xep_0092"].get_version(NEAR, timeout=20)
    assert "meerkat" in version["software_version"]["name"].lower()
    assert await romeo["xep_0199"].ping(juliet.boundjid.full, timeout=20) < 20
    assert await juliet["xep_0199"].ping(romeo.boundjid.full, timeout=20) < 20
    # Directed presence, and the end of it when the session ends.
    romeo.send_presence(pto=juliet.boundjid.full, pstatus="here")
    presence = await juliet.next_presence(20)
    while presence["from"] != romeo.boundjid:
        presence = await juliet.next_presence(20)
    assert presence["status"] == "here"
    # A room of the other server.
    room = f"verona@rooms.{FAR}"
    await juliet["xep_0045"].join_muc_wait(room, "juliet", timeout=20)
    await juliet["xep_0045"].set_room_config(room, config=instant(juliet, room))
    await romeo["xep_0045"].join_muc_wait(room, "romeo", timeout=20)
    romeo.say(room, "to all", kind="groupchat")
    heard = await juliet.next_message(20)
    while heard["body"] != "to all":
        heard = await juliet.next_message(20)
    assert heard["from"].full == f"{room}/romeo"
    await romeo.logout()
    gone = set()
    while gone != {romeo.boundjid.full, f"{room}/romeo"}:
        presence = await juliet.next_presence(20)
        if presence["type"] == "unavailable":
            gone.add(presence["from"].full)


def instant(client, room):
    """The configuration form of a room that is open at once."""
    form = client["xep_0004"].make_form(ftype="submit")
    return form


@pytest.mark.timeout(60)
async def test_nobody_who_is_denied(federation, connect):
    near, far = federation("prosody", "dialback", policy="deny")
    romeo = await connect(near, "romeo", "secret")
    juliet = await connect(far, "juliet", "secret")
    romeo.say(juliet.boundjid.full, "But soft!")
    error = await romeo.next_message(20)
    assert (error["type"], error["error"]["condition"]) == ("error", "remote-server-not-found")
    juliet.say(romeo.boundjid.full, "Ay me!")
    error = await juliet.next_message(30)
    assert error["type"] == "error"
    assert near.streams() == []


@pytest.mark.timeout(60)
async def test_one_who_is_allowed(federation, connect):
    near, far = federation("prosody", "dialback", policy="deny", friends=[FAR])
    romeo = await connect(near, "romeo", "secret")
    juliet = await connect(far, "juliet", "secret")
    romeo.say(juliet.boundjid.full, "But soft!")
    assert (await juliet.next_message(20))["body"] == "But soft!"
    juliet.say(romeo.boundjid.full, "Ay me!")
    assert (await romeo.next_message(20))["body"] == "Ay me!"
    # A domain that nobody knows, and one that is not allowed.
    for domain in ("nowhere.interop", "rooms.far.interop"):
        romeo.say(f"x@{domain}", "?")
        error = await romeo.next_message(20)
        assert (error["from"].domain, error["error"]["condition"]) == (domain, "remote-server-not-found")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "proof"), PEERS)
async def test_the_other_server_is_started_again(federation, connect, kind, proof):
    near, far = federation(kind, proof)
    romeo = await connect(near, "romeo", "secret")
    juliet = await connect(far, "juliet", "secret")
    romeo.say(juliet.boundjid.full, "before")
    assert (await juliet.next_message(20))["body"] == "before"
    far.kill()
    romeo.say(f"juliet@{FAR}", "meanwhile")
    error = await romeo.next_message(20)
    assert (error["type"], error["error"]["condition"]) == ("error", "remote-server-timeout")
    far.serve()
    again = await connect(far, "juliet", "secret")
    # The first pause is a second; a server that comes to us ends it at once.
    again.say(romeo.boundjid.full, "here again")
    assert (await romeo.next_message(20))["body"] == "here again"
    romeo.say(again.boundjid.full, "after")
    assert (await again.next_message(20))["body"] == "after"


@pytest.mark.timeout(120)
async def test_meerkat_is_started_again(federation, connect):
    near, far = federation("prosody", "certificate")
    romeo = await connect(near, "romeo", "secret")
    juliet = await connect(far, "juliet", "secret")
    juliet.say(romeo.boundjid.full, "before")
    assert (await romeo.next_message(20))["body"] == "before"
    assert near.terminate() == 0
    near.serve()
    again = await connect(near, "romeo", "secret")
    juliet.say(again.boundjid.full, "after")
    assert (await again.next_message(20))["body"] == "after"
    again.say(juliet.boundjid.full, "and back")
    assert (await juliet.next_message(20))["body"] == "and back"


@pytest.mark.timeout(60)
async def test_an_idle_stream_is_closed_and_opened_again(federation, connect):
    near, far = federation("prosody", "certificate", s2s={"outgoing.stream_timeout": 1000})
    romeo = await connect(near, "romeo", "secret")
    juliet = await connect(far, "juliet", "secret")
    romeo.say(juliet.boundjid.full, "one")
    assert (await juliet.next_message(20))["body"] == "one"
    near.awaits_streams(0)
    romeo.say(juliet.boundjid.full, "two")
    assert (await juliet.next_message(20))["body"] == "two"
    # The second time its place was known, as long as the name server had said.
    assert far.dns.asked.count((f"_xmpp-server._tcp.{FAR}", SRV)) == 1


@pytest.mark.timeout(120)
async def test_direct_tls(federation, connect):
    near, far = federation("prosody", "certificate", direct=True)
    romeo = await connect(near, "romeo", "secret")
    juliet = await connect(far, "juliet", "secret")
    juliet.say(romeo.boundjid.full, "in TLS from the first byte")
    assert (await romeo.next_message(20))["body"] == "in TLS from the first byte"
    romeo.say(juliet.boundjid.full, "both ways")
    assert (await juliet.next_message(20))["body"] == "both ways"
    assert near.status()["listeners"][2]["accepted"] == 1
    peers = {stream["peer"] for stream in near.streams() if stream["outgoing"]}
    assert peers == {f"{far.address}:{far.direct}"}
