"""Free ports of the loopback interface, and waiting until one is served."""

import random
import selectors
import socket

# Below the range from which the kernel takes the ports of outgoing connections.
FIRST, LAST = 15_000, 31_999
PICKS = 200

LOOPBACK = "127.0.0.1"

# Of linux/in.h; Python has no name for it before 3.12.
IP_BIND_ADDRESS_NO_PORT = 24


# Those that were given away and may not be bound yet.
given = set()


def free_port():
    """A port that nobody listens on; the caller binds it soon."""
    for _ in range(PICKS):
        port = random.randint(FIRST, LAST)
        if port in given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            given.add(port)
            return port
    raise RuntimeError(f"no free port in {PICKS} picks")


def bind_address(sock, address):
    """The address only: the port is chosen by connect, which may use one for several servers."""
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((address, 0))


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def accepts_at(address):
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def wait_readable(sock, seconds):
    """Whether the socket has bytes or its end within the time."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(seconds))
