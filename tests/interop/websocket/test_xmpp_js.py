"""@xmpp/client, the client library of JavaScript, over WebSocket."""

import asyncio

from harness import js
from harness.listener import Listener
from harness.web import http_listener

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
SECONDS = 30


async def test_it_chats_with_slixmpp(start_server, connect):
    server = start_server(listeners=[http_listener(), Listener()], accounts=ACCOUNTS)
    juliet = await connect(server, "juliet", "secret", mechanism="SCRAM-SHA-1", listener=1)
    service = f"ws://127.0.0.1:{server.listeners[0].port}/ws-xmpp"
    romeo = await js.node("xmpp.mjs", service, "romeo", "secret", juliet.boundjid.full)
    try:
        hello = await juliet.next_message(SECONDS)
        assert hello["body"] == "hello from romeo@localhost/js"
        for text in ["one", "zwei <&> \u2603 \U0001f600", "x" * 20_000]:
            juliet.say("romeo@localhost", text)
            assert (await juliet.next_message())["body"] == f"you said {text}"
        juliet.say(hello["from"], "stop")
        output, _ = await asyncio.wait_for(romeo.communicate(), SECONDS)
        assert romeo.returncode == 0, output.decode()
    finally:
        if romeo.returncode is None:
            romeo.kill()
    assert server.ended("finished") == 1
