//! Names in one section that refer to another: shapers, rules, classes, methods.

use std::collections::BTreeSet;

use super::Config;
use super::access::ALL;
use super::access::Clause;
use super::access::Granted;
use super::access::Rules;
use super::auth::Auth;
use super::check::Check;
use super::check::listed;
use super::check::nearest;
use super::error::Level;
use super::listen::Listener;
use super::listen::ListenerKind;
use super::listen::ShaperChoice;
use super::source::Place;

/// Rules that are asked for by name, whatever the file says, and that give numbers.
pub(super) const NUMBER_RULES: &[&str] = &["max_user_sessions", "max_user_offline_messages"];

/// Resolves and checks every reference.
pub(crate) fn resolve(check: &mut Check<'_>, config: &mut Config) {
    resolve_shapers(check, config);
    check_outgoing_shapers(check, config);
    check_access(check, config);
    check_numbers(check, config);
    check_methods(check, config);
    check_classes(check, config);
}

/// A listener's shaper is a shaper, or a rule whose values are shapers. Anything else is an error.
fn resolve_shapers(check: &mut Check<'_>, config: &mut Config) {
    let mut listeners = std::mem::take(&mut config.listeners);
    let mut checked = BTreeSet::new();
    for listener in &mut listeners {
        let common = &mut listener.common;
        let ShaperChoice::Named(name) = common.shaper.clone() else {
            continue;
        };
        // An empty name was reported as what it is.
        if name.is_empty() || config.shapers.contains_key(&name) {
            continue;
        }
        if !is_rule(config, &name) {
            undefined_shaper(check, config, &common.shaper_place, &name);
        } else if checked.insert(name.clone()) {
            check_shaper_values(check, config, &name);
        }
        common.shaper = ShaperChoice::ByRule(name);
    }
    config.listeners = listeners;
}

/// Whether a rule is defined, for the server or for any host.
pub(crate) fn is_rule(config: &Config, rule: &str) -> bool {
    let own = config.host_config.iter().map(|own| &own.rules);
    [&config.rules]
        .into_iter()
        .chain(own)
        .any(|rules| rules.access.contains_key(rule))
}

/// The clauses of a rule, those of single hosts included.
pub(crate) fn clauses<'a>(config: &'a Config, rule: &'a str) -> impl Iterator<Item = &'a Clause> {
    let own = config.host_config.iter().map(|own| &own.rules);
    let rules = [&config.rules].into_iter().chain(own);
    rules
        .filter_map(move |rules| rules.access.get(rule))
        .flatten()
}

fn check_shaper_values(check: &mut Check<'_>, config: &Config, rule: &str) {
    for clause in clauses(config, rule) {
        let value = &clause.value;
        match &value.value {
            Granted::Word(name) if name == "none" || config.shapers.contains_key(name) => {}
            Granted::Word(name) => undefined_shaper(check, config, &value.place, name),
            Granted::Number(_) => {
                let message = format!("a listener takes the values of {rule:?} as shapers");
                check.error(&value.place, message, &defined_shapers(config));
            }
        }
    }
}

fn check_outgoing_shapers(check: &mut Check<'_>, config: &Config) {
    let own = config.host_config.iter().filter_map(|own| own.s2s.as_ref());
    for s2s in [&config.s2s].into_iter().chain(own) {
        let shaper = &s2s.outgoing.shaper;
        let named = !shaper.is_empty() && shaper.value != "none";
        if named && !config.shapers.contains_key(&shaper.value) {
            undefined_shaper(check, config, &shaper.place, &shaper.value);
        }
    }
}

fn undefined_shaper(check: &mut Check<'_>, config: &Config, place: &Place, name: &str) {
    let known = config.shapers.keys().map(String::as_str);
    let accepted = match nearest(name, known) {
        Some((near, true)) => format!("did you mean {near:?}? {}", defined_shapers(config)),
        Some((_, false)) | None => {
            format!("{}, or a section [shaper.{name}]", defined_shapers(config))
        }
    };
    check.error(place, format!("no shaper is called {name:?}"), &accepted);
}

fn defined_shapers(config: &Config) -> String {
    let names = ["none"]
        .into_iter()
        .chain(config.shapers.keys().map(String::as_str));
    format!("expected {}", listed(names))
}

/// A rule that is not defined denies everyone: it loads, so it must be said.
fn check_access(check: &mut Check<'_>, config: &Config) {
    let mut checked = BTreeSet::from([ALL]);
    for listener in &config.listeners {
        let Some(access) = listener.access() else {
            continue;
        };
        let name = access.value.as_str();
        if name != ALL && !is_rule(config, name) {
            undefined_rule(check, &access.place, name);
        } else if checked.insert(name) {
            check_decisions(check, clauses(config, name));
        }
    }
}

/// Warns of a rule that nobody defined.
pub(crate) fn undefined_rule(check: &mut Check<'_>, place: &Place, name: &str) {
    let text = format!("no rule of [access] is called {name:?}: everyone is denied");
    check.notice(Level::Warning, place, text);
}

/// Rules whose values are numbers: another word counts as if nothing were written.
fn check_numbers(check: &mut Check<'_>, config: &Config) {
    for rule in NUMBER_RULES {
        for clause in clauses(config, rule) {
            let value = &clause.value;
            if matches!(&value.value, Granted::Word(word) if word != "infinity") {
                let text = "neither a number nor \"infinity\": the default holds";
                check.notice(Level::Warning, &value.place, text);
            }
        }
    }
}

fn check_decisions<'a>(check: &mut Check<'_>, clauses: impl Iterator<Item = &'a Clause>) {
    for clause in clauses {
        let value = &clause.value;
        if !value.value.allows() && value.value != Granted::Word("deny".into()) {
            let text = "neither \"allow\" nor \"deny\": it denies";
            check.notice(Level::Warning, &value.place, text);
        }
    }
}

/// A listener can only narrow what `[auth]` configures, for the server or any host.
fn check_methods(check: &mut Check<'_>, config: &Config) {
    let own = config
        .host_config
        .iter()
        .filter_map(|own| own.auth.as_ref());
    let enabled: Vec<_> = [&config.auth]
        .into_iter()
        .chain(own)
        .flat_map(Auth::enabled)
        .collect();
    check_logins(check, config);
    for listener in &config.listeners {
        let ListenerKind::C2s(c2s) = &listener.kind else {
            continue;
        };
        for method in c2s.allowed_auth_methods.iter().flatten() {
            if !enabled.contains(&method.value) {
                let text = format!(
                    "[auth] does not configure {:?}: it offers nothing here",
                    method.value.word()
                );
                check.notice(Level::Warning, &method.place, text);
            }
        }
    }
}

/// A host whose users nobody can check takes no client: it loads, so it must be said.
fn check_logins(check: &mut Check<'_>, config: &Config) {
    let takes_clients = |listener: &&Listener| match &listener.kind {
        ListenerKind::C2s(_) => true,
        ListenerKind::Http(http) => {
            let handlers = &http.handlers;
            let xmpp = &handlers.mongoose_websocket_handler;
            !xmpp.is_empty() || !handlers.mongoose_bosh_handler.is_empty()
        }
        ListenerKind::S2s(_) | ListenerKind::Service(_) => false,
    };
    let Some(listener) = config.listeners.iter().find(takes_clients) else {
        return;
    };
    let hosts = config.general.hosts.iter().map(|host| host.value.as_str());
    let without: Vec<&str> = hosts
        .filter(|host| !config.auth_of(host).lets_in())
        .collect();
    if !without.is_empty() {
        let text = format!(
            "nobody can log in at {}: neither [auth.internal] nor [auth.anonymous] is configured",
            without.join(", ")
        );
        check.notice(Level::Warning, &listener.place, text);
    }
}

/// A class that is not defined matches nobody, which is named once for each class.
fn check_classes(check: &mut Check<'_>, config: &Config) {
    let mut named = BTreeSet::from([ALL]);
    let own = config
        .host_config
        .iter()
        .map(|own| (&own.rules, Some(&own.rules)));
    for (rules, own) in [(&config.rules, None)].into_iter().chain(own) {
        for clause in rules.access.values().flatten() {
            let class = clause.class.value.as_str();
            let defined = |rules: &Rules| rules.acl.contains_key(class);
            if !defined(&config.rules) && !own.is_some_and(defined) && named.insert(class) {
                let text = format!("no class of [acl] is called {class:?}: it matches nobody");
                check.notice(Level::Info, &clause.class.place, text);
            }
        }
    }
}
