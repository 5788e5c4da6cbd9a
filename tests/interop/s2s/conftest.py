"""Servers of several domains, with a name server and a CA of their own."""

import pytest

from harness.dns import Dns
from harness.federation import FAR, NEAR, Authority, FarEjabberd, FarProsody, NearMeerkat
from harness.played import Played

KINDS = {"prosody": FarProsody, "ejabberd": FarEjabberd}
ACCOUNTS = {"romeo": "secret", "juliet": "secret"}


@pytest.fixture
def federation(folder):
    """federation(kind, proof, …) -> meerkat for NEAR and another server for FAR, both serving.

    `modules`: further modules of the other one.
    """
    dns = Dns()
    authority = Authority(folder)
    started = []

    def start(kind, proof="dialback", direct=False, modules=(), **near):
        homes = [folder / "near", folder / "far"]
        for home in homes:
            home.mkdir()
        far = KINDS[kind](homes[1], FAR, dns, authority, ACCOUNTS, proof, direct, **({"modules": modules} if modules else {}))
        meerkat = NearMeerkat(homes[0], NEAR, dns, authority, ACCOUNTS, proof=proof, direct=direct, **near)
        started.extend([far, meerkat])
        return meerkat.serve(), far.serve()

    yield start
    for server in started:
        server.stop()
        print(f"--- log of {server.name}\n{server.tail()}")
    dns.close()


@pytest.fixture
def servers(folder, closing):
    """meerkat for NEAR, and a server of FAR that the test plays."""
    dns, authority = Dns(), Authority(folder)
    (folder / "near").mkdir()
    far = closing(Played(FAR, NEAR, dns, authority))
    near = NearMeerkat(folder / "near", NEAR, dns, authority, {"romeo": "secret"}, proof="certificate")
    yield near.serve(), far
    near.kill()
    print(near.tail())
    dns.close()
