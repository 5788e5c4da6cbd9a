"""Servers of other domains: Prosody and ejabberd from Debian, each on an address of its own."""

import datetime
import ipaddress
import os
import ssl
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness import ports
from harness.dns import loopback
from harness.listener import Listener
from harness.meerkat import Meerkat, table
from harness.process import Process

# "debug" shows the streams in the logs of a failed test.
LEVEL = os.environ.get("FAR_LEVEL", "info")

# The domains of the tests; resolvers know nothing special of these.
NEAR, FAR = "near.interop", "far.interop"


class Authority:
    """A CA in `folder`, and certificates that it issues."""

    # What ejabberd 23.01 asks of a server that connects; public CAs leave out the second.
    usages = (x509.oid.ExtendedKeyUsageOID.SERVER_AUTH, x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH)

    def __init__(self, folder: Path):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        self.file = folder / "ca.pem"
        cert = self.build(self.name, self.key.public_key())
        cert = cert.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file.write_bytes(pem(cert.sign(self.key, hashes.SHA256())))

    def build(self, subject, public_key, days=(-1, 30)):
        now = datetime.datetime.now(datetime.UTC)
        begins, ends = (now + datetime.timedelta(days=of) for of in days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
        )

    def issue(self, *domains, days=(-1, 30)):
        """Certificate and key files for these domains, good for both sides of a connection.

        `days`: when it begins and ends, from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domains[0])])
        names = x509.SubjectAlternativeName([x509.DNSName(domain) for domain in domains])
        usage = x509.ExtendedKeyUsage(self.usages)
        cert = self.build(subject, key.public_key(), days)
        cert = cert.add_extension(names, critical=False).add_extension(usage, critical=False)
        files = self.folder / f"{domains[0]}.crt", self.folder / f"{domains[0]}.key"
        files[0].write_bytes(pem(cert.sign(self.key, hashes.SHA256())))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files

    def context(self):
        return ssl.create_default_context(cafile=str(self.file))


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


class Trust:
    """What a client of a server of these tests trusts, in the shape the harness' client asks for."""

    def __init__(self, authority):
        self.authority = authority

    def context(self):
        return self.authority.context()


class Place:
    """Where a client connects."""

    def __init__(self, address, port):
        self.address = (address, port)
        self.port = port


PROSODY = """
run_as_root = true
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
log = {{ {level} = "*console" }}
interfaces = {{ "{address}" }}
plugin_paths = {{}}
modules_enabled = {{ "saslauth", "tls", "disco", "ping", "version", "posix", "s2s", "roster", "presence",
    "message", "iq"{modules} }}
modules_disabled = {{ "offline", "limits" }}
c2s_ports = {{ {c2s} }}
s2s_ports = {{ {s2s} }}
s2s_direct_tls_ports = {{ {direct} }}
component_ports = {{ {components} }}
component_interfaces = {{ "{address}" }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
s2s_require_encryption = true
s2s_secure_auth = {secure}
s2s_stanza_size_limit = 1048576
unbound = {{ resolvconf = "{folder}/resolv.conf", hoststxt = false,
    options = {{ ["do-not-query-localhost:"] = "no", ["module-config:"] = "iterator" }} }}
gc = {{ mode = "incremental", threshold = 200, speed = 200 }}
ssl = {{ certificate = "{cert}", key = "{key}"{ca} }}
VirtualHost "{domain}"
Component "rooms.{domain}" "muc"
  modules_disabled = {{ "muc_mam" }}
Component "bot.{domain}"
  component_secret = "{secret}"
"""

# Of components, on either side.
SECRET = "a secret of components"


class FarProsody(Process):
    """Prosody for `domain`; `proof`: "dialback" or "certificate"."""

    def __init__(self, folder, domain, dns, authority, accounts, proof="dialback", direct=False, modules=()):
        super().__init__(folder, f"prosody-{domain}")
        self.domain = domain
        self.dns = dns
        self.certificate = Trust(authority)
        self.address = loopback()
        self.s2s = ports.free_port()
        self.direct = ports.free_port()
        c2s, components = ports.free_port(), ports.free_port()
        self.listeners = [Place(self.address, c2s), Place(self.address, components)]
        dns.add(domain, self.address, self.s2s, direct=self.direct if direct else None)
        for part in ("rooms", "bot"):
            dns.add(f"{part}.{domain}", self.address, self.s2s)
        cert, key = authority.issue(domain, f"rooms.{domain}", f"bot.{domain}")
        (folder / "resolv.conf").write_text(f"nameserver {dns.address}\n")
        (folder / "prosody.cfg.lua").write_text(
            PROSODY.format(
                folder=folder,
                level=LEVEL,
                address=self.address,
                direct=self.direct,
                modules="".join(f', "{name}"' for name in [*modules, *(["dialback"] if proof == "dialback" else [])]),
                c2s=c2s,
                components=components,
                secret=SECRET,
                s2s=self.s2s,
                secure=str(proof == "certificate").lower(),
                cert=cert,
                key=key,
                # Who knows no CA has only dialback.
                ca=f', cafile = "{authority.file}"' if proof == "certificate" else "",
                domain=domain,
            )
        )
        for user, password in accounts.items():
            home = folder / "data" / domain.replace(".", "%2e") / "accounts"
            home.mkdir(parents=True, exist_ok=True)
            (home / f"{user}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')

    def serve(self):
        command = ["prosody", "-F", "--config", self.folder / "prosody.cfg.lua"]
        self.start(command)
        self.wait_at([(self.address, self.s2s), self.listeners[0].address])
        return self


EJABBERD = """
hosts:
  - "{domain}"
loglevel: {level}
{ca}
certfiles:
  - "{pem}"
listen:
  - port: {c2s}
    ip: "{address}"
    module: ejabberd_c2s
  - port: {s2s}
    ip: "{address}"
    module: ejabberd_s2s_in
s2s_use_starttls: {starttls}
auth_method: internal
auth_password_format: plain
acl: {{}}
access_rules: {{}}
shaper: {{}}
modules:
  mod_disco: {{}}
  mod_ping: {{}}
  mod_roster: {{}}
  mod_version: {{}}
{modules}
  mod_muc:
    host: "rooms.@HOST@"
"""


class FarEjabberd(Process):
    """ejabberd for `domain`; `proof`: "dialback" or "certificate"."""

    def __init__(self, folder, domain, dns, authority, accounts, proof="dialback", direct=False):
        assert not direct, "Prosody is enough for that"
        super().__init__(folder, f"ejabberd-{domain}")
        self.domain = domain
        self.accounts = accounts
        self.certificate = Trust(authority)
        self.address = loopback()
        self.s2s = ports.free_port()
        c2s = ports.free_port()
        self.listeners = [Place(self.address, c2s)]
        dns.add(domain, self.address, self.s2s)
        dns.add(f"rooms.{domain}", self.address, self.s2s)
        cert, key = authority.issue(domain, f"rooms.{domain}")
        both = folder / "both.pem"
        both.write_bytes(cert.read_bytes() + key.read_bytes())
        address = ipaddress.ip_address(dns.address)
        octets = ",".join(str(address).split("."))
        rows = ["{resolv_conf, \"\"}.", f"{{nameserver, {{{octets}}}}}.", "{lookup, [dns]}."]
        (folder / "inetrc").write_text("\n".join(rows) + "\n")
        (folder / "ejabberd.yml").write_text(
            EJABBERD.format(
                domain=domain,
                level=LEVEL,
                ca=f'ca_file: "{authority.file}"' if proof == "certificate" else "",
                pem=both,
                c2s=c2s,
                s2s=self.s2s,
                address=self.address,
                starttls="required" if proof == "dialback" else "required_trusted",
                modules="  mod_s2s_dialback: {}" if proof == "dialback" else "",
            )
        )

    def environment(self):
        return os.environ | {
            "ERL_INETRC": str(self.folder / "inetrc"),
            "HOME": str(self.folder),
            "EJABBERD_CONFIG_PATH": str(self.folder / "ejabberd.yml"),
        }

    def serve(self):
        spool = self.folder / "spool"
        spool.mkdir(exist_ok=True)
        command = [
            "erl", "-noinput", "-sname", f"ejabberd-{os.getpid()}-{self.s2s}@localhost",
            "-setcookie", "test", "-kernel", "inet_dist_use_interface", "{127,0,0,1}",
            "-pa", *ebin_folders(), "-mnesia", "dir", f'"{spool}"',
            "-ejabberd", "config", f'"{self.folder / "ejabberd.yml"}"',
            "log_path", f'"{self.folder / "ejabberd-own.log"}"',
            "-eval", self.start_and_register(),
        ]
        self.start(command, env=self.environment())
        self.wait_at([(self.address, self.s2s), self.listeners[0].address])
        return self

    def start_and_register(self):
        registers = ", ".join(
            f'ejabberd_auth:try_register(<<"{user}">>, <<"{self.domain}">>, <<"{password}">>)'
            for user, password in self.accounts.items()
        )
        return f"application:ensure_all_started(ejabberd), {registers}."


def ebin_folders():
    root = Path("/usr/lib/x86_64-linux-gnu")
    found = [path for path in root.glob("ejabberd*/ebin")] + [path for path in root.glob("erlang/lib/*/ebin")]
    return found or list(Path("/usr/lib").glob("**/ejabberd*/ebin"))


class NearMeerkat(Meerkat):
    """meerkat for `domain`, federating with whom its policy lets it."""

    def __init__(self, folder, domain, dns, authority, accounts, *, proof="dialback", policy="allow", s2s=(), direct=False, friends=(), clear=False, addresses=(), components=None, rules="", more=()):
        """`components`: options of a listener for them; with it comes the domain echo.`domain`. `rules`: TOML.

        `more`: further listeners."""
        self.rules = rules
        self.domain = domain
        self.dns = dns
        self.authority = authority
        self.s2s_options = dict(s2s)
        self.policy = policy
        self.friends = friends
        self.clear = clear
        self.addresses = addresses
        self.proof = proof
        self.s2s = ports.free_port()
        self.direct = ports.free_port()
        listeners, names = [Listener()], [domain]
        if components is not None:
            listeners.append(Listener(kind="service", options={"password": SECRET} | components))
            names.append(f"echo.{domain}")
        listeners.extend(more)
        self.files = authority.issue(*names)
        for name in names:
            dns.add(name, ports.LOOPBACK, self.s2s, direct=self.direct if direct else None)
        super().__init__(folder, listeners=listeners, accounts=accounts)
        self.certificate = Trust(authority)

    def config(self, sections):
        cert, key = (str(path) for path in self.files)
        tls = {"certfile": cert, "keyfile": key}
        if self.proof == "certificate":
            tls["cacertfile"] = str(self.authority.file)
        place = {"ip_address": ports.LOOPBACK}
        listener = {f"tls.{name}": of for name, of in tls.items()}
        text = super().config(sections) + self.rules
        if self.clear:
            return text + self.in_clear(place)
        text += table(
            "[[listen.s2s]]", place | {"port": self.s2s, "tls.mode": "starttls_required"} | listener
        )
        text += table("[[listen.s2s]]", place | {"port": self.direct, "tls.mode": "tls"} | listener)
        outgoing = {f"outgoing.tls.{name}": of for name, of in tls.items()}
        options = {
            "default_policy": self.policy,
            "outgoing.dns.server": f"{self.dns.address}:53",
            "outgoing.tls.mode": "starttls_required",
        }
        text += table("[s2s]", options | outgoing | self.s2s_options)
        for friend in self.friends:
            text += table("[[s2s.host_policy]]", {"host": friend, "policy": "allow"})
        return text

    def in_clear(self, place):
        """Without TLS, for peers that a test plays itself."""
        text = table("[[listen.s2s]]", place | {"port": self.s2s})
        options = {"default_policy": self.policy, "outgoing.dns.server": f"{self.dns.address}:53"}
        text += table("[s2s]", options | self.s2s_options)
        return text + "".join(table("[[s2s.outgoing.address]]", of) for of in self.addresses)

    def awaits_streams(self, count, seconds=20):
        """Waits until there are so many outgoing streams."""
        deadline = time.monotonic() + seconds
        while len([stream for stream in self.streams() if stream["outgoing"]]) != count:
            assert time.monotonic() < deadline, self.streams()

    def streams(self):
        """What `meerkat status` says of streams with other servers."""
        return self.status()["s2s"]
