"""XEP-0077: registration where it is on, refusal where it is off."""

import pytest
from slixmpp.exceptions import IqError

from harness.client import Client, LoginFailed

# MongooseIM's default allows one registration in ten minutes from an address.
OPEN = {"general": {"registration_timeout": "infinity"}, "modules.mod_register": {}, "modules.mod_presence": {}}


class Registering(Client):
    """Registers its own account before it authenticates."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.register_plugin("xep_0077")
        self.add_event_handler("register", self.register_account)
        self.refused = None
        self.asked = False

    async def register_account(self, _):
        self.asked = True
        iq = self.make_iq_set(ito=self.boundjid.domain)
        iq["register"]["username"] = self.requested_jid.user
        iq["register"]["password"] = self.password
        try:
            await self.ask(iq)
        except IqError as error:
            self.refused = error.iq["error"]["condition"]
            self.disconnect()


@pytest.mark.portable
async def test_a_registered_account_logs_in(start_server, connect):
    server = start_server(sections=OPEN)
    first = Registering(server, "newcomer", "s3cret")
    await first.login()
    assert first.asked and first.refused is None
    await first.logout()
    await connect(server, "newcomer", "s3cret", mechanism="SCRAM-SHA-1")


@pytest.mark.portable
async def test_a_taken_name_is_a_conflict(start_server, connect):
    server = start_server(accounts={"juliet": "hers"}, sections=OPEN)
    thief = Registering(server, "juliet", "mine")
    with pytest.raises(LoginFailed):
        await thief.login()
    assert thief.refused == "conflict"
    await connect(server, "juliet", "hers")


@pytest.mark.portable
async def test_registration_is_off_by_default(start_server):
    server = start_server(accounts={"juliet": "secret"})
    newcomer = Registering(server, "newcomer", "s3cret")
    with pytest.raises(LoginFailed) as refused:
        await newcomer.login()
    assert not newcomer.asked, "the stream features offer registration"
    assert refused.value.condition == "not-authorized"


@pytest.mark.portable
async def test_password_change_and_removal(start_server, connect):
    server = start_server(accounts={"juliet": "old"}, sections=OPEN)
    juliet = await connect(server, "juliet", "old")
    juliet.register_plugin("xep_0077")
    await juliet.plugin["xep_0077"].change_password("new")
    await connect(server, "juliet", "new")
    remover = await connect(server, "juliet", "new")
    remover.register_plugin("xep_0077")
    try:
        await remover.plugin["xep_0077"].cancel_registration()
    except IqError as error:
        raise AssertionError("removal refused") from error
    await remover.end()
    with pytest.raises(LoginFailed) as refused:
        await Client(server, "juliet", "new").login()
    assert refused.value.condition == "not-authorized"
