"""A slixmpp component, and one that sends back what it gets."""

import asyncio
import hashlib
import re

from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from harness.client import LOGIN_SECONDS, STANZA_SECONDS, settle
from slixmpp import ComponentXMPP


class Component(ComponentXMPP):
    """Serves `name` through one listener of `server`; `messages` holds what came."""

    def __init__(self, server, name, secret, listener=1):
        host, port = server.listeners[listener].address
        super().__init__(name, secret, host, port)
        self.messages = asyncio.Queue()
        self.stream_errors = []
        self.ready = self.loop.create_future()
        self.ended = self.loop.create_future()
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0199")
        self.register_handler(Callback("messages", StanzaPath("message"), self.on_message))
        self.add_event_handler("session_start", lambda _: settle(self.ready, True))
        self.add_event_handler("stream_error", lambda stanza: self.stream_errors.append(stanza["condition"]))
        self.add_event_handler("disconnected", lambda _: settle(self.ended, True))

    def on_message(self, message):
        self.messages.put_nowait(message)

    async def begin(self):
        """Connects and is admitted."""
        self.connect()
        done, _ = await asyncio.wait(
            [self.ready, self.ended], timeout=LOGIN_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        assert self.ready in done, f"not admitted: {self.stream_errors}"
        return self

    async def stop(self):
        if self.transport is not None:
            self.disconnect(wait=1)
            await asyncio.wait_for(asyncio.shield(self.ended), LOGIN_SECONDS)

    async def next_message(self, seconds=STANZA_SECONDS):
        return await asyncio.wait_for(self.messages.get(), seconds)


class Echo(Component):
    """Answers each message with its own body, from the address that it was sent to."""

    def on_message(self, message):
        if message["type"] in ("chat", "normal"):
            message.reply(message["body"]).send()


def shake_hands(wire, name, secret):
    """Makes a component of a socket."""
    wire.send(
        f"<stream:stream to='{name}' xmlns='jabber:component:accept' "
        "xmlns:stream='http://etherx.jabber.org/streams'>"
    )
    stream_id = re.search(r" id='([^']+)'", wire.until_tag("stream:stream"))[1]
    digits = hashlib.sha1((stream_id + secret).encode()).hexdigest()
    wire.send(f"<handshake>{digits}</handshake>")
    wire.until("<handshake/>")


def messages_in(text):
    """The ids of the whole messages in what a component read."""
    return re.findall(r"<message[^>]* id=['\"](m\d+)['\"].*?</message>", text)
