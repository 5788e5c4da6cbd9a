"""10,000 connections to one listener are spread evenly over the cores, whatever num_acceptors says."""

import os
import time

import pytest

from harness.crowd import Crowd
from harness.listener import Listener

CONNECTIONS = 10_000
UNEVEN = 1.25
SETTLE_SECONDS = 30


@pytest.mark.timeout(120)
@pytest.mark.parametrize("acceptors", [None, 1, 100], ids=["default", "fewer than cores", "100"])
def test_spread(start_server, closing, acceptors):
    options = {"state_timeout": "infinity"} | ({"num_acceptors": acceptors} if acceptors else {})
    server = start_server(listeners=[Listener(options=options)])
    crowd = closing(Crowd(server.listeners[0].address, CONNECTIONS))
    assert all(member.connected for member in crowd.members)
    status = settled(server)
    shares = [shard["connections"] for shard in status["shards"]]
    assert len(shares) == len(os.sched_getaffinity(0))
    assert sum(shares) == CONNECTIONS
    assert max(shares) <= UNEVEN * min(shares), shares
    split = status["listeners"][0]["acceptors"]
    assert sum(split) == (acceptors or 100)
    assert max(split) - min(split) <= 1
    assert not crowd.refused()


def settled(server):
    """The status once every connection is accepted; connected sockets may still be in the backlog."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        status = server.status()
        if status["listeners"][0]["connections"] == CONNECTIONS:
            return status
    raise AssertionError(f"not all are accepted: {status}")
