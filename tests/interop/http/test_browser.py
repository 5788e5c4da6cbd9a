"""strophe.js and converse.js in a real browser, over WebSocket and over BOSH."""

import asyncio

import pytest

from harness import js
from harness.listener import Listener
from harness.web import http_listener

SECONDS = 30


@pytest.mark.timeout(150)
@pytest.mark.parametrize("way", ["websocket", "bosh"])
@pytest.mark.parametrize("library", ["strophe", "converse"])
async def test_it_chats_with_slixmpp(start_server, connect, library, way):
    handlers = {"mongoose_websocket_handler": {"path": "/ws-xmpp"}, "mongoose_bosh_handler": {"path": "/http-bind"}}
    server = start_server(listeners=[http_listener(**handlers), Listener()])
    for user in ("juliet", "romeo"):
        # With the rounds of a real account: browsers refuse fewer than 4096.
        server.must_run("account", "add", f"{user}@localhost", "--password", "secret")
    juliet = await connect(server, "juliet", "secret", mechanism="SCRAM-SHA-256", listener=1)
    at = f"127.0.0.1:{server.listeners[0].port}"
    service = {"websocket": f"ws://{at}/ws-xmpp", "bosh": f"http://{at}/http-bind"}[way]
    page = await js.node("browser.mjs", library, service, "romeo", "secret", juliet.boundjid.full)
    output = asyncio.create_task(page.stdout.read())
    try:
        hello = await juliet.next_message(SECONDS)
        assert hello["body"] == f"hello from romeo@localhost/{library}"
        assert f" {way} " in server.must_run("session", "list", "romeo")
        for text in ["one", "zwei <&> \u2603 \U0001f600", "x" * 20_000]:
            juliet.say(hello["from"], text)
            while not (answer := await juliet.next_message(SECONDS))["body"]:
                # Markers and chat states.
                pass
            assert answer["body"] == f"you said {text}"
        juliet.say(hello["from"], "stop")
        await asyncio.wait_for(page.wait(), SECONDS)
        assert page.returncode == 0
    finally:
        if page.returncode is None:
            page.kill()
        print((await output).decode())
    assert "romeo" not in server.must_run("session", "list")
