"""Prosody in the place of meerkat: shows that a test is right, and that it can fail.

Only what the portable tests need; options of meerkat's listeners have no counterpart and are refused.
"""

from harness.certificate import Certificate
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
        assert not any(listener.options for listener in self.listeners), "only meerkat has these options"
        self.certificate = Certificate(folder)
        register = "modules.mod_register" in (sections or {})
        self.write_config(register)
        for user, password in (accounts or {}).items():
            self.write_account(user, password)

    def write_config(self, register):
        direct = [str(listener.port) for listener in self.listeners if listener.tls == "tls"]
        plain = [str(listener.port) for listener in self.listeners if listener.tls != "tls"]
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
        self.start(command, serves=[listener.port for listener in self.listeners])
        return self
