"""Debian's tsung: 500 users come at 50 a second, chat and leave, and nothing goes wrong."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOAD = ROOT / "scripts" / "load-tsung"
LOAD_SECONDS = 200


@pytest.mark.portable
@pytest.mark.timeout(240)
def test_chat_scenario(start_server, folder):
    listed = subprocess.run([LOAD, "--accounts"], capture_output=True, text=True, check=True, timeout=10)
    rows = [line.split(",") for line in listed.stdout.split()]
    assert len(rows) == 500
    server = start_server(accounts={jid.split("@")[0]: password for jid, password in rows})
    done = subprocess.run(
        [LOAD, "chat", *(str(part) for part in server.listeners[0].address)],
        env=os.environ | {"MEERKAT_TSUNG_DIR": str(folder / "tsung")},
        capture_output=True,
        text=True,
        timeout=LOAD_SECONDS,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    reports = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("report "))
    report = Path(reports["report"])
    assert "Tsung" in report.read_text()
    assert list((report.parent / "images").glob("graphes-Users-*.png"))
