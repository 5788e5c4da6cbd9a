"""What the log never says of streams between servers: bodies, and keys of dialback (XEP-0220)."""

import re

import pytest

BODY = "Kq7between"
# Of dialback; the ids of certificates and streams are shorter, or not in hexadecimal digits.
KEY = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@pytest.mark.timeout(120)
async def test_no_key_and_no_body_at_any_level(federation, connect, monkeypatch):
    monkeypatch.setenv("MEERKAT_LOG", "trace")
    near, far = federation("prosody", "dialback")
    romeo = await connect(near, "romeo", "secret")
    juliet = await connect(far, "juliet", "secret")
    romeo.say(juliet.boundjid.full, BODY)
    assert (await juliet.next_message(20))["body"] == BODY
    juliet.say(romeo.boundjid.full, BODY)
    assert (await romeo.next_message(20))["body"] == BODY
    log = near.log()
    assert "stream to a server" in log and "TRACE" in log
    assert BODY not in log
    assert not KEY.findall(log)
