"""Passwords of PLAIN that were right before cost no PBKDF2 again, told by what the server counts."""

import re

import pytest

from harness.listener import Listener
from harness.web import Http, http_listener
from harness.wire import Wire, plain

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}


@pytest.fixture
def start(start_server, closing):
    """start(sections) -> the server, a login that tells whether it came in, and the two counts."""

    def start(sections=None):
        listeners = [Listener(), http_listener(mongoose_prometheus_handler={"path": "/metrics"})]
        server = start_server(listeners=listeners, accounts=ACCOUNTS, sections=sections)
        metrics = closing(Http(server.listeners[1].address))

        def comes_in(user, password):
            wire = closing(Wire(server.listeners[0].address))
            wire.open()
            wire.send(plain(user, password))
            return "<success" in wire.until("/>", "</failure>")

        def counts():
            text = metrics.get("/metrics").body
            found = (
                re.findall(rf"^meerkat_passwords_{name}_total\{{.*\}} (\d+)$", text, re.MULTILINE)
                for name in ("remembered", "computed")
            )
            return tuple(sum(map(int, of_cores)) for of_cores in found)

        return server, comes_in, counts

    return start


def test_the_second_login_computes_nothing(start):
    _, comes_in, counts = start()
    assert comes_in("juliet", "secret") and counts() == (0, 1)
    # On whichever core they come in.
    assert all(comes_in("juliet", "secret") for _ in range(8))
    assert counts() == (8, 1)
    assert comes_in("romeo", "secret") and counts() == (8, 2)


def test_a_wrong_password_always_computes(start):
    _, comes_in, counts = start()
    assert comes_in("juliet", "secret")
    assert not comes_in("juliet", "wrong") and not comes_in("juliet", "wrong")
    assert counts() == (0, 3)
    # Who has no account is computed too, and not counted.
    assert not comes_in("nobody", "secret") and counts() == (0, 3)
    assert comes_in("juliet", "secret") and counts() == (1, 3)


def test_a_password_that_another_process_changes_is_forgotten(start):
    server, comes_in, counts = start()
    assert comes_in("juliet", "secret")
    server.must_run("account", "passwd", "juliet@localhost", stdin="other\n")
    assert not comes_in("juliet", "secret")
    assert comes_in("juliet", "other") and counts() == (0, 3)
    assert comes_in("juliet", "other") and counts() == (1, 3)
    server.must_run("account", "del", "juliet@localhost")
    assert not comes_in("juliet", "other") and counts() == (1, 3)


def test_it_can_be_switched_off(start):
    _, comes_in, counts = start({"auth": {"password.remember_verified": False}})
    assert comes_in("juliet", "secret") and comes_in("juliet", "secret")
    assert not comes_in("juliet", "wrong")
    assert counts() == (0, 0)
