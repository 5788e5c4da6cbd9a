//! Which options do something in this version.
//!
//! Nothing that is accepted may be without effect in silence. [`TABLE`] says what works; every
//! other key that a file holds is named in a [`Notice`](super::Notice). When a feature starts to
//! work, its line here changes in the same commit.

use std::collections::BTreeSet;

use super::Config;
use super::access::Granted;
use super::check::Check;
use super::error::Level;
use super::listen::ShaperChoice;
use super::references;
use super::references::NUMBER_RULES;
use super::source::Place;
use super::tree::Entry;
use super::tree::Node;
use super::tree::Value;

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// What the documentation says, unless a longer path in the table says otherwise.
    Works,
    /// Nothing, because of this. Each key below it is named.
    Nothing(&'static str),
    /// Nothing; the table is named as a whole.
    NotServed(&'static str),
}

use Effect::NotServed;
use Effect::Nothing;
use Effect::Works;

const NOT_IMPLEMENTED: &str = "this version does not have it";
const OTHER_LIBRARY: &str = "it belongs to MongooseIM's TLS libraries";
const NO_FINITE_FIELD: &str = "only elliptic curves are offered, no finite-field Diffie-Hellman";
const OUTBOUND_BUFFER: &str = "`outbound_buffer` is the bound here";
const IN_ORDER: &str = "requests are served in the order in which they come";
const OWN_STORE: &str = "the server's store is its own";
const ONE_STORE: &str = "there is one store, and it keeps rosters as it does";
const NO_SEARCH: &str = "this version cannot search for users";
const NOT_REMEMBERED: &str = "what clients can do is neither asked nor remembered";
const ABSENT_HANDLER: &str = "requests for it are answered with 501";
const OWN_NAME: &str = "each server is asked for its own domain";
const RFC_9525: &str = "names are compared as RFC 9525 has it, for every server";
const EVERY_HOST: &str = "a handler serves the users of every host";
const UNASKED: &str = "nothing that works in this version asks for it";

/// Paths without array indices; `*` stands for any one key. What is not listed has no effect.
const TABLE: &[(&str, Effect)] = &[
    ("general.loglevel", Works),
    ("general.hosts", Works),
    ("general.default_server_domain", Works),
    ("general.language", Works),
    ("general.registration_timeout", Works),
    ("general.hide_service_name", Works),
    ("runtime", Works),
    ("listen.c2s", Works),
    ("listen.*.tls.dhfile", Nothing(NO_FINITE_FIELD)),
    ("listen.*.tls.module", Nothing(OTHER_LIBRARY)),
    ("listen.*.tls.protocol_options", Nothing(OTHER_LIBRARY)),
    ("listen.s2s", Works),
    ("s2s", Works),
    ("s2s.outgoing.shaper", Works),
    (
        "s2s.outgoing.tls.server_name_indication.host",
        Nothing(OWN_NAME),
    ),
    (
        "s2s.outgoing.tls.server_name_indication.protocol",
        Nothing(RFC_9525),
    ),
    ("host_config.s2s.default_policy", Works),
    ("host_config.s2s.host_policy", Works),
    ("listen.service", Works),
    ("listen.service.max_fsm_queue", Nothing(OUTBOUND_BUFFER)),
    ("listen.component", Works),
    ("listen.http", Works),
    (
        "listen.http.handlers.mongoose_graphql_handler",
        NotServed(ABSENT_HANDLER),
    ),
    (
        "listen.http.handlers.mongoose_admin_api",
        NotServed(ABSENT_HANDLER),
    ),
    (
        "listen.http.handlers.mongoose_client_api",
        NotServed(ABSENT_HANDLER),
    ),
    ("auth.methods", Works),
    ("auth.sasl_mechanisms", Works),
    ("auth.scram_iterations", Works),
    ("auth.allow_plain_without_tls", Works),
    ("auth.password", Works),
    ("auth.internal", Works),
    ("auth.anonymous.protocol", Works),
    ("auth.anonymous.allow_multiple_connections", Works),
    ("modules.*.iqdisc", Nothing(IN_ORDER)),
    ("modules.*.backend", Nothing(OWN_STORE)),
    ("modules.mod_blocking", Works),
    ("modules.mod_bosh", Works),
    ("modules.mod_caps", Works),
    ("modules.mod_caps.versions", Works),
    ("modules.mod_caps.*", Nothing(NOT_REMEMBERED)),
    ("modules.mod_carboncopy", Works),
    ("modules.mod_disco", Works),
    ("modules.mod_disco.extra_domains", Works),
    ("modules.mod_disco.server_info", Works),
    ("modules.mod_disco.*", Nothing(NOT_IMPLEMENTED)),
    ("modules.mod_last", Works),
    ("modules.mod_offline", Works),
    ("modules.mod_offline.access_max_user_messages", Works),
    ("modules.mod_offline.*", Nothing(NOT_IMPLEMENTED)),
    ("modules.mod_ping", Works),
    ("modules.mod_ping.*", Nothing(NOT_IMPLEMENTED)),
    ("modules.mod_presence", Works),
    ("modules.mod_private", Works),
    ("modules.mod_register", Works),
    ("modules.mod_register.access", Works),
    ("modules.mod_register.ip_access", Works),
    ("modules.mod_register.password_strength", Works),
    ("modules.mod_register.registration_watchers", Works),
    ("modules.mod_register.welcome_message", Works),
    ("modules.mod_register.*", Nothing(NOT_IMPLEMENTED)),
    ("modules.mod_roster", Works),
    ("modules.mod_roster.versioning", Works),
    ("modules.mod_roster.*", Nothing(ONE_STORE)),
    ("modules.mod_time", Works),
    ("modules.mod_vcard", Works),
    ("modules.mod_vcard.*", Nothing(NO_SEARCH)),
    ("modules.mod_version", Works),
    ("host_config.host", Works),
    ("host_config.host_type", Works),
    ("host_config.auth.methods", Works),
    ("host_config.auth.sasl_mechanisms", Works),
    ("host_config.auth.scram_iterations", Works),
    ("host_config.auth.allow_plain_without_tls", Works),
    ("host_config.auth.password", Works),
    ("host_config.auth.internal", Works),
    ("host_config.auth.anonymous.protocol", Works),
    (
        "host_config.auth.anonymous.allow_multiple_connections",
        Works,
    ),
    (
        "outgoing_pools",
        Nothing("nothing in this version connects to it"),
    ),
    ("internal_databases", Nothing(OWN_STORE)),
    ("instrumentation", Nothing(NOT_IMPLEMENTED)),
    ("services.service_bosh", Works),
    ("services.service_bosh.backend", Nothing(OWN_STORE)),
    ("services.service_bosh.host_types", Nothing(EVERY_HOST)),
    ("services", Nothing(NOT_IMPLEMENTED)),
];

/// Adds a notice for each key of the file that does nothing.
pub(crate) fn notices(check: &mut Check<'_>, root: &Node, config: &Config) {
    let mut walk = Walk {
        check,
        asked: Asked::of(config),
        told: BTreeSet::new(),
    };
    for entry in root.entries() {
        walk.entry(entry, "", None);
    }
}

/// Whether the table says that a path, or the section it is in, has no effect. What depends on
/// the rest of a file (rules, classes, shapers) counts as working.
pub(crate) fn without(path: &str) -> bool {
    let section = path.split('.').next().unwrap_or(path);
    if ["access", "acl", "shaper"].contains(&section) {
        return false;
    }
    let mut outer = Some(path);
    while let Some(path) = outer {
        match effect_of(path) {
            Some(Works) => return false,
            Some(Nothing(_) | NotServed(_)) => return true,
            None => outer = path.rsplit_once('.').map(|(outer, _)| outer),
        }
    }
    true
}

/// Whether nothing in a section has an effect.
pub(crate) fn section_without(path: &str) -> bool {
    let inside = format!("{path}.");
    let works = TABLE
        .iter()
        .any(|(p, effect)| *effect == Works && p.starts_with(&inside));
    without(path) && !works
}

struct Walk<'c, 'f> {
    check: &'c mut Check<'f>,
    asked: Asked,
    told: BTreeSet<String>,
}

impl Walk<'_, '_> {
    fn entry(&mut self, entry: &Entry, outer: &str, inherited: Option<Effect>) {
        let dot = if outer.is_empty() { "" } else { "." };
        let path = format!("{outer}{dot}{}", entry.key);
        match self.asked.effect(&path) {
            Some(Works) => {}
            Some(Nothing(why) | NotServed(why)) => self.tell(&entry.key_place, &path, why),
            None => self.node(&entry.node, &path, effect_of(&path).or(inherited)),
        }
    }

    fn node(&mut self, node: &Node, path: &str, effect: Option<Effect>) {
        match (&node.value, effect) {
            (Value::Array(elements), Some(NotServed(why))) => {
                for element in elements {
                    self.tell(&element.place, element.place.path(), why);
                    self.node(element, path, Some(Works));
                }
            }
            (Value::Array(elements), _) if elements.iter().any(is_table) => {
                for element in elements {
                    self.node(element, path, effect);
                }
            }
            (Value::Table(entries), _) if !entries.is_empty() => {
                for entry in entries {
                    self.entry(entry, path, effect);
                }
            }
            (_, Some(Works)) => {}
            // Of an empty section nothing can be without effect, and `[modules]` has one.
            (Value::Table(_), None | Some(Nothing(_))) if !section_without(path) => {}
            (_, Some(Nothing(why) | NotServed(why))) => self.tell(&node.place, path, why),
            (_, None) => self.tell(&node.place, path, NOT_IMPLEMENTED),
        }
    }

    /// Once for each path, however many listeners repeat it.
    fn tell(&mut self, place: &Place, path: &str, why: &str) {
        if self.told.insert(path.to_owned()) {
            let text = format!("accepted, no effect yet: {why}");
            self.check.notice(Level::NoEffect, place, text);
        }
    }
}

fn is_table(node: &Node) -> bool {
    matches!(node.value, Value::Table(_))
}

fn effect_of(path: &str) -> Option<Effect> {
    // A host's own modules are the same modules.
    let own = path.strip_prefix("host_config.");
    let path = own
        .filter(|path| path.starts_with("modules."))
        .unwrap_or(path);
    TABLE
        .iter()
        .find(|(pattern, _)| matches(pattern, path))
        .map(|(_, effect)| *effect)
}

/// Whether `path` has the segments of `pattern`.
fn matches(pattern: &str, path: &str) -> bool {
    let mut wanted = pattern.split('.');
    let mut given = path.split('.');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == "*" || wanted == given => {}
            (_, _) => return false,
        }
    }
}

/// Rules, classes and shapers that something which works asks for.
struct Asked {
    rules: BTreeSet<String>,
    classes: BTreeSet<String>,
    shapers: BTreeSet<String>,
}

impl Asked {
    fn of(config: &Config) -> Self {
        let mut asked = Self {
            rules: NUMBER_RULES.iter().map(|&rule| rule.into()).collect(),
            classes: BTreeSet::new(),
            shapers: BTreeSet::new(),
        };
        asked.by_listeners(config);
        let own = config
            .host_config
            .iter()
            .filter_map(|own| own.modules.as_ref());
        for modules in [&config.modules].into_iter().chain(own) {
            if effect_of("modules.mod_register") == Some(Works) {
                asked
                    .rules
                    .extend(modules.mod_register.iter().map(|r| r.access.value.clone()));
            }
        }
        let clauses = asked
            .rules
            .iter()
            .flat_map(|rule| references::clauses(config, rule));
        asked.classes = clauses.map(|clause| clause.class.value.clone()).collect();
        asked
    }

    fn by_listeners(&mut self, config: &Config) {
        let outgoing = &config.s2s.outgoing.shaper.value;
        if outgoing != "none" {
            self.shapers.insert(outgoing.clone());
        }
        for listener in &config.listeners {
            if effect_of(&format!("listen.{}", listener.type_name())) != Some(Works) {
                continue;
            }
            self.rules
                .extend(listener.access().map(|access| access.value.clone()));
            match &listener.common.shaper {
                ShaperChoice::Unlimited => {}
                ShaperChoice::Named(name) => {
                    self.shapers.insert(name.clone());
                }
                ShaperChoice::ByRule(rule) => {
                    self.rules.insert(rule.clone());
                    for clause in references::clauses(config, rule) {
                        if let Granted::Word(name) = &clause.value.value {
                            self.shapers.insert(name.clone());
                        }
                    }
                }
            }
        }
    }

    /// The effect of a path in one of the three sections whose keys the operator chooses.
    fn effect(&self, path: &str) -> Option<Effect> {
        let path = path.strip_prefix("host_config.").unwrap_or(path);
        let (section, name) = path.split_once('.')?;
        let asked = match section {
            "access" => &self.rules,
            "acl" => &self.classes,
            "shaper" => &self.shapers,
            _ => return None,
        };
        Some(if asked.contains(name) {
            Works
        } else {
            Nothing(UNASKED)
        })
    }
}
