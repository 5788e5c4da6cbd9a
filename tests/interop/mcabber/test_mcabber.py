"""Debian's mcabber, a client on the terminal by another library (loudmouth): chats, gets copies, reads a vCard."""

import pytest

from harness.client import STANZA_SECONDS
from harness.listener import Listener
from harness.meerkat import DOMAIN

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
CONFIGURATION = """
set jid = romeo@{domain}
set resource = orchard
set password = secret
set server = 127.0.0.1
set port = {port}
set tls = 1
set ssl_ignore_checks = 1
set carbons = 1
set logging = 0
set log_win_height = 20
set roster_hide_domain = 0
"""


@pytest.fixture
def mcabber(terminals):
    """start(server) -> the terminal of an mcabber that has logged in."""

    async def start(server):
        home = terminals.home()
        configuration = home / "mcabberrc"
        configuration.write_text(CONFIGURATION.format(domain=DOMAIN, port=server.listeners[0].port))
        # It refuses a file that others can read.
        configuration.chmod(0o600)
        terminal = terminals.start(["mcabber", "-f", str(configuration)], home)
        await terminal.shows("Carbons enabled")
        return terminal

    return start


@pytest.mark.portable
async def test_mcabber_chats(start_server, connect, mcabber):
    server = start_server(listeners=[Listener("starttls")], accounts=ACCOUNTS)
    juliet = await connect(server, "juliet", "secret", tls="starttls")
    juliet.register_plugin("xep_0054")
    card = juliet.plugin["xep_0054"].make_vcard()
    card["FN"] = "Juliet Capulet"
    await juliet.plugin["xep_0054"].publish_vcard(card, timeout=STANZA_SECONDS)
    garden = await connect(server, "romeo", "secret", tls="starttls", resource="garden")
    romeo = await mcabber(server)

    romeo.type(f"/say_to juliet@{DOMAIN} But soft, what light")
    message = await juliet.next_message()
    assert message["body"] == "But soft, what light"
    assert message["from"].bare == f"romeo@{DOMAIN}"
    await romeo.shows(f"juliet@{DOMAIN}")
    # Selects her in the list, and opens the window of what they say.
    romeo.type("/roster search juliet")
    romeo.type("")
    juliet.say(message["from"], "It is the east")
    await romeo.shows("It is the east")
    # What romeo's other client gets shows here as well.
    juliet.say(garden.boundjid, "Good night, good night")
    await romeo.shows("Good night, good night")

    romeo.type(f"/request vcard juliet@{DOMAIN}")
    await romeo.shows("Juliet Capulet")


@pytest.mark.portable
async def test_mcabber_has_contacts(start_server, connect, mcabber):
    """Adds each other, sees presence, comes back and finds what was said meanwhile."""
    server = start_server(listeners=[Listener("starttls")], accounts=ACCOUNTS)
    juliet = await connect(server, "juliet", "secret", tls="starttls", resource="balcony")
    await juliet.get_roster()
    romeo = await mcabber(server)
    romeo.type(f"/add juliet@{DOMAIN} Jule")
    request = await juliet.presence_of("subscribe")
    assert request["from"].bare == f"romeo@{DOMAIN}"
    juliet.grants_and_asks(f"romeo@{DOMAIN}")
    await romeo.shows("Jule")
    romeo.type(f"/authorization allow juliet@{DOMAIN}")
    await juliet.presence_of("subscribed")
    assert (await juliet.presence_of("available"))["from"].bare == f"romeo@{DOMAIN}"
    juliet.send_presence(pshow="away", pstatus="on the balcony")
    # The letter of her status beside her name in the list.
    await romeo.shows("[a] Jule")
    romeo.type("/status dnd")
    assert (await juliet.presence_of("dnd"))["from"].bare == f"romeo@{DOMAIN}"
    await romeo.close("/quit")
    assert (await juliet.presence_of("unavailable"))["from"].bare == f"romeo@{DOMAIN}"
    juliet.say(f"romeo@{DOMAIN}", "Thrice the worse")
    again = await mcabber(server)
    await again.shows("Jule")
    again.type("/roster search Jule")
    again.type("")
    await again.shows("Thrice the worse")
    assert (await juliet.presence_of("available"))["from"].bare == f"romeo@{DOMAIN}"
