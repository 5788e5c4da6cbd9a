//! The `tls` table of a listener.
//!
//! Whether a file is a certificate is for the TLS layer to say; here every named file must be
//! readable, and a certificate must come with a key. The one exception: with
//! `runtime.self_signed`, a pair below the data folder that does not exist yet is made at start
//! ([`Tls::is_to_be_made`]).

use std::io;

use crate::config::check::Check;
use crate::config::option::Kind;
use crate::config::option::Opt;
use crate::config::option::Repeats;
use crate::config::option::Rule;
use crate::config::option::Schema;
use crate::config::option::Unwritten;
use crate::config::option::choices;
use crate::config::option::options;
use crate::config::runtime::Runtime;
use crate::config::source::Sited;
use crate::config::values::Secret;

use super::ciphers;
use super::ciphers::Ciphers;

choices! {
    /// When TLS starts.
    TlsMode {
        /// With the first byte.
        Tls = "tls",
        /// When the peer asks for it (RFC 6120 section 5).
        #[default]
        StartTls = "starttls",
        /// When the peer asks for it, and nothing else goes before.
        StartTlsRequired = "starttls_required",
    }
}

choices! {
    /// What is asked of the peer's certificate.
    VerifyMode {
        /// It is required and must chain to `cacertfile`.
        #[default]
        Peer = "peer",
        /// It is required and its key must be proven; the chain is not looked at.
        SelfSignedPeer = "selfsigned_peer",
        /// It is not asked for.
        None = "none",
    }
}

choices! {
    /// A version of TLS.
    TlsVersion {
        /// RFC 5246.
        Tls12 = "tlsv1.2",
        /// RFC 8446.
        #[default]
        Tls13 = "tlsv1.3",
    }
}

options! {
    /// The `tls` table of a listener.
    Tls {
        /// When TLS starts: with the first byte ("tls"), when the client asks for it
        /// ("starttls"), or so and before anything else ("starttls_required").
        mode: TlsMode = Kind::OneOf(TlsMode::WORDS), Unwritten::Text("starttls");
        /// Write session keys to the file that SSLKEYLOGFILE names, to read captures.
        keep_secrets: bool = Kind::Bool, Unwritten::Bool(false);
        /// "peer": the client's certificate is required and must chain to `cacertfile`.
        /// "selfsigned_peer": required, its key proven, the chain not checked. "none": not asked
        /// for, which is what ordinary clients need.
        verify_mode: Sited<VerifyMode> = Kind::OneOf(VerifyMode::WORDS), Unwritten::Text("peer");
        /// PEM file with our certificate and its chain.
        certfile: Sited<String> = Kind::Name, Unwritten::Required;
        /// PEM file with the key. Unset: `certfile` holds it too.
        keyfile: Option<Sited<String>> = Kind::Name, Unwritten::Unset("certfile");
        /// PEM file with the certificates that peers must chain to.
        cacertfile: Option<Sited<String>> = Kind::Readable, Unwritten::Unset("the system's");
        /// Password of an encrypted key.
        password: Option<Sited<Secret>> = Kind::Text, Unwritten::Unset("the key is not encrypted");
        /// Parameters of finite-field Diffie-Hellman, which is not offered: only elliptic curves
        /// are.
        dhfile: Option<Sited<String>> = Kind::Readable, Unwritten::Unset("");
        /// Cipher suites by OpenSSL or IANA name, separated by ":".
        ciphers: Option<Sited<Ciphers>> = ciphers::KIND, Unwritten::Unset("all that are supported");
        /// Versions that are offered.
        versions: Option<Vec<Sited<TlsVersion>>> =
            Kind::List(&VERSION, Repeats::RefusedNorEmpty), Unwritten::Unset("both");
        /// false: a certificate that does not pass `verify_mode` does not end the handshake; the
        /// result is kept for SASL EXTERNAL of servers.
        disconnect_on_failure: Option<bool> = Kind::Bool, Unwritten::Unset("true");
        /// PEM files of revoked certificates.
        crl_files: Vec<Sited<String>> = Kind::List(&Kind::Readable, Repeats::Refused),
            Unwritten::Empty;
        /// Accept the stream header within the handshake. Nothing that authenticates is taken
        /// from such data, since it can be replayed.
        early_data: bool = Kind::Bool, Unwritten::Bool(false);
        /// "stateless": the peer keeps what resumes a TLS session.
        session_tickets: Option<String> = Kind::OneOf(&["stateless"]),
            Unwritten::Unset("no resumption");
        /// TLS library of MongooseIM 6.3.
        module: Option<String> = Kind::OneOf(&["fast_tls", "just_tls"]), Unwritten::Unset("");
        /// Options of fast_tls in MongooseIM 6.3.
        protocol_options: Vec<String> = Kind::List(&Kind::Name, Repeats::Allowed), Unwritten::Empty;
    }
}

/// `mode` and `keep_secrets` come first, since not every listener has them.
const MODE_AND_SECRETS: usize = 2;

/// The table of c2s and s2s listeners.
pub(crate) const XMPP: Schema = Tls::SCHEMA;

/// The table of http listeners.
pub(crate) const HTTP: Schema = Schema {
    groups: &[Tls::OPTIONS.split_at(MODE_AND_SECRETS).1],
};

/// The table of service listeners.
pub(crate) const SERVICE: Schema = Schema {
    groups: &[SERVICE_MODE, Tls::OPTIONS.split_at(1).1],
};

const SERVICE_MODE: &[Opt] = &[Opt::new(
    "mode",
    "TLS starts with the first byte: XEP-0114 has no features in which STARTTLS could be offered.",
    Kind::Checked(Rule {
        accepted: "\"tls\"",
        check: service_mode,
    }),
    Unwritten::Text("tls"),
)];

/// Versions of TLS, here and where the server opens a connection.
pub(crate) const VERSIONS: Rule = Rule {
    accepted: "\"tlsv1.2\" or \"tlsv1.3\"",
    check: version,
};
const VERSION: Kind = Kind::Checked(VERSIONS);

fn service_mode(word: &str) -> Result<(), String> {
    match word {
        "tls" => Ok(()),
        "starttls" | "starttls_required" => Err(format!(
            "{word:?} cannot be: XEP-0114 has no stream features to negotiate STARTTLS in"
        )),
        _ => Err(format!("{word:?} is not accepted")),
    }
}

fn version(word: &str) -> Result<(), String> {
    match word {
        _ if TlsVersion::WORDS.contains(&word) => Ok(()),
        "sslv2" | "sslv3" | "tlsv1" | "tlsv1.0" | "tlsv1.1" => Err(format!(
            "{word:?} is broken and withdrawn (RFC 7568, RFC 8996) and not supported"
        )),
        _ => Err(format!("{word:?} is not accepted")),
    }
}

impl Tls {
    /// Whether certificate and key are made at start: both below the data folder, neither there.
    #[must_use]
    pub fn is_to_be_made(&self, runtime: &Runtime, exists: impl Fn(&str) -> bool) -> bool {
        let Some(keyfile) = &self.keyfile else {
            return false;
        };
        runtime.self_signed
            && [&self.certfile, keyfile]
                .iter()
                .all(|file| runtime.holds(file) && !exists(file))
    }

    /// Files that are there, a key to the certificate, and something left to negotiate.
    pub(crate) fn check(&self, check: &mut Check<'_>, runtime: &Runtime) {
        self.check_files(check, runtime);
        if let Some(ciphers) = &self.ciphers
            && let Some(versions) = &self.versions
            && !versions
                .iter()
                .any(|version| ciphers.value.serve(version.value))
        {
            let accepted = "expected a suite of one of the `versions`";
            check.error(&ciphers.place, "no suite of any allowed version", accepted);
        }
    }

    fn check_files(&self, check: &mut Check<'_>, runtime: &Runtime) {
        // An empty name was reported as what it is.
        if self.certfile.is_empty() || self.keyfile.as_ref().is_some_and(|file| file.is_empty()) {
            return;
        }
        let files = check.files;
        let missing = |file: &str| {
            files
                .read(file)
                .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        if self.is_to_be_made(runtime, |file| !missing(file)) {
            return;
        }
        for file in std::iter::once(&self.certfile).chain(&self.keyfile) {
            if let Err(reason) = files.read(file) {
                let accepted = "expected the name of a PEM file that can be read";
                check.error(&file.place, format!("cannot be read: {reason}"), accepted);
            }
        }
        if self.keyfile.is_none()
            && let Ok(pem) = files.read(&self.certfile)
            && !holds_key(&pem)
        {
            let accepted = "expected `keyfile` too, or a file with both";
            check.error(&self.certfile.place, "holds no private key", accepted);
        }
    }
}

/// Whether a PEM file has a private key in it (RFC 7468 sections 10 and 11, and older labels).
fn holds_key(pem: &[u8]) -> bool {
    let label = b"PRIVATE KEY-----";
    pem.windows(label.len()).any(|window| window == label)
}
