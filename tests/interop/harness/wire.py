"""A client made of a socket: says byte for byte what a test wants it to say."""

import base64
import re
import socket
import ssl

from harness.meerkat import DOMAIN
from harness.ports import LOOPBACK, bind_address

READ_SECONDS = 10
READ_BYTES = 65_536
# No test expects a longer answer.
ANSWER_BYTES_MAX = 4_000_000

HEADER = (
    b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams'>"
)
FOOTER = b"</stream:stream>"
BIND = "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{}</bind></iq>"
PING = "<iq type='get' id='{}' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"


class Closed(Exception):
    """The server closed the connection before what was waited for; `seen` is what came."""

    def __init__(self, seen):
        super().__init__(f"closed after {seen!r}")
        self.seen = seen


class Wire:
    """Connects at once, from `source` (an address of the loopback network) where given."""

    def __init__(self, address, source=LOOPBACK, receive_buffer=None, seconds=READ_SECONDS):
        self.socket = socket.socket()
        self.socket.settimeout(seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        bind_address(self.socket, source)
        self.socket.connect(address)
        self.pending = b""
        self.jid = None

    def close(self):
        self.socket.close()

    def secure(self, context: ssl.SSLContext, starttls=False):
        if starttls:
            self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            self.until_tag("proceed")
        self.socket = context.wrap_socket(self.socket, server_hostname=DOMAIN)

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def until(self, *marks):
        """Reads until one of the marks has come; everything up to its end."""
        return self.until_match("|".join(re.escape(mark) for mark in marks))

    def until_tag(self, name, *inside):
        """Reads until a start tag of that name has come that contains all of `inside`."""
        wanted = "".join(f"(?=[^>]*{re.escape(part)})" for part in inside)
        return self.until_match(f"<{name}\\b{wanted}[^>]*>")

    def until_match(self, pattern):
        pattern = re.compile(pattern.encode())
        while (found := pattern.search(self.pending)) is None:
            self.pending += self.read_more()
        answer, self.pending = self.pending[: found.end()], self.pending[found.end() :]
        return answer.decode()

    def read_more(self):
        assert len(self.pending) < ANSWER_BYTES_MAX, "the server does not stop talking"
        try:
            data = self.socket.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed(self.pending)
        return data

    def to_end(self):
        """Everything until the server closes."""
        try:
            while True:
                self.pending += self.read_more()
        except Closed as closed:
            self.pending = b""
            return closed.seen.decode()

    def open(self):
        """Stream header; returns the server's header and features."""
        self.send(HEADER)
        return self.until("</stream:features>", "<stream:features/>")

    def login(self, user, password, resource=""):
        """SASL PLAIN and a bound resource; the full JID."""
        self.open()
        self.send(plain(user, password))
        answer = self.until("/>", "</failure>")
        assert "<success" in answer, answer
        return self.bind(resource)

    def bind(self, resource=""):
        self.open()
        self.send(BIND.format(f"<resource>{resource}</resource>" if resource else ""))
        self.jid = self.until("</iq>").split("<jid>")[1].split("</jid>")[0]
        return self.jid

    def presence(self):
        """Available; returns when the server has said so to this resource too."""
        self.send("<presence/>")
        self.until_tag("presence", self.jid)

    def ping(self, name="ping"):
        """A round trip through the whole server; what came before its answer, and that."""
        self.send(PING.format(name))
        return self.until_tag("iq", f"{name}", "result")

    def reset(self):
        """The peer vanishes: RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()


def plain(user, password):
    secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    return f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"


def stream_error(text):
    """The condition of the stream error in what a server said, or None."""
    if "<stream:error" not in text:
        return None
    inside = text.split("<stream:error", 1)[1].split(">", 1)[1].lstrip()
    return inside.removeprefix("<").replace("/", " ").replace(">", " ").split()[0]
