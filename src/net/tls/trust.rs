//! Which certificates of peers are accepted: CAs and revocation lists.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::parse_x509_crl;

use super::certificate::unix_seconds;
use super::error::Findings;
use super::error::TlsConfigError;
use super::options::TlsKey;
use super::options::TlsOptions;
use super::options::VerifyMode;
use super::pem;
use super::pem::Read;
use super::verify::ClientCheck;

/// The check that `options` ask for; `None` where no certificate is asked for, or on a fault.
pub(super) fn client_check(
    options: &TlsOptions,
    read: Read<'_>,
    now: SystemTime,
    provider: &Arc<CryptoProvider>,
    findings: &mut Findings,
) -> Option<ClientCheck> {
    // Files that a mode does not use are read all the same: a fault in them is told now, not on
    // the day when the mode changes.
    let named = options
        .cacertfile
        .as_deref()
        .map(|path| named_roots(path, read, findings));
    let lists = revocation_lists(&options.crl_files, read, now, findings);
    let mut server_chain = None;
    let chain = match options.verify_mode {
        VerifyMode::Peer => {
            let roots = named.unwrap_or_else(|| system_roots(options, findings));
            let roots = match roots {
                Some(roots) if roots.is_empty() => return Some(unchecked(options, provider)),
                Some(roots) => Arc::new(roots),
                None => return None,
            };
            if options.between_servers {
                let roots = Arc::clone(&roots);
                server_chain = Some(server_verifier(roots, lists.clone(), provider, findings)?);
            }
            Some(chain_verifier(roots, lists, provider, findings)?)
        }
        VerifyMode::SelfsignedPeer | VerifyMode::None => {
            if !lists.is_empty() {
                findings.warn(
                    TlsKey::CrlFiles,
                    "has no effect: only verify_mode = \"peer\" checks who issued a certificate",
                );
            }
            None
        }
    };
    (options.verify_mode != VerifyMode::None).then(|| ClientCheck {
        chain,
        server_chain,
        disconnect: options.disconnect_on_failure,
        provider: provider.clone(),
    })
}

/// Nothing to check a chain against: a certificate is asked for and proves nothing.
fn unchecked(options: &TlsOptions, provider: &Arc<CryptoProvider>) -> ClientCheck {
    ClientCheck {
        chain: None,
        server_chain: None,
        disconnect: options.disconnect_on_failure,
        provider: provider.clone(),
    }
}

/// The check of a server that we have connected to; `None` where its chain is not looked at.
pub(super) fn peer_check(
    options: &TlsOptions,
    read: Read<'_>,
    now: SystemTime,
    provider: &Arc<CryptoProvider>,
    findings: &mut Findings,
) -> Option<Arc<WebPkiServerVerifier>> {
    let named = options
        .cacertfile
        .as_deref()
        .map(|path| named_roots(path, read, findings));
    let lists = revocation_lists(&options.crl_files, read, now, findings);
    if options.verify_mode != VerifyMode::Peer {
        return None;
    }
    let roots = named.unwrap_or_else(|| system_roots(options, findings))?;
    if roots.is_empty() {
        return None;
    }
    server_verifier(Arc::new(roots), lists, provider, findings)
}

fn server_verifier(
    roots: Arc<RootCertStore>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    provider: &Arc<CryptoProvider>,
    findings: &mut Findings,
) -> Option<Arc<WebPkiServerVerifier>> {
    let built = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .with_crls(lists)
        .enforce_revocation_expiration()
        .build();
    match built {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            findings.fault(TlsKey::CrlFiles, error.to_string());
            None
        }
    }
}

/// Revocation is checked for the whole chain where there are lists at all: a certificate that no
/// list covers is refused, and so is one whose list is out of date (RFC 5280 section 6.3: the
/// status is undetermined).
fn chain_verifier(
    roots: Arc<RootCertStore>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    provider: &Arc<CryptoProvider>,
    findings: &mut Findings,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let built = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .with_crls(lists)
        .enforce_revocation_expiration()
        .build();
    match built {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            findings.fault(TlsKey::CrlFiles, error.to_string());
            None
        }
    }
}

fn named_roots(path: &str, read: Read<'_>, findings: &mut Findings) -> Option<RootCertStore> {
    let found = pem::contents(path, read).and_then(|bytes| pem::certificates(path, &bytes));
    let added = found.and_then(|certificates| {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in certificates.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| {
                let section = index + 1;
                format!("section {section} of \"{path}\" cannot be a CA: {error}")
            })?;
        }
        Ok(roots)
    });
    match added {
        Ok(roots) => Some(roots),
        Err(text) => {
            findings.fault(TlsKey::Cacertfile, text);
            None
        }
    }
}

/// The system's CAs. Between servers there may be none: dialback goes on without them.
fn system_roots(options: &TlsOptions, findings: &mut Findings) -> Option<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Some(roots);
    }
    let why = match found.errors.first() {
        Some(error) => format!(" ({error})"),
        None => String::new(),
    };
    if options.between_servers && !options.disconnect_on_failure {
        findings.warn(
            TlsKey::Cacertfile,
            format!(
                "is not set and the system has no CA certificates{why}: no certificate of a \
                 server can prove anything"
            ),
        );
        return Some(roots);
    }
    findings.fault(
        TlsKey::Cacertfile,
        format!(
            "is not set and the system has no CA certificates{why}: install ca-certificates, \
             name a file, or set verify_mode = \"none\""
        ),
    );
    None
}

fn revocation_lists(
    paths: &[String],
    read: Read<'_>,
    now: SystemTime,
    findings: &mut Findings,
) -> Vec<CertificateRevocationListDer<'static>> {
    let mut lists = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let found = pem::contents(path, read).and_then(|bytes| {
            let found = pem::revocation_lists(path, &bytes)?;
            let late = out_of_date(path, &found, now)?;
            Ok((found, late))
        });
        match found {
            Ok((found, late)) => {
                lists.extend(found);
                if let Some(text) = late {
                    findings.warn(TlsKey::CrlFiles, text);
                }
            }
            Err(text) => {
                let error = TlsConfigError::at(TlsKey::CrlFiles, index, text);
                findings.errors.push(error);
            }
        }
    }
    lists
}

/// A warning where one of the lists should have been replaced by now.
fn out_of_date(
    path: &str,
    lists: &[CertificateRevocationListDer<'_>],
    now: SystemTime,
) -> Result<Option<String>, String> {
    let mut warning = None;
    for (index, der) in lists.iter().enumerate() {
        let Ok((_, list)) = parse_x509_crl(der) else {
            let section = index + 1;
            return Err(format!(
                "section {section} of \"{path}\" is not a revocation list"
            ));
        };
        let due = list.next_update().map(|due| due.timestamp());
        if due.is_some_and(|due| due < unix_seconds(now)) {
            warning = Some(format!(
                "the list of \"{}\" in \"{path}\" is out of date: its certificates are refused \
                 until it is replaced",
                list.issuer()
            ));
        }
    }
    Ok(warning)
}
