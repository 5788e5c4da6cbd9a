"""The image that the Dockerfile makes: built by buildah, run by podman, with and without io_uring.

Run as root: it makes a Debian by mmdebstrap, images and containers.
"""

import json
import os
import tarfile
import tempfile
import time

import pytest

from harness.client import Client
from harness.containers import BASE_SECONDS, BUILD_SECONDS, IMAGE, ROOT
from harness.listener import Listener
from harness.meerkat import Meerkat

IMAGE_BYTES_MAX = 60_000_000
USER_ID = 10001
FILES_MAX = 20
PROFILE = ROOT / "config" / "examples" / "seccomp.json"
CONFIG = "/etc/meerkat/meerkat.toml"
START_SECONDS = 60
# As the examples for Compose and Kubernetes ask for it.
CONFINED = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
RINGS = {"io_uring_setup", "io_uring_enter", "io_uring_register"}

pytestmark = pytest.mark.timeout(BASE_SECONDS + BUILD_SECONDS)


class Contained(Meerkat):
    """Its files as the harness writes them, served from a container."""

    def __init__(self, engine, folder, **wanted):
        wanted["sections"] = wanted.get("sections", {}) | {"runtime": {"data_dir": "data"}}
        super().__init__(folder, **wanted)
        self.engine = engine
        self.name = f"meerkat-{os.getpid()}-{folder.name}"
        # Seen in the container, by a user of its own.
        os.chmod(folder, 0o755)
        os.chown(self.certificate.key, USER_ID, USER_ID)

    def up(self, profile=PROFILE, options=()):
        mounts = [f"--volume={self.config_file}:{CONFIG}:ro", f"--volume={self.folder}:{self.folder}:ro"]
        name = ["--detach", f"--name={self.name}"]
        self.engine.run(IMAGE, profile=profile, options=[*name, *mounts, *options])
        self.becomes_healthy()
        return self

    def healthy(self):
        return self.engine.podman("healthcheck", "run", self.name, check=False).returncode == 0

    def becomes_healthy(self):
        deadline = time.monotonic() + START_SECONDS
        while not self.healthy():
            assert time.monotonic() < deadline, self.log()

    def execute(self, *arguments):
        done = self.engine.podman("exec", self.name, "meerkat", *arguments, "-c", CONFIG)
        return done.stdout

    def log(self):
        done = self.engine.podman("logs", self.name, check=False)
        return done.stdout + done.stderr

    def state(self):
        return json.loads(self.engine.podman("inspect", self.name).stdout)[0]["State"]

    def down(self):
        self.engine.podman("rm", "--force", "--time", "20", self.name, check=False)


@pytest.fixture
def contained(engine, image, folder):
    servers = []

    def make(**wanted):
        home = folder / f"contained-{len(servers)}"
        home.mkdir()
        servers.append(Contained(engine, home, **wanted))
        return servers[-1]

    folder.chmod(0o755)
    yield make
    for server in servers:
        print(f"--- log of {server.name}\n{server.log()}")
        server.down()


def without_rings(folder):
    """Our profile less the three calls: what a container engine allows by itself."""
    profile = json.loads(PROFILE.read_text())
    profile["syscalls"] = [rule for rule in profile["syscalls"] if set(rule["names"]) != RINGS]
    path = folder / "default.json"
    path.write_text(json.dumps(profile))
    return path


def test_the_image_is_small_and_nobody_is_root(image):
    assert image["Size"] < IMAGE_BYTES_MAX, image["Size"]
    print(f"image: {image['Size'] / 1e6:.1f} MB")
    config = image["Config"]
    assert config["User"] == f"{USER_ID}:{USER_ID}"
    assert config["Volumes"] == {"/data": {}}
    assert set(config["ExposedPorts"]) == {"5222/tcp", "5223/tcp", "5269/tcp", "5285/tcp"}


def test_the_image_holds_the_binary_what_it_links_and_the_authorities(engine, image):
    name = engine.podman("create", IMAGE).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        engine.podman("export", "--output", f"{folder}/image.tar", name)
        with tarfile.open(f"{folder}/image.tar") as archive:
            files = {member.name: member for member in archive if member.isfile()}
            data = archive.getmember("data")
    engine.podman("rm", name)
    libraries = {path.rpartition("/")[2] for path in files if path.startswith("lib")}
    assert "libc.so.6" in libraries and any(name.startswith("ld-linux") for name in libraries), libraries
    assert files["etc/ssl/certs/ca-certificates.crt"].size > 100_000
    assert (data.uid, data.gid, data.mode & 0o777) == (USER_ID, USER_ID, 0o750)
    assert "bin/sh" not in files and len(files) < FILES_MAX, sorted(files)


async def test_a_client_logs_in_under_our_profile(contained, connect):
    server = contained(listeners=[Listener("starttls"), Listener()]).up(options=CONFINED)
    server.execute("account", "add", "juliet@localhost", "--password", "r0m30")
    client = await connect(server, "juliet", "r0m30", tls="starttls")
    assert client.boundjid.bare == "juliet@localhost"
    assert json.loads(server.execute("status", "--json"))["sessions"] == 1
    server.engine.podman("stop", "--time", "20", server.name)
    assert server.state()["ExitCode"] == 0


def test_the_default_configuration_serves_and_the_health_check_sees_it(engine, image):
    """In a network of its own: its ports are the well-known ones."""
    name = f"meerkat-{os.getpid()}-default"
    engine.run(IMAGE, profile=PROFILE, options=["--detach", f"--name={name}"], network="none")
    try:
        deadline = time.monotonic() + START_SECONDS
        while engine.podman("healthcheck", "run", name, check=False).returncode != 0:
            assert time.monotonic() < deadline, engine.podman("logs", name).stderr
        engine.podman("exec", name, "meerkat", "account", "add", "juliet@localhost", "--password", "x", "-c", CONFIG)
        assert engine.podman("exec", name, "meerkat", "account", "list", "-c", CONFIG).stdout == "juliet@localhost\n"
        log = engine.podman("logs", name).stderr
        assert "made       self-signed certificate data/tls/localhost.crt" in log
    finally:
        engine.podman("rm", "--force", "--time", "20", name)


def test_the_health_check_fails_where_nothing_serves(engine, image):
    check = image["Healthcheck"]["Test"]
    assert check[:2] == ["CMD", "/usr/bin/meerkat"]
    done = engine.run(IMAGE, *check[2:], profile=PROFILE, options=["--rm"], check=False)
    assert done.returncode == 1, done.stdout + done.stderr


def test_a_profile_that_forbids_rings_ends_the_start_with_the_remedy(engine, image, folder):
    done = engine.run(IMAGE, profile=without_rings(folder), options=["--rm"], check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    said = " ".join(done.stderr.split())
    assert "a seccomp filter refuses io_uring" in said and "--security-opt seccomp=config/examples/seccomp.json" in said


def test_without_locked_memory_the_start_names_the_limit(engine, image):
    done = engine.run(IMAGE, profile=PROFILE, options=["--rm", "--ulimit=memlock=65536:65536"], check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "64 KiB" in done.stderr and "--ulimit memlock=-1" in done.stderr


@pytest.mark.parametrize(
    "option, found",
    [("--cpuset-cpus=0", "1 core of 1 (CPUs 0)"), ("--cpus=0.5", "the cgroup's quota pays for 1)")],
)
def test_the_containers_share_decides_the_shards(contained, option, found):
    server = contained().up(options=[option])
    assert len(json.loads(server.execute("status", "--json"))["shards"]) == 1
    assert found in server.log()

