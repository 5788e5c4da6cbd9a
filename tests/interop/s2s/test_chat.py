"""Messages, questions, presence and rooms between meerkat and other servers."""

import pytest
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
