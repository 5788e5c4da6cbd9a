//! What is accepted and worth a word.

use super::*;

fn notices(text: &str) -> Vec<(Level, String, String)> {
    let notices = accepted(text).notices;
    notices
        .into_iter()
        .map(|n| (n.level, n.place.path().to_owned(), n.text))
        .collect()
}

/// Whether `text` yields a notice of this level, path and part of text.
fn says(text: &str, level: Level, path: &str, part: &str) -> bool {
    let found = notices(text);
    let said = found
        .iter()
        .any(|(l, p, t)| *l == level && p == path && t.contains(part));
    if !said {
        eprintln!("{text}\n{found:#?}");
    }
    said
}

#[test]
fn warnings() {
    let c2s = |text: &str| format!("{C2S}{text}");
    assert!(says("", Level::Warning, "", "nothing will be served"));
    let access = c2s("access = 'nobody-wrote-it'");
    assert!(says(
        &access,
        Level::Warning,
        "listen.c2s[0].access",
        "everyone is denied"
    ));
    let methods = c2s("allowed_auth_methods = ['ldap']");
    assert!(says(
        &methods,
        Level::Warning,
        "listen.c2s[0].allowed_auth_methods[0]",
        "offers nothing"
    ));
    let timeout = c2s("state_timeout = 0");
    assert!(says(
        &timeout,
        Level::Warning,
        "listen.c2s[0].state_timeout",
        "nobody can connect"
    ));
    let proxy = c2s("proxy_protocol = true");
    assert!(says(
        &proxy,
        Level::Warning,
        "listen.c2s[0]",
        "trusted_proxies"
    ));
    let clear = "[[listen.s2s]]\nport = 1";
    assert!(says(clear, Level::Warning, "listen.s2s[0]", "in clear"));
    let rule = c2s("access = 'r'\n[access]\nr = [{acl = 'all', value = 'yes'}]");
    assert!(says(&rule, Level::Warning, "access.r[0].value", "denies"));
    let cheap = "auth.password.scram_iterations = 1000";
    assert!(says(
        cheap,
        Level::Warning,
        "auth.password.scram_iterations",
        "RFC 5802"
    ));
    let number = "[access]\nmax_user_sessions = [{acl = 'all', value = 'ten'}]";
    assert!(says(
        number,
        Level::Warning,
        "access.max_user_sessions[0].value",
        "neither a number"
    ));
    let none = "[shaper.none]\nmax_rate = 1";
    assert!(says(none, Level::NoEffect, "shaper.none", "no effect"));
    let register = "[modules.mod_register]\naccess = 'r'";
    assert!(says(
        register,
        Level::Warning,
        "modules.mod_register.access",
        "everyone is denied"
    ));
}

#[test]
fn a_host_without_logins_is_named() {
    let said = "nobody can log in at h: neither [auth.internal] nor [auth.anonymous]";
    assert!(says(C2S, Level::Warning, "listen.c2s[0]", said));
    let elsewhere = format!("{C2S}[auth.ldap]");
    assert!(says(&elsewhere, Level::Warning, "listen.c2s[0]", said));
    let browsers = "[[listen.http]]\nport = 1\nhandlers.mod_bosh = [{host = '_', path = '/'}]\n";
    assert!(says(browsers, Level::Warning, "listen.http[0]", said));
    for text in [
        "[listen]\n",
        "[[listen.service]]\nport = 1\npassword = 'p'\n",
        "auth.internal = {}\n[[listen.c2s]]\nport = 1\n",
        "[[listen.c2s]]\nport = 1\n[[host_config]]\nhost = 'h'\nauth.anonymous = {}\n",
    ] {
        assert!(
            !notices(text)
                .iter()
                .any(|(_, _, text)| text.contains("log in"))
        );
    }
    assert!(
        !notices("[listen]\n")
            .iter()
            .any(|(level, ..)| *level == Level::NoEffect)
    );
}

#[test]
fn a_list_of_modules_that_switches_everything_off_is_named() {
    let off = "switches every feature off";
    for text in ["[modules]\n", "[modules.mod_bosh]\n", "[modules.mod_muc]\n"] {
        assert!(says(text, Level::Warning, "modules", off));
    }
    let own = "[[host_config]]\nhost = 'h'\nmodules = {}\n";
    assert!(says(own, Level::Warning, "host_config[0].modules", off));
    for text in [
        "",
        "[modules.mod_ping]\n",
        "[modules.mod_bosh]\n[modules.mod_roster]\n",
    ] {
        assert!(!notices(text).iter().any(|(.., text)| text.contains(off)));
    }
    let empty = "[auth]\n[access]\n[s2s]\n[services]\n[modules]\n";
    assert!(
        !notices(empty)
            .iter()
            .any(|(level, ..)| *level == Level::NoEffect)
    );
}

#[test]
fn a_proxy_on_loopback_or_by_name_needs_no_warning() {
    for text in [
        "ip_address = '127.0.0.1'",
        "trusted_proxies = ['192.0.2.1']",
    ] {
        let text = format!("{C2S}proxy_protocol = true\n{text}\n[auth.internal]\n");
        assert_eq!(notices(&text), []);
    }
}

#[test]
fn keys_without_effect_are_named_once() {
    let text = "
[auth.internal]
[[listen.c2s]]
port = 1
tls.certfile = 'c'
tls.dhfile = 'd'
[[listen.c2s]]
port = 2
tls.certfile = 'c'
tls.dhfile = 'd'
[[listen.http]]
port = 3
hibernate_after = 1
handlers.mongoose_admin_api = [{host = '_', path = '/'}]
[[listen.http]]
port = 4
handlers.mongoose_admin_api = [{host = '_', path = '/'}]
[modules.mod_roster]
[modules.mod_vcard]
host = 'vcard.h'
matches = 3
[services.service_bosh]
host_types = ['a']
inactivity = 9
[services.service_traffic]
[access]
max_user_sessions = [{acl = 'all', value = 3}]
muc = [{acl = 'all', value = 'allow'}]
[shaper.mam]
max_rate = 1
[acl]
local = [{}]
";
    let paths = notices(text).into_iter().map(|(level, path, text)| {
        assert_eq!(level, Level::NoEffect);
        assert!(text.starts_with("accepted, no effect yet: "), "{text}");
        path
    });
    let expected = [
        "listen.c2s[0].tls.dhfile",
        "listen.http[0].handlers.mongoose_admin_api[0]",
        "listen.http[1].handlers.mongoose_admin_api[0]",
        "modules.mod_vcard.host",
        "modules.mod_vcard.matches",
        "services.service_bosh.host_types",
        "services.service_traffic",
        "access.muc",
        "shaper.mam",
        "acl.local",
    ];
    assert_eq!(paths.collect::<Vec<_>>(), expected);
}

#[test]
fn what_a_served_listener_asks_for_has_effect() {
    let text = "
[auth.internal]
[[listen.c2s]]
port = 1
access = 'c2s'
shaper = 'by_class'
[shaper.slow]
max_rate = 1
[acl]
guests = [{user_glob = 'g*'}]
[access]
c2s = [{acl = 'guests', value = 'deny'}, {acl = 'all', value = 'allow'}]
by_class = [{acl = 'all', value = 'slow'}]
[modules.mod_register]
access = 'register'
[[host_config]]
host = 'h'
[host_config.access]
register = [{acl = 'all', value = 'deny'}]
";
    assert_eq!(notices(text), []);
}

#[test]
fn an_undefined_class_is_named_once() {
    let text = "[access]\nmax_user_sessions = [{acl = 'vip', value = 3}, {acl = 'vip', value = 4}]";
    let found: Vec<_> = notices(text)
        .into_iter()
        .filter(|(l, ..)| *l == Level::Info)
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].1, "access.max_user_sessions[0].acl");
    assert!(found[0].2.contains("\"vip\""));
}
