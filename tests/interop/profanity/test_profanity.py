"""Debian's profanity, a client that people use: logs in, writes, is written to, gets copies, blocks."""

import pytest

from harness.listener import Listener
from harness.meerkat import DOMAIN

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
# How profanity names the way TLS is used.
POLICIES = {"starttls": "force", "tls": "legacy"}


@pytest.fixture
def profanity(terminals):
    """start(server, policy) -> the terminal of a profanity that has logged in."""

    async def start(server, policy):
        terminal = terminals.start(["profanity"], terminals.home())
        await terminal.shows("Profanity")
        port = server.listeners[0].port
        terminal.type(f"/connect romeo@{DOMAIN}/orchard server 127.0.0.1 port {port} tls {policy}")
        await terminal.shows("Enter password")
        terminal.type(ACCOUNTS["romeo"])
        await terminal.shows("Use '/tls allow' to accept this certificate")
        terminal.type("/tls allow")
        await terminal.shows("logged in successfully")
        return terminal

    return start


@pytest.mark.portable
@pytest.mark.parametrize("tls", POLICIES)
async def test_profanity_chats(start_server, connect, profanity, tls):
    server = start_server(listeners=[Listener(tls)], accounts=ACCOUNTS)
    juliet = await connect(server, "juliet", "secret", tls=tls)
    romeo = await profanity(server, POLICIES[tls])
    romeo.type(f"/msg juliet@{DOMAIN} But soft, what light")
    message = await juliet.next_message()
    assert message["body"] == "But soft, what light"
    assert message["from"] == f"romeo@{DOMAIN}/orchard"
    juliet.say(message["from"], "It is the east")
    await romeo.shows("It is the east")


@pytest.mark.portable
async def test_profanity_has_contacts(start_server, connect, profanity):
    """Adds each other, sees presence, comes back and finds what was said meanwhile."""
    server = start_server(listeners=[Listener("starttls")], accounts=ACCOUNTS)
    juliet = await connect(server, "juliet", "secret", tls="starttls", resource="balcony")
    await juliet.get_roster()
    romeo = await profanity(server, POLICIES["starttls"])
    romeo.type(f"/roster add juliet@{DOMAIN} Jule")
    await romeo.shows(f"juliet@{DOMAIN}")
    romeo.type(f"/sub request juliet@{DOMAIN}")
    request = await juliet.presence_of("subscribe")
    assert request["from"] == f"romeo@{DOMAIN}"
    juliet.grants_and_asks(f"romeo@{DOMAIN}")
    await romeo.shows("authorization request from juliet")
    romeo.type(f"/sub allow juliet@{DOMAIN}")
    await juliet.presence_of("subscribed")
    assert (await juliet.presence_of("available"))["from"] == f"romeo@{DOMAIN}/orchard"
    juliet.send_presence(pshow="away", pstatus="on the balcony")
    romeo.type("/win 1")
    romeo.type("/who")
    await romeo.shows("on the balcony")
    romeo.type("/status set dnd")
    assert (await juliet.presence_of("dnd"))["from"] == f"romeo@{DOMAIN}/orchard"
    await romeo.close("/quit")
    assert (await juliet.presence_of("unavailable"))["from"] == f"romeo@{DOMAIN}/orchard"
    juliet.say(f"romeo@{DOMAIN}", "Thrice the worse")
    again = await profanity(server, POLICIES["starttls"])
    again.type("/roster")
    await again.shows("Jule")
    again.type(f"/msg juliet@{DOMAIN}")
    await again.shows("Thrice the worse")
    assert (await juliet.presence_of("available"))["from"] == f"romeo@{DOMAIN}/orchard"


@pytest.mark.portable
async def test_profanity_gets_copies_and_blocks(start_server, connect, profanity):
    server = start_server(listeners=[Listener("starttls")], accounts=ACCOUNTS)
    juliet = await connect(server, "juliet", "secret", tls="starttls")
    garden = await connect(server, "romeo", "secret", tls="starttls", resource="garden")
    romeo = await profanity(server, POLICIES["starttls"])
    romeo.type("/carbons on")
    await romeo.shows("Message carbons preference enabled")
    # A message to romeo's other client shows here as well.
    juliet.say(garden.boundjid, "Good night, good night")
    assert (await garden.next_message())["body"] == "Good night, good night"
    romeo.type(f"/msg juliet@{DOMAIN}")
    await romeo.shows("Good night, good night")
    romeo.type(f"/blocked add juliet@{DOMAIN}")
    romeo.type("/win 1")
    await romeo.shows("successfully blocked")
    romeo.type("/blocked")
    await romeo.shows("Blocked users:")
    juliet.say(f"romeo@{DOMAIN}/orchard", "Parting is such sweet sorrow")
    refused = await juliet.next_message()
    assert refused["type"] == "error"
    assert refused["error"]["condition"] == "service-unavailable"
