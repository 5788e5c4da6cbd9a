"""What the server itself answers, and the errors for what nobody answers."""

import datetime

import pytest
from slixmpp.exceptions import IqError

from harness.meerkat import DOMAIN

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
ABSENT = f"absent@{DOMAIN}"
CLOCK_SKEW_SECONDS = 5


@pytest.fixture
async def juliet(start_server, connect):
    return await connect(start_server(accounts=ACCOUNTS), "juliet", "secret")


@pytest.mark.portable
async def test_ping_to_server_and_to_own_account(juliet):
    juliet.register_plugin("xep_0199")
    for to in (DOMAIN, juliet.boundjid.bare):
        iq = juliet.make_iq_get(ito=to)
        iq.enable("ping")
        answer = await juliet.ask(iq)
        assert answer["type"] == "result"
        # An answer of one's own account may leave its address out (RFC 6120 8.1.2.1).
        assert answer["from"] in (to, "") if to == juliet.boundjid.bare else answer["from"] == to


@pytest.mark.portable
async def test_disco_info_names_the_server_and_what_it_answers(juliet):
    juliet.register_plugin("xep_0030")
    info = (await juliet.plugin["xep_0030"].get_info(jid=DOMAIN))["disco_info"]
    assert ("server", "im") in {identity[:2] for identity in info["identities"]}
    wanted = {
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "urn:xmpp:ping",
        "urn:xmpp:time",
        "jabber:iq:version",
    }
    assert wanted <= set(info["features"])


@pytest.mark.portable
async def test_disco_items(juliet):
    juliet.register_plugin("xep_0030")
    answer = await juliet.plugin["xep_0030"].get_items(jid=DOMAIN)
    assert answer["type"] == "result"
    assert answer.xml.find("{http://jabber.org/protocol/disco#items}query") is not None


@pytest.mark.portable
async def test_version_names_the_software(juliet, request):
    juliet.register_plugin("xep_0092")
    version = (await juliet.plugin["xep_0092"].get_version(DOMAIN))["software_version"]
    assert version["name"].lower() == request.config.getoption("--server")
    assert version["version"]


@pytest.mark.portable
async def test_time_is_now(juliet):
    juliet.register_plugin("xep_0202")
    answer = await juliet.plugin["xep_0202"].get_entity_time(DOMAIN)
    # Read from the XML: slixmpp adds a second "Z" to the value.
    theirs = datetime.datetime.fromisoformat(answer.xml.find(".//{urn:xmpp:time}utc").text)
    ours = datetime.datetime.now(datetime.UTC)
    assert abs((ours - theirs).total_seconds()) < CLOCK_SKEW_SECONDS


@pytest.mark.portable
@pytest.mark.parametrize("to", [DOMAIN, ABSENT, f"{ABSENT}/there", f"romeo@{DOMAIN}", f"romeo@{DOMAIN}/gone"])
async def test_a_request_that_nobody_answers_bounces(juliet, to):
    iq = juliet.make_iq_get(queryxmlns="urn:example:nobody-knows-this", ito=to)
    with pytest.raises(IqError) as refused:
        await juliet.ask(iq)
    assert refused.value.iq["error"]["condition"] == "service-unavailable"
    assert refused.value.iq["error"]["type"] == "cancel"
    assert refused.value.iq["from"] == to


@pytest.mark.portable
@pytest.mark.parametrize("to", [ABSENT, f"{ABSENT}/there"])
async def test_a_message_to_nobody_bounces(juliet, to):
    juliet.say(to, "anybody there?")
    bounce = await juliet.next_message()
    assert (bounce["type"], bounce["error"]["condition"]) == ("error", "service-unavailable")
    assert bounce["from"] == to


async def test_a_stanza_with_a_foreign_sender_ends_the_stream(juliet):
    juliet.send_raw(f"<message to='romeo@{DOMAIN}' from='romeo@{DOMAIN}'><body>it was him</body></message>")
    assert await juliet.end() == "invalid-from"
