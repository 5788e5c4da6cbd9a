"""`meerkat doctor`: what is wrong with this machine is a row with its remedy, and an exit status."""

import json
import re

import pytest
from harness.certificate import Certificate
from harness.listener import Listener
from harness.meerkat import Meerkat


@pytest.fixture
def doctor(folder):
    """doctor(prefix, **wanted) -> exit status and rows by what they are about."""

    def examine(*prefix, **wanted):
        server = Meerkat(folder, **wanted)
        done = server.run("doctor", prefix=prefix)
        rows = {}
        for line in done.stdout.splitlines():
            verdict, what = line[:4].strip(), line[6:].split("  ")[0]
            if verdict in ("ok", "warn", "fail"):
                rows[what] = (verdict, line)
            elif "mend: " in line:
                rows[last] = (*rows[last], line.split("mend: ")[1])
            last = what
        return done.returncode, rows

    return examine


def test_a_machine_that_will_do(doctor):
    status, rows = doctor(listeners=[Listener(tls="tls")])
    assert status == 0, rows
    for what in ("kernel", "cores", "open files", "locked memory", "memory", "port range", "disk", "clock"):
        assert rows[what][0] in ("ok", "warn"), rows[what]
    assert "days left" in rows["certificate of listen.c2s[0]"][1]


def test_too_few_open_files(doctor):
    listener = Listener(options={"max_connections": 100_000})
    status, rows = doctor("prlimit", "--nofile=1024:1024", listeners=[listener])
    assert status == 0
    verdict, found, remedy = rows["open files"]
    assert verdict == "warn" and "max_connections asks for 100000" in found
    assert "LimitNOFILE=100256" in remedy


def test_a_certificate_that_is_none(doctor, folder):
    (folder / "broken.pem").write_text("nothing")
    listener = Listener(tls="tls", options={"tls.certfile": str(folder / "broken.pem")})
    status, rows = doctor(listeners=[listener])
    assert status == 1
    verdict, _, remedy = rows["certificate of listen.c2s[0]"]
    assert verdict == "fail" and "meerkat check" in remedy


def test_a_backlog_that_the_kernel_cuts(doctor):
    status, rows = doctor(listeners=[Listener(options={"backlog": 2_000_000_000})])
    assert status == 0
    verdict, found, remedy = rows["backlog of listen.c2s[0]"]
    assert verdict == "warn" and "is cut to" in found and "net.core.somaxconn=2000000000" in remedy


def test_the_start_says_it_too(start_server):
    listener = Listener(options={"max_connections": 100_000})
    server = start_server(listeners=[listener], limits=["--nofile=4096:4096"])
    assert "warning    open files: 4096, room for" in server.log()
    assert "LimitNOFILE=100256" in server.log()


def test_machines_read_the_same_table(folder):
    server = Meerkat(folder, listeners=[Listener(options={"backlog": 2_000_000_000})])
    done = server.run("doctor", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    rows = {row["what"]: row for row in document["rows"]}
    assert rows["backlog of listen.c2s[0]"]["verdict"] == "warn"
    assert rows["kernel"] == {"what": "kernel", "verdict": "ok", "found": rows["kernel"]["found"], "remedy": ""}
    warns = [row for row in document["rows"] if row["verdict"] == "warn"]
    assert (document["warn"], document["fail"]) == (len(warns), 0)


def test_ports_matter_where_servers_are_connected_to(doctor):
    _, rows = doctor(sections={"s2s": {"default_policy": "deny"}})
    assert "port range" not in rows and rows["somaxconn"][0] == "ok"


def test_the_start_counts_a_certificates_days(start_server, folder):
    expiring = Certificate(folder, days=3)
    files = {"tls.certfile": str(expiring.cert), "tls.keyfile": str(expiring.key)}
    server = start_server(listeners=[Listener(tls="tls", options=files)])
    assert re.search(r"warning    listen\.c2s\[0\]: tls\.certfile: .* expires in [23] days", server.log()), server.log()
    assert "fail  certificate" not in server.must_run("doctor")
    assert re.search(r"warn  certificate of listen\.c2s\[0\] +[23] days left", server.must_run("doctor"))
