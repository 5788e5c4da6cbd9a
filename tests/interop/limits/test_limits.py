"""What a listener does with more connections than it may have."""

import time

import pytest

from harness.crowd import Crowd
from harness.listener import Listener
from harness.wire import HEADER, Wire

ACCOUNTS = {"juliet": "secret"}
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
SERVED_SECONDS = 10
# How long nothing must happen to count as refused, or as waiting.
QUIET_SECONDS = 1.0


def limited(start_server, **options):
    listener = Listener(options=options | {"state_timeout": "infinity"})
    server = start_server(listeners=[listener], accounts=ACCOUNTS)
    # The harness connected to see whether the port is served; that must not count.
    assert server.becomes(connections=0, seconds=SERVED_SECONDS)
    return server, listener.address


def test_beyond_max_connections_clients_wait_in_the_backlog(start_server, closing):
    most, more = 20, 10
    server, address = limited(start_server, max_connections=most)
    crowd = closing(Crowd(address, most + more, HEADER))
    assert crowd.until(lambda: len(crowd.with_answer()) == most, SERVED_SECONDS)
    crowd.until(lambda: len(crowd.with_answer()) > most, QUIET_SECONDS)
    served = crowd.with_answer()
    assert len(served) == most
    assert not crowd.refused()
    assert server.connections() == most
    # Each that leaves lets another in.
    crowd.leave(served[:more])
    assert crowd.until(lambda: len(crowd.with_answer()) == most + more, SERVED_SECONDS)
    assert not [member for member in crowd.members if member.closed and member not in served[:more]]


def test_max_connections_per_ip_closes_the_next_one_at_once(start_server, closing):
    most, more = 5, 5
    server, address = limited(start_server, max_connections_per_ip=most)
    crowd = closing(Crowd(address, most + more, HEADER))
    assert crowd.until(lambda: len(crowd.refused()) == more, SERVED_SECONDS)
    assert crowd.until(lambda: len(crowd.with_answer()) == most, SERVED_SECONDS)
    assert all(member.seen == b"" for member in crowd.refused())
    assert server.ended("address_limit") == more
    # Another address has its own count.
    closing(Wire(address, source=ELSEWHERE)).login("juliet", "secret")
    crowd.leave(crowd.with_answer())
    assert server.becomes(connections=1, seconds=SERVED_SECONDS)
    closing(Wire(address, source=HERE)).login("juliet", "secret")


def test_accept_rate_pauses_accepts_and_drops_nobody(start_server, closing):
    rate, clients = 20, 100
    _, address = limited(start_server, accept_rate=rate)
    started = time.monotonic()
    crowd = closing(Crowd(address, clients, HEADER))
    crowd.until(lambda: False, QUIET_SECONDS)
    elapsed = time.monotonic() - started
    # A bucket of one second's rate, and what has come in since.
    assert len(crowd.with_answer()) <= rate * (1 + elapsed) + 2
    assert crowd.until(lambda: len(crowd.with_answer()) == clients, 3 * clients / rate)
    assert time.monotonic() - started >= (clients - rate) / rate - 0.5
    assert not crowd.refused()


def test_accept_rate_per_ip_closes_what_comes_too_fast(start_server, closing):
    rate, clients = 10, 60
    _, address = limited(start_server, accept_rate_per_ip=rate)
    crowd = closing(Crowd(address, clients, HEADER))
    assert crowd.until(
        lambda: len(crowd.with_answer()) + len(crowd.refused()) == clients, SERVED_SECONDS
    )
    assert 0 < len(crowd.with_answer()) < clients
    assert all(member.seen == b"" for member in crowd.refused())
    closing(Wire(address, source=ELSEWHERE)).login("juliet", "secret")
    # The bucket fills again.
    crowd.until(lambda: False, QUIET_SECONDS)
    closing(Wire(address)).open()


@pytest.mark.timeout(120)
def test_without_descriptors_it_waits_and_recovers(start_server, closing):
    descriptors, clients = 256, 400
    listener = Listener(options={"state_timeout": "infinity"})
    server = start_server(listeners=[listener], accounts=ACCOUNTS, limits=[f"--nofile={descriptors}"])
    session = closing(Wire(listener.address))
    session.login("juliet", "secret")
    used = processor_seconds(server)
    crowd = Crowd(listener.address, clients, HEADER)
    crowd.until(lambda: False, QUIET_SECONDS)
    served = len(crowd.with_answer())
    assert 0 < served < descriptors
    # Those inside are served all the time, those outside wait, nobody burns the processor.
    session.ping()
    crowd.until(lambda: False, 2 * QUIET_SECONDS)
    session.ping()
    assert processor_seconds(server) - used < 1.0
    assert server.running
    crowd.leave(crowd.with_answer())
    assert crowd.until(lambda: len(crowd.with_answer()) > served, SERVED_SECONDS)
    crowd.close()
    closing(Wire(listener.address)).login("juliet", "secret")
    session.ping()


def processor_seconds(server):
    """User and system time of the process (proc_pid_stat(5)); 100 ticks a second."""
    with open(f"/proc/{server.child.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
