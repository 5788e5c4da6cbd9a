//! `[modules.*]`: the features. Those that this version has are typed here; every other module of
//! MongooseIM is known by name and keys ([`known`]), accepted, and named as without effect.

mod known;

use std::net::IpAddr;

use super::Config;
use super::access::ALL;
use super::check::Check;
use super::decode::text;
use super::option::Kind;
use super::option::Range;
use super::option::Repeats;
use super::option::Rule;
use super::option::Schema;
use super::option::Unwritten;
use super::option::choices;
use super::option::options;
use super::references;
use super::source::Sited;
use super::tree::Node;
use super::values::Cidr;

/// Keys of `[modules]`.
pub(crate) const SCHEMA: Schema = Schema {
    groups: &[Modules::OPTIONS, known::MODULES],
};

options! {
    /// The modules of this version; each is on where its section is written.
    Modules {
        /// In-band registration (XEP-0077).
        mod_register: Option<Register> = Kind::Section(&Register::SCHEMA), Unwritten::Unset("off");
        /// Service discovery (XEP-0030). What the server answers for itself needs no section.
        mod_disco: Option<Disco> = Kind::Section(&Disco::SCHEMA), Unwritten::Unset("defaults");
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
