"""HTTP and WebSocket over a socket, byte for byte as a test wants it."""

import base64
import os
import re
import struct

from harness.listener import Listener
from harness.wire import BIND, Closed, Wire

FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
OPEN = f"<open xmlns='{FRAMING}' to='localhost' version='1.0'/>"
CLOSE = f"<close xmlns='{FRAMING}'/>"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
TEXT, CONTINUATION, BINARY, CLOSED, PING, PONG = 1, 0, 2, 8, 9, 10


def http_listener(tls=None, options=None, **handlers):
    """`handlers`: type -> keys; a WebSocket at /ws-xmpp where none is given."""
    handlers = handlers or {"mongoose_websocket_handler": {"path": "/ws-xmpp"}}
    return Listener(kind="http", tls=tls, options=options or {}, handlers=handlers)


class Answer:
    def __init__(self, head, body):
        first, *lines = head.split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines if line)
        self.raw = body

    @property
    def body(self):
        return self.raw.decode()


class Http(Wire):
    """One connection. `ask` sends a request and reads its answer."""

    def ask(self, request):
        self.send(request)
        return self.answer()

    def get(self, path, method="GET", headers="", body=""):
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        return self.ask(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{body}")

    def answer(self):
        head = self.until("\r\n\r\n")
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        body = self.exactly(int(length[1])) if length else b""
        return Answer(head, body)

    def exactly(self, count):
        while len(self.pending) < count:
            self.pending += self.read_more()
        taken, self.pending = self.pending[:count], self.pending[count:]
        return taken


def frame(payload, opcode=TEXT, last=True, masked=True):
    payload = payload.encode() if isinstance(payload, str) else payload
    head = bytes([opcode | (0x80 if last else 0)])
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask_bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([mask_bit | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", len(payload))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class WebSocket(Http):
    """Connected and upgraded; speaks frames from then on."""

    HANDSHAKE = (
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Protocol: xmpp\r\n\r\n"
    )

    def upgrade(self, path="/ws-xmpp", behind=b""):
        """`behind` is sent together with the request."""
        self.send(self.HANDSHAKE.format(path=path).encode() + behind)
        answer = self.answer()
        assert answer.status == 101, answer.status
        assert answer.headers["sec-websocket-accept"] == "s3pplmbitxaq9kygzzhzrbk+xoo="
        return self

    def say(self, text, **how):
        self.send(frame(text, **how))

    def hear(self):
        """The next frame: (opcode, payload)."""
        first, length = self.exactly(2)
        assert first & 0x70 == 0 and length & 0x80 == 0, "our frames are plain"
        if length == 126:
            (length,) = struct.unpack("!H", self.exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.exactly(8))
        return first & 0x0F, self.exactly(length)

    def element(self):
        opcode, payload = self.hear()
        assert opcode == TEXT, (opcode, payload)
        return payload.decode()

    def open_stream(self):
        self.say(OPEN)
        opened = self.element()
        assert opened.startswith(f"<open xmlns='{FRAMING}'"), opened
        return self.element()

    def login(self, user, password, resource="ws"):
        self.open_stream()
        return self.login_opened(user, password, resource)

    def login_opened(self, user, password, resource="ws"):
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        self.say(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{secret}</auth>")
        answer = self.element()
        assert answer.startswith("<success"), answer
        features = self.open_stream()
        assert "xmpp-bind" in features, features
        bind = BIND.format(f"<resource>{resource}</resource>")
        self.say(bind.replace("<iq ", "<iq xmlns='jabber:client' "))
        self.jid = self.element().split("<jid>")[1].split("</jid>")[0]
        return self.jid

    def until_closed(self):
        """Elements until the server's Close frame; they, and the code of that frame."""
        seen = []
        while True:
            opcode, payload = self.hear()
            if opcode == CLOSED:
                return seen, struct.unpack("!H", payload)[0]
            if opcode == TEXT:
                seen.append(payload.decode())

    def is_at_end(self):
        try:
            self.pending += self.read_more()
        except Closed as closed:
            return closed.seen == b""
        return False
