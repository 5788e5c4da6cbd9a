//! The configuration: from the text of a TOML file to typed values, or to every error in it.
//!
//! Start at [`decode`]. The file's layout is MongooseIM's, one module per section; `[runtime]` is
//! ours. Each option is declared once ([`option`]): from the declaration come the field, the strict
//! check, the suggestion for a misspelt key, and docs/configuration.md.
//!
//! Invariants:
//! - Nothing here touches the system: files are read through [`Files`], no port is opened. A bad
//!   file cannot half-start a server.
//! - A [`Config`] that exists is valid. All errors of a file are found in one go.
//! - No key is without effect in silence: what is accepted and does nothing is a [`Notice`]
//!   ([`effect`] holds the list).

pub mod access;
pub mod auth;
mod check;
mod decode;
mod effect;
mod error;
pub mod general;
pub mod listen;
mod option;
mod references;
pub mod runtime;
pub mod shaper;
mod source;
mod tree;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use access::Granted;
pub use access::Rules;
pub use access::Who;
pub use auth::Auth;
pub use check::Files;
pub use error::Error;
pub use error::Errors;
pub use error::Level;
pub use error::Notice;
pub use general::General;
pub use listen::Listener;
pub use listen::ListenerKind;
pub use runtime::Runtime;
pub use shaper::Shaper;
pub use source::Place;
pub use source::Sited;
pub use values::Bound;
pub use values::Cidr;
pub use values::Secret;

use check::Check;
use decode::Decode;
use option::Kind;
use option::Unwritten;
use option::options;
use source::Source;
use tree::Node;

/// Largest configuration file; the largest that ships is a hundredth of it.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// The configuration that is used where there is no file: config/meerkat.toml as it ships.
pub const BUILT_IN: &str = include_str!("../../config/meerkat.toml");

/// A whole, valid configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[general]`.
    pub general: General,
    /// `[runtime]`.
    pub runtime: Runtime,
    /// `[[listen.*]]` in the order of the file.
    pub listeners: Vec<Listener>,
    /// `[auth]`; [`Config::auth_of`] is what holds for one host.
    pub auth: Auth,
    /// `[shaper.*]` by name.
    pub shapers: BTreeMap<String, Shaper>,
    /// `[acl]` and `[access]`; [`Config::grant`] evaluates them.
    pub rules: Rules,
    /// What to tell the operator at start.
    pub notices: Vec<Notice>,
}

options! {
    /// The sections of the file.
    Root {
        /// What the server is called and what it says about itself.
        general: General = Kind::Section(&General::SCHEMA), Unwritten::Section;
        /// How the process uses the machine.
        runtime: Runtime = Kind::Section(&Runtime::SCHEMA), Unwritten::Section, ours();
        /// Where the server listens, for whom.
        listen: () = Kind::Section(&listen::SCHEMA), Unwritten::Section;
        /// Who may authenticate, and with what.
        auth: Auth = Kind::Section(&Auth::SCHEMA), Unwritten::Section;
        /// How fast input is read.
        shaper: BTreeMap<String, Shaper> = Kind::Named(&Kind::Section(&Shaper::SCHEMA)), Unwritten::Section;
        /// Classes of users.
        acl: BTreeMap<String, Vec<access::Pattern>> = access::ACL, Unwritten::Section;
        /// Rules that give a class a value.
        access: BTreeMap<String, Vec<access::Clause>> = access::ACCESS, Unwritten::Section;
    }
}

/// Decodes the text of a configuration file. `file_name` is what errors call it.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn decode(text: &str, file_name: &str, files: &dyn Files) -> Result<Config, Errors> {
    let source = Arc::new(Source {
        name: file_name.to_owned(),
        text: text.to_owned(),
    });
    let mut check = Check::new(files);
    let config = match tree::parse(&source) {
        (Some(root), broken) => {
            check.errors.extend(broken);
            check.section(&root, &Root::SCHEMA);
            build(&mut check, &root)
        }
        (None, broken) => {
            check.errors.extend(broken);
            Config::default()
        }
    };
    if check.errors.is_empty() {
        Ok(Config {
            notices: check.into_notices(),
            ..config
        })
    } else {
        Err(check.into_errors())
    }
}

/// Reads what passed the check, and applies the rules between options.
fn build(check: &mut Check<'_>, root: &Node) -> Config {
    let sections = Root::decode(root).unwrap_or_default();
    let listen = root.get("listen");
    let listeners = listen.map_or_else(Vec::new, |node| {
        listen::read(check, node, &sections.runtime)
    });
    let mut config = Config {
        general: sections.general,
        runtime: sections.runtime,
        listeners,
        auth: sections.auth,
        shapers: sections.shaper,
        rules: Rules {
            acl: sections.acl,
            access: sections.access,
        },
        notices: Vec::new(),
    };
    let general = root.get("general").unwrap_or(root);
    general::check(check, &config, &general.place);
    config.auth.check(check);
    references::resolve(check, &mut config);
    if config.listeners.is_empty() {
        let text = "no listener is configured: nothing will be served";
        check.notice(Level::Warning, &root.place, text);
    }
    effect::notices(check, root, &config);
    config
}

impl Config {
    /// What `rule` of `[access]` gives to `who` on `host`; nothing means "deny". The rule "all"
    /// is for the caller to know: it is [`Config::allows`] that treats it.
    #[must_use]
    pub fn grant(&self, rule: &str, host: &str, who: Who<'_>) -> Option<&Granted> {
        let hosted = |domain: &str| self.general.hosts.iter().any(|h| h.value == domain);
        self.rules.value(None, rule, host, who, &hosted)
    }

    /// Whether `rule` lets `who` in on `host`. The rule "all" lets everybody in.
    #[must_use]
    pub fn allows(&self, rule: &str, host: &str, who: Who<'_>) -> bool {
        rule == access::ALL || self.grant(rule, host, who).is_some_and(Granted::allows)
    }

    /// Bytes a second that a listener's shaper lets `who` send; `None`: no limit.
    #[must_use]
    pub fn rate(&self, shaper: &listen::ShaperChoice, host: &str, who: Who<'_>) -> Option<u64> {
        let name = match shaper {
            listen::ShaperChoice::Unlimited => return None,
            listen::ShaperChoice::Named(name) => name,
            listen::ShaperChoice::ByRule(rule) => match self.grant(rule, host, who)? {
                Granted::Word(name) => name,
                Granted::Number(_) => return None,
            },
        };
        self.shapers.get(name).map(|shaper| shaper.max_rate)
    }

    /// How many sessions `who` may have at once: the rule `max_user_sessions`.
    #[must_use]
    pub fn sessions_max(&self, host: &str, who: Who<'_>) -> Bound<u64> {
        match self.grant("max_user_sessions", host, who) {
            Some(Granted::Number(number)) => Bound::At(*number),
            Some(Granted::Word(word)) if word == "infinity" => Bound::Infinity,
            Some(Granted::Word(_)) | None => Bound::At(SESSIONS_UNWRITTEN),
        }
    }
}

/// Sessions of one user where no rule says how many.
pub const SESSIONS_UNWRITTEN: u64 = 10;
