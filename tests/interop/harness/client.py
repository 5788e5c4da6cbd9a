"""A slixmpp client with the waits that a test needs. Every wait has an end."""

import asyncio
import logging

from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from harness.meerkat import DOMAIN
from slixmpp import ClientXMPP

LOGIN_SECONDS = 20
STANZA_SECONDS = 10
LOGOUT_SECONDS = 5

# Its warnings about presence and roster are of no interest; failures show in the waits.
logging.getLogger("slixmpp").setLevel(logging.CRITICAL)


class LoginFailed(Exception):
    """`condition`: of the SASL failure, or how the stream ended."""

    def __init__(self, condition):
        super().__init__(condition)
        self.condition = condition


class Client(ClientXMPP):
    """`tls`: None, "starttls" or "tls". `mechanism`: the only one it may use. `address`: of a proxy."""

    def __init__(
        self, server, user, password, *, resource=None, tls=None, mechanism=None, listener=0, address=None
    ):
        jid = f"{user}@{getattr(server, 'domain', DOMAIN)}" + (f"/{resource}" if resource else "")
        unencrypted = {"unencrypted_plain": True, "unencrypted_scram": True}
        super().__init__(
            jid,
            password,
            sasl_mech=mechanism,
            plugin_config={"feature_mechanisms": unencrypted | {"use_mech": mechanism}},
            # Given also where it is not used: slixmpp would read the system's authorities for each client.
            ssl_context=server.certificate.context(),
        )
        self.enable_direct_tls = tls == "tls"
        self.enable_starttls = tls == "starttls"
        self.enable_plaintext = tls is None
        self.auto_authorize = None
        self.address = address or server.listeners[listener].address
        self.messages = asyncio.Queue()
        self.presences = asyncio.Queue()
        self.stream_errors = []
        self.ready = self.loop.create_future()
        self.ended = self.loop.create_future()
        self.refusal = None
        self.watch()

    def watch(self):
        self.register_handler(Callback("messages", StanzaPath("message"), self.messages.put_nowait))
        self.register_handler(Callback("presences", StanzaPath("presence"), self.presences.put_nowait))
        self.add_event_handler("session_start", lambda _: settle(self.ready, True))
        self.add_event_handler("failed_auth", self.on_refusal)
        self.add_event_handler("stream_error", lambda stanza: self.stream_errors.append(stanza["condition"]))
        self.add_event_handler("disconnected", self.on_end)

    def on_refusal(self, failure):
        self.refusal = failure["condition"]

    def on_end(self, _):
        settle(self.ended, True)
        cause = self.refusal or (self.stream_errors or ["closed"])[0]
        if not self.ready.done():
            self.ready.set_exception(LoginFailed(cause))

    async def login(self, presence=True):
        """Connects, authenticates, binds; LoginFailed where the server refuses."""
        self.connect(*self.address)
        await asyncio.wait_for(asyncio.shield(self.ready), LOGIN_SECONDS)
        if presence:
            self.send_presence()
            await self.own_presence()
        return self

    async def own_presence(self):
        """The echo of the own presence: from here on the server delivers to this resource."""
        others = []
        while True:
            presence = await self.next_presence()
            if presence["from"] == self.boundjid and presence["type"] == "available":
                break
            others.append(presence)
        # What came before it, of other resources, is for the test to read.
        while not self.presences.empty():
            others.append(self.presences.get_nowait())
        for presence in others:
            self.presences.put_nowait(presence)

    async def logout(self):
        if self.transport is not None:
            self.disconnect(wait=LOGOUT_SECONDS)
            await self.end()

    async def end(self, seconds=LOGIN_SECONDS):
        """Waits for the end of the stream; its stream error, or None."""
        await asyncio.wait_for(asyncio.shield(self.ended), seconds)
        return self.stream_errors[0] if self.stream_errors else None

    async def next_message(self, seconds=STANZA_SECONDS):
        return await asyncio.wait_for(self.messages.get(), seconds)

    async def next_presence(self, seconds=STANZA_SECONDS):
        return await asyncio.wait_for(self.presences.get(), seconds)

    async def presence_of(self, kind, seconds=STANZA_SECONDS):
        """The next presence of that type or, where it is available, that `show`."""
        while True:
            presence = await self.next_presence(seconds)
            if presence["type"] == kind:
                return presence

    def grants_and_asks(self, contact):
        """Answers a request for its presence, and asks for the contact's."""
        self.send_presence_subscription(pto=contact, ptype="subscribed")
        self.send_presence_subscription(pto=contact, ptype="subscribe")

    def say(self, to, body, kind="chat"):
        self.send_message(mto=to, mbody=body, mtype=kind)

    async def ask(self, iq):
        """The answer to an IQ; an error stanza is raised as slixmpp's IqError."""
        return await iq.send(timeout=STANZA_SECONDS)


def settle(future, value):
    if not future.done():
        future.set_result(value)
