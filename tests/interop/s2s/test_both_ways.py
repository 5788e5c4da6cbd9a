"""XEP-0288 with Prosody's mod_s2s_bidi: one stream carries both directions, whoever has opened it."""

import asyncio
import time

import pytest

from harness.federation import FAR, NEAR

SECONDS = 20
STANZAS = 300
# Bytes a second.
RATE = 20_000
# Larger than any answer of a negotiation.
MUCH = 200_000


async def converse(romeo, juliet):
    """Both write at once, and each pings the other's server."""
    for number in range(STANZAS):
        juliet.say(romeo.boundjid.full, str(number))
        romeo.say(juliet.boundjid.full, str(number))
    for client in (romeo, juliet):
        bodies = [(await client.next_message(SECONDS))["body"] for _ in range(STANZAS)]
        assert bodies == [str(number) for number in range(STANZAS)]
    for client, other in ((romeo, FAR), (juliet, NEAR)):
        client.register_plugin("xep_0199")
        assert await client.plugin["xep_0199"].ping(other, timeout=SECONDS) < SECONDS


async def sends_much(sender, recipient):
    sender.say(recipient.boundjid.full, "x" * MUCH)
    assert len((await recipient.next_message(SECONDS))["body"]) == MUCH


async def one_stream(near, accepted):
    """It goes both ways; it is the other's where one was accepted."""
    streams = await asyncio.to_thread(near.streams)
    assert len({stream["peer"] for stream in streams}) == 1, streams
    ready = {(stream["outgoing"], stream["proof"], stream["state"]) for stream in streams}
    assert ready == {(True, "certificate", "ready"), (False, "certificate", "ready")}
    assert (await asyncio.to_thread(near.status))["listeners"][1]["accepted"] == accepted


async def comes_back(far, romeo, connect):
    """The far server dies and serves again; juliet's new client."""
    far.kill()
    romeo.say(f"juliet@{FAR}", "meanwhile")
    assert (await romeo.next_message(SECONDS))["type"] == "error"
    far.serve()
    juliet = await connect(far, "juliet", "secret")
    juliet.say(romeo.boundjid.full, "again")
    assert (await romeo.next_message(SECONDS))["body"] == "again"
    return juliet


@pytest.mark.timeout(60)
async def test_one_stream_carries_both_directions(federation, connect):
    near, far = federation("prosody", "certificate", modules=["s2s_bidi"])
    romeo, juliet = await connect(near, "romeo", "secret"), await connect(far, "juliet", "secret")
    romeo.say(juliet.boundjid.full, "first")
    assert (await juliet.next_message(SECONDS))["body"] == "first"
    await converse(romeo, juliet)
    await sends_much(juliet, romeo)
    await one_stream(near, accepted=0)
    # It ends with its peer, and the next conversation has another.
    await comes_back(far, romeo, connect)


@pytest.mark.timeout(60)
async def test_the_stream_of_the_other_carries_both_directions(federation, connect):
    """Prosody opens it; a name server that knows nothing of Prosody shows that no other is needed."""
    near, far = federation("prosody", "certificate", modules=["s2s_bidi"])
    far.dns.forget(FAR)
    romeo, juliet = await connect(near, "romeo", "secret"), await connect(far, "juliet", "secret")
    romeo.say(f"juliet@{FAR}", "too early")
    assert (await romeo.next_message(SECONDS))["error"]["condition"] == "remote-server-not-found"
    juliet.say(romeo.boundjid.full, "first")
    assert (await romeo.next_message(SECONDS))["body"] == "first"
    await converse(romeo, juliet)
    await sends_much(romeo, juliet)
    await one_stream(near, accepted=1)
    # It ends with its peer, what is written meanwhile comes back, and the next one is as good.
    juliet = await comes_back(far, romeo, connect)
    romeo.say(juliet.boundjid.full, "and again")
    assert (await juliet.next_message(SECONDS))["body"] == "and again"


@pytest.mark.timeout(60)
async def test_without_a_good_certificate_there_are_two_streams(federation, connect):
    near, far = federation("prosody", "dialback", modules=["s2s_bidi"])
    romeo, juliet = await connect(near, "romeo", "secret"), await connect(far, "juliet", "secret")
    romeo.say(juliet.boundjid.full, "But soft!")
    assert (await juliet.next_message(SECONDS))["body"] == "But soft!"
    juliet.say(romeo.boundjid.full, "Ay me!")
    assert (await romeo.next_message(SECONDS))["body"] == "Ay me!"
    streams = await asyncio.to_thread(near.streams)
    assert len({stream["peer"] for stream in streams}) == 2, streams
    assert {(stream["outgoing"], stream["proof"]) for stream in streams} == {(True, "dialback"), (False, "dialback")}


@pytest.mark.timeout(60)
async def test_what_comes_back_is_paced(federation, connect):
    """`outgoing.shaper`: so many bytes a second are read of what the peer sends on our stream."""
    near, far = federation(
        "prosody", "certificate", modules=["s2s_bidi"], s2s={"outgoing.shaper": "slow"},
        rules=f"[shaper.slow]\nmax_rate = {RATE}\n",
    )
    romeo, juliet = await connect(near, "romeo", "secret"), await connect(far, "juliet", "secret")
    romeo.say(juliet.boundjid.full, "first")
    await juliet.next_message(SECONDS)
    began = time.monotonic()
    for _ in range(4):
        juliet.say(romeo.boundjid.full, "x" * RATE)
    for _ in range(4):
        await romeo.next_message(SECONDS)
    # The first second's worth is there at once.
    assert time.monotonic() - began > 2
