"""The Debian package, installed, upgraded, removed and purged in a Debian that mmdebstrap made.

Run as root; scripts/package-deb has made the package.
"""

import gzip
import os
import re
import shutil
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from harness.containers import BASE_SECONDS, COMMAND_SECONDS, KEPT, PACKAGES, ROOT, debian_archive, run

CONFIG = "etc/meerkat/meerkat.toml"
COMMANDS = ("serve", "check", "doctor", "account", "account-add", "status", "session-kick", "stats")
COMPLETIONS = (
    "usr/share/bash-completion/completions/meerkat",
    "usr/share/zsh/vendor-completions/_meerkat",
    "usr/share/fish/vendor_completions.d/meerkat.fish",
)
# What every package changes: dpkg's own records, locks, logs, caches, and the copies of the user lists.
RECORDS = ("run", "var/lib/dpkg", "var/log", "var/cache", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-")
RECORDS += ("var/lib/systemd/deb-systemd-helper-enabled", "var/lib/systemd/deb-systemd-helper-masked")

pytestmark = pytest.mark.timeout(BASE_SECONDS + COMMAND_SECONDS)


class Debian:
    """A root folder; `before` is what lay in it without the package."""

    def __init__(self, folder, package):
        self.folder = folder
        shutil.copy(package, folder / "srv" / "meerkat.deb")
        self.before = self.files()

    def run(self, *command, check=True):
        environment = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        return run(["chroot", self.folder, *environment, *command], COMMAND_SECONDS, check)

    def install(self):
        return self.run("dpkg", "--force-confdef", "--install", "/srv/meerkat.deb")

    def path(self, name):
        return self.folder / name

    def files(self):
        """Every path, and the text of the lists of users."""
        found = set()
        for path in self.folder.rglob("*"):
            name = str(path.relative_to(self.folder))
            if not name.startswith(RECORDS):
                found.add(name)
        lists = {name: self.path(name).read_text() for name in ("etc/passwd", "etc/group", "etc/shadow")}
        return found, lists

    def status(self):
        done = self.run("dpkg-query", "--show", "--showformat=${db:Status-Status}", "meerkat", check=False)
        return done.stdout


@pytest.fixture(scope="module")
def package():
    packages = sorted((ROOT / "target" / "debian").glob("meerkat_*.deb"), key=lambda path: path.stat().st_mtime)
    assert packages, "scripts/package-deb makes it"
    return packages[-1]


@pytest.fixture
def debian(package):
    archive = debian_archive("builder", PACKAGES)
    folder = Path(tempfile.mkdtemp(prefix="root-", dir=KEPT))
    folder.chmod(0o755)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="fully_trusted", members=(m for m in packed if not m.isdev()))
    # Nothing of the package is left out, as manuals were when the archive was made.
    for options in (folder / "etc" / "dpkg" / "dpkg.cfg.d").iterdir():
        options.unlink()
    # A chroot of its own: maintainer scripts write to /dev/null.
    for name, minor in (("null", 3), ("urandom", 9)):
        device = folder / "dev" / name
        run(["mknod", "-m", "666", device, "c", "1", str(minor)], COMMAND_SECONDS)
    yield Debian(folder, package)
    shutil.rmtree(folder)


def test_installed_it_is_complete(debian):
    debian.install()
    assert debian.status() == "installed"
    assert debian.run("meerkat", "--version").stdout.startswith("meerkat ")
    user = debian.run("getent", "passwd", "meerkat").stdout.split(":")
    assert user[5:] == ["/var/lib/meerkat", "/usr/sbin/nologin\n"]
    data = debian.path("var/lib/meerkat").stat()
    assert (stat.S_IMODE(data.st_mode), str(data.st_uid)) == (0o750, user[2])
    checked = ["setpriv", "--reuid=meerkat", "--regid=meerkat", "--clear-groups", "meerkat", "check", "-c"]
    debian.run(*checked, f"/{CONFIG}")
    unit = debian.path("lib/systemd/system/meerkat.service").resolve().read_text()
    assert unit == (ROOT / "config" / "systemd" / "meerkat.service").read_text()
    assert debian.path("etc/systemd/system/multi-user.target.wants/meerkat.service").is_symlink()
    # Its sockets may be opened by systemd, but only where somebody wants that.
    assert debian.path("usr/share/doc/meerkat/examples/meerkat.socket").is_file()
    assert not list(debian.path("etc/systemd/system").glob("*/meerkat.socket"))
    assert "/usr/share/common-licenses/Apache-2.0" in debian.path("usr/share/doc/meerkat/copyright").read_text()
    with gzip.open(debian.path("usr/share/doc/meerkat/third-party.gz"), "rt") as notices:
        text = notices.read()
    for crate in ("rustls ", "io-uring ", "aws-lc-sys "):
        assert f"\n  {crate}" in text and re.search(f"^==== of.* {crate.strip()}( |$)", text, re.MULTILINE), crate
    assert debian.path("usr/share/doc/meerkat/examples/seccomp.json").is_file()


def test_manual_and_completions_know_every_command(debian):
    debian.install()
    with gzip.open(debian.path("usr/share/man/man1/meerkat.1.gz"), "rt") as page:
        manual = page.read()
    for command in COMMANDS:
        assert debian.path(f"usr/share/man/man1/meerkat-{command}.1.gz").is_file()
    for name in COMPLETIONS:
        completion = debian.path(name).read_text()
        for command in COMMANDS:
            word = command.split("-")[0]
            assert word in completion and word in manual, (name, word)
    script = "source /usr/share/bash-completion/completions/meerkat && complete -p meerkat"
    assert "-F _meerkat" in debian.run("bash", "-c", script).stdout


def test_an_upgrade_keeps_what_the_operator_wrote(debian):
    debian.install()
    config = debian.path(CONFIG)
    config.write_text(config.read_text() + "# mine\n")
    debian.install()
    assert config.read_text().endswith("# mine\n")


def test_removed_it_leaves_configuration_and_data_and_purged_nothing(debian):
    debian.install()
    listed = debian.run("dpkg-query", "--show", "--showformat=${Conffiles}", "meerkat").stdout
    assert [line.split()[0] for line in listed.strip().splitlines()] == [f"/{CONFIG}"]
    account = ["account", "add", "juliet@localhost", "--password", "x", "-c", f"/{CONFIG}"]
    debian.run("sh", "-c", f"cd /var/lib/meerkat && meerkat {' '.join(account)}")
    debian.run("dpkg", "--remove", "meerkat")
    assert debian.status() == "config-files"
    assert debian.path(CONFIG).is_file() and debian.path("var/lib/meerkat/data").is_dir()
    assert not debian.path("usr/bin/meerkat").exists()
    debian.run("dpkg", "--purge", "meerkat")
    left, lists = debian.files()
    before, lists_before = debian.before
    assert left - before == set()
    assert lists == lists_before


def test_the_archive_is_what_dpkg_expects(package):
    listed = subprocess.run(["dpkg-deb", "--info", package], capture_output=True, text=True, check=True, timeout=30)
    fields = dict(line.strip().split(": ", 1) for line in listed.stdout.splitlines() if ": " in line)
    assert fields["Package"] == "meerkat" and "libc6" in fields["Depends"] and "adduser" in fields["Depends"]
    assert fields["Section"] == "net"
    newest = (ROOT / "config" / "debian" / "changelog").read_text().splitlines()[0]
    assert f"({fields['Version']})" in newest


def test_lintian_has_nothing_to_say(package):
    judged = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", package],
        capture_output=True, text=True, timeout=COMMAND_SECONDS, env=os.environ | {"LC_ALL": "C.UTF-8"},
    )
    assert judged.returncode == 0 and not judged.stdout, judged.stdout + judged.stderr
