//! `[modules.*]`: the features. Those that this version has are typed here; every other module of
//! MongooseIM is known by name and keys ([`known`]), accepted, and named as without effect.

pub(crate) mod bosh;
mod features;
mod known;

use std::net::IpAddr;

pub use bosh::Bosh;
pub use features::Blocking;
pub use features::Caps;
pub use features::CapsVersion;
pub use features::Carbons;
pub use features::Last;
pub use features::Offline;
pub use features::Ping;
pub use features::PingTimeout;
pub use features::Presence;
pub use features::Private;
pub use features::Roster;
pub use features::Time;
pub use features::Vcard;
pub use features::Version;

use super::Config;
use super::access::ALL;
use super::check::Check;
use super::decode::Decode;
use super::decode::text;
use super::effect;
use super::error::Level;
use super::option::Kind;
use super::option::Opt;
use super::option::Range;
use super::option::Repeats;
use super::option::Rule;
use super::option::Schema;
use super::option::Unwritten;
use super::option::choices;
use super::option::options;
use super::references;
use super::source::Sited;
use super::tree::Entry;
use super::tree::Node;
use super::tree::Value;
use super::values::Cidr;

/// Keys of `[modules]`.
pub(crate) const SCHEMA: Schema = Schema {
    groups: &[Modules::OPTIONS, known::MODULES],
};

options! {
    /// The modules of this version. One is on where its section is written. A file without
    /// `[modules]` has them all except `mod_register`.
    Modules {
        /// Blocking command (XEP-0191).
        mod_blocking: Option<Blocking> = Kind::Section(&Blocking::SCHEMA), UNLISTED;
        /// Entity capabilities of the server (XEP-0115).
        mod_caps: Option<Caps> = Kind::Section(&Caps::SCHEMA), UNLISTED;
        /// Message carbons (XEP-0280).
        mod_carboncopy: Option<Carbons> = Kind::Section(&Carbons::SCHEMA), UNLISTED;
        /// Service discovery (XEP-0030).
        mod_disco: Option<Disco> = Kind::Section(&Disco::SCHEMA), UNLISTED;
        /// Last activity (XEP-0012).
        mod_last: Option<Last> = Kind::Section(&Last::SCHEMA), UNLISTED;
        /// Messages for users who are offline (XEP-0160).
        mod_offline: Option<Offline> = Kind::Section(&Offline::SCHEMA), UNLISTED;
        /// Ping (XEP-0199).
        mod_ping: Option<Ping> = Kind::Section(&Ping::SCHEMA), UNLISTED;
        /// Presence (RFC 6121).
        mod_presence: Option<Presence> = Kind::Section(&Presence::SCHEMA), UNLISTED;
        /// Private XML storage (XEP-0049).
        mod_private: Option<Private> = Kind::Section(&Private::SCHEMA), UNLISTED;
        /// In-band registration (XEP-0077).
        mod_register: Option<Register> = Kind::Section(&Register::SCHEMA), OFF;
        /// Contact lists (RFC 6121).
        mod_roster: Option<Roster> = Kind::Section(&Roster::SCHEMA), UNLISTED;
        /// Entity time (XEP-0202).
        mod_time: Option<Time> = Kind::Section(&Time::SCHEMA), UNLISTED;
        /// vCards (XEP-0054) with the hash of the avatar in presence (XEP-0153).
        mod_vcard: Option<Vcard> = Kind::Section(&Vcard::SCHEMA), UNLISTED;
        /// Software version (XEP-0092).
        mod_version: Option<Version> = Kind::Section(&Version::SCHEMA), UNLISTED;
        /// Times of BOSH sessions (XEP-0124). It is neither on nor off: the handler of a listener
        /// decides that. Last, behind those that [`Modules::names`] lists.
        mod_bosh: Bosh = Kind::Section(&bosh::MODULE), Unwritten::Section;
    }
}

/// A module that is on where nothing is listed.
const UNLISTED: Unwritten = Unwritten::Unset("off; on without `[modules]`");
/// A module that has to be listed.
const OFF: Unwritten = Unwritten::Unset("off");

impl Modules {
    /// What a file without `[modules]` means: all that a desktop client expects. Registration is
    /// for those who ask for it.
    pub(crate) fn unwritten(root: &Node) -> Self {
        let listed = Self::OPTIONS
            .iter()
            .filter(|option| option.key != "mod_register");
        let entries = listed.map(|option| Entry {
            key: option.key.to_owned(),
            key_place: root.place.below("modules"),
            node: Node::absent(root),
        });
        let section = Value::Table(entries.collect());
        Self::decode(&Node::made(root.place.below("modules"), section)).unwrap_or_default()
    }

    /// The modules that are on, and those that are off, by name; what has no effect is neither.
    #[must_use]
    pub fn names(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let is_on = [
            self.mod_blocking.is_some(),
            self.mod_caps.is_some(),
            self.mod_carboncopy.is_some(),
            self.mod_disco.is_some(),
            self.mod_last.is_some(),
            self.mod_offline.is_some(),
            self.mod_ping.is_some(),
            self.mod_presence.is_some(),
            self.mod_private.is_some(),
            self.mod_register.is_some(),
            self.mod_roster.is_some(),
            self.mod_time.is_some(),
            self.mod_vcard.is_some(),
            self.mod_version.is_some(),
        ];
        let works = |option: &Opt| !effect::without(&format!("modules.{}", option.key));
        let named = Self::OPTIONS.iter().zip(is_on).filter(|(o, _)| works(o));
        let (on, off): (Vec<_>, Vec<_>) = named.partition(|(_, on)| *on);
        let names = |list: Vec<(&Opt, bool)>| list.iter().map(|(o, _)| o.key).collect();
        (names(on), names(off))
    }
}

options! {
    /// `[modules.mod_register]`.
    Register {
        /// Rule of `[access]` that decides which names may be registered; "all": any.
        access: Sited<String> = Kind::Name, Unwritten::Text("all");
        /// Networks that may or may not register; the first that holds the address decides, none
        /// means yes.
        ip_access: Vec<IpAccess> =
            Kind::List(&Kind::Section(&IpAccess::SCHEMA), Repeats::Allowed), Unwritten::Empty;
        /// Addresses that are told of every registration.
        registration_watchers: Vec<Sited<String>> =
            Kind::List(&Kind::Name, Repeats::Refused), Unwritten::Empty;
        /// Least entropy of a password in bits; 0: any will do.
        password_strength: u32 = Kind::Int(Range { min: 0, max: 4096, unit: "bits" }),
            Unwritten::Int(0);
        /// Message to every new user. Sent where subject or body is not empty.
        welcome_message: Welcome = Kind::Section(&Welcome::SCHEMA), Unwritten::Section;
        /// How requests are scheduled in MongooseIM; here they are served in order.
        iqdisc: Option<IqDiscipline> = Kind::Section(&IqDiscipline::SCHEMA),
            Unwritten::Unset("in order");
    }
}

choices! {
    /// Yes or no.
    Policy {
        /// Yes.
        #[default]
        Allow = "allow",
        /// No.
        Deny = "deny",
    }
}

options! {
    /// One element of `ip_access`.
    IpAccess {
        /// Address or network.
        address: Cidr = Kind::Checked(Rule {
                accepted: "an address or network such as \"192.0.2.1\" or \"10.0.0.0/8\"",
                check: |text| Cidr::parse(text).map(drop),
            }), Unwritten::Required;
        /// Whether it may register.
        policy: Policy = Kind::OneOf(Policy::WORDS), Unwritten::Required;
    }
}

options! {
    /// `welcome_message`.
    Welcome {
        /// Subject of the message.
        subject: String = Kind::Text, Unwritten::Text("");
        /// Body of the message.
        body: String = Kind::Text, Unwritten::Text("");
    }
}

options! {
    /// `iqdisc` of a module.
    IqDiscipline {
        /// Strategy.
        strategy "type": String = Kind::OneOf(&["no_queue", "one_queue", "parallel", "queues"]),
            Unwritten::Required;
        /// Number of queues, with "queues".
        workers: Option<u32> = Kind::COUNT, Unwritten::Unset("");
    }
}

options! {
    /// `[modules.mod_disco]`.
    Disco {
        /// Further domains in the list of items.
        extra_domains: Vec<String> = Kind::NAMES, Unwritten::Empty;
        /// Addresses to contact, in the information about the server (XEP-0157).
        server_info: Vec<ServerInfo> =
            Kind::List(&Kind::Section(&ServerInfo::SCHEMA), Repeats::Allowed), Unwritten::Empty;
        /// Whether users see components that are hidden.
        users_can_see_hidden_services: bool = Kind::Bool, Unwritten::Bool(true);
        /// How requests are scheduled in MongooseIM; here they are served in order.
        iqdisc: Option<IqDiscipline> = Kind::Section(&IqDiscipline::SCHEMA),
            Unwritten::Unset("in order");
    }
}

options! {
    /// One element of `server_info`.
    ServerInfo {
        /// Name of the field, such as "abuse-addresses".
        name: String = Kind::Name, Unwritten::Required;
        /// Its values.
        urls: Vec<String> = Kind::List(&Kind::Name, Repeats::Allowed), Unwritten::Required;
        /// Modules whose answers have it.
        modules: Vec<String> = Kind::NAMES, Unwritten::Empty;
    }
}

/// `iqdisc` where nothing reads it.
const IQDISC: Kind = Kind::Section(&IqDiscipline::SCHEMA);
/// `backend`, which nothing reads.
const BACKEND: Kind = Kind::OneOf(&["mnesia", "rdbms", "cets", "redis", "ldap", "s3"]);

impl Register {
    /// Whether `ip_access` lets this address register.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let decisive = self
            .ip_access
            .iter()
            .find(|entry| entry.address.contains(address));
        decisive.is_none_or(|entry| entry.policy == Policy::Allow)
    }
}

/// The rules between this section and others.
pub(crate) fn check(check: &mut Check<'_>, config: &Config, section: &Node) {
    check_section(check, section);
    if !section.place.path().is_empty() {
        check_any(check, section, &config.modules);
    }
    let own = config
        .host_config
        .iter()
        .filter_map(|own| own.modules.as_ref());
    for modules in [&config.modules].into_iter().chain(own) {
        let Some(register) = &modules.mod_register else {
            continue;
        };
        let name = &register.access.value;
        if name != ALL && !references::is_rule(config, name) {
            references::undefined_rule(check, &register.access.place, name);
        }
    }
}

/// Who writes only what is neither on nor off, the times of BOSH for instance, has switched off
/// everything else, and may not have meant to.
pub(crate) fn check_any(check: &mut Check<'_>, section: &Node, modules: &Modules) {
    if modules.names().0.is_empty() {
        let text = "switches every feature off: only those are on that it lists, and without it all \
                    but mod_register are";
        check.notice(Level::Warning, &section.place, text);
    }
}

/// The rules inside one `modules` section.
pub(crate) fn check_section(check: &mut Check<'_>, section: &Node) {
    for module in section.entries() {
        let Some(iqdisc) = module.node.get("iqdisc") else {
            continue;
        };
        let queues = iqdisc.get("type").and_then(text) == Some("queues");
        if queues && iqdisc.get("workers").is_none() {
            let place = iqdisc.place.below("workers");
            check.error(&place, "is missing", "\"queues\" needs the number of them");
        }
    }
}
