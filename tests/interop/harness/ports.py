"""Free ports of the loopback interface, and waiting until one is served."""

import random
import selectors
import socket

# Below the range from which the kernel takes the ports of outgoing connections.
FIRST, LAST = 15_000, 31_999
PICKS = 200

LOOPBACK = "127.0.0.1"


def free_port():
    """A port that nobody listens on; the caller binds it soon."""
    for _ in range(PICKS):
        port = random.randint(FIRST, LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port in {PICKS} picks")


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def wait_readable(sock, seconds):
    """Whether the socket has bytes or its end within the time."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(seconds))
