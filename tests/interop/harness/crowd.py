"""Many connections at once, opened and read with one selector instead of a thread each."""

import errno
import selectors
import socket
import time

from harness.ports import LOOPBACK, bind_address

READ_BYTES = 65_536
# A connect that meets a full backlog is tried again by the kernel after 1 s, 3 s and 7 s.
CONNECT_SECONDS = 20


class Member:
    """One connection: what came so far, and whether the server has closed it."""

    def __init__(self, source):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        bind_address(self.socket, source)
        self.connected = False
        self.closed = False
        self.seen = b""

    def read(self):
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.seen += data
        self.closed = not data


class Crowd:
    """Connects `size` sockets to the address, by turns from `sources`; says `said` on each at once."""

    def __init__(self, address, size, said=b"", sources=(LOOPBACK,)):
        self.selector = selectors.DefaultSelector()
        self.said = said
        self.members = [Member(sources[number % len(sources)]) for number in range(size)]
        for member in self.members:
            code = member.socket.connect_ex(address)
            assert code in (0, errno.EINPROGRESS), errno.errorcode[code]
            self.selector.register(member.socket, selectors.EVENT_WRITE, member)
        self.until(lambda: all(member.connected for member in self.members), CONNECT_SECONDS)

    def until(self, true, seconds):
        """Handles events until `true()`; whether it came true within the time."""
        deadline = time.monotonic() + seconds
        while not true():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self.selector.select(left):
                self.handle(key.data)
        return True

    def handle(self, member):
        if not member.connected:
            member.connected = True
            failed = member.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            assert failed == 0, errno.errorcode[failed]
            member.socket.send(self.said)
            self.selector.modify(member.socket, selectors.EVENT_READ, member)
            return
        member.read()
        if member.closed:
            self.selector.unregister(member.socket)

    def with_answer(self, mark=b"</stream:features>"):
        return [member for member in self.members if mark in member.seen]

    def refused(self):
        return [member for member in self.members if member.closed]

    def leave(self, members):
        """These close; the server sees an ordinary end."""
        for member in members:
            if not member.closed:
                self.selector.unregister(member.socket)
                member.closed = True
            member.socket.close()

    def close(self):
        self.leave(self.members)
        self.selector.close()
