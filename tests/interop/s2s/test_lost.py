"""A server that vanishes without a word: how soon that is noticed, in both directions, and what becomes of stanzas."""

import re
import time

import pytest

from harness import ports
from harness.federation import FAR, NEAR
from harness.lost import Patience, vanish
from harness.played import SAME, Writer

# More than the kernel takes of what nobody acknowledges, and less than the server holds.
MESSAGES = 80
BODY = "x" * 100_000
# The shortened times, and a busy machine.
NOTICED_SECONDS = 8


def opened(near, far, romeo, made):
    """A stream in use, of either making; and what it was asked for with."""
    if made == "ours":
        first = romeo.writes()
        stream = far.accept()
    else:
        stream = far.both_ways((ports.LOOPBACK, near.s2s))
        first = romeo.writes()
    assert stream.bodies(SAME) == first
    return stream


def gone(near):
    deadline = time.monotonic() + NOTICED_SECONDS
    while near.streams():
        assert time.monotonic() < deadline, near.streams()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("made", ["ours", "theirs"])
def test_whoever_is_written_to(servers, closing, made):
    near, far = servers
    romeo = closing(Writer(near, FAR))
    stream = opened(near, far, romeo, made)
    patience = Patience(near.child, stream.socket)
    assert patience.seconds() == (60, 150)
    patience.shorten()
    vanish(stream.socket)
    for number in range(MESSAGES):
        romeo.write(f"big{number}", BODY)
    began = time.monotonic()
    again = far.accept()
    assert time.monotonic() - began < NOTICED_SECONDS
    # What comes afterwards is behind what had to wait, and what came back is there before the answer.
    last = romeo.writes()
    arrived = [re.match(r"big\d+|\d+", body).group() for body in again.bodies_until(last[-1])]
    assert arrived[-SAME:] == last
    pattern = r"<message[^>]* id='(big\d+)'[^>]*type='error'|<message[^>]*type='error'[^>]* id='(big\d+)'"
    returned = {first or second for first, second in re.findall(pattern, romeo.heard)}
    survivors = arrived[:-SAME]
    # Only what the kernel had taken is lost: the first of them.
    assert not returned & set(survivors)
    numbers = sorted(int(name[3:]) for name in returned | set(survivors))
    assert [int(name[3:]) for name in survivors] == sorted(int(name[3:]) for name in survivors)
    assert numbers == list(range(numbers[0], MESSAGES))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("made", ["ours", "theirs", "one way"])
def test_whoever_is_silent(servers, closing, made):
    near, far = servers
    romeo = closing(Writer(near, FAR))
    stream = far.one_way((ports.LOOPBACK, near.s2s)) if made == "one way" else opened(near, far, romeo, made)
    assert {tuple(of[key] for key in ("local", "remote", "state")) for of in near.streams()} == {(NEAR, FAR, "ready")}
    patience = Patience(near.child, stream.socket)
    assert patience.seconds() == (60, 150)
    patience.shorten()
    vanish(stream.socket)
    gone(near)
    romeo.writes()
    far.accept()
