//! Names in one section that refer to another: shapers, rules, classes, methods.

use std::collections::BTreeSet;

use super::Config;
use super::access::ALL;
use super::access::Clause;
use super::access::Granted;
use super::check::Check;
use super::check::listed;
use super::check::nearest;
use super::error::Level;
use super::listen::ListenerKind;
use super::listen::ShaperChoice;
use super::source::Place;

/// Resolves and checks every reference.
pub(crate) fn resolve(check: &mut Check<'_>, config: &mut Config) {
    resolve_shapers(check, config);
    check_access(check, config);
    check_methods(check, config);
    check_classes(check, config);
}

/// A listener's shaper is a shaper, or a rule whose values are shapers. Anything else is an error.
fn resolve_shapers(check: &mut Check<'_>, config: &mut Config) {
    let mut listeners = std::mem::take(&mut config.listeners);
    for listener in &mut listeners {
        let common = &mut listener.common;
        let ShaperChoice::Named(name) = &common.shaper else {
            continue;
        };
        if config.shapers.contains_key(name) {
            continue;
        }
        match config.rules.access.get(name) {
            Some(clauses) => {
                check_shaper_values(check, config, clauses, name);
                common.shaper = ShaperChoice::ByRule(name.clone());
            }
            None => undefined_shaper(check, config, &common.shaper_place, name),
        }
    }
    config.listeners = listeners;
}

fn check_shaper_values(check: &mut Check<'_>, config: &Config, clauses: &[Clause], rule: &str) {
    for clause in clauses {
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

/// For a section that names a shaper and nothing else.
pub(crate) fn undefined_shaper(check: &mut Check<'_>, config: &Config, place: &Place, name: &str) {
    let known = config.shapers.keys().map(String::as_str);
    let accepted = match nearest(name, known) {
        Some(near) => format!("did you mean {near:?}? {}", defined_shapers(config)),
        None => format!("{}, or a section [shaper.{name}]", defined_shapers(config)),
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
    for listener in &config.listeners {
        let Some(access) = listener.access() else {
            continue;
        };
        match config.rules.access.get(&access.value) {
            Some(clauses) => check_decisions(check, clauses),
            None if access.value == ALL => {}
            None => undefined_rule(check, access.place.clone(), &access.value),
        }
    }
}

/// Warns of a rule that nobody defined.
pub(crate) fn undefined_rule(check: &mut Check<'_>, place: Place, name: &str) {
    let text = format!("no rule of [access] is called {name:?}: everyone is denied");
    check.notice(Level::Warning, &place, text);
}

fn check_decisions(check: &mut Check<'_>, clauses: &[Clause]) {
    for clause in clauses {
        let value = &clause.value;
        if !value.value.allows() && value.value != Granted::Word("deny".into()) {
            let text = "neither \"allow\" nor \"deny\": it denies";
            check.notice(Level::Warning, &value.place, text);
        }
    }
}

/// A listener can only narrow what `[auth]` configures.
fn check_methods(check: &mut Check<'_>, config: &Config) {
    let enabled = config.auth.enabled();
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

/// A class that is not defined matches nobody, which is named once for each class.
fn check_classes(check: &mut Check<'_>, config: &Config) {
    let mut named = BTreeSet::from([ALL]);
    for clause in config.rules.access.values().flatten() {
        let class = clause.class.value.as_str();
        if !config.rules.acl.contains_key(class) && named.insert(class) {
            let text = format!("no class of [acl] is called {class:?}: it matches nobody");
            check.notice(Level::Info, &clause.class.place, text);
        }
    }
}
