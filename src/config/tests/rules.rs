//! What rules and classes give to whom.

use super::*;

fn who(jid: &str) -> Who<'_> {
    let (bare, resource) = jid.split_once('/').unwrap_or((jid, ""));
    let (node, domain) = bare.split_once('@').unwrap_or(("", bare));
    Who {
        node,
        domain,
        resource,
    }
}

/// Patterns of a class, an address, and whether it belongs to the class on the host "h".
const CLASSES: &[(&str, &str, bool)] = &[
    ("{}", "a@h", true),
    ("{}", "a@i", false),
    ("{match = 'any_hosted_domain'}", "a@h2", true),
    ("{match = 'any_hosted_domain'}", "a@i", false),
    ("{match = 'all'}", "a@i", true),
    ("{match = 'none'}", "a@h", false),
    ("{user = 'A'}", "a@h", true),
    ("{user = 'a'}", "b@h", false),
    ("{user = 'b'}, {user = 'a'}", "a@h", true),
    ("{server = 'I', match = 'all'}", "a@i", true),
    ("{server = 'i'}", "a@i", false),
    ("{resource = 'Office'}", "a@h/Office", true),
    ("{resource = 'Office'}", "a@h/office", false),
    ("{user_regexp = '^a.*e'}", "alice@h", true),
    ("{user_regexp = 'b'}", "alice@h", false),
    ("{resource_regexp = '^r\\d+$'}", "a@h/r12", true),
    ("{user_glob = 'a*e'}", "alice@h", true),
    ("{user_glob = 'a*e'}", "malice@h", false),
    ("{user_glob = 'a?'}", "ab@h", true),
    ("{user_glob = 'a?'}", "abc@h", false),
    ("{user_glob = '[a-c]x'}", "bx@h", true),
    ("{user_glob = '[!a-c]x'}", "bx@h", false),
    ("{user_glob = 'a.c'}", "abc@h", false),
    ("{user = 'a', resource_glob = 'r*'}", "a@h/s", false),
];

#[test]
fn classes_hold_whom_their_patterns_describe() {
    for (patterns, jid, expected) in CLASSES {
        let mut config = accepted(&format!(
            "[acl]\nc = [{patterns}]\n[access]\nr = [{{acl = 'c', value = 'allow'}}]"
        ));
        config.general.hosts.push(Sited {
            value: "h2".into(),
            place: Place::default(),
        });
        assert_eq!(
            config.allows("r", "h", who(jid)),
            *expected,
            "{patterns} {jid}"
        );
    }
}

#[test]
fn the_first_clause_that_matches_decides() {
    let config = accepted(
        "[acl]\nadmin = [{user = 'root'}]\n[access]\nr = [{acl = 'admin', value = 7}, \
         {acl = 'undefined', value = 8}, {acl = 'all', value = 'infinity'}]\nempty = []",
    );
    assert_eq!(
        config.grant("r", "h", who("root@h")),
        Some(&Granted::Number(7))
    );
    assert_eq!(
        config.grant("r", "h", who("a@h")),
        Some(&Granted::Word("infinity".into()))
    );
    assert_eq!(config.grant("empty", "h", who("a@h")), None);
    assert_eq!(config.grant("undefined", "h", who("a@h")), None);
    assert!(!config.allows("undefined", "h", who("a@h")));
    assert!(config.allows("all", "h", who("a@h")));
}

#[test]
fn a_host_adds_to_classes_and_rules() {
    let config = accepted(
        "[acl]\nblocked = [{user = 'spam'}]\n[access]\nc2s = [{acl = 'all', value = 'allow'}]\n\
         first = [{acl = 'blocked', value = 'deny'}]\n\
         [[host_config]]\nhost = 'h'\n[host_config.acl]\nblocked = [{user = 'hack'}]\n\
         [host_config.access]\nc2s = [{acl = 'blocked', value = 'deny'}]\n\
         first = [{acl = 'all', value = 'allow'}]\n",
    );
    for (rule, jid, expected) in [
        ("c2s", "spam@h", false),
        ("c2s", "hack@h", false),
        ("c2s", "alice@h", true),
        ("first", "hack@h", false),
        ("first", "alice@h", true),
    ] {
        assert_eq!(config.allows(rule, "h", who(jid)), expected, "{rule} {jid}");
    }
    assert!(config.allows("c2s", "other", who("hack@other")));
}

#[test]
fn sessions_and_rates_come_from_rules() {
    let config = accepted(
        "[[listen.c2s]]\nport = 1\nshaper = 'r'\n[shaper.slow]\nmax_rate = 9\n\
         [acl]\nadmin = [{user = 'root'}]\n[access]\n\
         r = [{acl = 'admin', value = 'none'}, {acl = 'all', value = 'slow'}]\n\
         max_user_sessions = [{acl = 'admin', value = 'infinity'}, {acl = 'all', value = 2}]\n",
    );
    let shaper = &config.listeners[0].common.shaper;
    assert_eq!(config.rate(shaper, "h", who("root@h")), None);
    assert_eq!(config.rate(shaper, "h", who("a@h")), Some(9));
    assert_eq!(config.sessions_max("h", who("root@h")), Bound::Infinity);
    assert_eq!(config.sessions_max("h", who("a@h")), Bound::At(2));
    assert_eq!(
        accepted("").sessions_max("h", who("a@h")),
        Bound::At(SESSIONS_UNWRITTEN)
    );
}

#[test]
fn a_host_replaces_auth_and_registration_looks_at_networks() {
    let config = accepted(
        "[auth.internal]\n[modules.mod_register]\nip_access = [{address = '127.0.0.0/8', policy = \
         'allow'}, {address = '0.0.0.0/0', policy = 'deny'}]\n[[host_config]]\nhost = 'h'\n\
         [host_config.auth.anonymous]\n",
    );
    assert_eq!(config.auth_of("h").enabled(), [auth::Method::Anonymous]);
    assert_eq!(config.auth_of("i").enabled(), [auth::Method::Internal]);
    let register = config
        .modules_of("h")
        .mod_register
        .as_ref()
        .expect("written");
    for (address, expected) in [("127.0.0.1", true), ("192.0.2.1", false), ("::1", true)] {
        assert_eq!(
            register.allows(address.parse().expect("an address")),
            expected,
            "{address}"
        );
    }
}
