"""Debian's HAProxy before the server: logins through it, its health checks, whose address counts."""

import pytest

from harness.haproxy import HAProxy
from harness.listener import Listener
from harness.wire import FOOTER, Closed, Wire

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
VERSIONS = {"v1": "send-proxy", "v2": "send-proxy-v2"}
# Addresses of the loopback network that clients come from.
NEAR, FAR = "127.0.0.77", "127.0.0.78"


@pytest.fixture
def start_haproxy(folder):
    started = []

    def start(server, version, checks="", **wanted):
        home = folder / f"haproxy-{len(started)}"
        home.mkdir()
        options = f"{VERSIONS[version]} {checks}"
        haproxy = HAProxy(home, to=server.listeners[0].port, options=options, **wanted)
        started.append(haproxy)
        return haproxy.serve()

    yield start
    for haproxy in started:
        haproxy.stop()
        print(f"--- log of haproxy\n{haproxy.tail()}")


def behind(tls=None, **options):
    return Listener(tls, options={"proxy_protocol": True} | options)


@pytest.mark.portable
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_login_and_chat_through_it(start_server, start_haproxy, connect, version, tls):
    server = start_server(listeners=[behind(tls)], accounts=ACCOUNTS)
    address = start_haproxy(server, version).address
    juliet = await connect(server, "juliet", "secret", tls=tls, address=address)
    romeo = await connect(server, "romeo", "secret", tls=tls, address=address)
    romeo.say(juliet.boundjid.bare, "through the wall")
    assert (await juliet.next_message())["body"] == "through the wall"


@pytest.mark.portable
@pytest.mark.parametrize("stream_checks", [False, True], ids=["connect", "stream"])
@pytest.mark.parametrize("version", VERSIONS)
def test_health_checks(start_server, start_haproxy, version, stream_checks):
    """With check-send-proxy: UNKNOWN in version 1, LOCAL in version 2."""
    server = start_server(listeners=[behind()], accounts=ACCOUNTS)
    checks = "check inter 100ms fall 1 rise 2 check-send-proxy"
    haproxy = start_haproxy(server, version, checks, stream_checks=stream_checks)
    haproxy.becomes("UP", "L7OK" if stream_checks else "L4OK")
    server.terminate()
    haproxy.becomes("DOWN", "L4CON")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_headers_address_counts_for_limits_and_log(start_server, start_haproxy, closing, version):
    server = start_server(
        listeners=[behind("starttls", max_connections_per_ip=1)],
        accounts=ACCOUNTS,
        # Addresses of clients are in the log at this level only.
        sections={"general": {"loglevel": "debug"}},
    )
    address = start_haproxy(server, version).address
    near = closing(Wire(address, source=NEAR))
    near.open()
    # To the socket all three come from 127.0.0.1.
    far = closing(Wire(address, source=FAR))
    far.open()
    again = closing(Wire(address, source=NEAR))
    with pytest.raises(Closed) as refused:
        again.open()
    assert refused.value.seen == b""
    for wire in (near, far):
        wire.secure(server.certificate.context(), starttls=True)
        wire.login("juliet", "secret")
        wire.send(FOOTER)
        wire.to_end()
    server.terminate()
    assert NEAR in server.log() and FAR in server.log()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_from_loopback_is_not_trusted_behind_a_proxy(start_server, start_haproxy, closing, version):
    """Without TLS no PLAIN is offered: the header's 127.0.0.77 is what anybody may write there."""
    server = start_server(listeners=[behind()], accounts=ACCOUNTS)
    wire = closing(Wire(start_haproxy(server, version).address, source=NEAR))
    features = wire.open()
    assert "SCRAM-SHA-256" in features
    assert "PLAIN" not in features
