"""SIGHUP and changed files: certificates and log levels are read anew, connections stay."""

import signal
import ssl
import time

import pytest

from harness.certificate import Certificate
from harness.listener import Listener
from harness.wire import Wire

ACCOUNTS = {"romeo": "secret"}
SECONDS = 20


@pytest.fixture
def server(start_server):
    return start_server(listeners=[Listener(tls="tls")], accounts=ACCOUNTS)


def shown(server, closing):
    """A fresh connection and the certificate that it was shown."""
    wire = closing(Wire(server.listeners[0].address))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    wire.secure(context)
    return wire, wire.socket.getpeercert(binary_form=True)


def logged(server, text, count=1):
    """Waits until the log has the text so many times."""
    deadline = time.monotonic() + SECONDS
    while server.log().count(text) < count:
        assert time.monotonic() < deadline, f"no {text!r}:\n{server.tail()}"
        assert not server.ended_within(0.05), server.tail()


def test_a_new_certificate_touches_no_connection(server, closing):
    old, first = shown(server, closing)
    old.login("romeo", "secret")
    Certificate(server.folder)
    server.signal(signal.SIGHUP)
    logged(server, "certificate read")
    fresh, second = shown(server, closing)
    assert second != first
    fresh.login("romeo", "secret", "fresh")
    # Both go on.
    old.ping()
    fresh.ping()
    assert server.connections() == 2


def test_a_changed_file_is_enough(server, closing):
    _, first = shown(server, closing)
    Certificate(server.folder)
    logged(server, "certificate files changed")
    logged(server, "certificate read")
    assert shown(server, closing)[1] != first


def test_a_bad_file_keeps_the_old(server, closing):
    old, first = shown(server, closing)
    old.login("romeo", "secret")
    good = server.certificate.cert.read_bytes()
    server.certificate.cert.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
    server.signal(signal.SIGHUP)
    logged(server, "the certificate cannot be used and the old one stays")
    assert "listen.c2s[0].tls.certfile" in server.log()
    old.ping()
    assert shown(server, closing)[1] == first
    # A key that belongs to another certificate is no better.
    server.certificate.cert.write_bytes(good)
    other = server.folder / "other"
    other.mkdir()
    server.certificate.key.write_bytes(Certificate(other).key.read_bytes())
    server.signal(signal.SIGHUP)
    logged(server, "the certificate cannot be used and the old one stays", count=2)
    assert shown(server, closing)[1] == first


def test_log_levels_are_read_anew(server, closing):
    Wire(server.listeners[0].address).close()
    text = server.config_file.read_text()
    server.config_file.write_text(text.replace('loglevel = "info"', 'loglevel = "debug"'))
    assert "connection ended" not in server.log()
    server.signal(signal.SIGHUP)
    logged(server, "certificate read")
    Wire(server.listeners[0].address).close()
    logged(server, "connection ended")


def test_what_is_not_applied_is_named(server, closing):
    text = server.config_file.read_text()
    port = server.listeners[0].port
    changed = text.replace(f"port = {port}", f"port = {port + 1}") + "\n[shaper.slow]\nmax_rate = 1000\n"
    server.config_file.write_text(changed)
    server.signal(signal.SIGHUP)
    logged(server, "changed in the file and not applied")
    line = next(line for line in server.log().splitlines() if "not applied" in line)
    assert "listen.c2s[0].port" in line and "shaper" in line, line
    # It still serves where it did.
    shown(server, closing)


def test_a_file_with_errors_changes_nothing(server, closing):
    old, first = shown(server, closing)
    old.login("romeo", "secret")
    server.config_file.write_text("[general]\nhots = 1\n")
    server.signal(signal.SIGHUP)
    logged(server, "the configuration has errors and the running one stays")
    assert "hots" in server.log()
    old.ping()
    assert shown(server, closing)[1] == first
