//! From the `tls` table of a listener to what it handshakes with.

use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::backend::first_start;
use crate::backend::first_start::CertificateFound;
use crate::backend::first_start::MadeCertificate;
use crate::cli::Failure;
use crate::cli::Loaded;
use crate::config::Errors;
use crate::config::Place;
use crate::config::listen::Listener;
use crate::config::listen::ListenerKind;
use crate::config::listen::Tls;
use crate::config::listen::TlsMode;
use crate::config::listen::TlsVersion;
use crate::config::listen::VerifyMode as Configured;
use crate::net::tls::TlsConfigError;
use crate::net::tls::TlsKey;
use crate::net::tls::TlsOptions;
use crate::net::tls::TlsServer;
use crate::net::tls::TlsVersions;
use crate::net::tls::VerifyMode;
use crate::net::tls::options::KeyPassword;
use crate::server::federation;

/// What ALPN calls HTTP/1.1 (RFC 7301 section 6).
const ALPN_HTTP: &str = "http/1.1";
/// What ALPN calls direct TLS for clients (XEP-0368).
const ALPN_CLIENT: &str = "xmpp-client";

/// The same for servers.
const ALPN_SERVER: &str = "xmpp-server";

/// Makes the self-signed certificates that the configuration asks for and that are not there.
///
/// # Errors
/// What could not be written.
#[expect(
    clippy::disallowed_methods,
    reason = "a certificate begins to be valid now"
)]
pub fn make_certificates(
    loaded: &Loaded,
    served: &[Listener],
) -> Result<Vec<MadeCertificate>, Failure> {
    let hosts: Vec<&str> = loaded
        .config
        .general
        .hosts
        .iter()
        .map(|host| host.value.as_str())
        .collect();
    let mut made = Vec::new();
    for tls in served.iter().filter_map(|listener| listener.tls()) {
        let exists = |path: &str| loaded.locate(path).exists();
        let Some(keyfile) = &tls.keyfile else {
            continue;
        };
        if !tls.is_to_be_made(&loaded.config.runtime, exists) {
            continue;
        }
        let (certificate, key) = (Path::new(&tls.certfile.value), Path::new(&keyfile.value));
        match first_start::certificate(certificate, key, &hosts, SystemTime::now()) {
            Ok(CertificateFound::Made(pair)) => made.push(pair),
            Ok(CertificateFound::Existing) => {}
            Err(error) => {
                return Err(Failure::new(format!(
                    "no certificate could be made: {error}"
                )));
            }
        }
    }
    Ok(made)
}

/// Builds what a listener handshakes with.
///
/// # Errors
/// Everything that is wrong with its files and options, at their places.
pub fn build(loaded: &Loaded, listener: &Listener) -> Result<Option<TlsServer>, Errors> {
    match (&listener.kind, listener.tls()) {
        (_, Some(tls)) => of_table(loaded, listener, tls).map(Some),
        (ListenerKind::S2s(_), None) => of_section(loaded),
        (_, None) => Ok(None),
    }
}

/// A listener for servers has what `[s2s]` says in the manner of 6.3, if it has no table.
fn of_section(loaded: &Loaded) -> Result<Option<TlsServer>, Errors> {
    let s2s = &loaded.config.s2s;
    let (Some(options), Some(certfile)) = (federation::section(&loaded.config), &s2s.certfile)
    else {
        return Ok(None);
    };
    if s2s.listener_mode().is_none() {
        return Ok(None);
    }
    let read = |path: &str| std::fs::read(loaded.locate(path));
    TlsServer::build(&options, &read)
        .map(Some)
        .map_err(|errors| {
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Errors::at(&certfile.place, texts.join("; "))
        })
}

fn of_table(loaded: &Loaded, listener: &Listener, tls: &Tls) -> Result<TlsServer, Errors> {
    let read = |path: &str| -> std::io::Result<Vec<u8>> {
        let located: PathBuf = loaded.locate(path);
        std::fs::read(located)
    };
    TlsServer::build(&options(listener, tls), &read).map_err(|errors| {
        let mut all: Option<Errors> = None;
        for error in errors {
            let found = Errors::at(place(tls, &error), error.text);
            match &mut all {
                Some(all) => all.merge(found),
                None => all = Some(found),
            }
        }
        all.unwrap_or_else(|| Errors::at(&tls.certfile.place, "TLS cannot be set up"))
    })
}

/// Tries the TLS tables of all served listeners, for `check`.
///
/// # Errors
/// All that is wrong with them.
pub fn examine(loaded: &Loaded) -> Result<(), Errors> {
    let mut all: Option<Errors> = None;
    let exists = |path: &str| loaded.locate(path).exists();
    let served = super::served(&loaded.config);
    let built = served
        .iter()
        .filter(|listener| {
            let tls = listener.tls();
            tls.is_none_or(|tls| !tls.is_to_be_made(&loaded.config.runtime, exists))
        })
        .map(|listener| build(loaded, listener).map(drop));
    for result in built.chain([federation::client(loaded).map(drop)]) {
        if let Err(errors) = result {
            match &mut all {
                Some(all) => all.merge(errors),
                None => all = Some(errors),
            }
        }
    }
    all.map_or(Ok(()), Err)
}

fn options(listener: &Listener, tls: &Tls) -> TlsOptions {
    let kind = &listener.kind;
    let between_servers = matches!(listener.kind, ListenerKind::S2s(_));
    let versions = tls.versions.as_ref();
    let offers = |version: TlsVersion| {
        versions.is_none_or(|versions| versions.iter().any(|found| found.value == version))
    };
    TlsOptions {
        certfile: tls.certfile.value.clone(),
        keyfile: tls.keyfile.as_ref().map(|file| file.value.clone()),
        cacertfile: tls.cacertfile.as_ref().map(|file| file.value.clone()),
        // MongooseIM's own files write an empty password where the key is not encrypted.
        password: tls
            .password
            .as_ref()
            .map(|password| password.value.expose())
            .filter(|password| !password.is_empty())
            .map(KeyPassword::new),
        ciphers: tls.ciphers.as_ref().map(|ciphers| {
            let names: Vec<_> = ciphers.value.0.iter().map(|cipher| cipher.iana).collect();
            names.join(":")
        }),
        versions: TlsVersions {
            tls12: offers(TlsVersion::Tls12),
            tls13: offers(TlsVersion::Tls13),
        },
        verify_mode: match tls.verify_mode.value {
            Configured::Peer => VerifyMode::Peer,
            Configured::SelfSignedPeer => VerifyMode::SelfsignedPeer,
            Configured::None => VerifyMode::None,
        },
        // Between servers a certificate that proves nothing leaves dialback.
        disconnect_on_failure: tls.disconnect_on_failure.unwrap_or(!between_servers),
        between_servers,
        crl_files: tls
            .crl_files
            .iter()
            .map(|file| file.value.clone())
            .collect(),
        keep_secrets: tls.keep_secrets,
        names_host: true,
        early_data: tls.early_data,
        session_tickets_stateless: tls.session_tickets.is_some(),
        dhfile: tls.dhfile.as_ref().map(|file| file.value.clone()),
        alpn: match (kind, tls.mode) {
            (ListenerKind::Http(_), _) => vec![ALPN_HTTP.to_owned()],
            (ListenerKind::S2s(_), TlsMode::Tls) => vec![ALPN_SERVER.to_owned()],
            (_, TlsMode::Tls) => vec![ALPN_CLIENT.to_owned()],
            (_, TlsMode::StartTls | TlsMode::StartTlsRequired) => Vec::new(),
        },
    }
}

/// The place of the option that an error is about; of the certificate where it is not written.
fn place<'a>(tls: &'a Tls, error: &TlsConfigError) -> &'a Place {
    let written = match error.key {
        TlsKey::Keyfile => tls.keyfile.as_ref().map(|file| &file.place),
        TlsKey::Cacertfile => tls.cacertfile.as_ref().map(|file| &file.place),
        TlsKey::Password => tls.password.as_ref().map(|password| &password.place),
        TlsKey::Ciphers => tls.ciphers.as_ref().map(|ciphers| &ciphers.place),
        TlsKey::VerifyMode => Some(&tls.verify_mode.place),
        TlsKey::CrlFiles => error
            .index
            .and_then(|index| tls.crl_files.get(index))
            .map(|file| &file.place),
        TlsKey::Dhfile => tls.dhfile.as_ref().map(|file| &file.place),
        _ => None,
    };
    written.unwrap_or(&tls.certfile.place)
}
