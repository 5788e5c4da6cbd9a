"""Peers whose certificates are not good, who accept and say nothing, who end streams, who claim to be too many."""

import re
import socket

import pytest

from harness import ports
from harness.dns import Dns
from harness.federation import FAR, NEAR, Authority, NearMeerkat
from harness.played import AUTH, EXTERNAL, Played, Writer
from harness.wire import Closed

# src/proto/s2s/inbound.rs: pairs of domains of one stream, and those of them that are being asked about.
PAIRS_MAX, ASKED_MAX = 256, 16
# src/listeners/s2s/outgoing.rs: streams that end soon, one after the other.
LOSSES_MAX = 3
ERROR = "<stream:error><{} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"


@pytest.fixture
def world(folder, closing):
    """world(…) -> meerkat for NEAR, with these options of `[s2s]`, and a server of FAR that the test plays."""
    dns, authority = Dns(), Authority(folder)
    (folder / "near").mkdir()
    (folder / "other").mkdir()
    far = closing(Played(FAR, NEAR, dns, authority))
    far.dns, far.stranger = dns, Authority(folder / "other")
    started = []

    def start(**s2s):
        options = {name.replace("__", "."): of for name, of in s2s.items()}
        near = NearMeerkat(folder / "near", NEAR, dns, authority, {"romeo": "secret"}, proof="certificate", s2s=options)
        started.append(near)
        return near.serve(), far

    yield start
    for near in started:
        near.kill()
        print(near.tail())
    dns.close()


BAD = {
    "another name": lambda far: far.authority.issue("other.interop"),
    "a name below": lambda far: far.authority.issue(f"sub.{FAR}"),
    "ended": lambda far: far.authority.issue(FAR, days=(-9, -1)),
    "not begun": lambda far: far.authority.issue(FAR, days=(1, 9)),
    "another authority": lambda far: far.stranger.issue(FAR),
}


def returned(romeo):
    return romeo.until_match("<message[^>]*type='error'.*?</message>")


@pytest.mark.parametrize("certificate", BAD)
def test_a_stream_of_ours_goes_to_no_bad_certificate(world, closing, certificate):
    near, far = world(outgoing__tls__disconnect_on_failure=True)
    far.files = BAD[certificate](far)
    romeo = closing(Writer(near, FAR))
    romeo.write("secret")
    with pytest.raises((Closed, OSError)) as ended:
        far.answer()
    assert "<stream:stream" not in str(ended.value)
    assert "remote-server-timeout" in returned(romeo)


@pytest.mark.parametrize("certificate", BAD)
def test_a_bad_certificate_proves_nothing(world, closing, certificate):
    near, far = world()
    good, far.files = far.files, BAD[certificate](far)
    stream, features = far.call((ports.LOOPBACK, near.s2s))
    assert "EXTERNAL" not in features and "bidi" not in features and "dialback" in features
    stream.send(AUTH)
    assert "not-authorized" in stream.until("</failure>")
    # The domain's own server is asked, and says no.
    far.files = good
    stream.send(f"<db:result from='{FAR}' to='{NEAR}'>abc</db:result>")
    asked = closing(far.answer(features=""))
    name = re.search(" id='([^']*)'", asked.until("</db:verify>"))[1]
    asked.send(f"<db:verify from='{FAR}' to='{NEAR}' id='{name}' type='invalid'/>")
    assert "type='invalid'" in stream.until("/>")
    stream.send(f"<message from='juliet@{FAR}' to='romeo@{NEAR}'/>")
    assert "not-authorized" in stream.until("</stream:stream>")


def test_who_accepts_and_says_nothing_is_passed_over(world, closing):
    near, far = world(outgoing__state_timeout=300)
    silent = [closing(socket.create_server((ports.LOOPBACK, 0))) for _ in range(3)]
    [(_, weight, port, target)] = far.dns.services[f"_xmpp-server._tcp.{FAR}"]
    targets = [(number, weight, place.getsockname()[1], target) for number, place in enumerate(silent)]
    far.dns.services[f"_xmpp-server._tcp.{FAR}"] = [*targets, (9, weight, port, target)]
    romeo = closing(Writer(near, FAR))
    first = romeo.writes()
    assert far.accept().bodies(len(first)) == first
    assert all(place.accept() for place in silent)


@pytest.mark.parametrize(("condition", "told"), [("host-unknown", "remote-server-not-found"), ("reset", "remote-server-timeout")])
def test_a_stream_that_ends_before_it_is_used(world, closing, condition, told):
    near, far = world()
    romeo = closing(Writer(near, FAR))
    romeo.write("early")
    stream = closing(far.answer(features=EXTERNAL))
    stream.until("</auth>")
    stream.send(ERROR.format(condition))
    stream.to_end()
    stream.close()
    # EXTERNAL might have been what it did not like: dialback alone is tried.
    again = closing(far.answer(features=EXTERNAL))
    again.until("</db:result>")
    again.send(ERROR.format(condition))
    assert told in returned(romeo)


def test_streams_that_end_at_once_are_not_opened_for_ever(world, closing):
    near, far = world(max_retry_delay=60)
    romeo = closing(Writer(near, FAR))
    for number in range(LOSSES_MAX + 1):
        romeo.write(f"m{number}")
        stream = far.accept()
        assert stream.body() == f"m{number}"
        stream.send(ERROR.format("reset"))
        stream.to_end()
        stream.close()
    romeo.write("late")
    assert "remote-server-timeout" in returned(romeo)
    assert not far.is_called()


def test_what_waits_goes_on_the_next_stream(world, closing):
    """The error of an old stream costs nothing that was written after it."""
    near, far = world()
    romeo = closing(Writer(near, FAR))
    first = romeo.writes()
    ours = far.accept()
    assert ours.bodies(len(first)) == first
    ours.send(ERROR.format("reset"))
    ours.to_end()
    waiting = romeo.writes() + romeo.writes()
    ours.close()
    assert far.accept().bodies(len(waiting)) == waiting


def test_one_stream_is_for_so_many_domains_and_no_more(world, closing):
    near, far = world()
    names = [f"d{number}.{FAR}" for number in range(PAIRS_MAX + 40)]
    far.files = far.authority.issue(FAR, *names)
    stream = closing(far.one_way((ports.LOOPBACK, near.s2s)))
    claims = [f"<db:result from='{name}' to='{NEAR}'>abc</db:result>" for name in names]
    stream.send("".join(claims))
    verdicts = [stream.until_match("type='valid'/>|resource-constraint.*?</db:result>") for _ in names]
    assert sum("valid" in verdict for verdict in verdicts) == PAIRS_MAX - 1
    assert all("resource-constraint" in verdict for verdict in verdicts[PAIRS_MAX:])
    romeo = closing(Writer(near, FAR))
    stream.send(f"<message from='juliet@{names[0]}' to='{romeo.jid}'><body>still here</body></message>")
    romeo.until("still here</body></message>")


def test_nobody_is_asked_about_more_than_a_few_at_once(world, closing):
    near, far = world()
    stream = closing(far.one_way((ports.LOOPBACK, near.s2s)))
    silent = closing(socket.create_server((ports.LOOPBACK, 0)))
    names = [f"d{number}.{FAR}" for number in range(ASKED_MAX + 10)]
    for name in names:
        far.dns.add(name, ports.LOOPBACK, silent.getsockname()[1])
    stream.send("".join(f"<db:result from='{name}' to='{NEAR}'>abc</db:result>" for name in names))
    refused = [stream.until("</db:result>") for _ in names[ASKED_MAX:]]
    assert all("resource-constraint" in answer for answer in refused)
    assert [re.search("to='([^']*)'", answer)[1] for answer in refused] == names[ASKED_MAX:]
    romeo = closing(Writer(near, FAR))
    stream.send(f"<message from='juliet@{FAR}' to='{romeo.jid}'><body>still here</body></message>")
    romeo.until("still here</body></message>")
