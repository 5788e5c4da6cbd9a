"""`meerkat account del`: sessions end, contacts are told, and nothing of the account is left."""

import re

import pytest

from harness.listener import Listener
from harness.meerkat import DOMAIN
from harness.wire import Wire, stream_error

ACCOUNTS = dict.fromkeys(("juliet", "nurse", "romeo"), "secret")
GET = "<iq type='get' id='{0}'><query xmlns='jabber:iq:roster'/></iq>"
SUBSCRIPTION = "<presence type='{}' to='{}@localhost'/>"
KEEP = "<iq type='set' id='kept'><query xmlns='jabber:iq:private'><notes xmlns='n'>of romeo</notes></query></iq>"
KEPT = "<iq type='get' id='notes'><query xmlns='jabber:iq:private'><notes xmlns='n'/></query></iq>"


def login(server, closing, user):
    wire = closing(Wire(server.listeners[0].address))
    wire.login(user, "secret")
    wire.send(GET.format("roster"))
    items = re.findall(r"<item [^>]*>", wire.until_tag("iq", "roster", "result") + wire.ping())
    wire.presence()
    return wire, items


def befriend(server, closing):
    """Juliet and romeo see each other; the nurse has asked romeo, and he has not answered."""
    juliet, _ = login(server, closing, "juliet")
    romeo, _ = login(server, closing, "romeo")
    nurse, _ = login(server, closing, "nurse")
    for one, name, other, its in ((juliet, "juliet", romeo, "romeo"), (romeo, "romeo", juliet, "juliet")):
        one.send(SUBSCRIPTION.format("subscribe", its))
        other.until_tag("presence", "subscribe", f"{name}@")
        other.send(SUBSCRIPTION.format("subscribed", name))
        one.until_tag("presence", f"{its}@localhost/")
    nurse.send(SUBSCRIPTION.format("subscribe", "romeo"))
    romeo.until_tag("presence", "subscribe", "nurse@")
    romeo.send(KEEP)
    romeo.until_tag("iq", "kept", "result")
    nurse.ping("asked")
    return juliet, romeo, nurse


def is_gone(server, closing):
    """Whoever gets the name next finds nothing, and nobody whom he sees."""
    assert server.account_list() == [f"juliet@{DOMAIN}", f"nurse@{DOMAIN}"]
    server.must_run("account", "add", f"romeo@{DOMAIN}", "--password", "secret")
    again, items = login(server, closing, "romeo")
    assert items == []
    again.send(KEPT)
    assert "of romeo" not in again.until_tag("iq", "notes", "result") + again.ping("all")
    for user in ("juliet", "nurse"):
        wire, items = login(server, closing, user)
        (item,) = items
        assert "romeo@localhost" in item and "subscription='none'" in item and "ask=" not in item, item
        wire.close()
    assert "<presence" not in again.ping("alone")


@pytest.mark.parametrize("is_there", [True, False], ids=["online", "away"])
def test_a_running_server_tells_contacts(start_server, closing, is_there):
    server = start_server(listeners=[Listener()], accounts=ACCOUNTS)
    juliet, romeo, nurse = befriend(server, closing)
    if not is_there:
        romeo.send("<presence type='unavailable'/></stream:stream>")
        romeo.to_end()
        juliet.until_tag("presence", "romeo@localhost/", "unavailable")
    done = server.run("account", "del", f"romeo@{DOMAIN}")
    assert done.returncode == 0, done.stderr
    assert f"sessions ended: {int(is_there)}, contacts told: 2" in done.stderr
    if is_there:
        assert stream_error(romeo.to_end()) == "not-authorized"
        juliet.until_tag("presence", "romeo@localhost/", "unavailable")
    juliet.until_tag("presence", "from='romeo@localhost'", "'unsubscribe'")
    juliet.until_tag("item", "romeo@localhost", "subscription='to'")
    juliet.until_tag("presence", "from='romeo@localhost'", "'unsubscribed'")
    juliet.until_tag("item", "romeo@localhost", "subscription='none'")
    nurse.until_tag("presence", "from='romeo@localhost'", "'unsubscribed'")
    is_gone(server, closing)


def test_without_a_server_the_rosters_of_contacts_change(start_server, closing):
    server = start_server(listeners=[Listener()], accounts=ACCOUNTS)
    befriend(server, closing)
    server.stop()
    done = server.run("account", "del", f"romeo@{DOMAIN}")
    assert done.returncode == 0, done.stderr
    server.serve()
    is_gone(server, closing)


def test_what_is_not_there_is_not_removed(start_server):
    server = start_server(accounts=ACCOUNTS)
    done = server.run("account", "del", f"paris@{DOMAIN}")
    assert done.returncode == 1 and "no account paris@localhost" in done.stderr, done.stderr
