"""A name server on loopback with a table of its own: the tests have no internet."""

import random
import socket
import struct
import threading
from contextlib import suppress

A, AAAA, SRV = 1, 28, 33
OK, NO_SUCH_NAME = 0, 3
IN = 1
TTL = 60


def loopback():
    """An address of 127.0.0.0/8 that nobody else uses."""
    return ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])


class Dns:
    """`names`: name -> addresses; `services`: "_xmpp-server._tcp.x" -> [(priority, weight, port, target)]."""

    def __init__(self):
        self.names = {}
        self.services = {}
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = loopback()
        # The port that resolvers expect; systems where only root may have it run these tests as root.
        self.socket.bind((self.address, 53))
        threading.Thread(target=self.run, daemon=True).start()

    def close(self):
        self.socket.close()

    def add(self, domain, address, port, *, direct=None):
        """A server of `domain` at this place; with `direct`, TLS from the first byte at that port."""
        # ejabberd asks the system for addresses, which knows no other name of ours.
        target = "localhost" if address == "127.0.0.1" else f"xmpp.{domain}"
        self.names[target] = [address]
        # Both of one priority would be a choice by chance.
        self.services[f"_xmpp-server._tcp.{domain}"] = [(1 if direct else 0, 5, port, target)]
        if direct:
            self.services[f"_xmpps-server._tcp.{domain}"] = [(0, 5, direct, target)]

    def forget(self, domain):
        """Nobody finds the server of `domain` any more."""
        for service in ("_xmpp-server", "_xmpps-server"):
            self.services.pop(f"{service}._tcp.{domain}", None)
        self.names.pop(f"xmpp.{domain}", None)

    def run(self):
        with suppress(OSError):
            while True:
                query, peer = self.socket.recvfrom(4096)
                self.socket.sendto(self.answer(query), peer)

    def answer(self, query):
        end, labels = 12, []
        while length := query[end]:
            labels.append(query[end + 1 : end + 1 + length].decode())
            end += 1 + length
        name = ".".join(labels).lower()
        kind = struct.unpack("!H", query[end + 1 : end + 3])[0]
        self.asked.append((name, kind))
        records = self.records(name, kind)
        # A name above a known one exists too, as resolvers that ask step by step have to be told.
        known = any(f".{of}".endswith(f".{name}") for of in (*self.names, *self.services))
        code = OK if known else NO_SUCH_NAME
        header = query[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(records), 0, 0)
        answers = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, IN, TTL, len(data)) + data for data in records
        )
        return header + query[12 : end + 5] + answers

    def records(self, name, kind):
        if kind == A:
            return [socket.inet_aton(ip) for ip in self.names.get(name, []) if ":" not in ip]
        if kind == AAAA:
            return [socket.inet_pton(socket.AF_INET6, ip) for ip in self.names.get(name, []) if ":" in ip]
        if kind == SRV:
            return [
                struct.pack("!HHH", *numbers) + encode(target)
                for *numbers, target in self.services.get(name, [])
            ]
        return []


def encode(name):
    labels = name.split(".") if name else []
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
