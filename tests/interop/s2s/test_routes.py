"""The ways to another server change, and no stanza overtakes another: a server played stream by stream (XEP-0288)."""

import pytest

from harness import ports
from harness.dns import Dns
from harness.federation import FAR, NEAR, Authority, NearMeerkat
from harness.played import END, Played
from harness.wire import Wire

SAME = 10


class Client(Wire):
    """romeo, who writes numbered messages to juliet."""

    def __init__(self, server):
        super().__init__(server.listeners[0].address)
        self.count = 0
        self.login("romeo", "secret")

    def open(self):
        self.send(
            f"<stream:stream to='{NEAR}' version='1.0' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        return self.until("</stream:features>", "<stream:features/>")

    def writes(self):
        """Some messages more; the numbers of them, once the server has them."""
        numbers = [str(number) for number in range(self.count, self.count + SAME)]
        self.count += SAME
        for number in numbers:
            self.send(f"<message to='juliet@{FAR}' type='chat'><body>{number}</body></message>")
        self.send(f"<iq type='get' id='p{self.count}' to='{NEAR}'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.until_tag("iq", f"id='p{self.count}'", "result")
        return numbers


@pytest.fixture
def servers(folder, closing):
    """meerkat for NEAR, and a server of FAR that the test plays."""
    dns, authority = Dns(), Authority(folder)
    (folder / "near").mkdir()
    far = closing(Played(FAR, NEAR, dns, authority))
    near = NearMeerkat(folder / "near", NEAR, dns, authority, {"romeo": "secret"}, proof="certificate")
    yield near.serve(), far
    near.kill()
    print(near.tail())
    dns.close()


@pytest.mark.timeout(60)
def test_a_new_way_is_used_when_the_old_one_is_gone(servers, closing):
    near, far = servers
    romeo = closing(Client(near))
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
def test_another_of_their_streams_takes_over(servers, closing):
    near, far = servers
    place = ports.LOOPBACK, near.s2s
    streams = [far.both_ways(place)]
    streams.append(far.both_ways(place, heard=streams[0]))
    romeo = closing(Client(near))
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
    romeo = closing(Client(near))
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
