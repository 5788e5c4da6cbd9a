//! Files with mistakes, and what is said about them.

mod manual;
mod notices;
mod rules;

use std::io;

use super::*;

/// Every file can be read and holds a key, except those called "missing" or below "data".
struct Anything;

impl Files for Anything {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if path.starts_with("missing") || path.starts_with("data") {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(b"-----BEGIN PRIVATE KEY-----".to_vec())
    }
}

const GENERAL: &str = "general = {hosts = ['h'], default_server_domain = 'h'}\n";

/// Decodes `text` behind a valid `[general]`, whose line is not counted.
fn after_general(text: &str) -> Result<Config, Errors> {
    decode(&format!("{GENERAL}{text}"), "test.toml", &Anything)
}

fn accepted(text: &str) -> Config {
    after_general(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

/// Text, line and column of its only mistake, its path, and parts of what is said about it.
type Mistake = (
    &'static str,
    (usize, usize),
    &'static str,
    &'static [&'static str],
);

const C2S: &str = "[[listen.c2s]]\nport = 1\n";

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    // Keys.
    ("nonsense = 1", (1, 1), "nonsense", &["unknown key"]),
    ("[[listen.c2s]]\nport = 1\nprot = 'tcp'", (3, 1), "listen.c2s[0].prot", &["unknown key", "`proto`"]),
    ("[[listen.c2s]]\nport = 1\nPort = 2", (3, 1), "listen.c2s[0].Port", &["`port`"]),
    ("[[listen.c2s]]\nport = 1\n\"a b\" = 2", (3, 1), "listen.c2s[0].\"a b\"", &["known here: port, "]),
    ("[[listen.http]]\nport = 1\nmax_connections = 2", (3, 1), "listen.http[0].max_connections", &["`transport.max_connections`"]),
    ("[[listen.c2s]]\nport = 1\nqqqq = 2", (3, 1), "listen.c2s[0].qqqq", &["the nearest known key is `", "known here: port, "]),
    ("[[listen.udp]]\nport = 1", (1, 10), "listen.udp", &["unknown key", "c2s"]),
    ("[modules.mod_rooster]", (1, 10), "modules.mod_rooster", &["`mod_roster`"]),
    ("[modules.mod_vcard]\nhots = 'a'", (2, 1), "modules.mod_vcard.hots", &["`host`"]),
    ("[[listen.component]]\nport = 1\npassword = 'p'\nshaper_rule = 'none'", (4, 1), "listen.component[0].shaper_rule", &["unknown key"]),
    ("[[listen.service]]\nport = 1\npassword = 'p'\nshaper_rule = 'none'\nshaper = 'none'", (5, 1), "listen.service[0].shaper", &["another name of \"shaper_rule\""]),
    ("[[listen.component]]\nport = 1", (1, 1), "listen.component[0].password", &["is missing", "`password_file`"]),
    ("[[listen.component]]\nport = 1\npassword = 7", (3, 12), "listen.component[0].password", &["the integer 7"]),
    ("[[listen.c2s]]", (1, 1), "listen.c2s[0].port", &["is missing", "from 0 to 65535"]),
    // Types and bounds.
    ("[[listen.c2s]]\nport = 65_536", (2, 8), "listen.c2s[0].port", &["65536", "from 0 to 65535"]),
    ("[[listen.c2s]]\nport = -0x1", (2, 8), "", &["not TOML"]),
    ("[[listen.c2s]]\nport = 99999999999999999999", (2, 8), "listen.c2s[0].port", &["beyond 64 bits"]),
    ("[[listen.c2s]]\nport = 5222.0", (2, 8), "listen.c2s[0].port", &["a float"]),
    ("[[listen.c2s]]\nport = 2026-01-01", (2, 8), "listen.c2s[0].port", &["a date or time"]),
    ("[[listen.c2s]]\nport = 1\nbacklog = 2_147_483_648", (3, 11), "listen.c2s[0].backlog", &["2147483647"]),
    ("[[listen.c2s]]\nport = 1\nstate_timeout = 'Infinity'", (3, 17), "listen.c2s[0].state_timeout", &["\"infinity\""]),
    ("[listen.c2s]\nport = 1", (1, 1), "listen.c2s", &["a table", "[[...]]"]),
    ("[[listen.c2s]]\nport = 1\ntls = 'yes'", (3, 7), "listen.c2s[0].tls", &["expected a table"]),
    ("listen.c2s = [5222]", (1, 15), "listen.c2s[0]", &["expected a table"]),
    ("[[auth]]", (1, 1), "auth", &["an array", "expected a table", "single brackets"]),
    ("auth.methods = ['internal', 'internal']\nauth.internal = {}", (1, 29), "auth.methods[1]", &["twice"]),
    ("auth.password.hash = []", (1, 22), "auth.password.hash", &["empty array"]),
    ("auth.password.format = 'scam'", (1, 24), "auth.password.format", &["\"scam\"", "\"scram\" or \"plain\""]),
    // Addresses.
    ("[[listen.c2s]]\nport = 1\nip_address = '127.1'", (3, 14), "listen.c2s[0].ip_address", &["no IP address"]),
    ("[[listen.c2s]]\nport = 1\nip_address = 'fe80::1%eth0'", (3, 14), "listen.c2s[0].ip_address", &["zone id"]),
    ("[[listen.c2s]]\nport = 1\nip_address = '::ffff:127.0.0.1'", (3, 14), "listen.c2s[0].ip_address", &["IPv4 address in IPv6 form"]),
    ("[[listen.c2s]]\nport = 1\nip_address = '::'\nip_version = 4", (4, 14), "listen.c2s[0].ip_version", &["contradicts", "expected 6"]),
    ("[[listen.c2s]]\nport = 1\ntrusted_proxies = ['10.0.0.0/33']", (3, 20), "listen.c2s[0].trusted_proxies[0]", &["0 to 32"]),
    ("[[listen.c2s]]\nport = 1\n[[listen.http]]\nport = 1\nip_address = '127.0.0.1'", (4, 8), "listen.http[0].port", &["127.0.0.1:1 is taken by listen.c2s[0] (line 2)", "0.0.0.0:1"]),
    ("[[listen.c2s]]\nport = 1\n[[listen.c2s]]\nport = 1\nip_address = '0'", (5, 14), "listen.c2s[1].ip_address", &["no IP address"]),
    ("[[listen.c2s]]\nport = 1\nip_version = 5", (3, 14), "listen.c2s[0].ip_version", &["expected 4 or 6"]),
    ("[[listen.c2s]]\nport = 1\nshaper = ''", (3, 10), "listen.c2s[0].shaper", &["an empty string"]),
    // TLS.
    ("[[listen.c2s]]\nport = 1\ntls.certfile = 'missing'\ntls.keyfile = 'k'", (3, 16), "listen.c2s[0].tls.certfile", &["cannot be read"]),
    ("[[listen.c2s]]\nport = 1\ntls.mode = 'tls'", (3, 1), "listen.c2s[0].tls.certfile", &["is missing"]),
    ("[[listen.c2s]]\nport = 1\ntls.certfile = 'c'\ntls.versions = ['tlsv1.1']", (4, 17), "listen.c2s[0].tls.versions[0]", &["RFC 8996"]),
    ("[[listen.c2s]]\nport = 1\ntls.certfile = 'c'\ntls.ciphers = 'RC4'", (4, 15), "listen.c2s[0].tls.ciphers", &["\"RC4\"", "TLS_AES_256_GCM_SHA384"]),
    ("[[listen.c2s]]\nport = 1\ntls.certfile = 'c'\ntls.versions = ['tlsv1.2']\ntls.ciphers = 'TLS_AES_256_GCM_SHA384'", (5, 15), "listen.c2s[0].tls.ciphers", &["no suite of any allowed version"]),
    ("[[listen.service]]\nport = 1\npassword = 'p'\ntls.certfile = 'c'\ntls.mode = 'starttls'", (5, 12), "listen.service[0].tls.mode", &["XEP-0114"]),
    ("[[listen.c2s]]\nport = 1\ntls.certfile = 'data/c'\ntls.keyfile = 'k'\n[runtime]\nself_signed = true", (3, 16), "listen.c2s[0].tls.certfile", &["cannot be read"]),
    ("[[listen.c2s]]\nport = 1\ntls.certfile = 'data/../missing'\ntls.keyfile = 'k'\n[runtime]\nself_signed = true", (3, 16), "listen.c2s[0].tls.certfile", &["cannot be read"]),
    // HTTP.
    ("[[listen.http]]\nport = 1\n[[listen.http.handlers.mod_bosch]]", (3, 24), "listen.http[0].handlers.mod_bosch", &["`mod_bosh`", "known here: mongoose_bosh_handler, "]),
    ("[[listen.http]]\nport = 1\n[[listen.http.handlers.mod_bosh]]\nhost = '_'\npath = 'x'", (5, 8), "listen.http[0].handlers.mod_bosh[0].path", &["begin with \"/\""]),
    ("[[listen.http]]\nport = 1\n[[listen.http.handlers.meerkat_dashboard]]\nhost = '_'\npath = '/d'\nusername = 'a'\npassword = 'p'", (5, 8), "listen.http[0].handlers.meerkat_dashboard[0].path", &["sent in clear", "loopback"]),
    ("[[listen.http]]\nport = 1\nip_address = '::1'\n[[listen.http.handlers.meerkat_dashboard]]\nhost = '_'\npath = '/d'\nusername = 'a'", (7, 12), "listen.http[0].handlers.meerkat_dashboard[0].username", &["`password` or `password_file`"]),
    ("[[listen.http]]\nport = 1\n[[listen.http.handlers.mongoose_admin_api]]\nhost = '_'\npath = '/'\npassword = 'p'", (6, 12), "listen.http[0].handlers.mongoose_admin_api[0].password", &["`username`"]),
    // References.
    ("[[listen.c2s]]\nport = 1\nshaper = 'fats'\n[shaper.fast]\nmax_rate = 1", (3, 10), "listen.c2s[0].shaper", &["no shaper is called \"fats\"", "\"fast\""]),
    ("[[listen.c2s]]\nport = 1\nshaper = 'r'\n[access]\nr = [{acl = 'all', value = 'f'}]", (5, 28), "access.r[0].value", &["no shaper is called \"f\""]),
    ("[[listen.c2s]]\nport = 1\nshaper = 'r'\n[access]\nr = [{acl = 'all', value = 9}]", (5, 28), "access.r[0].value", &["as shapers"]),
    ("s2s.outgoing.shaper = 'x'", (1, 23), "s2s.outgoing.shaper", &["no shaper"]),
    ("auth.methods = ['internal']", (1, 17), "auth.methods[0]", &["no section", "[auth.internal]"]),
    ("[auth]\nscram_iterations = 5000\npassword.scram_iterations = 6000", (2, 20), "auth.scram_iterations", &["written too"]),
    ("[acl]\na = [{user_regexp = '('}]", (2, 21), "acl.a[0].user_regexp", &["unclosed group"]),
    ("[acl]\na = [{user_glob = '['}]", (2, 19), "acl.a[0].user_glob", &["not closed"]),
    // Federation, hosts, the rest.
    ("s2s.dns.retries = 1\ns2s.outgoing.dns.retries = 1", (1, 5), "s2s.dns", &["s2s.outgoing.dns is written too"]),
    ("s2s.use_starttls = 'required'", (1, 20), "s2s.use_starttls", &["certificate"]),
    ("s2s.use_starttls = true\ns2s.certfile = 'c'", (1, 20), "s2s.use_starttls", &["\"required\""]),
    ("[[host_config]]\nhost = 'i'", (2, 8), "host_config[0].host", &["not in general.hosts or host_types", "\"h\""]),
    ("[[host_config]]\ngeneral.route_subdomains = 's2s'", (1, 1), "host_config[0].host", &["is missing"]),
    ("[[host_config]]\nhost = 'h'\n[[host_config]]\nhost = 'h'", (4, 8), "host_config[1].host", &["line 3"]),
    ("s2s.outgoing.tls.versions = ['tlsv1.2', 'tlsv1.1']", (1, 41), "s2s.outgoing.tls.versions[1]", &["RFC 8996", "\"tlsv1.2\" or \"tlsv1.3\""]),
    ("s2s.outgoing.tls.versions = ['tlsv1.3', 'tls']", (1, 41), "s2s.outgoing.tls.versions[1]", &["not accepted"]),
    ("s2s.outgoing.address = [{host = 'a b', ip_address = '::1'}]", (1, 33), "s2s.outgoing.address[0].host", &["\"a b\" is no domain", "such as \"example.org\""]),
    ("s2s.host_policy = [{host = 'u@h', policy = 'deny'}]", (1, 28), "s2s.host_policy[0].host", &["an address at one"]),
    ("[[listen.service]]\nport = 1\npassword = 'p'\ndomains = ['a/b']", (4, 12), "listen.service[0].domains[0]", &["is no domain"]),
    ("[modules.mod_ping]\niqdisc.type = 'queues'", (2, 1), "modules.mod_ping.iqdisc.workers", &["missing"]),
    ("[modules.mod_register]\nip_access = [{address = '1.2.3', policy = 'deny'}]", (2, 25), "modules.mod_register.ip_access[0].address", &["no IP address"]),
    ("[outgoing_pools.rdbms.default]\nconnection.driver = 'pgsq'", (2, 21), "outgoing_pools.rdbms.default.connection.driver", &["\"pgsql\""]),
    ("[runtime]\ncores = 0", (2, 9), "runtime.cores", &["from 1"]),
    ("[instrumentation.promotheus]", (1, 18), "instrumentation.promotheus", &["`prometheus`"]),
];

#[test]
fn each_mistake_is_told_where_it_is() {
    for (text, (line, column), path, parts) in MISTAKES {
        let Err(errors) = after_general(text) else {
            panic!("accepted:\n{text}")
        };
        let said = errors
            .to_string()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(errors.len(), 1, "{text}\n{said}");
        for error in errors.iter() {
            // The text stands behind the line of `[general]`.
            assert_eq!(
                (error.line() - 1, error.column()),
                (*line, *column),
                "{text}\n{said}"
            );
            assert_eq!(error.place().path(), *path, "{text}\n{said}");
        }
        for part in *parts {
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let text = "
[general]
  hosts = ['a', 'a']
  langage = 'en'

[[listen.c2s]]
  port = 'x'
  shaper = 'none-such'

[[listen.c2s]]
  port = 5222

[[listen.http]]
  port = 5222
  tls.certfile = 'missing'

[auth]
  methods = ['internal']
  methods = ['internal']
";
    let errors = decode(text, "test.toml", &Anything).expect_err("it is full of mistakes");
    let found: Vec<_> = errors
        .iter()
        .map(|e| (e.line(), e.place().path()))
        .collect();
    let expected = [
        (2, "general.default_server_domain"),
        (3, "general.hosts[1]"),
        (4, "general.langage"),
        (7, "listen.c2s[0].port"),
        (8, "listen.c2s[0].shaper"),
        (14, "listen.http[0].port"),
        (15, "listen.http[0].tls.certfile"),
        (18, "auth.methods[0]"),
        (19, "auth.methods"),
    ];
    assert_eq!(found, expected, "{errors}");
}

#[test]
fn an_error_shows_file_line_caret_and_remedy() {
    let errors = after_general("[[listen.c2s]]\n'\u{e4}' = 1; ").expect_err("not TOML");
    assert!(errors.to_string().contains("test.toml:3:7"), "{errors}");
    let errors = after_general("[[listen.c2s]]\n  port = 70_000\n").expect_err("too large");
    let expected = "\
error: listen.c2s[0].port: the integer 70000 is not accepted
 --> test.toml:3:10
  |
3 |   port = 70_000
  |          ^^^^^^
  |
  = help: expected an integer from 0 to 65535";
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn a_later_step_can_point_into_the_file() {
    let config = accepted("[[listen.c2s]]\nport = 1\ntls.certfile = 'c'\n");
    let tls = config.listeners[0].tls().expect("written");
    let errors = Errors::at(&tls.certfile.place, "holds no certificate");
    let said = errors.to_string();
    assert!(
        said.contains("listen.c2s[0].tls.certfile: holds no certificate"),
        "{said}"
    );
    assert!(said.contains("test.toml:4:16"), "{said}");
}

#[test]
fn a_configuration_can_be_shared_between_cores() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&accepted(""));
}

#[test]
fn a_file_beyond_the_bound_is_refused() {
    let text = "#".repeat(FILE_BYTES_MAX + 1);
    let errors = decode(&text, "test.toml", &Anything).expect_err("too large");
    assert!(
        errors
            .iter()
            .all(|error| error.message() == "the file is too large")
    );
}

#[test]
fn secrets_stay_hidden() {
    let text = "s2s.shared = 'hunter2'\n[[listen.service]]\nport = 1\npassword = 'hunter2'\n";
    assert!(!format!("{:?}", accepted(text)).contains("hunter2"));
}

#[test]
fn a_file_without_general_names_what_it_lacks() {
    let errors = decode("", "test.toml", &Anything).expect_err("nothing is there");
    let paths: Vec<_> = errors.iter().map(|error| error.place().path()).collect();
    assert_eq!(
        paths,
        ["general.default_server_domain", "general.hosts"],
        "{errors}"
    );
    let said = errors.to_string();
    assert_eq!(said.matches("--> test.toml:1:1").count(), 2, "{said}");
}

#[test]
fn a_dashboard_without_name_and_password_is_told_where_it_is() {
    let text = "[[listen.http]]\nport = 1\nip_address = '::1'\n\
                [[listen.http.handlers.meerkat_dashboard]]\nhost = '_'\npath = '/'\n";
    let errors = after_general(text).expect_err("no login");
    let found: Vec<_> = errors
        .iter()
        .map(|error| (error.place().file(), error.line()))
        .collect();
    assert_eq!(found, [("test.toml", 5), ("test.toml", 7)], "{errors}");
}

#[test]
fn names_of_hosts_are_compared_as_addresses_are() {
    let text = "
general = {hosts = ['EXAMPLE.org.', 'B'], host_types = ['Some Type'], default_server_domain = 'B'}
[[host_config]]
host = 'Example.ORG'
general.replaced_wait_timeout = 1
[[host_config]]
host = 'Some Type'
[[host_config]]
host_type = 'b'
[s2s]
default_policy = 'deny'
host_policy = [{host = 'PEER.example', policy = 'allow'}]
outgoing.address = [{host = 'PEER.example', ip_address = '::1'}]
";
    let config = decode(text, "test.toml", &Anything).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.serves("example.org") && config.serves("b"));
    assert_eq!(config.general.default_server_domain.value, "b");
    assert!(config.own("example.org").is_some() && config.own("b").is_some());
    assert!(config.s2s.allows("peer.example") && !config.s2s.allows("other.example"));
    assert_eq!(config.s2s.outgoing.address[0].host, "peer.example");
}

#[test]
fn names_that_are_no_host_are_refused() {
    let general =
        |hosts: &str| format!("general = {{hosts = {hosts}, default_server_domain = 'h'}}");
    for (hosts, said) in [
        ("['a b']", "no domain: domain holds what it must not"),
        ("['a@b']", "an address at one"),
        ("['a/b']", "an address at one"),
        ("['']", "empty domain"),
        ("['h', 'H']", "\"h\" is the same host, \"h\""),
    ] {
        let errors = decode(&general(hosts), "test.toml", &Anything).expect_err(hosts);
        assert_eq!(errors.len(), 1, "{errors}");
        assert!(errors.to_string().contains(said), "{errors}");
    }
}

#[test]
fn listeners_have_the_defaults_of_the_manual() {
    let config = accepted("[[listen.c2s]]\nport = 1\n[[listen.http]]\nport = 2\nip_version = 6\n");
    let [c2s, http] = config.listeners.as_slice() else {
        panic!("two listeners")
    };
    assert_eq!(c2s.path, "listen.c2s[0]");
    assert_eq!(c2s.common.address.to_string(), "0.0.0.0:1");
    assert_eq!(c2s.common.backlog, 1024);
    assert_eq!(c2s.common.num_acceptors, 100);
    assert_eq!(c2s.common.max_connections, Bound::Infinity);
    assert_eq!(c2s.common.max_stanza_size, Bound::Infinity);
    assert_eq!(c2s.common.state_timeout, Bound::At(5000));
    assert_eq!(c2s.common.hibernate_after, Bound::At(0));
    assert_eq!(c2s.common.outbound_buffer, 4 << 20);
    assert!(c2s.common.reuse_port && !c2s.common.proxy_protocol);
    assert_eq!(http.common.address.to_string(), "[::]:2");
    assert_eq!(http.common.max_connections, Bound::At(1024));
    assert_eq!(config.auth.iterations(), 10_000);
    assert_eq!(config.runtime.data_dir.value, "data");
    assert_eq!(config.runtime.partial_stanza_memory, 64 << 20);
}

#[test]
fn only_backlog_and_times_have_an_upper_bound() {
    let text = "
[[listen.c2s]]
port = 1
num_acceptors = 9223372036854775807
max_connections = 9223372036854775807
max_connections_per_ip = 9223372036854775807
accept_rate = 9223372036854775807
[[listen.http]]
port = 2
transport = {num_acceptors = 4294967296, max_connections = 4294967296}
";
    let config = accepted(text);
    let [c2s, http] = config.listeners.as_slice() else {
        panic!("two listeners")
    };
    assert_eq!(c2s.common.num_acceptors, u32::MAX);
    assert_eq!(c2s.common.max_connections, Bound::At(i64::MAX as u64));
    assert_eq!(c2s.common.max_connections_per_ip, Some(u32::MAX));
    assert_eq!(http.common.num_acceptors, u32::MAX);
    assert_eq!(http.common.max_connections, Bound::At(1 << 32));
}

#[test]
fn both_dialects_mean_the_same() {
    let old = accepted(
        "[[listen.service]]\nport = 1\npassword = 'p'\nshaper_rule = 'f'\n[shaper.f]\nmax_rate = 7\n\
         [s2s]\nmax_retry_delay = 9\nuse_starttls = 'false'\n[auth]\nscram_iterations = 5000\n",
    );
    let new = accepted(
        "[[listen.component]]\nport = 1\npassword = 'p'\nshaper = 'f'\n[shaper.f]\nmax_rate = 7\n\
         [s2s]\noutgoing.max_retry_delay = 9\n[auth]\npassword.scram_iterations = 5000\n",
    );
    for config in [old, new] {
        let shaper = &config.listeners[0].common.shaper;
        assert_eq!(*shaper, listen::ShaperChoice::Named("f".into()));
        assert_eq!(config.s2s.outgoing.max_retry_delay, 9);
        assert_eq!(config.auth.iterations(), 5000);
    }
}
