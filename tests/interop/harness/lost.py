"""A host that vanishes without a word: no FIN, no RST, nothing is acknowledged. And what a server does about it."""

import ctypes
import os
import socket
import struct

# Of this kernel's interface; Python has no names for them.
SO_ATTACH_FILTER = 26
RETURN_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)
SYS_PIDFD_GETFD = 438


def vanish(stream):
    """From now on the kernel throws away whatever comes for the socket, before TCP sees it."""
    program = ctypes.create_string_buffer(RETURN_NOTHING)
    stream.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxP", 1, ctypes.addressof(program)))


def other_end(process, stream):
    """The socket with which a process of ours holds the other end of a connection."""
    pidfd = os.pidfd_open(process.pid)
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    try:
        for name in os.listdir(f"/proc/{process.pid}/fd"):
            if not os.readlink(f"/proc/{process.pid}/fd/{name}").startswith("socket:"):
                continue
            fd = syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0)
            assert fd >= 0, os.strerror(ctypes.get_errno())
            found = socket.socket(fileno=fd)
            if found.family == socket.AF_INET and peer_of(found) == stream.getsockname():
                return found
            found.close()
    finally:
        os.close(pidfd)
    raise AssertionError("no such connection")


def peer_of(found):
    try:
        return found.getpeername()
    except OSError:
        return None


class Patience:
    """How long a server waits for signs of the other end of a connection, in seconds; can be shortened."""

    def __init__(self, process, stream):
        self.socket = other_end(process, stream)

    def of(self, option):
        return self.socket.getsockopt(socket.IPPROTO_TCP, option)

    def seconds(self):
        """Where something is sent, and where nothing is."""
        unacked = self.of(socket.TCP_USER_TIMEOUT) // 1000
        assert self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        # The question after the time has run out is the last one.
        idle, interval = self.of(socket.TCP_KEEPIDLE), self.of(socket.TCP_KEEPINTVL)
        return unacked, idle + interval

    def shorten(self):
        """To one second for each."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        # Nobody but the server holds it any more.
        self.socket.close()
