"""scripts/compare, every kind of work a few times: it still runs, and writes what it says."""

import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.meerkat import binary

COMPARE = Path(__file__).resolve().parents[3] / "scripts/compare"
ROWS = {
    "stream open", "session, PLAIN", "session, PLAIN, stored as SCRAM keys", "session, SCRAM-SHA-1",
    "chat, 1 under way", "chat, 10 under way", "chat, 1,000 a second", "STARTTLS, stream open",
    "idle session", "idle TLS session",
}  # fmt: skip


@pytest.mark.timeout(120)
def test_every_server_does_every_work(folder):
    command = [COMPARE, "--quick", "--rounds", "1", "--write", folder]
    environment = os.environ | {"MEERKAT_BIN": str(binary())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (folder / "performance.md").read_text()
    assert page.strip() == done.stdout.strip()
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines()}
    assert ROWS <= rows.keys()
    for name in ROWS:
        meerkats = rows[name].split(" | ")[1 if name.startswith("idle") else 2]
        assert "(" in meerkats, rows[name]
    pictures = list((folder / "images").glob("*.svg"))
    assert len(pictures) == 3
    for picture in pictures:
        # One bar for each server, beside the ground.
        bars = ET.parse(picture).getroot().findall("{http://www.w3.org/2000/svg}rect")
        assert len(bars) >= 4, picture
