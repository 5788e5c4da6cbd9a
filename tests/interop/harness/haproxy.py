"""Debian's HAProxy in TCP mode, before a server or (for the tests' own sake) accepting the header."""

import csv
import io
import os
import shutil
import socket

from harness import ports
from harness.process import Process

CONFIG = """
global
  stats socket {folder}/stats.sock mode 600 level user
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 2s
frontend clients
  bind 127.0.0.1:{port} {accept}
  default_backend servers
backend servers
{checks}
  server one 127.0.0.1:{to} {options}
"""
# A check that speaks XMPP: what answers behind the header is the stream, not only the port.
STREAM_CHECKS = """
  option tcp-check
  tcp-check send "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
  tcp-check expect string stream:features
  tcp-check send "</stream:stream>"
"""
LOOKS = 200
LOOK_SECONDS = 0.1


class HAProxy(Process):
    """`options` of its `server` line; `stream_checks`: its health checks open a stream."""

    def __init__(self, folder, to, options="", accept="", stream_checks=False, port=None):
        super().__init__(folder, "haproxy")
        self.port = port or ports.free_port()
        self.stats = folder / "stats.sock"
        self.config_file = folder / "haproxy.cfg"
        self.config_file.write_text(
            CONFIG.format(
                folder=folder,
                port=self.port,
                to=to,
                options=options,
                accept=accept,
                checks=STREAM_CHECKS if stream_checks else "",
            )
        )

    @property
    def address(self):
        return (ports.LOOPBACK, self.port)

    def serve(self):
        # Outside root's PATH on some systems.
        program = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
        self.start([program, "-db", "-f", self.config_file], serves=[self.port])
        return self

    def health(self):
        """What HAProxy thinks of the server: ("UP", "L7OK") and the like."""
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(str(self.stats))
            stats.sendall(b"show stat\n")
            text = stats.makefile().read()
        for row in csv.DictReader(io.StringIO(text.lstrip("# "))):
            if row["svname"] == "one":
                # "* L7OK" while the next check is under way.
                return row["status"].split()[0], row["check_status"].lstrip("* ")
        raise AssertionError(f"no server in {text}")

    def becomes(self, *health):
        for _ in range(LOOKS):
            if self.health() == health:
                return
            assert not self.ended_within(LOOK_SECONDS), self.tail()
        raise AssertionError(f"{self.health()} instead of {health}:\n{self.tail()}")
