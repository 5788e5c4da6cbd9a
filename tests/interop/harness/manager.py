"""What systemd does for a service, without systemd: sockets, notifications, the watchdog's clock."""

import os
import selectors
import socket
import time

from harness.ports import LOOPBACK

# LISTEN_PID and WATCHDOG_PID are the number of the process that the service becomes.
LAUNCH = 'n=3; for fd in $INHERITED; do eval "exec $n<&$fd"; n=$((n + 1)); done; unset INHERITED n fd; '
LAUNCH += 'export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"'
NOTICE_BYTES = 4096
BACKLOG = 128


class Manager:
    """`listens`: addresses to open sockets for; `watchdog`: seconds within which the service must call."""

    def __init__(self, folder, listens=(), watchdog=None):
        self.path = folder / "notify"
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(self.path))
        self.watchdog = watchdog
        self.sockets = [listening(address) for address in listens]
        self.seen = []

    def wrap(self, command, env):
        env = dict(env or os.environ) | {"NOTIFY_SOCKET": str(self.path)}
        if self.watchdog:
            env["WATCHDOG_USEC"] = str(int(self.watchdog * 1_000_000))
        passed = tuple(opened.fileno() for opened in self.sockets)
        env["INHERITED"] = " ".join(str(fd) for fd in passed)
        if passed:
            env["LISTEN_FDS"] = str(len(passed))
        return ["bash", "-c", LAUNCH, "bash", *command], env, passed

    def wait_for(self, line, seconds=20, times=1):
        """Reads notices until the line has come so many times; the moments at which it came."""
        moments = []
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.notices, selectors.EVENT_READ)
            while len(moments) < times:
                left = deadline - time.monotonic()
                assert left > 0 and selector.select(left), f"{line} did not come {times} times: {self.seen}"
                lines = self.notices.recv(NOTICE_BYTES).decode().split("\n")
                self.seen += lines
                moments += [time.monotonic()] * lines.count(line)
        return moments

    def close(self):
        self.notices.close()
        for opened in self.sockets:
            opened.close()


def listening(address):
    opened = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    opened.bind(address)
    opened.listen(BACKLOG)
    return opened


def free_address():
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()
