"""Images and containers without a registry or a daemon: buildah and podman of Debian, as root.

The image that the Dockerfile builds in is made here, under the name that the Dockerfile asks for: Debian
12 by mmdebstrap, with this machine's own Rust toolchain mounted where it lies.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
# The base image is kept between runs; the key makes a changed recipe count.
KEPT = ROOT / "target" / "container"
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
PACKAGES = "gcc,libc6-dev,git,ca-certificates"
# The name that the example for Compose has it by.
IMAGE = "localhost/meerkat"
UNREAD = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
BASE_SECONDS = 300
BUILD_SECONDS = 560
COMMAND_SECONDS = 60
START_SECONDS = 60
HEADER = (
    "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
)
# In the network: what a client reads on a port.
READER = """
import socket, sys
with socket.create_connection((sys.argv[1], 5222), 10) as client:
    client.sendall(sys.argv[2].encode())
    read = b""
    while b"</stream:features>" not in read:
        read += client.recv(4096)
    print(client.family.name, read.decode())
"""
PROCESSES = 32_768
# What the build stage of scripts/test has compiled already. Of our own crate nothing is taken: the
# image's binary is always compiled inside.
COMPILED = ("deps", "build", ".fingerprint")
OURS = ("meerkat-*", "libmeerkat-*", "meerkat_load-*")


def debian_archive(name, packages, *options):
    """A tar file with a small Debian, made once for each recipe."""
    KEPT.mkdir(parents=True, exist_ok=True)
    recipe = [f"--include={packages}", *(f"--dpkgopt=path-exclude={path}" for path in UNREAD), *options]
    made, recorded = KEPT / f"{name}.tar", KEPT / f"{name}.recipe"
    if not (recorded.exists() and recorded.read_text() == "\n".join(recipe)):
        part = KEPT / f"{name}.part.tar"
        run(["mmdebstrap", "--quiet", "--variant=apt", *recipe, SUITE, part, MIRROR], BASE_SECONDS)
        part.replace(made)
        recorded.write_text("\n".join(recipe))
    return made


class Engine:
    """A store of images and containers of its own; `close` leaves nothing of it."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="meerkat-"))
        KEPT.mkdir(parents=True, exist_ok=True)
        self.images = Path(tempfile.mkdtemp(prefix="images-", dir=KEPT))
        self.store = ["--root", self.images, "--runroot", self.folder / "run"]

    def buildah(self, *arguments, seconds=COMMAND_SECONDS):
        return run(["buildah", *self.store, *arguments], seconds)

    def podman(self, *arguments, seconds=COMMAND_SECONDS, check=True):
        return run([*self.podman_command(), *arguments], seconds, check)

    def podman_command(self):
        # crun refuses a machine with both versions of cgroups; without systemd cgroups are folders.
        manner = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--tmpdir", self.folder / "tmp"]
        manner += ["--network-config-dir", self.folder / "networks"]
        return ["podman", *self.store, *manner]

    def import_builder(self, name):
        """The image that `name` stands for: Debian, and cargo at the path that it has here."""
        archive = debian_archive("builder", PACKAGES)
        changes = [f"ENV PATH={toolchain()}/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"ENV CARGO_HOME={cargo_home()}"]
        for change in changes[:]:
            changes.insert(changes.index(change), "--change")
        self.podman("import", "--quiet", *changes, archive, name, seconds=BASE_SECONDS)

    def build(self, tag):
        """The Dockerfile as it stands; what this machine has compiled and fetched already is lent."""
        target = KEPT / "target"
        lend_compiled(target)
        registry = cargo_home() / "registry"
        registry.mkdir(parents=True, exist_ok=True)
        mounts = [f"{target}:/src/target", f"{registry}:{registry}", f"{toolchain()}:{toolchain()}:ro"]
        volumes = [part for mount in mounts for part in ("--volume", mount)]
        options = ["--isolation", "chroot", "--format", "docker", "--pull-never", "--tag", tag]
        self.buildah("bud", *options, *volumes, ROOT, seconds=BUILD_SECONDS)
        shutil.rmtree(target)

    def inspect(self, image):
        return json.loads(self.podman("image", "inspect", image).stdout)[0]

    def run(self, image, *command, profile, options=(), network="host", check=True):
        """`podman run`, by default on the host's network, under the limits of this process and a seccomp profile."""
        given = [f"--ulimit={name}={soft}:{hard}" for name, (soft, hard) in own_limits().items()]
        # The check is run by the tests: there may be no systemd to run it every 30 s.
        given += [f"--network={network}", "--health-interval=disable", f"--security-opt=seccomp={profile}"]
        return self.podman("run", *given, *options, image, *command, check=check)

    def close(self):
        self.podman("rm", "--all", "--force", "--time", "5", check=False)
        run(["buildah", *self.store, "rm", "--all"], COMMAND_SECONDS, check=False)
        run(["umount", self.images / "overlay"], COMMAND_SECONDS, check=False)
        shutil.rmtree(self.images, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def own_limits():
    """name -> (soft, hard): what even a limited root may give."""
    limits = {"nofile": resource.RLIMIT_NOFILE, "memlock": resource.RLIMIT_MEMLOCK}
    limits = {name: resource.getrlimit(which) for name, which in limits.items()}
    # Else podman asks for more of its own.
    return limits | {"nproc": (PROCESSES, PROCESSES)}


class Network:
    """A network namespace: what is done inside needs no port, bridge or rule of the machine's own."""

    def __init__(self):
        self.name = f"meerkat-{os.getpid()}"
        run(["ip", "netns", "add", self.name], COMMAND_SECONDS)
        self.path = Path("/run/netns") / self.name
        # Not `ip netns exec`, which hides the cgroups.
        self.within = ["nsenter", f"--net={self.path}"]
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command, seconds=COMMAND_SECONDS, check=True):
        return run([*self.within, *command], seconds, check)

    def reads(self, address):
        """A client in the network: the family of its socket, and what it got for a stream header."""
        return self.run(sys.executable, "-c", READER, address, HEADER, check=False)

    def close(self):
        run(["ip", "netns", "delete", self.name], COMMAND_SECONDS, check=False)


def until(true, said):
    deadline = time.monotonic() + START_SECONDS
    while not true():
        assert time.monotonic() < deadline, said()


def lend_compiled(target):
    """Hard links to the compiled dependencies, so that a stage does not compile everything again."""
    shutil.rmtree(target, ignore_errors=True)
    release = ROOT / "target" / "release"
    (target / "release").mkdir(parents=True)
    for folder in COMPILED:
        if (release / folder).is_dir():
            into = target / "release" / folder
            shutil.copytree(
                release / folder, into, copy_function=os.link, symlinks=True, ignore=shutil.ignore_patterns(*OURS)
            )


def cargo_home():
    return Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")).resolve()


def toolchain():
    done = subprocess.run(["rustc", "--print", "sysroot"], cwd=ROOT, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def run(command, seconds, check=True):
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-60:])
    assert not check or done.returncode == 0, f"{command} ended with {done.returncode}:\n{tail}"
    return done
