"""The ways to another server change, and no stanza overtakes another: a server played stream by stream (XEP-0288)."""

import pytest

from harness import ports
from harness.federation import FAR, NEAR
from harness.played import AUTH, BIDI, END, SAME, Writer


@pytest.mark.timeout(60)
def test_a_new_way_is_used_when_the_old_one_is_gone(servers, closing):
    near, far = servers
    romeo = closing(Writer(near, FAR))
    first = romeo.writes()
    ours = far.accept()
    assert ours.bodies(SAME) == first
    # The stream that there is stays in use.
    theirs = far.both_ways((ports.LOOPBACK, near.s2s), heard=ours)
    assert romeo.writes() == ours.bodies(SAME)
    assert not theirs.says_something()
    # It is over, and its connection is not: what it carried may not be read yet.
    ours.send(END)
    ours.until(END)
    waiting = romeo.writes() + romeo.writes()
    assert not theirs.says_something()
    assert not far.is_called()
    ours.close()
    assert theirs.bodies(2 * SAME) == waiting
    assert romeo.writes() == theirs.bodies(SAME)
    assert not far.is_called()
    # The same the other way round.
    theirs.send(END)
    theirs.until(END)
    waiting = romeo.writes()
    assert not far.is_called()
    theirs.close()
    assert far.accept().bodies(SAME) == waiting


@pytest.mark.timeout(60)
def test_their_stream_is_there_when_ours_fails(servers, closing):
    near, far = servers
    romeo = closing(Writer(near, FAR))
    waiting = romeo.writes()
    ours = far.answer()
    theirs = far.authenticate((ports.LOOPBACK, near.s2s), BIDI + AUTH)
    theirs.send(f"<message from='juliet@{FAR}' to='{romeo.jid}'><body>I am here</body></message>")
    romeo.until("I am here</body></message>")
    assert not theirs.says_something()
    ours.reset()
    assert theirs.bodies(SAME) == waiting
    assert romeo.writes() == theirs.bodies(SAME)
    assert not far.is_called()


@pytest.mark.timeout(60)
def test_another_of_their_streams_takes_over(servers, closing):
    near, far = servers
    place = ports.LOOPBACK, near.s2s
    streams = [far.both_ways(place)]
    streams.append(far.both_ways(place, heard=streams[0]))
    romeo = closing(Writer(near, FAR))
    assert romeo.writes() == streams[0].bodies(SAME)
    assert not streams[1].says_something()
    # Stanzas come on both.
    for number, stream in enumerate(streams):
        stream.send(f"<message from='juliet@{FAR}' to='{romeo.jid}'><body>from {number}</body></message>")
        romeo.until(f"from {number}</body></message>")
    streams[0].reset()
    assert romeo.writes() == streams[1].bodies(SAME)
    assert not far.is_called()
    # What is not from the pair of domains ends it, as it ends any other.
    streams[1].send(f"<message from='juliet@evil.interop' to='{romeo.jid}'/>")
    assert "invalid-from" in streams[1].until(END)


@pytest.mark.timeout(60)
def test_questions_about_keys_get_a_stream_of_their_own(servers, closing):
    near, far = servers
    place = ports.LOOPBACK, near.s2s
    theirs = far.both_ways(place)
    romeo = closing(Writer(near, FAR))
    assert romeo.writes() == theirs.bodies(SAME)
    # Somebody without a certificate who says that he is FAR.
    claiming, features = far.call(place, certificate=False)
    assert "bidi" not in features
    claiming.send(f"<db:result from='{FAR}' to='{NEAR}'>abc</db:result>")
    asked = far.answer(features="")
    name = asked.until("</db:verify>").split(" id='")[1].split("'")[0]
    assert romeo.writes() == theirs.bodies(SAME)
    asked.send(f"<db:verify from='{FAR}' to='{NEAR}' id='{name}' type='invalid'/>")
    assert "type='invalid'" in claiming.until("/>")
    # That stream is there now, and what is written still goes where it went.
    assert romeo.writes() == theirs.bodies(SAME)
    assert not asked.says_something()


@pytest.mark.timeout(60)
def test_their_stream_is_not_read(servers, closing):
    """What romeo writes faster than the peer reads comes back to him, and nobody else notices."""
    near, far = servers
    theirs = far.both_ways((ports.LOOPBACK, near.s2s))
    romeo = closing(Writer(near, FAR))
    assert romeo.writes() == theirs.bodies(SAME)
    for number in range(200):
        romeo.write(f"n{number}", "x" * 100_000)
    # The buffers of both are full long before 20 MB.
    romeo.until_match("<message(?=[^>]* id='n199')[^>]*type='error'.*?resource-constraint.*?</message>")
    theirs.send(f"<message from='juliet@{FAR}' to='{romeo.jid}'><body>still here</body></message>")
    romeo.until("still here</body></message>")
    # What was taken arrives when it is read, in order.
    assert [body.strip("nx") for body in theirs.bodies(SAME)] == [str(number) for number in range(SAME)]
