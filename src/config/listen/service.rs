//! `[[listen.service]]`, newer name `[[listen.component]]`: external components (XEP-0114).

use super::address::Everywhere;
use super::address::XMPP;
use super::address::Xmpp;
use super::tls;
use super::tls::Tls;
use crate::config::option::Kind;
use crate::config::option::Opt;
use crate::config::option::Schema;
use crate::config::option::Unwritten;
use crate::config::option::choices;
use crate::config::option::options;
use crate::config::source::Sited;
use crate::config::values::Secret;

choices! {
    /// What happens when a second component wants a domain.
    Conflict {
        /// It is refused.
        #[default]
        Disconnect = "disconnect",
        /// It replaces the first.
        KickOld = "kick_old",
    }
}

options! {
    /// Options of service listeners alone.
    Service {
        /// Secret of the XEP-0114 handshake.
        password: Secret = Kind::Name, Unwritten::Required;
        /// Rule of `[access]` that decides who may send to the component; "all": everybody.
        access: Sited<String> = Kind::Name, Unwritten::Text("all");
        /// Domains that may register here. Unset: any that is neither served nor a module's.
        domains: Option<Vec<Sited<String>>> = Kind::NAMES,
            Unwritten::Unset("any free name"), ours();
        /// The domain of `from` must be one that the connection registered.
        check_from: bool = Kind::Bool, Unwritten::Bool(true);
        /// Leave these components out of disco#items.
        hidden_components: bool = Kind::Bool, Unwritten::Bool(false);
        /// A second component for a domain is refused with `conflict`, or replaces the first.
        conflict_behaviour: Conflict = Kind::OneOf(Conflict::WORDS), Unwritten::Text("disconnect");
        /// Certificate, key and rules of TLS, from the first byte on. Absent: no TLS.
        tls: Option<Tls> = Kind::Section(&tls::SERVICE), Unwritten::Unset("no TLS");
    }
}

/// Keys of a listener written as `component`.
pub(crate) const COMPONENT: Schema = Schema {
    groups: &[Everywhere::OPTIONS, XMPP, Service::OPTIONS],
};

/// Keys of a listener written as `service`: the names of 6.3 too.
pub(crate) const SERVICE: Schema = Schema {
    groups: &[Everywhere::OPTIONS, Xmpp::OPTIONS, Service::OPTIONS, QUEUE],
};

const QUEUE: &[Opt] = &[Opt::new(
    "max_fsm_queue",
    "Name of 6.3 without a meaning here: `outbound_buffer` is the bound.",
    Kind::POSITIVE,
    Unwritten::Unset(""),
)];
