"""What the log says and what it never says: JSON for machines, fields, and neither secrets nor bodies."""

import asyncio
import base64
import json
import re
import time

import pytest

from harness.client import Client, LoginFailed
from harness.component import Component, shake_hands
from harness.listener import Listener
from harness.meerkat import Meerkat
from harness.web import WebSocket, http_listener
from harness.wire import Closed, Wire, plain

# No part of these is a word that a log may say of itself.
PASSWORD, WRONG, COMPONENT = "Kq7password", "Kq7wrong", "Kq7component"
BODY, STATUS, KEPT, CARD, PRIVATE = "Kq7body", "Kq7status", "Kq7kept", "Kq7card", "Kq7private"
MARKS = (PASSWORD, WRONG, COMPONENT, BODY, STATUS, KEPT, CARD, PRIVATE, "Kq7")
ACCOUNTS = {"juliet": PASSWORD, "romeo": PASSWORD, "nurse": PASSWORD}
SECONDS = 10


def service():
    return Listener(kind="service", options={"password": COMPONENT})


def everything(log_format):
    runtime = {"log_format": log_format, "drain_ms": 100}
    sections = {"runtime": runtime, "auth": {"allow_plain_without_tls": True}}
    return {"listeners": [Listener("starttls"), service(), http_listener(), Listener()], "sections": sections}


def wait_for(server, text):
    deadline = time.monotonic() + SECONDS
    while text not in server.log():
        assert time.monotonic() < deadline, f"no {text!r}:\n{server.tail()}"
        assert not server.ended_within(0.05), server.tail()


def encoded(text):
    """The text as it goes over the wire in SASL, whatever stands before it."""
    for before in ("", "x", "xx"):
        whole = base64.b64encode((before + text).encode()).decode()
        # The first and the last group depend on the neighbours.
        yield whole[4 if before else 0 : -4]


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_secret_and_no_body_at_any_level(start_server, connect, closing, log_format):
    server = start_server(accounts=ACCOUNTS, env={"MEERKAT_LOG": "trace"}, **everything(log_format))
    # Logins: by SCRAM and PLAIN, right and wrong, over TLS and in clear.
    juliet = await connect(server, "juliet", PASSWORD, tls="starttls", mechanism="SCRAM-SHA-256")
    romeo = await connect(server, "romeo", PASSWORD, tls="starttls", mechanism="PLAIN")
    for mechanism in ("PLAIN", "SCRAM-SHA-1"):
        with pytest.raises(LoginFailed):
            await Client(server, "romeo", WRONG, tls="starttls", mechanism=mechanism).login()
    # Messages: delivered, kept, bounced, to and from a component, of a malformed stream.
    component = Component(server, "echo.localhost", COMPONENT)
    await component.begin()
    juliet.say(romeo.boundjid.full, BODY)
    assert (await romeo.next_message())["body"] == BODY
    juliet.say("nurse@localhost", KEPT)
    juliet.say("nobody@localhost", BODY)
    juliet.say("who@elsewhere.example", BODY)
    juliet.say("who@echo.localhost", BODY)
    assert (await component.next_message())["body"] == BODY
    component.send_message(mto=romeo.boundjid.full, mfrom="a@echo.localhost", mbody=BODY)
    assert (await romeo.next_message())["body"] == BODY
    juliet.send_presence(pstatus=STATUS)
    await store(juliet)
    # What is kept is delivered; over HTTP; what is no XML, and no handshake.
    nurse = await connect(server, "nurse", PASSWORD, tls="starttls")
    assert (await nurse.next_message())["body"] == KEPT
    await component.stop()
    await asyncio.to_thread(misbehave, server, closing)
    assert server.ended("stream_error") >= 1
    await asyncio.gather(*(client.logout() for client in (juliet, romeo, nurse)))
    assert server.terminate() == 0
    log = server.log()
    assert "connection ended" in log and "TRACE" in log
    said = [mark for mark in MARKS if mark in log]
    said += [mark for mark in MARKS for part in encoded(mark) if len(part) >= 8 and part in log]
    assert not said, [line for line in log.splitlines() if any(mark in line for mark in said)]


async def store(client):
    """A vCard and private storage."""
    for name, child in (
        ("vcard-temp", f"<vCard xmlns='vcard-temp'><FN>{CARD}</FN></vCard>"),
        ("private", f"<query xmlns='jabber:iq:private'><a xmlns='urn:a'>{PRIVATE}</a></query>"),
    ):
        client.send_raw(f"<iq type='set' id='{name}'>{child}</iq>")
    await client.ask(client.make_iq_get(ito="localhost", queryxmlns="http://jabber.org/protocol/disco#info"))


def misbehave(server, closing):
    web = closing(WebSocket(server.listeners[2].address))
    web.upgrade()
    web.login("juliet", PASSWORD)
    web.say(f"<message xmlns='jabber:client' to='juliet@localhost/ws'><body>{BODY}</body></message>")
    web.element()
    broken = closing(Wire(server.listeners[3].address))
    broken.login("juliet", PASSWORD, "broken")
    broken.send(f"<message to='romeo@localhost'><body>{BODY}</wrong></message>")
    broken.to_end()
    stranger = closing(Wire(server.listeners[1].address))
    with pytest.raises(Closed):
        shake_hands(stranger, "other.localhost", WRONG)
    guess = closing(Wire(server.listeners[3].address))
    guess.open()
    guess.send(plain("juliet", WRONG))
    guess.until("</failure>")
    registering = closing(Wire(server.listeners[3].address))
    registering.open()
    register = "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>x</username>"
    registering.send(f"{register}<password>{PASSWORD}</password></query></iq>")
    registering.until("</iq>", "</stream:stream>")


def test_json_lines_name_connection_listener_and_client(start_server, closing):
    server = start_server(accounts=ACCOUNTS, env={"MEERKAT_LOG": "debug"}, **everything("json"))
    ports = {}
    # One that logs in and moves to its user's shard, one that speaks no TLS, one that is no HTTP.
    for name, listener in (("session", 3), ("tls", 0), ("http", 2), ("component", 1)):
        wire = closing(Wire(server.listeners[listener].address))
        ports[name] = "{}:{}".format(*wire.socket.getsockname())
        if name == "session":
            wire.login("juliet", PASSWORD)
            wire.send("</stream:stream>")
        elif name == "tls":
            wire.open()
            wire.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            wire.until_tag("proceed")
            wire.send(b"this is no handshake of TLS")
        elif name == "http":
            wire.send(b"\x16\x03nothing\r\n\r\n")
        else:
            shake_hands(wire, "echo.localhost", COMPONENT)
            wire.send("</stream:stream>")
        wire.to_end()
        wire.close()
        wait_for(server, f'"peer":"{ports[name]}"')
    assert server.terminate() == 0
    lines = [json.loads(line) for line in server.log().splitlines()]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["timestamp"]), line
        assert line["level"] in ("DEBUG", "INFO", "WARN", "ERROR") and line["target"] and line["message"]
    said = {name: [line for line in lines if line.get("peer") == port] for name, port in ports.items()}
    for name, path in (("session", "c2s[1]"), ("tls", "c2s[0]"), ("http", "http[0]"), ("component", "service[0]")):
        assert {line["listener"] for line in said[name]} == {f"listen.{path}"}, said[name]
        # One number for all that is said of a connection, and no other has it.
        assert len({line["connection"] for line in said[name]}) == 1, said[name]
        assert said[name][-1]["message"] == "connection ended" and said[name][-1]["reason"], said[name]
    numbers = [first["connection"] for first, *_ in said.values()]
    assert len(set(numbers)) == len(numbers)
    assert "TLS failed" in [line["message"] for line in said["tls"]]
    assert "HTTP failed" in [line["message"] for line in said["http"]]
    assert [line["message"] for line in said["component"]][:1] == ["component connected"]


def test_a_failed_start_is_one_json_line(start_server, folder):
    server = start_server(sections={"runtime": {"log_format": "json"}})
    (folder / "second").mkdir()
    second = Meerkat(folder / "second", listeners=server.listeners, sections={"runtime": {"log_format": "json"}})
    refused = second.run("serve")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    said = json.loads(line)
    assert said["level"] == "ERROR" and said["target"] == "meerkat::server::start"
    assert f"127.0.0.1:{server.listeners[0].port}" in said["message"]
