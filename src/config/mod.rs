//! The configuration: from the text of a TOML file to typed values, or to every error in it.
//!
//! Start at [`decode()`]. The file's layout is MongooseIM's, one module per section; `[runtime]` is
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
mod changes;
mod check;
mod decode;
mod effect;
mod error;
pub mod general;
pub mod host_config;
pub mod listen;
mod lookup;
pub mod modules;
mod option;
mod pools;
mod reference;
mod references;
pub mod runtime;
pub mod s2s;
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
pub use changes::changes;
pub use check::Files;
pub use error::Error;
pub use error::Errors;
pub use error::Level;
pub use error::Notice;
pub use general::General;
pub use host_config::HostConfig;
pub use listen::Listener;
pub use listen::ListenerKind;
pub use lookup::SESSIONS_UNWRITTEN;
pub use modules::Modules;
pub use pools::ClientTls;
pub use pools::Services;
pub use reference::reference;
pub use runtime::Runtime;
pub use s2s::S2s;
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
    /// `[modules.*]`; [`Config::modules_of`] is what holds for one host.
    pub modules: Modules,
    /// `[s2s]`; [`Config::s2s_of`] is what holds for one host.
    pub s2s: S2s,
    /// `[services.*]`.
    pub services: Services,
    /// `[[host_config]]`.
    pub host_config: Vec<HostConfig>,
    /// What to tell the operator at start.
    pub notices: Vec<Notice>,
    /// The whole file.
    pub(crate) whole: Place,
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
        shaper: BTreeMap<String, Shaper> = Kind::Named(&Kind::Section(&Shaper::SCHEMA)),
            Unwritten::Section;
        /// Classes of users.
        acl: BTreeMap<String, Vec<access::Pattern>> = access::ACL, Unwritten::Section;
        /// Rules that give a class a value.
        access: BTreeMap<String, Vec<access::Clause>> = access::ACCESS, Unwritten::Section;
        /// The features.
        modules: Modules = Kind::Section(&modules::SCHEMA), Unwritten::Section;
        /// Federation.
        s2s: S2s = Kind::Section(&s2s::SCHEMA), Unwritten::Section;
        /// What holds for one host, or one host type, alone.
        host_config: () = host_config::KIND, Unwritten::Empty;
        /// Connections to databases and other services.
        outgoing_pools: () = Kind::Section(&pools::POOLS), Unwritten::Section;
        /// Databases inside MongooseIM.
        internal_databases: () = Kind::Section(&pools::DATABASES), Unwritten::Section;
        /// Parts of MongooseIM that are not tied to a host.
        services: Services = Kind::Section(&pools::SERVICES), Unwritten::Section;
        /// Where metrics and events of MongooseIM go.
        instrumentation: () = Kind::Section(&pools::INSTRUMENTATION), Unwritten::Section;
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
    let config = match parse(&mut check, &source) {
        Some(root) => {
            check.section(&root, &Root::SCHEMA);
            build(&mut check, &root)
        }
        None => Config::default(),
    };
    if check.errors.is_empty() {
        Ok(Config {
            notices: check.into_notices(),
            whole: Place::new(&source, 0, 0, ""),
            ..config
        })
    } else {
        Err(check.into_errors())
    }
}

/// The tree of the file, where it is sound enough to have one.
fn parse(check: &mut Check<'_>, source: &Arc<Source>) -> Option<Node> {
    if source.text.len() > FILE_BYTES_MAX {
        let place = Place::new(source, 0, 0, "");
        let accepted = format!("expected at most {FILE_BYTES_MAX} bytes");
        check.error(&place, "the file is too large", &accepted);
        return None;
    }
    let (root, broken) = tree::parse(source);
    check.errors.extend(broken);
    root
}

/// Reads what passed the check, and applies the rules between options.
fn build(check: &mut Check<'_>, root: &Node) -> Config {
    let absent = Node::absent(root);
    let section = |key: &str| root.get(key).unwrap_or(&absent);
    let mut sections = Root::decode(root).unwrap_or_default();
    sections.general.prepare(check);
    let listeners = listen::read(check, section("listen"), &sections.runtime);
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
        modules: match root.get("modules") {
            Some(_) => sections.modules,
            None => Modules::unwritten(root),
        },
        s2s: sections.s2s,
        services: sections.services,
        host_config: Vec::new(),
        notices: Vec::new(),
        whole: Place::default(),
    };
    general::check(check, &config, root);
    config.auth.check(check);
    config.s2s.check(check, section("s2s"));
    config.s2s.settle();
    pools::check(check, section("outgoing_pools"));
    config.host_config = host_config::read(check, &config, section("host_config"));
    references::resolve(check, &mut config);
    modules::check(check, &config, section("modules"));
    s2s::check_clear(check, &config);
    if config.listeners.is_empty() {
        let text = "no listener is configured: nothing will be served";
        check.notice(Level::Warning, &root.place, text);
    }
    effect::notices(check, root, &config);
    config
}

#[cfg(test)]
mod tests;
