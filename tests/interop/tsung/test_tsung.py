"""Debian's tsung: users come, do what their scenario says and leave, and nothing goes wrong."""

import os
import subprocess
from pathlib import Path

import pytest

from harness.listener import Listener

ROOT = Path(__file__).parents[3]
LOAD = ROOT / "scripts" / "load-tsung"
LOAD_SECONDS = 200
ACCOUNTS = 500
FEW = 20


@pytest.fixture
def drive(start_server, folder):
    """drive(scenario, tls, options…): what load-tsung printed, after it found nothing wrong."""
    listed = subprocess.run([LOAD, "--accounts"], capture_output=True, text=True, check=True, timeout=10)
    rows = [line.split(",") for line in listed.stdout.split()]
    assert len(rows) == ACCOUNTS
    accounts = {jid.split("@")[0]: password for jid, password in rows}

    def run(scenario, *options, tls=None):
        server = start_server(listeners=[Listener(tls=tls)], accounts=accounts)
        done = subprocess.run(
            [LOAD, scenario, *(str(part) for part in server.listeners[0].address), *options],
            env=os.environ | {"MEERKAT_TSUNG_DIR": str(folder / "tsung")},
            capture_output=True,
            text=True,
            timeout=LOAD_SECONDS,
        )
        print(done.stdout, done.stderr)
        assert done.returncode == 0
        return server, done.stdout

    return run


@pytest.mark.portable
@pytest.mark.timeout(240)
def test_chat_scenario(drive):
    _, printed = drive("chat")
    assert f"users expected {ACCOUNTS}, started {ACCOUNTS}, finished {ACCOUNTS}" in printed
    reports = dict(line.split(maxsplit=1) for line in printed.splitlines() if line.startswith("report "))
    report = Path(reports["report"])
    assert "Tsung" in report.read_text()
    assert list((report.parent / "images").glob("graphes-Users-*.png"))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("scenario, tls", [("presence", None), ("connect-rate", None), ("tls", "tls")])
def test_other_scenarios_with_few_users(drive, scenario, tls):
    server, printed = drive(scenario, "--users", str(FEW), tls=tls)
    assert f"users expected {FEW}, started {FEW}, finished {FEW}" in printed
    assert server.becomes(0, seconds=10)


def test_more_users_than_accounts_are_refused():
    done = subprocess.run([LOAD, "chat", "--users", str(ACCOUNTS + 1)], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2 and "--users N" in done.stderr
