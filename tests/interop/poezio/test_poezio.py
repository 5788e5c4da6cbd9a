"""Debian's poezio, a client on the terminal by the same library as the cells (slixmpp): adds each other, sees
presence, chats, comes back and finds what was said meanwhile."""

import asyncio
import os

import pytest

from harness.listener import Listener
from harness.meerkat import DOMAIN
from harness.terminal import END_SECONDS, SHOW_SECONDS

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
CONFIGURATION = """[Poezio]
jid = romeo@{domain}/orchard
password = secret
custom_host = 127.0.0.1
custom_port = {port}
ca_cert_path = {authority}
use_log = false
plugins_autoload =
"""
# It does not run as root; this user is everywhere.
NOBODY = 65534


async def quits(terminal):
    if terminal.pid is None:
        return
    await command(terminal, "/quit")
    await asyncio.wait_for(terminal.ended.wait(), END_SECONDS)
    await terminal.close("")


@pytest.fixture
async def poezio(folder, terminals):
    """start(server) -> the terminal of a poezio that has logged in."""

    async def start(server):
        home = terminals.home()
        configuration = home / "poezio.cfg"
        authority = home / "authority.pem"
        authority.write_bytes(server.certificate.cert.read_bytes())
        port = server.listeners[0].port
        configuration.write_text(CONFIGURATION.format(domain=DOMAIN, port=port, authority=authority))
        command = ["poezio", "-f", str(configuration)]
        if os.geteuid() == 0:
            folder.chmod(0o755)
            for path in (home, configuration, authority):
                os.chown(path, NOBODY, NOBODY)
            command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
        terminal = terminals.start(command, home)
        await terminal.shows("Your JID is romeo@")
        return terminal

    yield start
    for terminal in terminals.started:
        await quits(terminal)


async def command(terminal, line):
    """Types a command; what comes in one piece with its end is taken for pasted text."""
    os.write(terminal.master, line[:1].encode())
    # In the list of contacts the first key opens the line that commands are typed in.
    while "Enter commands with" in terminal.text():
        terminal.changed.clear()
        await asyncio.wait_for(terminal.changed.wait(), SHOW_SECONDS)
    os.write(terminal.master, line[1:].encode())
    await terminal.shows(line)
    os.write(terminal.master, b"\r")


@pytest.mark.portable
async def test_poezio_has_contacts(start_server, connect, poezio):
    server = start_server(listeners=[Listener("starttls")], accounts=ACCOUNTS)
    juliet = await connect(server, "juliet", "secret", tls="starttls", resource="balcony")
    await juliet.get_roster()
    romeo = await poezio(server)
    await command(romeo, f"/add juliet@{DOMAIN}")
    request = await juliet.presence_of("subscribe")
    assert request["from"] == f"romeo@{DOMAIN}"
    juliet.grants_and_asks(f"romeo@{DOMAIN}")
    # It grants by itself what somebody asks for whom it has asked.
    await juliet.presence_of("subscribed")
    assert (await juliet.presence_of("available"))["from"].bare == f"romeo@{DOMAIN}"
    await romeo.shows("accepted your contact proposal")
    await command(romeo, f"/message juliet@{DOMAIN} But soft, what light")
    # Chat states come before it.
    while not (message := await juliet.next_message())["body"]:
        pass
    assert message["body"] == "But soft, what light"
    juliet.say(message["from"], "It is the east")
    await romeo.shows("It is the east")
    juliet.send_presence(pshow="away", pstatus="on the balcony")
    await romeo.shows("on the balcony")
    await command(romeo, "/status dnd")
    assert (await juliet.presence_of("dnd"))["from"].bare == f"romeo@{DOMAIN}"
    await quits(romeo)
    assert (await juliet.presence_of("unavailable"))["from"].bare == f"romeo@{DOMAIN}"
    juliet.say(f"romeo@{DOMAIN}", "Thrice the worse")
    again = await poezio(server)
    assert (await juliet.presence_of("available"))["from"].bare == f"romeo@{DOMAIN}"
    # What came meanwhile has opened a tab beside the list of contacts.
    await again.shows("1.juliet")
    await command(again, "/win 1")
    await again.shows("Thrice the worse")
