"""Another server that a test plays itself, stream by stream, in TLS and with a certificate."""

import select
import socket
import ssl

from harness import ports
from harness.wire import Wire

STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
EXTERNAL = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>"
AUTH = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"
SUCCESS = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
BIDI = "<bidi xmlns='urn:xmpp:bidi'/>"
END = "</stream:stream>"
SECONDS = 10
# Messages at a time.
SAME = 10


def header(sender, to, name=""):
    return (
        f"<?xml version='1.0'?><stream:stream from='{sender}' to='{to}' {name} version='1.0' xmlns='jabber:server' "
        "xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams'>"
    )


class Stream(Wire):
    """One stream, of either making."""

    def __init__(self, stream):
        self.socket = stream
        self.socket.settimeout(SECONDS)
        self.pending = b""

    def says_something(self):
        """True when something is there to be read, or the end."""
        pending = self.socket.pending() if isinstance(self.socket, ssl.SSLSocket) else 0
        return bool(self.pending or pending or select.select([self.socket], [], [], 0)[0])

    def bodies(self, count):
        """The bodies of the next messages."""
        return [self.body() for _ in range(count)]

    def body(self):
        return self.until("</message>").split("<body>")[1].split("</body>")[0]

    def bodies_until(self, last):
        """The bodies of all messages as far as this one."""
        bodies = [self.body()]
        while bodies[-1] != last:
            bodies.append(self.body())
        return bodies


class Played:
    """A server of `domain`, which talks with `other`; found by `dns`, vouched for by `authority`."""

    def __init__(self, domain, other, dns, authority, address=ports.LOOPBACK):
        self.domain, self.other = domain, other
        self.files = authority.issue(domain)
        self.authority = authority
        self.listener = socket.create_server((address, 0))
        self.listener.settimeout(SECONDS)
        dns.add(domain, address, self.listener.getsockname()[1])

    def close(self):
        self.listener.close()

    def context(self, purpose, certificate):
        context = ssl.create_default_context(purpose, cafile=str(self.authority.file))
        context.check_hostname = False
        context.verify_mode = ssl.CERT_OPTIONAL
        if certificate:
            context.load_cert_chain(*map(str, self.files))
        return context

    def is_called(self):
        """True when somebody has connected who was not let in yet."""
        return bool(select.select([self.listener], [], [], 0)[0])

    def answer(self, features=EXTERNAL):
        """Lets the next one in, as far as its stream header in TLS and the features."""
        stream = Stream(self.listener.accept()[0])
        stream.until(">", "?>")
        stream.until_tag("stream:stream")
        own = header(self.domain, self.other, "id='a name'")
        stream.send(f"{own}<stream:features>{STARTTLS}</stream:features>")
        stream.until_tag("starttls")
        stream.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        context = self.context(ssl.Purpose.CLIENT_AUTH, certificate=True)
        stream.socket = context.wrap_socket(stream.socket, server_side=True)
        stream.until_tag("stream:stream")
        stream.send(f"{own}<stream:features>{features}</stream:features>")
        return stream

    def accept(self):
        """Lets the next one in, until it may send."""
        stream = self.answer()
        stream.until("</auth>")
        stream.send(SUCCESS)
        stream.until_tag("stream:stream")
        stream.send(header(self.domain, self.other, "id='another'") + "<stream:features/>")
        return stream

    def call(self, place, certificate=True):
        """Connects to `place`: as far as the features in TLS, which come with it."""
        stream = Stream(socket.create_connection(place))
        own = header(self.domain, self.other)
        stream.send(own)
        stream.until("</stream:features>")
        stream.send(STARTTLS)
        stream.until_tag("proceed")
        context = self.context(ssl.Purpose.SERVER_AUTH, certificate)
        stream.socket = context.wrap_socket(stream.socket, server_hostname=self.other)
        stream.send(own)
        return stream, stream.until("</stream:features>")

    def one_way(self, place):
        """Connects to `place` with the certificate, until it may send."""
        return self.authenticate(place, AUTH)

    def authenticate(self, place, auth):
        stream, features = self.call(place)
        assert "urn:xmpp:features:bidi" in features, features
        stream.send(auth)
        stream.until_tag("success")
        stream.send(header(self.domain, self.other))
        stream.until("</stream:features>")
        return stream

    def both_ways(self, place, heard=None):
        """Connects to `place` with the certificate and has it send on the stream too.

        `heard`: the stream that is used so far."""
        stream = self.authenticate(place, BIDI + AUTH)
        # It has taken in what is behind the negotiation: now it knows the stream for what it is.
        stream.send(f"<iq type='get' id='ping' from='{self.domain}' to='{self.other}'><ping xmlns='urn:xmpp:ping'/></iq>")
        (heard or stream).until_tag("iq", "id='ping'", "result")
        return stream


class Writer(Wire):
    """romeo of `near`, who writes numbered messages to juliet of `far`."""

    def __init__(self, near, far):
        super().__init__(near.listeners[0].address)
        self.near, self.far = near.domain, far
        self.count = 0
        # What came before the last answer.
        self.heard = ""
        self.login("romeo", "secret")

    def open(self):
        self.send(
            f"<stream:stream to='{self.near}' version='1.0' xmlns='jabber:client' "
            "xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        return self.until("</stream:features>", "<stream:features/>")

    def write(self, number, more=""):
        self.send(f"<message to='juliet@{self.far}' type='chat' id='{number}'><body>{number}{more}</body></message>")

    def writes(self):
        """Some messages more; the numbers of them, once the server has them."""
        numbers = [str(number) for number in range(self.count, self.count + SAME)]
        self.count += SAME
        for number in numbers:
            self.write(number)
        self.send(f"<iq type='get' id='p{self.count}' to='{self.near}'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.heard = self.until_tag("iq", f"id='p{self.count}'", "result")
        return numbers
