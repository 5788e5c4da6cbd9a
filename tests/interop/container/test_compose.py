"""The example for Compose, carried out by podman-compose, and a container that has IPv6 alone.

Networks, published ports and the rules of the firewall that make them are in a network namespace, so that
the ports may be the well-known ones.
"""

import json
import os
import shlex
import shutil
import socket
import time

import pytest
import yaml

from harness.containers import BASE_SECONDS, BUILD_SECONDS, COMMAND_SECONDS, IMAGE, ROOT, own_limits, until

EXAMPLES = ROOT / "config" / "examples"
CONFIG = "/etc/meerkat/meerkat.toml"
ADDRESS = "fd4d:6d65:6572::1"
SIX = """
[general]
  hosts = ["localhost"]
  default_server_domain = "localhost"
[auth.internal]
[runtime]
  self_signed = true
[[listen.c2s]]
  port = 5222
  ip_address = "::"
  tls.mode = "starttls"
  tls.certfile = "data/tls/localhost.crt"
  tls.keyfile = "data/tls/localhost.key"
"""
pytestmark = pytest.mark.timeout(BASE_SECONDS + BUILD_SECONDS)


class Project:
    """A copy of the example, with no more than the limits that this process may give."""

    def __init__(self, engine, network, folder):
        self.network = network
        shutil.copy(ROOT / "config" / "meerkat.toml", folder)
        examples = folder / "examples"
        examples.mkdir()
        shutil.copy(EXAMPLES / "seccomp.json", examples)
        written = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
        wanted = written["services"]["meerkat"]["ulimits"]
        assert set(wanted) == {"nofile", "memlock"}
        wanted.update({name: {"soft": soft, "hard": hard} for name, (soft, hard) in own_limits().items()})
        self.file = examples / "compose.yaml"
        self.file.write_text(yaml.safe_dump(written))
        self.podman = folder / "podman"
        self.podman.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, engine.podman_command()))} "$@"\n')
        self.podman.chmod(0o755)

    def do(self, *arguments, check=True):
        command = ["podman-compose", "-f", self.file, "--podman-path", self.podman, *arguments]
        return self.network.run(*command, check=check)

    def meerkat(self, *arguments, check=True):
        return self.do("exec", "-T", "meerkat", "meerkat", *arguments, "-c", CONFIG, check=check)


def test_compose_serves_keeps_its_data_and_stops(engine, image, network, folder):
    project = Project(engine, network, folder)

    def up():
        project.do("up", "-d", "--no-build")
        until(lambda: project.meerkat("status", check=False).returncode == 0, lambda: project.do("logs").stdout)

    try:
        up()
        # On a port that is published, as from elsewhere.
        assert "<starttls" in network.reads("127.0.0.1").stdout
        project.meerkat("account", "add", "juliet@localhost", "--password", "r0m30")
        (name,) = engine.podman("ps", "--quiet", "--filter", "label=com.docker.compose.service=meerkat").stdout.split()
        limits = json.loads(engine.podman("inspect", name).stdout)[0]["HostConfig"]
        assert limits["ReadonlyRootfs"] and limits["CapDrop"] and not limits["CapAdd"]
        began = time.monotonic()
        project.do("stop")
        assert json.loads(engine.podman("inspect", name).stdout)[0]["State"]["ExitCode"] == 0
        assert time.monotonic() - began < COMMAND_SECONDS / 2
        project.do("down")
        # What it made is on the volume, and there when it comes again.
        up()
        assert "juliet@localhost\n" in project.meerkat("account", "list").stdout
    finally:
        project.do("down", "--volumes", check=False)


def test_a_container_with_ipv6_alone(engine, image, network, folder):
    """In a network without any address of version 4, loopback's own included."""
    network.run("ip", "address", "delete", "127.0.0.1/8", "dev", "lo")
    network.run("ip", "address", "add", f"{ADDRESS}/64", "dev", "lo", "nodad")
    assert not network.run("ip", "-4", "address").stdout
    name = f"meerkat-{os.getpid()}-six"
    config = folder / "meerkat.toml"
    config.write_text(SIX)
    folder.chmod(0o755)
    options = ["--detach", f"--name={name}", "--read-only", "--cap-drop=all", f"--volume={config}:{CONFIG}:ro"]
    engine.run(IMAGE, profile=EXAMPLES / "seccomp.json", options=options, network=f"ns:{network.path}")
    try:
        until(lambda: network.reads(ADDRESS).returncode == 0, lambda: engine.podman("logs", name).stderr)
        assert network.reads(ADDRESS).stdout.startswith(socket.AF_INET6.name)
    finally:
        engine.podman("rm", "--force", "--time", "20", name, check=False)
