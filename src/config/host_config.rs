//! `[[host_config]]`: what holds for one host, or one host type, alone.
//!
//! `auth`, `modules` and `s2s` replace the server's section; `acl` and `access` add to it
//! ([`super::access`]).

use std::collections::BTreeMap;

use super::Config;
use super::access;
use super::access::Rules;
use super::auth::Auth;
use super::check::Check;
use super::check::listed;
use super::decode::Decode;
use super::general::HostGeneral;
use super::modules;
use super::modules::Modules;
use super::option::Kind;
use super::option::Repeats;
use super::option::Unwritten;
use super::option::options;
use super::pools;
use super::s2s;
use super::s2s::S2s;
use super::source::Place;
use super::source::Sited;
use super::tree::Node;
use super::values::prepare;

options! {
    /// One `[[host_config]]` table.
    Table {
        /// The host; one of `general.hosts`, or of `general.host_types`.
        host: Option<Sited<String>> = Kind::Name, Unwritten::Unset("`host_type` is written");
        /// The same.
        host_type: Option<Sited<String>> = Kind::Name, Unwritten::Unset("`host` is written");
        /// Options of `[general]` that a host may have for itself.
        general: HostGeneral = Kind::Section(&HostGeneral::SCHEMA), Unwritten::Section;
        /// Replaces `[auth]`.
        auth: Option<Auth> = Kind::Section(&Auth::SCHEMA), Unwritten::Unset("that of the server");
        /// Replaces `[modules]`.
        modules: Option<Modules> = Kind::Section(&modules::SCHEMA),
            Unwritten::Unset("those of the server");
        /// Adds to `[outgoing_pools]`.
        outgoing_pools: () = Kind::Section(&pools::POOLS), Unwritten::Unset("those of the server");
        /// Adds to the classes of `[acl]`.
        acl: BTreeMap<String, Vec<access::Pattern>> = access::ACL, Unwritten::Section;
        /// Adds to the rules of `[access]`, before a final `all = allow`.
        access: BTreeMap<String, Vec<access::Clause>> = access::ACCESS, Unwritten::Section;
        /// Replaces `[s2s]`.
        s2s: Option<S2s> = Kind::Section(&s2s::SCHEMA), Unwritten::Unset("that of the server");
    }
}

/// The array of tables.
pub(crate) const KIND: Kind = Kind::List(&Kind::Section(&Table::SCHEMA), Repeats::Allowed);

/// What holds for one host or host type alone.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Host or host type.
    pub name: Sited<String>,
    /// Overridden options of `[general]`.
    pub general: HostGeneral,
    /// In place of `[auth]`.
    pub auth: Option<Auth>,
    /// In place of `[modules]`.
    pub modules: Option<Modules>,
    /// In place of `[s2s]`.
    pub s2s: Option<S2s>,
    /// Besides `[acl]` and `[access]`.
    pub rules: Rules,
}

/// Reads the tables, whose keys have been checked.
pub(crate) fn read(check: &mut Check<'_>, config: &Config, section: &Node) -> Vec<HostConfig> {
    let mut hosts: Vec<HostConfig> = Vec::new();
    for node in section.elements() {
        let Some(table) = Table::decode(node) else {
            continue;
        };
        let Some(name) = name(check, config, &table, &node.place) else {
            continue;
        };
        if let Some(first) = hosts.iter().find(|host| host.name.value == name.value) {
            let message = format!("has a table already, in line {}", first.name.place.line());
            check.error(&name.place, message, "expected one table for each");
        }
        let Table {
            general,
            auth,
            modules,
            outgoing_pools: (),
            acl,
            access,
            mut s2s,
            ..
        } = table;
        if let Some(auth) = &auth {
            auth.check(check);
        }
        if let (Some(s2s), Some(section)) = (&mut s2s, node.get("s2s")) {
            s2s.check(check, section);
            s2s.settle();
        }
        if let Some(section) = node.get("modules") {
            modules::check_section(check, section);
            if let Some(modules) = &modules {
                modules::check_any(check, section, modules);
            }
        }
        if let Some(section) = node.get("outgoing_pools") {
            pools::check(check, section);
        }
        hosts.push(HostConfig {
            name,
            general,
            auth,
            modules,
            s2s,
            rules: Rules { acl, access },
        });
    }
    hosts
}

/// The host or host type of a table: exactly one, and one that the server has.
fn name(
    check: &mut Check<'_>,
    config: &Config,
    table: &Table,
    place: &Place,
) -> Option<Sited<String>> {
    let mut name = match (&table.host, &table.host_type) {
        (Some(name), None) | (None, Some(name)) => name.clone(),
        (Some(_), Some(host_type)) => {
            check.error(
                &host_type.place,
                "`host` is written too",
                "only one of the two",
            );
            return None;
        }
        (None, None) => {
            check.error(
                &place.below("host"),
                "is missing",
                "expected `host` or `host_type`",
            );
            return None;
        }
    };
    // A host is also the only member of a host type of its name: either key takes either name.
    let general = &config.general;
    let mut known = general.hosts.iter().chain(&general.host_types);
    if !known.clone().any(|known| known.value == name.value) {
        prepare(&mut name.value);
    }
    if !known.any(|known| known.value == name.value) && !name.is_empty() {
        let known = general.hosts.iter().chain(&general.host_types);
        let names = listed(known.map(|known| known.value.as_str()));
        let message = format!("{:?} is not in general.hosts or host_types", name.value);
        check.error(&name.place, message, &format!("expected {names}"));
    }
    Some(name)
}
