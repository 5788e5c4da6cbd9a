"""Prosody in the place of meerkat: shows that a test is right, and that it can fail.

Only what the portable tests need. A listener with `proxy_protocol` gets an HAProxy that reads the
header; other options of meerkat's listeners have no counterpart and are refused.
"""

from harness import ports
from harness.certificate import Certificate
from harness.haproxy import HAProxy
from harness.listener import Listener
from harness.meerkat import DOMAIN
from harness.process import Process

CONFIG = """
run_as_root = true
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
log = {{ info = "*console" }}
interfaces = {{ "127.0.0.1" }}
plugin_paths = {{}}
modules_enabled = {{ "saslauth", "tls", "disco", "ping", "version", "time", "posix"{modules} }}
modules_disabled = {{ "s2s", "offline" }}
c2s_ports = {{ {plain} }}
c2s_direct_tls_ports = {{ {direct} }}
s2s_ports = {{}}
c2s_require_encryption = {required}
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
allow_registration = {registration}
min_seconds_between_registrations = 0
conflict_resolve = "kick_old"
ssl = {{ certificate = "{cert}", key = "{key}", verify = "none" }}
VirtualHost "{domain}"
"""


class Prosody(Process):
    def __init__(self, folder, listeners=None, accounts=None, sections=None):
        super().__init__(folder, "prosody")
        self.listeners = listeners if listeners is not None else [Listener()]
        self.ports = {listener.port: listener.port for listener in self.listeners}
        self.gates = []
        for listener in self.listeners:
            if listener.options:
                assert listener.options == {"proxy_protocol": True}, "only meerkat has these options"
                self.add_gate(listener)
        self.certificate = Certificate(folder)
        register = "modules.mod_register" in (sections or {})
        self.write_config(register)
        for user, password in (accounts or {}).items():
            self.write_account(user, password)

    def add_gate(self, listener):
        self.ports[listener.port] = ports.free_port()
        home = self.folder / f"gate-{listener.port}"
        home.mkdir()
        to = self.ports[listener.port]
        self.gates.append(HAProxy(home, to=to, accept="accept-proxy", port=listener.port))

    def write_config(self, register):
        direct = [str(self.ports[of.port]) for of in self.listeners if of.tls == "tls"]
        plain = [str(self.ports[of.port]) for of in self.listeners if of.tls != "tls"]
        required = any(listener.tls == "starttls_required" for listener in self.listeners)
        (self.folder / "prosody.cfg.lua").write_text(
            CONFIG.format(
                folder=self.folder,
                modules=', "register"' if register else "",
                plain=", ".join(plain),
                direct=", ".join(direct),
                required=str(required).lower(),
                registration=str(register).lower(),
                cert=self.certificate.cert,
                key=self.certificate.key,
                domain=DOMAIN,
            )
        )

    def write_account(self, user, password):
        accounts = self.folder / "data" / DOMAIN / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        (accounts / f"{user}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')

    def serve(self):
        command = ["prosody", "-F", "--config", self.folder / "prosody.cfg.lua"]
        self.start(command, serves=self.ports.values())
        for gate in self.gates:
            gate.serve()
        return self

    def stop(self):
        for gate in self.gates:
            gate.stop()
        super().stop()

    def terminate(self):
        for gate in self.gates:
            gate.terminate()
        return super().terminate()
