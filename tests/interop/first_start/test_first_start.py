"""The program without an argument in an empty folder: what it makes, where it listens, who is served."""

import asyncio
import json
import re
import ssl
from pathlib import Path

from harness import js
from harness.listener import Listener
from harness.meerkat import Meerkat, binary
from harness.process import Process
from harness.web import Http, WebSocket, http_listener
from harness.wire import Wire

SECONDS = 30
README = Path(__file__).parents[3] / "README.md"
# Of config/meerkat.toml, which is built in: the well-known ones, the last two on loopback.
STARTTLS, TLS, PEERS, BROWSERS, COMPONENTS, OPERATOR = 5222, 5223, 5269, 5285, 8888, 5280
MADE = {"meerkat.db", "secrets/dashboard", "secrets/service", "tls/localhost.crt", "tls/localhost.key"}


def start_lines(text):
    """What a start says of the configuration, without the number of cores."""
    lines = re.findall(r"^  (?:listening|note|made|modules|data|account) .*$", text, re.MULTILINE)
    return [re.sub(r"accepts \d+ on (?:each of )?\d+ cores?", "accepts", line) for line in lines]


class Made:
    """The certificate that the first start has made."""

    def __init__(self, file):
        self.file = file

    def context(self):
        return ssl.create_default_context(cafile=str(self.file))


class Default(Meerkat):
    """No configuration file, no argument."""

    def __init__(self, folder):
        Process.__init__(self, folder, "meerkat")
        clients = [Listener("starttls", port=STARTTLS), Listener("tls", port=TLS)]
        browsers = [http_listener(tls="tls"), http_listener()]
        browsers[0].port, browsers[1].port = BROWSERS, OPERATOR
        others = [Listener(kind="s2s", port=PEERS), Listener(kind="service", port=COMPONENTS)]
        self.listeners = clients + browsers + others
        self.certificate = Made(folder / "data/tls/localhost.crt")
        self.config_file = None

    def command(self):
        return [binary()]


async def test_everybody_is_served(folder, connect, closing):
    server = Default(folder)
    server.serve()
    try:
        await everybody(server, folder / "data", connect, closing)
    finally:
        server.stop()
        print(f"--- log of {server.name}\n{server.tail()}")
    assert server.child.returncode == 0


async def everybody(server, data, connect, closing):
    files = {str(file.relative_to(data)): file for file in data.rglob("*") if file.is_file()}
    assert MADE <= set(files), files
    assert data.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o077 == 0 for name, file in files.items() if name in MADE - {"tls/localhost.crt"})
    secrets = {name: files[f"secrets/{name}"].read_text().strip() for name in ("dashboard", "service")}
    assert all(len(secret) >= 32 and secret not in server.log() for secret in secrets.values())
    for line in ["self-signed certificate data/tls/localhost.crt", *(f"secret data/secrets/{name}" for name in secrets)]:
        assert f"  made       {line}" in server.log()
    # The README shows these lines, of a machine with two cores; what it says of the machine may differ.
    assert start_lines(README.read_text()) == start_lines(server.log())
    assert "(no TLS; accepts " in server.log() and "; /dashboard /http-bind /metrics /ws-xmpp)" in server.log()
    bound = {listener["address"] for listener in server.status()["listeners"]}
    far = {f"0.0.0.0:{port}" for port in (STARTTLS, TLS, PEERS, BROWSERS)}
    assert bound == far | {f"127.0.0.1:{port}" for port in (COMPONENTS, OPERATOR)}

    server.must_run("account", "add", "juliet@localhost", "--password", "r0m30")
    server.must_run("account", "add", "romeo@localhost", "--password", "jul13t")
    juliet = await connect(server, "juliet", "r0m30", tls="starttls")
    nurse = await connect(server, "juliet", "r0m30", tls="tls", listener=1, resource="nurse")

    # A browser on the clear port of this machine, another with TLS.
    peer = juliet.boundjid.full
    romeo = await js.node("xmpp.mjs", f"ws://127.0.0.1:{OPERATOR}/ws-xmpp", "romeo", "jul13t", peer)
    try:
        hello = await juliet.next_message(SECONDS)
        assert hello["body"] == "hello from romeo@localhost/js"
        juliet.say(hello["from"], "stop")
        output, _ = await asyncio.wait_for(romeo.communicate(), SECONDS)
        assert romeo.returncode == 0, output.decode()
    finally:
        if romeo.returncode is None:
            romeo.kill()
    page = closing(WebSocket(("127.0.0.1", BROWSERS)))
    page.secure(server.certificate.context())
    page.upgrade().login("romeo", "jul13t")
    page.say(f"<message xmlns='jabber:client' to='{nurse.boundjid.full}'><body>by wss</body></message>")
    assert (await nurse.next_message())["body"] == "by wss"

    # What only the operator may see.
    wire = closing(Http(("127.0.0.1", OPERATOR)))
    assert "meerkat_accepted_total" in wire.get("/metrics").body
    assert wire.get("/dashboard/").status == 200
    for password, status in ((secrets["dashboard"], 200), ("a guess", 403)):
        body = json.dumps({"username": "admin", "password": password})
        web = closing(Http(("127.0.0.1", OPERATOR)))
        headers = "Content-Type: application/json\r\n"
        assert web.get("/dashboard/login", method="POST", headers=headers, body=body).status == status
    far = closing(Http(("127.0.0.1", BROWSERS)))
    far.secure(server.certificate.context())
    assert [far.get(path).status for path in ("/metrics", "/dashboard/", "/dashboard/login")] == [404, 404, 404]

    # Servers are turned away, with a reason.
    peer = closing(Wire(("127.0.0.1", PEERS)))
    peer.send(
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"
        " from='example.org' to='localhost' version='1.0'>"
    )
    assert "policy-violation" in peer.to_end()
