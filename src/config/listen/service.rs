//! `[[listen.service]]`, newer name `[[listen.component]]`: external components (XEP-0114).

use std::io::ErrorKind;

use super::address::Everywhere;
use super::address::XMPP;
use super::address::Xmpp;
use super::tls;
use super::tls::Tls;
use crate::config::check::Check;
use crate::config::error::Level;
use crate::config::option::Kind;
use crate::config::option::Opt;
use crate::config::option::Schema;
use crate::config::option::Unwritten;
use crate::config::option::choices;
use crate::config::option::options;
use crate::config::runtime::Runtime;
use crate::config::source::Sited;
use crate::config::tree::Node;
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
        /// Secret of the XEP-0114 handshake. Mandatory without `password_file`.
        password: Option<Secret> = Kind::Name, Unwritten::Unset("see `password_file`");
        /// File that holds the secret instead. One below `data_dir` that does not exist is made at
        /// the first start, with a random secret.
        password_file: Option<Sited<String>> = Kind::Name, Unwritten::Unset("none"), ours();
        /// Rule of `[access]` that decides who may send to the component; "all": everybody.
        access: Sited<String> = Kind::Name, Unwritten::Text("all");
        /// Domains that may register here. Unset: any that is neither served nor a module's.
        domains: Option<Vec<Sited<String>>> = Kind::DOMAINS,
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

/// The secret is written in the table `node`, or its file is.
pub(crate) fn check_secret(check: &mut Check<'_>, node: &Node) {
    let find = |key: &str| node.entries().iter().find(|entry| entry.key == key);
    match (find("password"), find("password_file")) {
        (None, None) => {
            let accepted = "expected a string that is not empty, or `password_file`";
            check.error(&node.place.below("password"), "is missing", accepted);
        }
        (Some(_), Some(file)) => {
            let text = "has no effect: there is a `password` too";
            check.notice(Level::NoEffect, &file.node.place, text);
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
}

impl Service {
    /// A file of the secret is there, or is to be made.
    pub(crate) fn check(&self, check: &mut Check<'_>, runtime: &Runtime) {
        let Some(file) = self
            .password_file
            .as_ref()
            .filter(|_| self.password.is_none())
        else {
            return;
        };
        check_secret_file(check, file, runtime);
    }
}

/// The file of a secret is there, or is to be made.
pub(super) fn check_secret_file(check: &mut Check<'_>, file: &Sited<String>, runtime: &Runtime) {
    match check.files.read(&file.value) {
        Ok(bytes) if !bytes.trim_ascii().is_empty() => {}
        Err(error) if error.kind() == ErrorKind::NotFound && runtime.holds(&file.value) => {}
        Ok(_) => {
            let accepted = "expected a file whose text is the secret";
            check.error(&file.place, "is empty", accepted);
        }
        Err(reason) => {
            let accepted = "expected a file that can be read, or one below `data_dir`";
            check.error(&file.place, format!("cannot be read: {reason}"), accepted);
        }
    }
}

const QUEUE: &[Opt] = &[Opt::new(
    "max_fsm_queue",
    "Name of 6.3 without a meaning here: `outbound_buffer` is the bound.",
    Kind::POSITIVE,
    Unwritten::Unset(""),
)];
