//! From options to a server that handshakes, or to every reason why not.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::KeyLogFile;
use rustls::ServerConfig;
use rustls::SignatureAlgorithm;
use rustls::SupportedCipherSuite;
use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::server::ClientHello;
use rustls::server::NoServerSessionStorage;
use rustls::server::ResolvesServerCert;
use rustls::server::ServerSessionMemoryCache;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::version;

use super::certificate::CertificateInfo;
use super::ciphers;
use super::error::Findings;
use super::error::TlsConfigError;
use super::error::TlsWarning;
use super::identity::Identity;
use super::options::TlsKey;
use super::options::TlsOptions;
use super::options::TlsVersions;
use super::pem;
use super::pem::Read;
use super::trust;
use super::verify::ClientCheck;

/// Bytes of early data (0-RTT) a client may send. A stream header has some 200; anything behind it
/// waits for the end of the handshake all the same.
pub const EARLY_DATA_BYTES_MAX: u32 = 2048;

/// Sessions kept for early data, per listener: some 400 bytes each, used once, oldest lost first.
/// 0-RTT needs them: without a memory of used tickets a recorded first flight could be replayed.
pub const EARLY_DATA_SESSIONS_MAX: usize = 1024;

/// Tickets sent after a handshake where resumption is on. Clients use each once; a client opens one
/// connection after the other, so one ticket (about 250 bytes) is enough.
pub const TICKETS_PER_HANDSHAKE: usize = 1;

/// What a listener handshakes with. Cheap to clone: all parts are shared.
///
/// Lives on: every shard; made once per process and reload.
#[derive(Clone, Debug)]
pub struct TlsServer {
    pub(super) config: Arc<ServerConfig>,
    pub(super) check: Option<Arc<ClientCheck>>,
    certificates: Arc<[CertificateInfo]>,
    warnings: Arc<[TlsWarning]>,
}

impl TlsServer {
    /// Reads the files that `options` name with `read`, and puts a server together.
    ///
    /// # Errors
    /// Every fault that can be found in one go, each with the option it belongs to.
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are judged by the wall clock"
    )]
    pub fn build(options: &TlsOptions, read: Read<'_>) -> Result<Self, Vec<TlsConfigError>> {
        let now = SystemTime::now();
        let mut findings = Findings::default();
        let mut provider = aws_lc_rs::default_provider();
        let identity = match Identity::load(options, read, &provider) {
            Ok(identity) => Some(identity),
            Err(errors) => {
                findings.errors.extend(errors);
                None
            }
        };
        let versions = versions(options.versions, &mut findings);
        let key = identity.as_ref().map(Identity::algorithm);
        provider.cipher_suites = suites(options, key, &mut findings);
        read_dhfile(options, read, &mut findings);
        let provider = Arc::new(provider);
        let check = trust::client_check(options, read, now, &provider, &mut findings);
        let (Some(identity), true) = (identity, findings.errors.is_empty()) else {
            return Err(findings.errors);
        };
        findings.warnings.extend(identity.warnings(now));

        let check = check.map(Arc::new);
        let Identity { certified, chain } = identity;
        let mut config = match server_config(provider, &versions, check.clone(), certified) {
            Ok(config) => config,
            Err(error) => {
                let text = format!("no connection is possible: {error}");
                return Err(vec![TlsConfigError::new(TlsKey::Ciphers, text)]);
            }
        };
        config.alpn_protocols = options
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        sessions(options, &mut config, &mut findings);
        key_log(options, &mut config, &mut findings);
        if !findings.errors.is_empty() {
            return Err(findings.errors);
        }
        Ok(Self {
            config: Arc::new(config),
            check,
            certificates: chain.into(),
            warnings: findings.warnings.into(),
        })
    }

    /// The server's certificate chain, own certificate first.
    pub fn certificates(&self) -> &[CertificateInfo] {
        &self.certificates
    }

    /// Days until the first certificate of the chain expires; negative once one has.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        let days = self.certificates.iter().map(|info| info.days_left(now));
        days.min().unwrap_or(i64::MAX)
    }

    /// The same at a time in seconds since 1970.
    pub fn days_left_at(&self, unix_seconds: u64) -> i64 {
        self.days_left(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(unix_seconds))
    }

    /// What the operator should be told at the start.
    pub fn warnings(&self) -> &[TlsWarning] {
        &self.warnings
    }
}

fn server_config(
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    check: Option<Arc<ClientCheck>>,
    certified: Arc<CertifiedKey>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let builder = match check {
        Some(check) => {
            let verifier: Arc<dyn ClientCertVerifier> = check;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    Ok(builder.with_cert_resolver(Arc::new(OwnCertificate { certified })))
}

pub(super) fn versions(
    offered: TlsVersions,
    findings: &mut Findings,
) -> Vec<&'static SupportedProtocolVersion> {
    let TlsVersions { tls12, tls13 } = offered;
    if !tls12 && !tls13 {
        findings.fault(
            TlsKey::Versions,
            "names no version; at least one of \"tlsv1.2\" and \"tlsv1.3\" is needed",
        );
    }
    let listed = [
        tls13.then_some(&version::TLS13),
        tls12.then_some(&version::TLS12),
    ];
    listed.into_iter().flatten().collect()
}

/// The listed suites. A version that keeps none which the certificate's key can serve is lost: said
/// in a warning, or an error where it was the last.
pub(super) fn suites(
    options: &TlsOptions,
    key: Option<SignatureAlgorithm>,
    findings: &mut Findings,
) -> Vec<SupportedCipherSuite> {
    let Some(names) = &options.ciphers else {
        return ciphers::all();
    };
    let suites = match ciphers::from_names(names) {
        Ok(suites) => suites,
        Err(text) => {
            findings.fault(TlsKey::Ciphers, text);
            return Vec::new();
        }
    };
    let TlsVersions { tls12, tls13 } = options.versions;
    let lost12 = tls12 && !suites.iter().any(|suite| serves_tls12(suite, key));
    let lost13 = tls13 && !suites.iter().any(|suite| suite.tls13().is_some());
    let with_key = match key {
        Some(key) => format!(" with the certificate's key ({key:?})"),
        None => String::new(),
    };
    let text = match (lost12, lost13) {
        (false, false) => return suites,
        (true, false) => format!("no listed suite can be used for TLS 1.2{with_key}"),
        (false, true) => "no listed suite is for TLS 1.3".to_owned(),
        (true, true) => format!("no listed suite can be used{with_key}"),
    };
    let kept = (tls12 && !lost12) || (tls13 && !lost13);
    if kept {
        findings.warn(
            TlsKey::Ciphers,
            format!("{text}: that version is not offered"),
        );
    } else if tls12 || tls13 {
        let remedy = match tls13 {
            true => "one of TLS 1.3, such as TLS_AES_256_GCM_SHA384",
            false => "an ECDHE suite for that kind of key",
        };
        let text = format!("{text}; add {remedy}");
        findings.fault(TlsKey::Ciphers, text);
    }
    suites
}

fn serves_tls12(suite: &SupportedCipherSuite, key: Option<SignatureAlgorithm>) -> bool {
    let tls12 = suite.tls13().is_none();
    tls12 && key.is_none_or(|key| suite.usable_for_signature_algorithm(key))
}

fn read_dhfile(options: &TlsOptions, read: Read<'_>, findings: &mut Findings) {
    let Some(path) = &options.dhfile else { return };
    match pem::contents(path, read) {
        Ok(_) => findings.warn(
            TlsKey::Dhfile,
            "has no effect: keys are exchanged on elliptic curves only",
        ),
        Err(text) => findings.fault(TlsKey::Dhfile, text),
    }
}

/// Resumption is off unless asked for: XMPP connections last, a resumed handshake saves one
/// signature, and a store of sessions is memory and a lock that the cores share. Every server built
/// has its own keys and store, so a reload ends all sessions, and with them what an older
/// certificate check allowed.
fn sessions(options: &TlsOptions, config: &mut ServerConfig, findings: &mut Findings) {
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if options.early_data && options.versions.tls13 {
        config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
        config.session_storage = ServerSessionMemoryCache::new(EARLY_DATA_SESSIONS_MAX);
        config.max_early_data_size = EARLY_DATA_BYTES_MAX;
        // The answer to an early stream header need not wait for the client's Finished.
        config.send_half_rtt_data = true;
        if options.session_tickets_stateless {
            findings.warn(
                TlsKey::SessionTickets,
                "early_data needs tickets that work once: sessions are kept in memory instead",
            );
        }
        return;
    }
    if options.early_data {
        let text = "has no effect without \"tlsv1.3\" in versions";
        findings.warn(TlsKey::EarlyData, text);
    }
    if !options.session_tickets_stateless {
        return;
    }
    match aws_lc_rs::Ticketer::new() {
        Ok(ticketer) => {
            config.ticketer = ticketer;
            config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
        }
        Err(error) => findings.fault(
            TlsKey::SessionTickets,
            format!("no keys could be made: {error}"),
        ),
    }
}

fn key_log(options: &TlsOptions, config: &mut ServerConfig, findings: &mut Findings) {
    if !options.keep_secrets {
        return;
    }
    config.key_log = Arc::new(KeyLogFile::new());
    let text = match std::env::var_os("SSLKEYLOGFILE") {
        Some(_) => "whoever reads the file of SSLKEYLOGFILE can read every connection",
        None => "has no effect: SSLKEYLOGFILE is not set",
    };
    findings.warn(TlsKey::KeepSecrets, text);
}

thread_local! {
    /// The server name of the ClientHello just handled on this thread.
    ///
    /// The library tells it to the certificate resolver, which all connections share, and to nobody
    /// else; the resolver runs inside `TlsStream::receive`, which takes the name when that returns.
    static SERVER_NAME: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Takes the server name (SNI) that the handshake step just made has seen.
pub(super) fn take_server_name() -> Option<Box<str>> {
    SERVER_NAME.take()
}

/// Presents the one certificate of this listener, whatever name the client asks for: XMPP clients
/// ask for the domain, which the certificate may name in other ways than as a DNS name.
#[derive(Debug)]
struct OwnCertificate {
    certified: Arc<CertifiedKey>,
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SERVER_NAME.set(hello.server_name().map(Box::from));
        Some(self.certified.clone())
    }
}

#[cfg(test)]
mod tests;
