"""A process of ours: its output goes to a file, it ends with the test."""

import os
import signal
import subprocess
import time
from pathlib import Path

from harness import ports

START_SECONDS = 30
STOP_SECONDS = 15
# How often a starting process is looked at.
LOOK_SECONDS = 0.05
LOG_LINES_SHOWN = 60


class Process:
    """Started by `start`; `stop` is safe to call at any time and more than once."""

    def __init__(self, folder: Path, name: str):
        self.folder = folder
        self.name = name
        self.log_file = folder / f"{name}.log"
        self.child = None

    def start(self, command, *, cwd=None, env=None, serves=(), limits=(), manager=None):
        """Runs until each port of `serves` accepts; `limits` are options of prlimit(1).

        `manager` (harness.manager.Manager) starts it as systemd would."""
        # Dies with the test run, even where that is killed.
        command = ["setpriv", "--pdeathsig", "KILL", "prlimit", *limits, *command]
        passed = ()
        if manager is not None:
            command, env, passed = manager.wrap(command, env)
        command = [str(part) for part in command]
        with self.log_file.open("ab") as log:
            self.child = subprocess.Popen(
                command,
                cwd=cwd or self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=passed,
            )
        self.wait_serving(serves)

    def wait_serving(self, serves):
        deadline = time.monotonic() + START_SECONDS
        waiting = list(serves)
        while waiting and time.monotonic() < deadline:
            if ports.accepts(waiting[0]):
                waiting.pop(0)
            elif self.ended_within(LOOK_SECONDS):
                raise AssertionError(f"{self.name} ended with {self.child.returncode}:\n{self.tail()}")
        if waiting:
            raise AssertionError(f"{self.name} does not serve {waiting}:\n{self.tail()}")

    def wait_at(self, addresses):
        """Runs until each of these (address, port) accepts."""
        deadline = time.monotonic() + START_SECONDS
        waiting = list(addresses)
        while waiting:
            if ports.accepts_at(waiting[0]):
                waiting.pop(0)
                continue
            ended = self.ended_within(LOOK_SECONDS)
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} does not serve {waiting}:\n{self.tail()}")

    def ended_within(self, seconds):
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def signal(self, number):
        self.child.send_signal(number)

    @property
    def running(self):
        return self.child is not None and self.child.poll() is None

    def cpu_seconds(self):
        """What the process, as it is now, has used of processors."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def terminate(self):
        """SIGTERM and the exit status, or a failure where it takes too long."""
        self.signal(signal.SIGTERM)
        assert self.ended_within(STOP_SECONDS), f"{self.name} does not end on SIGTERM:\n{self.tail()}"
        return self.child.returncode

    def kill(self):
        """As a power cut would."""
        self.child.kill()
        self.child.wait(STOP_SECONDS)

    def stop(self):
        if not self.running:
            return
        self.signal(signal.SIGTERM)
        if not self.ended_within(STOP_SECONDS):
            self.kill()

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def tail(self):
        return "\n".join(self.log().splitlines()[-LOG_LINES_SHOWN:])
