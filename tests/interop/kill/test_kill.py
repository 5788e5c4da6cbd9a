"""`kill -9` while accounts are made: what was acknowledged is there after the next start."""

import threading

import pytest

from harness.listener import Listener
from harness.meerkat import DOMAIN
from harness.wire import Closed, Wire

WRITERS = 4
# The kill comes when so many accounts have been acknowledged.
ACKNOWLEDGED = 40
ROUNDS = 3
OPEN = {"general": {"registration_timeout": "infinity"}, "modules.mod_register": {}, "modules.mod_presence": {}}
REGISTER = (
    "<iq type='set' id='reg' to='localhost'><query xmlns='jabber:iq:register'>"
    "<username>{}</username><password>{}</password></query></iq>"
)


class Writer(threading.Thread):
    """Makes accounts one after the other until the server dies; `done` has the acknowledged ones."""

    def __init__(self, make, name, enough):
        super().__init__(daemon=True)
        self.make, self.names, self.enough = make, name, enough
        self.done = []

    def run(self):
        number = 0
        while self.make(f"{self.names}-{number}"):
            self.done.append(f"{self.names}-{number}")
            self.enough.release()
            number += 1


def registers(server):
    """An account by XEP-0077, a connection each; False when the server is gone."""

    def make(user):
        try:
            wire = Wire(server.listeners[0].address)
            wire.open()
            wire.send(REGISTER.format(user, f"pw-{user}"))
            wire.until_tag("iq", "reg", "result")
            wire.close()
        except (Closed, ConnectionError):
            return False
        return True

    return make


def kill_while_writing(server, make, round):
    enough = threading.Semaphore(0)
    writers = [Writer(make, f"r{round}-w{writer}", enough) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    for _ in range(ACKNOWLEDGED):
        assert enough.acquire(timeout=20), "too few accounts are made"
    server.kill()
    return writers


@pytest.mark.timeout(180)
def test_registered_accounts_survive(start_server, closing):
    server = start_server(listeners=[Listener()], sections=OPEN)
    acknowledged = []
    for round in range(ROUNDS):
        writers = kill_while_writing(server, registers(server), round)
        for writer in writers:
            writer.join(20)
            acknowledged += writer.done
        server.serve()
        there = server.account_list()
        assert not {f"{user}@{DOMAIN}" for user in acknowledged} - set(there)
    # Their passwords too: keys are written with the account.
    for user in acknowledged[-ACKNOWLEDGED:]:
        wire = closing(Wire(server.listeners[0].address))
        wire.login(user, f"pw-{user}")


@pytest.mark.timeout(180)
def test_accounts_of_the_command_line_survive(start_server, closing):
    """`account add` beside the running server, which is killed while they come."""
    server = start_server()
    stop = threading.Event()

    def adds(user):
        if stop.is_set():
            return False
        return server.run("account", "add", f"{user}@{DOMAIN}", "--password", f"pw-{user}").returncode == 0

    writers = kill_while_writing(server, adds, 0)
    stop.set()
    for writer in writers:
        writer.join(30)
    acknowledged = [user for writer in writers for user in writer.done]
    server.serve()
    there = set(server.account_list())
    assert not {f"{user}@{DOMAIN}" for user in acknowledged} - there
    for user in acknowledged[-5:]:
        closing(Wire(server.listeners[0].address)).login(user, f"pw-{user}")


def test_an_account_removed_before_the_kill_stays_removed(start_server):
    server = start_server(accounts={"juliet": "secret", "romeo": "secret"})
    server.must_run("account", "del", f"juliet@{DOMAIN}")
    server.kill()
    server.serve()
    assert f"romeo@{DOMAIN}" in server.account_list()
    assert f"juliet@{DOMAIN}" not in server.account_list()


KEEP = "<iq type='set' id='{0}'><query xmlns='jabber:iq:private'><e{1} xmlns='kill'>{0}</e{1}></query></iq>"
KEPT = "<iq type='get' id='kept'><query xmlns='jabber:iq:private'><e{} xmlns='kill'/></query></iq>"
# Elements that a writer overwrites by turns.
ELEMENTS = 4


def keeps(server, user):
    """Writes the private storage of an account over and over; False when the server is gone."""
    wire = Wire(server.listeners[0].address)
    wire.login(user, "secret")

    def make(name):
        number = int(name.rsplit("-", 1)[1])
        try:
            wire.send(KEEP.format(number, number % ELEMENTS))
            wire.until_tag("iq", str(number), "result")
        except (Closed, ConnectionError):
            return False
        return True

    return make


@pytest.mark.timeout(180)
def test_private_storage_survives(start_server, closing):
    users = [f"user{number}" for number in range(WRITERS)]
    server = start_server(listeners=[Listener()], accounts=dict.fromkeys(users, "secret"))
    for _ in range(ROUNDS):
        enough = threading.Semaphore(0)
        writers = [Writer(keeps(server, user), user, enough) for user in users]
        for writer in writers:
            writer.start()
        for _ in range(5 * ACKNOWLEDGED):
            assert enough.acquire(timeout=20), "too little is kept"
        server.kill()
        for writer in writers:
            writer.join(20)
        server.serve()
        for user, writer in zip(users, writers):
            wire = closing(Wire(server.listeners[0].address))
            wire.login(user, "secret")
            done = len(writer.done)
            for element in range(min(done, ELEMENTS)):
                # The last that was acknowledged of this element, or one that was under way.
                last = max(number for number in range(done) if number % ELEMENTS == element)
                wire.send(KEPT.format(element))
                answer = wire.until("</query></iq>")
                found = [f">{number}</e{element}>" in answer for number in (last, last + ELEMENTS)]
                assert any(found), f"{user} kept {last} in e{element}, and now it is {answer}"
