"""A program on a terminal of its own, and what its screen shows."""

import asyncio
import fcntl
import os
import pty
import struct
import termios

import pyte

COLUMNS, LINES = 160, 50
SHOW_SECONDS = 20
END_SECONDS = 10
READ_BYTES = 65_536
# Where a client looks for its files.
HOMES = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")


class Terminal:
    """Started in a running event loop; the screen follows the program's output."""

    def __init__(self, command, env):
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.stream = pyte.ByteStream(self.screen)
        self.changed = asyncio.Event()
        self.ended = asyncio.Event()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, env | {"TERM": "xterm", "LANG": "C.UTF-8"})
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        asyncio.get_running_loop().add_reader(self.master, self.on_output)

    def on_output(self):
        try:
            data = os.read(self.master, READ_BYTES)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self.master)
            self.ended.set()
        self.stream.feed(data)
        self.changed.set()

    def type(self, line):
        os.write(self.master, line.encode() + b"\r")

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display).strip()

    async def shows(self, text, seconds=SHOW_SECONDS):
        """Waits until the screen contains the text."""

        async def look():
            while text not in self.text():
                assert not self.ended.is_set(), f"the program ended:\n{self.text()}"
                self.changed.clear()
                await self.changed.wait()

        try:
            await asyncio.wait_for(look(), seconds)
        except TimeoutError:
            raise AssertionError(f"the screen never shows {text!r}:\n{self.text()}") from None

    async def close(self, goodbye):
        """Types the good-bye and waits for the end of the program; nothing where it has ended so before."""
        if self.pid is None:
            return
        self.type(goodbye)
        try:
            await asyncio.wait_for(self.ended.wait(), END_SECONDS)
        except TimeoutError:
            os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        self.pid = None
        os.close(self.master)


class Terminals:
    """Clients of one test."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def home(self):
        """A folder for the next client."""
        home = self.folder / f"home{len(self.started)}"
        home.mkdir()
        return home

    def start(self, command, home):
        terminal = Terminal(command, os.environ | dict.fromkeys(HOMES, str(home)))
        self.started.append(terminal)
        return terminal

    async def close(self):
        for terminal in self.started:
            await terminal.close("/quit")
