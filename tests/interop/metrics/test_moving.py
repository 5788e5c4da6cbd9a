"""Every figure of /metrics moves when what it counts happens, and a gauge comes back.

Each cell names its figures with `figures`; the last one compares all names with what a server writes.
"""

import base64
import contextlib
import re

import pytest

from harness.component import shake_hands
from harness.dns import Dns
from harness.federation import FAR, NEAR, Authority, NearMeerkat
from harness.figures import Watch, added_up, of_bytes, of_stanzas
from harness.listener import Listener
from harness.played import END, Played, Writer
from harness.ports import LOOPBACK
from harness.web import Http, WebSocket, http_listener
from harness.wire import Closed, Wire, plain

ACCOUNTS = {"juliet": "secret", "romeo": "secret"}
METRICS = {"mongoose_prometheus_handler": {"path": "/metrics"}}
FULL = {"general": {"registration_timeout": "infinity"}} | {
    f"modules.mod_{name}": {} for name in ["register", "roster", "presence", "offline", "disco"]
}
# Bytes; more than the kernel holds for somebody who does not read, and less than the server does.
LARGE = 60_000
NAMED = set()


def figures(*names):
    def mark(cell):
        NAMED.update(names)
        cell.figures = names
        return cell

    return mark


@pytest.fixture
def watching(request, closing):
    """watching(place) -> what becomes of the cell's figures at this listener."""

    def begin(place):
        wire = closing(Http(place))
        return Watch(lambda: wire.get("/metrics").body, request.node.function.figures)

    return begin


def exchange(client, other, *, own, peer):
    """One of each kind of stanza, and one of each kind of error, in both directions."""
    for kind, what in [("iq", "get"), ("message", "chat"), ("presence", "unavailable")]:
        for number, of in enumerate([what, "error"]):
            inside = "<error type='cancel'/>" if of == "error" else "<x xmlns='urn:example'/>"
            name = f"{kind}{number}"
            client.send(f"<{kind} id='{name}' type='{of}' to='{peer}'>{inside}</{kind}>")
            other.until_match(f"<{kind}[^>]* id='{name}'.*?</{kind}>")
            other.send(f"<{kind} id='{name}' type='{of}' from='{peer}' to='{own}'>{inside}</{kind}>")
            client.until_match(f"<{kind}[^>]* id='{name}'.*?</{kind}>")


OLDER = [f"c2s_element_{name.split('/')[0].removeprefix('xmpp_element_')}" for name in of_stanzas("c2s") if "_count/" in name]
SESSIONS = ["meerkat_sessions", "meerkat_users", "sm_session_count", "sm_node_sessions_count", "sm_total_sessions_count", "sm_unique_sessions_count"]
OPEN = ["meerkat_connections", "meerkat_listener_connections", "system_tcp_ports_count", "meerkat_hibernated_connections"]


@figures(
    *of_stanzas("c2s"), *OLDER, *of_bytes("c2s", ["tcp"]), *SESSIONS, *OPEN,
    "meerkat_logins_total", "meerkat_logouts_total", "sm_session_logins", "sm_session_logouts",
    "meerkat_accepted_total", "meerkat_connections_taken_total", "meerkat_connections_ended_total",
    "meerkat_received_bytes_total", "meerkat_sent_bytes_total", "meerkat_read_to_write_seconds",
    "meerkat_store_seconds", "sm_message_bounced_count",
    "meerkat_stream_errors_total", "meerkat_partial_stanza_bytes", "meerkat_outbound_bytes/c2s",
    "meerkat_http_requests_total", "system_up_time_seconds", "meerkat_info", "meerkat_acceptors",
)
def test_clients(start_server, closing, watching):
    server = start_server(listeners=[Listener(), http_listener(**METRICS)], accounts=ACCOUNTS)
    watch = watching(server.listeners[1].address)
    place = server.listeners[0].address
    juliet, romeo = closing(Wire(place)), closing(Wire(place, receive_buffer=4096))
    own, peer = juliet.login("juliet", "secret"), romeo.login("romeo", "secret")
    exchange(juliet, romeo, own=own, peer=peer)
    juliet.send("<message to='nobody@localhost' id='nobody' type='groupchat'/>")
    juliet.until_tag("message", "id='nobody'", "error")
    watch.until("meerkat_hibernated_connections", lambda asleep: asleep >= 2)
    # One who does not read, and one who does not end what it says.
    while watch.now()["meerkat_outbound_bytes/c2s"] < LARGE:
        juliet.send(f"<message to='{peer}' type='headline'><body>{'x' * LARGE}</body></message>")
        juliet.ping()
    juliet.send("<message to='")
    juliet.send("x" * LARGE)
    watch.until("meerkat_partial_stanza_bytes", lambda held: held >= LARGE)
    wrong = closing(Wire(place))
    wrong.open()
    wrong.send("<!-- -->")
    wrong.to_end()
    wrong.close()
    watch.until("system_up_time_seconds", lambda seconds: seconds > watch.before["system_up_time_seconds"])
    while b"<body>" not in romeo.pending:
        romeo.pending += romeo.read_more()
    romeo.reset()
    juliet.close()
    watch.fall(*SESSIONS, *OPEN, "meerkat_partial_stanza_bytes", "meerkat_outbound_bytes/c2s")
    watch.rose("meerkat_info", "meerkat_acceptors")


@figures(
    "auth_register_user_count", "auth_unregister_user_count", "c2s_auth_failed_count", "meerkat_logins_failed_total",
    "meerkat_passwords_computed_total", "meerkat_passwords_remembered_total",
    "mod_roster_get_count", "mod_roster_set_count", "mod_roster_push_count",
    "sm_presence_subscription_subscription_count", "sm_presence_subscription_unsubscription_count",
)
def test_accounts(start_server, closing, watching):
    server = start_server(listeners=[Listener(), http_listener(**METRICS)], accounts=ACCOUNTS, sections=FULL)
    watch = watching(server.listeners[1].address)
    connected = lambda: closing(Wire(server.listeners[0].address))  # noqa: E731
    wrong = connected()
    wrong.open()
    wrong.send(plain("juliet", "wrong"))
    wrong.until("</failure>")
    newcomer = connected()
    newcomer.open()
    fields = "<username>newcomer</username><password>s3cret</password>"
    newcomer.send(f"<iq type='set' id='r'><query xmlns='jabber:iq:register'>{fields}</query></iq>")
    newcomer.until_tag("iq", "id='r'", "result")
    newcomer.send(plain("newcomer", "s3cret"))
    newcomer.until("<success")
    newcomer.until(">")
    newcomer.bind()
    newcomer.send("<iq type='set' id='u'><query xmlns='jabber:iq:register'><remove/></query></iq>")
    newcomer.until_tag("iq", "id='u'", "result")
    connected().login("juliet", "secret", "window")
    juliet, romeo = connected(), connected()
    juliet.login("juliet", "secret")
    romeo.login("romeo", "secret")
    for wire in (juliet, romeo):
        wire.send("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>")
        wire.until_tag("iq", "id='g'")
        wire.presence()
    juliet.send("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='romeo@localhost'/></query></iq>")
    juliet.until_tag("iq", "id='s'", "result")
    for kind, answer in [("subscribe", "subscribed"), ("subscribe", "unsubscribed")]:
        juliet.send(f"<presence to='romeo@localhost' type='{kind}'/>")
        if answer == "subscribed":
            romeo.until_tag("presence", "subscribe")
        romeo.send(f"<presence to='juliet@localhost' type='{answer}'/>")
        juliet.until_tag("presence", f"type='{answer}'")
    watch.rose()


@figures(
    *of_bytes("c2s", ["tls"]), "meerkat_tls_handshakes_total", "meerkat_tls_handshakes_failed_total",
    "meerkat_certificate_days", "tls_cert_remaining_days_count",
)
def test_tls(start_server, closing, watching):
    server = start_server(listeners=[Listener(tls="starttls"), Listener(tls="tls"), http_listener(**METRICS)])
    watch = watching(server.listeners[2].address)
    wire = closing(Wire(server.listeners[0].address))
    wire.open()
    wire.secure(server.certificate.context(), starttls=True)
    wire.open()
    wrong = closing(Wire(server.listeners[1].address))
    wrong.send("this is no TLS record, and long enough to be seen as none")
    with contextlib.suppress(Closed):
        wrong.until("never")
    watch.rose("meerkat_certificate_days", "tls_cert_remaining_days_count")


WEB = [f"{way}_data_{what}_byte_size" for way in ("websocket", "bosh") for what in ("received", "sent")]


@figures(*WEB, *(f"mod_{name}" for name in WEB))
def test_browsers(start_server, closing, watching):
    handlers = METRICS | {"mongoose_websocket_handler": {"path": "/ws-xmpp"}, "mongoose_bosh_handler": {"path": "/http-bind"}}
    server = start_server(listeners=[http_listener(**handlers)])
    watch = watching(server.listeners[0].address)
    socket = closing(WebSocket(server.listeners[0].address))
    socket.upgrade()
    socket.open_stream()
    space = "xmlns='http://jabber.org/protocol/httpbind'"
    web = closing(Http(server.listeners[0].address))
    opened = web.get("/http-bind", "POST", body=f"<body rid='1' {space} to='localhost' wait='1' hold='1'/>").body
    sid = re.search(" sid='(.*?)'", opened)[1]
    web.get("/http-bind", "POST", body=f"<body rid='2' {space} sid='{sid}' type='terminate'/>")
    watch.rose()


@figures(*of_stanzas("component"), *of_bytes("component"), "component_auth_failed_count", "meerkat_outbound_bytes/component", "router_no_route_found_count")
def test_components(start_server, closing, watching):
    names = ["clear.localhost", "tls.localhost", "away.localhost"]
    options = {"password": "secret", "domains": names}
    services = [Listener(kind="service", tls=tls, options=options) for tls in (None, "tls")]
    listeners = [Listener(), *services, http_listener(**METRICS)]
    server = start_server(listeners=listeners, accounts=ACCOUNTS)
    watch = watching(server.listeners[3].address)
    romeo = closing(Wire(server.listeners[0].address))
    own = romeo.login("romeo", "secret")
    romeo.send("<message to='x@away.localhost' id='away'/>")
    romeo.until_tag("message", "id='away'", "error")
    for place, name in enumerate(names[:2], 1):
        component = closing(Wire(server.listeners[place].address, receive_buffer=4096))
        if place == 2:
            component.secure(server.certificate.context())
        shake_hands(component, name, "secret")
        exchange(romeo, component, own=own, peer=f"x@{name}/y")
    wrong = closing(Wire(server.listeners[1].address))
    wrong.send(
        "<stream:stream to='away.localhost' xmlns='jabber:component:accept' "
        "xmlns:stream='http://etherx.jabber.org/streams'><handshake>wrong</handshake>"
    )
    wrong.to_end()
    while watch.now()["meerkat_outbound_bytes/component"] < LARGE:
        romeo.send(f"<message to='x@clear.localhost'><body>{'x' * LARGE}</body></message>")
        romeo.ping()
    watch.rose()


@figures("meerkat_accept_pauses_total", "meerkat_address_refusals_total", "meerkat_proxy_failures_total")
def test_limits(start_server, closing, watching):
    limits = [{"max_connections": 1}, {"max_connections_per_ip": 1}, {"proxy_protocol": True, "trusted_proxies": [LOOPBACK]}]
    listeners = [*(Listener(options=options) for options in limits), http_listener(**METRICS)]
    server = start_server(listeners=listeners)
    watch = watching(server.listeners[3].address)
    full = [closing(Wire(server.listeners[0].address)) for _ in range(2)]
    closing(Wire(server.listeners[1].address)).open()
    assert closing(Wire(server.listeners[1].address)).to_end() == ""
    proxied = closing(Wire(server.listeners[2].address))
    proxied.send("PROXY TCP9 1 2 3 4\r\n")
    assert proxied.to_end() == ""
    watch.until("meerkat_accept_pauses_total", lambda count: count > 0)
    assert len(full) == 2
    watch.rose()


@figures("meerkat_queue_waiting", "system_process_queue_lengths_total")
def test_cores(start_server, closing, watching):
    """Many ask at once: what is answered later waits for the core meanwhile."""
    server = start_server(listeners=[http_listener(**METRICS)], sections={"runtime": {"cores": 2}})
    watch = watching(server.listeners[0].address)
    wires = [closing(Http(server.listeners[0].address)) for _ in range(40)]
    seen = dict.fromkeys(watch.names, 0)
    while not all(seen.values()):
        for wire in wires:
            wire.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        for figures_then in [added_up(wire.answer().body) for wire in wires]:
            seen = {name: max(most, figures_then[name]) for name, most in seen.items()}
    watch.fall(*watch.names)


@pytest.fixture
def near(folder, closing):
    """meerkat for NEAR, and a server of FAR that the test plays."""
    dns, authority = Dns(), Authority(folder)
    (folder / "near").mkdir()
    far = closing(Played(FAR, NEAR, dns, authority))
    web = http_listener(**METRICS)
    near = NearMeerkat(folder / "near", NEAR, dns, authority, {"romeo": "secret"}, proof="certificate", more=[web])
    yield near.serve(), far
    near.kill()
    print(near.tail())
    dns.close()


@figures(
    *of_stanzas("s2s"), *of_bytes("s2s"), "s2s_auth_failed_count", "meerkat_s2s_links", "meerkat_s2s_queued_bytes",
    "meerkat_outbound_bytes/s2s",
)
def test_servers(near, closing, watching):
    near, far = near
    watch = watching(near.listeners[1].address)
    romeo = closing(Writer(near, FAR))
    # Somebody takes the connection and does not speak yet.
    waiting = romeo.writes()
    watch.until("meerkat_s2s_queued_bytes", lambda waits: waits > 0)
    awaits_link(watch, "opening")
    ours = far.accept()
    assert ours.bodies(len(waiting)) == waiting
    watch.until("meerkat_s2s_queued_bytes", lambda waits: waits == 0)
    awaits_link(watch, "ready")
    # Both directions, by two streams.
    theirs = far.one_way((LOOPBACK, near.s2s))
    exchange(romeo, Both(ours, theirs), own=romeo.jid, peer=f"juliet@{FAR}/x")
    # It does not read.
    count = 0
    while watch.now()["meerkat_outbound_bytes/s2s"] < LARGE:
        romeo.write(f"n{count}", "x" * LARGE)
        romeo.send(f"<iq type='get' id='q{count}' to='{NEAR}'><ping xmlns='urn:xmpp:ping'/></iq>")
        romeo.until_tag("iq", f"id='q{count}'", "result")
        count += 1
    ours.bodies(count)
    watch.until("meerkat_outbound_bytes/s2s", lambda waits: waits == 0)
    # Errors of streams are among those of the peers.
    theirs.send("<!-- -->")
    theirs.until(END)
    stranger, _ = far.call((LOOPBACK, near.s2s), certificate=False)
    stranger.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
    stranger.until("</failure>")
    # It goes, and nobody is there any more.
    far.close()
    ours.reset()
    watch.until("meerkat_s2s_links", lambda links: links == 0)
    romeo.write("late")
    romeo.until_match("<message[^>]* id='late'.*?</message>")
    awaits_link(watch, "waiting")
    watch.rose()


class Both:
    """Two streams of a server, each for one direction."""

    def __init__(self, ours, theirs):
        self.until_match, self.send = ours.until_match, theirs.send


def awaits_link(watch, state):
    """Waits until the one link, on whichever core, is doing that."""
    links = {}
    while links != {state: 1}:
        found = re.findall(r'^meerkat_s2s_links\{.*state="(\w+)"\} (\d+)$', watch.scrape(), re.MULTILINE)
        links = {name: int(count) for name, count in found if count != "0"}


def test_every_figure_has_a_cell(start_server, closing):
    listeners = [http_listener(**METRICS), Listener(tls="starttls", options={"max_connections_per_ip": 9, "proxy_protocol": True})]
    server = start_server(listeners=listeners)
    there = set(added_up(closing(Http(server.listeners[0].address)).get("/metrics").body))
    assert there - NAMED == set()
    assert NAMED - there == set()
