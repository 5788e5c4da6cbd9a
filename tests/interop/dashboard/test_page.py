"""The dashboard in a real browser: it moves under load, is readable everywhere, and ends a session.

The session has a name that is HTML."""

import asyncio
import math
import os
import random
import threading
from html import escape, unescape
from pathlib import Path

import pytest

from harness import js
from harness.listener import Listener
from harness.web import http_listener
from harness.wire import Closed, Wire

SECONDS = 60
# For pictures with full charts: MEERKAT_DASHBOARD_EVENTS=120 MEERKAT_DASHBOARD_PICTURES=docs/images.
WATCHED = os.environ.get("MEERKAT_DASHBOARD_EVENTS", "1")
USERS = ["juliet", "romeo", "mercutio", "benvolio", "rosaline", "tybalt", "paris", "nurse"]
# A name that would do something if it were read as HTML; in pictures it would only look strange.
ODD = "juliet" if "MEERKAT_DASHBOARD_PICTURES" not in os.environ else ""
HTML = "<img src=//stranger.example/x onerror=alert(1)> & \"'</td>"
PICTURES = ["dashboard-login", "dashboard-light", "dashboard-dark", "dashboard-phone"]


def chat(server, wires, stopped):
    """Messages from each to the next, in waves, and visitors that connect and leave."""
    visitors = []
    turn = 0
    while not stopped.wait(0.02):
        turn += 1
        wave = 3 + 2 * math.sin(turn / 90) + random.uniform(-0.6, 0.6)
        for number in range(max(1, round(wave))):
            at = (turn + number) % len(wires)
            to = wires[(at + 1) % len(wires)].jid
            try:
                wires[at].send(f"<message to='{to}' type='chat'><body>{turn}</body></message>")
                wires[at].socket.setblocking(False)
                wires[at].socket.recv(1_000_000)
            except (Closed, OSError):
                pass
            finally:
                wires[at].socket.settimeout(10)
        if random.random() < 0.12 + 0.1 * math.sin(turn / 60):
            visitors.append(Wire(server.listeners[random.choice([0, 2])].address))
        if len(visitors) > 12 or (visitors and random.random() < 0.08):
            visitors.pop(random.randrange(len(visitors))).close()


@pytest.mark.timeout(240)
async def test_it_lives_and_kicks(start_server, closing, folder):
    login = {"path": "/dashboard", "username": "admin", "password": "open sesame"}
    web = http_listener(mongoose_websocket_handler={"path": "/ws-xmpp"}, meerkat_dashboard=login)
    limited = Listener(options={"max_connections": 200})
    server = start_server(listeners=[limited, web, Listener(tls="starttls")], accounts={u: "x" for u in USERS})
    wires = [closing(Wire(server.listeners[0].address)) for _ in USERS]
    for wire, user in zip(wires, USERS, strict=True):
        wire.login(user, "x", escape(HTML) if user == ODD else f"{user[:3]}-phone")
        wire.send("<presence/>")
        wire.ping()
    stopped = threading.Event()
    load = threading.Thread(target=chat, args=(server, wires[1:], stopped))
    load.start()
    pictures = Path(os.environ.get("MEERKAT_DASHBOARD_PICTURES", folder)).absolute()
    url = f"http://127.0.0.1:{web.port}/dashboard"
    given = ("admin", login["password"], WATCHED, pictures, wires[1].jid, unescape(wires[0].jid))
    page = await js.node("dashboard.mjs", url, *given)
    try:
        output, _ = await asyncio.wait_for(page.communicate(), SECONDS + float(WATCHED))
        said = output.decode().splitlines()
    finally:
        stopped.set()
        load.join()
        if page.returncode is None:
            page.kill()
    assert page.returncode == 0, said
    assert [line for line in said if not line.startswith("console")] == ["refused", "paused", "live", "found", "kicked"]
    assert "policy-violation" in wires[0].to_end()
    assert server.ended("kicked") == 1
    for name in PICTURES:
        assert (pictures / f"{name}.png").stat().st_size > 5_000
