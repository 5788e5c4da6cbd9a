"""10,000 connections to one listener are spread evenly over the cores, whatever num_acceptors says."""

import os

import pytest

from harness.crowd import Crowd
from harness.listener import Listener
from harness.wire import HEADER

CONNECTIONS = 10_000
# The kernel's choice of a core depends on the client's address and port alone: one client's ports
# need not be spread, those of many clients are.
CLIENTS = [f"127.0.1.{number}" for number in range(1, 101)]
UNEVEN = 1.25
ANSWER_SECONDS = 30


@pytest.mark.timeout(120)
@pytest.mark.parametrize("acceptors", [None, 1, 100], ids=["default", "fewer than cores", "100"])
def test_spread(start_server, closing, acceptors):
    options = {"state_timeout": "infinity"} | ({"num_acceptors": acceptors} if acceptors else {})
    server = start_server(listeners=[Listener(options=options)])
    # With a stream header: a silent connection that met a full backlog is stuck for half a minute,
    # one that has something to say tries again at once.
    crowd = closing(Crowd(server.listeners[0].address, CONNECTIONS, HEADER, CLIENTS))
    assert crowd.until(lambda: len(crowd.with_answer()) == CONNECTIONS, ANSWER_SECONDS)
    status = server.status()
    shares = [shard["connections"] for shard in status["shards"]]
    assert len(shares) == len(os.sched_getaffinity(0))
    assert sum(shares) == CONNECTIONS
    assert max(shares) <= UNEVEN * min(shares), shares
    split = status["listeners"][0]["acceptors"]
    assert sum(split) == (acceptors or 100)
    assert max(split) - min(split) <= 1
    assert not crowd.refused()

