"""How a client gets in: mechanisms, TLS, and what it is told when it does not."""

import asyncio

import pytest

from harness.client import Client, LoginFailed
from harness.listener import Listener

ACCOUNTS = {"juliet": "r0m30 & juliet <é>"}


@pytest.mark.portable
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN"])
@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_login(start_server, connect, mechanism, tls):
    server = start_server(listeners=[Listener(tls)], accounts=ACCOUNTS)
    client = await connect(server, "juliet", ACCOUNTS["juliet"], tls=tls, mechanism=mechanism)
    assert client.boundjid.bare == "juliet@localhost"
    assert client.boundjid.resource
    assert client.socket.version() in ("TLSv1.3", "TLSv1.2")


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_login_sha_512(start_server, connect, tls):
    server = start_server(listeners=[Listener(tls)], accounts=ACCOUNTS)
    client = await connect(server, "juliet", ACCOUNTS["juliet"], tls=tls, mechanism="SCRAM-SHA-512")
    assert client.boundjid.bare == "juliet@localhost"


@pytest.mark.portable
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "PLAIN"])
async def test_login_in_clear_on_loopback(start_server, connect, mechanism):
    server = start_server(accounts=ACCOUNTS)
    client = await connect(server, "juliet", ACCOUNTS["juliet"], mechanism=mechanism)
    assert client.boundjid.bare == "juliet@localhost"


@pytest.mark.portable
@pytest.mark.parametrize("user", ["juliet", "nobody"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN"])
async def test_wrong_password_and_unknown_user_look_the_same(start_server, mechanism, user):
    server = start_server(listeners=[Listener("starttls")], accounts=ACCOUNTS)
    client = Client(server, user, "wrong", tls="starttls", mechanism=mechanism)
    with pytest.raises(LoginFailed) as refused:
        await client.login()
    assert refused.value.condition == "not-authorized"


@pytest.mark.portable
async def test_every_listener_serves_the_same_accounts(start_server, connect):
    listeners = [Listener("starttls"), Listener("tls"), Listener()]
    server = start_server(listeners=listeners, accounts=ACCOUNTS)
    clients = await asyncio.gather(
        *(
            connect(server, "juliet", ACCOUNTS["juliet"], tls=of.tls, listener=at)
            for at, of in enumerate(listeners)
        )
    )
    assert len({client.boundjid.full for client in clients}) == 3
