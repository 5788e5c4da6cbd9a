"""Subscriptions and presence between users of meerkat and of other servers: RFC 6121, sections 3 and 4."""

import pytest

from harness.federation import FAR, NEAR

ROMEO, JULIET = f"romeo@{NEAR}", f"juliet@{FAR}"
SECONDS = 6
# Questions until a state is there: some seconds of them.
ROUND_TRIPS = 500
PEERS = [("prosody", "dialback"), ("ejabberd", "certificate")]


async def sees(client, sender, kind, status=""):
    """Waits for the presence of that account or client, type and status; what else comes is kept for others who wait."""

    def is_it(presence):
        sent_by = presence["from"]
        return sender in (sent_by.bare, sent_by.full) and (presence["type"], presence["status"]) == (kind, status)

    others = []
    while not is_it(presence := await client.next_presence(SECONDS)):
        others.append(presence)
    for other in others:
        client.presences.put_nowait(other)
    return presence


async def enter(connect, server, user, **options):
    """A client that has asked for the roster: only those hear of what becomes of subscriptions."""
    client = await connect(server, user, "secret", **options)
    await client.get_roster()
    return client


async def state(client, contact):
    """The subscription as the client knows it, from the roster and what was pushed since."""
    # The answer is behind all pushes; with a version it may say no more than that nothing has changed.
    await client.get_roster()
    return client.client_roster[contact]["subscription"]


async def becomes(client, contact, wanted):
    """Waits for the state: a server may learn it a moment after another's client."""
    for _ in range(ROUND_TRIPS):
        now = await state(client, contact)
        if now == wanted:
            return
    assert now == wanted


async def subscribe(asking, asked):
    """One user asks, the other agrees."""
    asking.send_presence(pto=asked.boundjid.bare, ptype="subscribe")
    request = await sees(asked, asking.boundjid.bare, "subscribe")
    # A request is from an account, whichever of its clients it was made with (RFC 6121 3.1.2).
    assert request["from"].resource == ""
    asked.send_presence(pto=asking.boundjid.bare, ptype="subscribed")
    await sees(asking, asked.boundjid.bare, "subscribed")
    await sees(asking, asked.boundjid.full, "available")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("kind", "proof"), PEERS)
async def test_from_the_first_request_to_the_last(federation, connect, kind, proof):
    near, far = federation(kind, proof)
    romeo, juliet = await enter(connect, near, "romeo"), await enter(connect, far, "juliet")
    await subscribe(romeo, juliet)
    await becomes(romeo, JULIET, "to")
    await becomes(juliet, ROMEO, "from")
    await subscribe(juliet, romeo)
    await becomes(romeo, JULIET, "both")
    await becomes(juliet, ROMEO, "both")
    # What one does the other sees.
    juliet.send_presence(pstatus="on the balcony", pshow="away")
    await sees(romeo, juliet.boundjid.full, "away", "on the balcony")
    romeo.send_presence(pstatus="below")
    await sees(juliet, ROMEO, "available", "below")
    # Who comes anew sees who is here (a probe, answered) and is seen.
    second = await enter(connect, near, "romeo", resource="second")
    await sees(second, JULIET, "away", "on the balcony")
    await sees(juliet, second.boundjid.full, "available")
    await second.logout()
    await sees(juliet, second.boundjid.full, "unavailable")
    second = await enter(connect, far, "juliet", resource="second")
    await sees(second, ROMEO, "available", "below")
    await sees(romeo, second.boundjid.full, "available")
    await second.logout()
    await sees(romeo, second.boundjid.full, "unavailable")
    # One stops, then the other is stopped.
    juliet.send_presence(pto=ROMEO, ptype="unsubscribe")
    await sees(romeo, JULIET, "unsubscribe")
    # RFC 6121 3.3.3: our side says that its user is gone for her; not every other server does.
    await sees(juliet, romeo.boundjid.full, "unavailable")
    await becomes(juliet, ROMEO, "from")
    await becomes(romeo, JULIET, "to")
    juliet.send_presence(pto=ROMEO, ptype="unsubscribed")
    await sees(romeo, JULIET, "unsubscribed")
    await becomes(juliet, ROMEO, "none")
    await becomes(romeo, JULIET, "none")
    # And from there on neither hears of the other.
    romeo.send_presence(pstatus="unseen")
    juliet.send_presence(pstatus="unseen")
    romeo.say(juliet.boundjid.full, "last")
    assert (await juliet.next_message(SECONDS))["body"] == "last"
    juliet.say(romeo.boundjid.full, "last")
    assert (await romeo.next_message(SECONDS))["body"] == "last"
    for client, other in ((romeo, JULIET), (juliet, ROMEO)):
        heard = [client.presences.get_nowait() for _ in range(client.presences.qsize())]
        assert [presence for presence in heard if presence["from"].bare == other and presence["status"] == "unseen"] == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("kind", "proof"), PEERS)
async def test_our_user_unsubscribes(federation, connect, kind, proof):
    """That her clients are gone for him is for her server to say (RFC 6121 3.3.3), and Prosody does not;
    either way he does not hear of what she does afterwards."""
    near, far = federation(kind, proof)
    romeo, juliet = await enter(connect, near, "romeo"), await enter(connect, far, "juliet")
    await subscribe(romeo, juliet)
    await becomes(juliet, ROMEO, "from")
    romeo.send_presence(pto=JULIET, ptype="unsubscribe")
    await sees(juliet, ROMEO, "unsubscribe")
    if kind == "ejabberd":
        await sees(romeo, juliet.boundjid.full, "unavailable")
    await becomes(romeo, JULIET, "none")
    await becomes(juliet, ROMEO, "none")
    juliet.send_presence(pstatus="unseen")
    juliet.say(romeo.boundjid.full, "last")
    assert (await romeo.next_message(SECONDS))["body"] == "last"
    heard = [romeo.presences.get_nowait() for _ in range(romeo.presences.qsize())]
    assert [presence for presence in heard if presence["status"] == "unseen"] == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("kind", "proof"), PEERS)
async def test_who_is_asked_while_away_and_says_no(federation, connect, kind, proof):
    near, far = federation(kind, proof)
    juliet = await enter(connect, far, "juliet")
    juliet.send_presence(pto=ROMEO, ptype="subscribe")
    # The state in which the request is kept: asked for, and nothing else.
    await becomes(juliet, ROMEO, "none")
    juliet.say(ROMEO, "behind the request")
    romeo = await enter(connect, near, "romeo")
    await sees(romeo, JULIET, "subscribe")
    romeo.send_presence(pto=JULIET, ptype="unsubscribed")
    await sees(juliet, ROMEO, "unsubscribed")
    await becomes(juliet, ROMEO, "none")
    # Removing a contact ends both directions.
    await subscribe(romeo, juliet)
    await subscribe(juliet, romeo)
    await becomes(romeo, JULIET, "both")
    await becomes(juliet, ROMEO, "both")
    await romeo.update_roster(JULIET, subscription="remove")
    await sees(juliet, ROMEO, "unsubscribe")
    await sees(juliet, ROMEO, "unsubscribed")
    await becomes(juliet, ROMEO, "none")
    await becomes(romeo, JULIET, "none")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("kind", "proof"), PEERS)
async def test_whoever_comes_back_is_seen_again(federation, connect, kind, proof):
    """Sessions that end, and servers that end with theirs."""
    near, far = federation(kind, proof)
    romeo, juliet = await enter(connect, near, "romeo"), await enter(connect, far, "juliet")
    await subscribe(romeo, juliet)
    await subscribe(juliet, romeo)
    await becomes(romeo, JULIET, "both")
    await becomes(juliet, ROMEO, "both")
    await juliet.logout()
    await sees(romeo, JULIET, "unavailable")
    juliet = await enter(connect, far, "juliet")
    await sees(romeo, JULIET, "available")
    await sees(juliet, ROMEO, "available")
    assert near.terminate() == 0
    await sees(juliet, ROMEO, "unavailable")
    near.serve()
    romeo = await enter(connect, near, "romeo")
    await sees(romeo, JULIET, "available")
    await sees(juliet, ROMEO, "available")
