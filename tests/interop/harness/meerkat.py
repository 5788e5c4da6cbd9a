"""The server under test: its configuration, its command line, its process."""

import json
import os
import subprocess
import time
from pathlib import Path

from harness.certificate import Certificate
from harness.listener import Listener
from harness.process import START_SECONDS, Process

DOMAIN = "localhost"
COMMAND_SECONDS = 60
# Cheap password derivation: these accounts guard nothing.
ITERATIONS = 16


def binary():
    """The release build, or what MEERKAT_BIN names."""
    default = Path(__file__).parents[3] / "target" / "release" / "meerkat"
    return Path(os.environ.get("MEERKAT_BIN", default))


class Meerkat(Process):
    """Serves DOMAIN with the given listeners, from `folder`, which also holds its data.

    `sections` maps further TOML tables to their keys, as {"modules.mod_register": {}};
    keys given for `general` and `runtime` join those that the harness needs.
    """

    domain = DOMAIN

    def __init__(self, folder, listeners=None, accounts=None, sections=None):
        super().__init__(folder, "meerkat")
        self.listeners = listeners if listeners is not None else [Listener()]
        self.certificate = Certificate(folder)
        self.config_file = folder / "meerkat.toml"
        self.config_file.write_text(self.config(sections or {}))
        if accounts:
            self.add_accounts(accounts)

    def config(self, sections):
        tables = {
            "general": {
                "hosts": [self.domain],
                "default_server_domain": self.domain,
                "loglevel": "info",
            },
            "auth.internal": {},
            "runtime": {"data_dir": str(self.folder / "data")},
        }
        for name, keys in sections.items():
            tables.setdefault(name, {}).update(keys)
        text = "".join(table(f"[{name}]", keys) for name, keys in tables.items())
        for listener in self.listeners:
            text += table(f"[[listen.{listener.kind}]]", self.listener_keys(listener))
            for name, keys in listener.handlers.items():
                for one in keys if isinstance(keys, list) else [keys]:
                    text += table(f"[[listen.{listener.kind}.handlers.{name}]]", {"host": "_"} | one)
        return text

    def listener_keys(self, listener):
        keys = {"port": listener.port, "ip_address": listener.address[0]}
        if listener.tls:
            if listener.kind != "http":
                keys["tls.mode"] = listener.tls
            keys["tls.verify_mode"] = "none"
            keys["tls.certfile"] = str(self.certificate.cert)
            keys["tls.keyfile"] = str(self.certificate.key)
        return keys | listener.options

    def serve(self, limits=(), manager=None, env=None):
        serves = [listener.port for listener in self.listeners]
        command = self.command()
        env = os.environ | env if env else None
        self.start(command, serves=serves, limits=limits, manager=manager, env=env)
        # Its last step: `meerkat status` is answered.
        deadline = time.monotonic() + START_SECONDS
        while self.run("status").returncode != 0:
            assert time.monotonic() < deadline, f"status is not answered:\n{self.tail()}"
        return self

    def command(self):
        return [binary(), "serve", "-c", self.config_file]

    def run(self, *arguments, stdin=None, prefix=()):
        """A subcommand on this configuration; the finished process."""
        configured = ("-c", self.config_file) if self.config_file else ()
        command = [str(part) for part in (*prefix, binary(), *arguments, *configured)]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, input=stdin, timeout=COMMAND_SECONDS
        )

    def must_run(self, *arguments, stdin=None):
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def add_accounts(self, accounts):
        """`accounts`: user -> password."""
        rows = self.folder / "accounts.csv"
        rows.write_text("".join(f"{user}@{self.domain},{password}\n" for user, password in accounts.items()))
        self.must_run("account", "import", rows, "--iterations", ITERATIONS)

    def account_list(self):
        return self.must_run("account", "list").split()

    def status(self):
        return json.loads(self.must_run("status", "--json"))

    def connections(self, listener=0):
        """Open connections of one listener, as `meerkat status` says."""
        return self.status()["listeners"][listener]["connections"]

    def becomes(self, connections, seconds):
        """Waits until the first listener has so many connections; whether it came to that."""
        deadline = time.monotonic() + seconds
        while self.connections() != connections:
            if time.monotonic() > deadline:
                return False
        return True

    def ended(self, reason):
        """How many connections ended for that reason, over all cores."""
        return sum(shard["ends"][reason] for shard in self.status()["shards"])


def table(header, keys):
    return "\n".join([header, *(f"{key} = {value(of)}" for key, of in keys.items())]) + "\n\n"


def value(of):
    """A TOML value; JSON's notation of these types is TOML's too."""
    return json.dumps(of)
