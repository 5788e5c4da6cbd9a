//! From `[s2s]` to what streams with other servers need: keys, TLS, a way to connect.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use crate::cli::Failure;
use crate::cli::Loaded;
use crate::config::Config;
use crate::config::Errors;
use crate::config::Place;
use crate::config::Sited;
use crate::config::listen::ListenerKind;
use crate::config::listen::Tls;
use crate::config::listen::TlsMode;
use crate::config::listen::VerifyMode as Configured;
use crate::config::s2s::UseStartTls;
use crate::jid::domain_prep;
use crate::listeners::s2s::settings::Federation;
use crate::net::dial::DialOptions;
use crate::net::dial::Dialler;
use crate::net::dial::Override;
use crate::net::resolve::DnsOptions;
use crate::net::tls::TlsClient;
use crate::net::tls::TlsConfigError;
use crate::net::tls::TlsKey;
use crate::net::tls::TlsOptions;
use crate::net::tls::TlsVersions;
use crate::net::tls::VerifyMode;
use crate::net::tls::options::KeyPassword;
use crate::proto::s2s::dialback::Keys;
use crate::proto::s2s::outbound::TlsWish;
use crate::runtime::background::Background;

/// Puts it together, and starts the background thread where any domain may be connected to.
///
/// # Errors
/// What the operator has to mend.
pub fn build(loaded: &Loaded, random: &[u8]) -> Result<(Federation, Option<Background>), Failure> {
    let s2s = &loaded.config.s2s;
    let outgoing = &s2s.outgoing;
    let secret = s2s.shared.as_ref();
    let secret = secret.map_or(random, |secret| secret.expose().as_bytes());
    let (tls, wish, trusted_only) =
        client(loaded).map_err(|errors| Failure::new(errors.to_string()))?;
    for warning in tls.iter().flat_map(TlsClient::warnings) {
        tracing::warn!("s2s.outgoing: {warning}");
    }
    let background = if loaded.config.federates() {
        let background = Background::start();
        Some(background.map_err(|error| Failure::new(format!("no background thread: {error}")))?)
    } else {
        None
    };
    let dialler = background
        .as_ref()
        .map(|background| Dialler::new(background.tasks(), dial_options(&loaded.config, wish)))
        .transpose()
        .map_err(|error| Failure::new(format!("no names can be looked up: {error}")))?;
    let federation = Federation {
        keys: Keys::new(secret),
        tls,
        wish,
        trusted_only,
        dialler,
        retry_max_ms: u64::from(outgoing.max_retry_delay) * 1000,
        stream_timeout_ms: outgoing.stream_timeout.finite().filter(|ms| *ms > 0),
    };
    Ok((federation, background))
}

fn dial_options(config: &Config, wish: TlsWish) -> DialOptions {
    let outgoing = &config.s2s.outgoing;
    let direct_only = outgoing
        .tls
        .as_ref()
        .is_some_and(|tls| tls.start.mode == TlsMode::Tls);
    let mut overrides: HashMap<Box<str>, Vec<Override>> = HashMap::new();
    for place in &outgoing.address {
        let (Ok(domain), Ok(ip)) = (domain_prep(&place.host), place.ip_address.parse::<IpAddr>())
        else {
            continue;
        };
        let port = place.port.unwrap_or(outgoing.port);
        overrides.entry(domain.into()).or_default().push(Override {
            address: SocketAddr::new(ip, port),
            direct_tls: place.tls || direct_only,
        });
    }
    DialOptions {
        overrides,
        port: outgoing.port,
        families: outgoing.ip_versions.clone().unwrap_or_else(|| vec![4, 6]),
        timeout: outgoing
            .connection_timeout
            .finite()
            .map(Duration::from_millis),
        direct_tls: wish != TlsWish::No,
        direct_only,
        dns: DnsOptions {
            timeout: Duration::from_secs(u64::from(outgoing.dns.timeout)),
            retries: outgoing.dns.retries as usize,
            server: outgoing
                .dns
                .server
                .as_ref()
                .and_then(|text| text.parse().ok()),
        },
    }
}

type Client = (Option<TlsClient>, TlsWish, bool);

/// What outgoing connections handshake with: `outgoing.tls`, else what `use_starttls` says.
///
/// # Errors
/// Everything that is wrong with files and options.
pub fn client(loaded: &Loaded) -> Result<Client, Errors> {
    let s2s = &loaded.config.s2s;
    let read = |path: &str| std::fs::read(loaded.locate(path));
    let (mut options, wish, trusted_only) = match (&s2s.outgoing.tls, &s2s.use_starttls) {
        (Some(tls), _) => {
            let wish = match tls.start.mode {
                TlsMode::StartTls => TlsWish::Optional,
                TlsMode::StartTlsRequired | TlsMode::Tls => TlsWish::Required,
            };
            let is_judged = tls.client.verify_mode == Configured::Peer;
            let trusted_only = is_judged && tls.client.disconnect_on_failure == Some(true);
            (table(tls), wish, trusted_only)
        }
        (None, Some(wanted)) if wanted.value != UseStartTls::No => {
            let wish = match wanted.value {
                UseStartTls::No | UseStartTls::Optional => TlsWish::Optional,
                UseStartTls::Required | UseStartTls::RequiredTrusted => TlsWish::Required,
            };
            let trusted_only = wanted.value == UseStartTls::RequiredTrusted;
            (
                section(&loaded.config).unwrap_or_default(),
                wish,
                trusted_only,
            )
        }
        (None, _) => return Ok((None, TlsWish::No, false)),
    };
    options.between_servers = true;
    options.disconnect_on_failure = trusted_only;
    if options.certfile.is_empty()
        && let Some(tls) = listeners_own(&loaded.config)
    {
        // One certificate is for both directions, unless another is named.
        options.certfile = tls.certfile.value.clone();
        options.keyfile = tls.keyfile.as_ref().map(|file| file.value.clone());
        let password = tls
            .password
            .as_ref()
            .map(|password| password.value.expose());
        let password = password.filter(|password| !password.is_empty());
        options.password = password.map(KeyPassword::new);
        if !loaded.locate(&options.certfile).exists() {
            // `check` looks at a configuration whose certificate is still to be made.
            options.certfile = String::new();
        }
    }
    match TlsClient::build(&options, &read) {
        Ok(client) => Ok((Some(client), wish, trusted_only)),
        Err(errors) => {
            let mut all = Errors::default();
            for error in errors {
                all.merge(match place(&loaded.config, &error) {
                    Some(place) => Errors::at(place, error.text),
                    None => Errors::at(&loaded.config.whole, format!("s2s.outgoing: {error}")),
                });
            }
            Err(all)
        }
    }
}

/// Where the option at fault is written: in `s2s.outgoing.tls`, in `[s2s]` in the manner of 6.3, or,
/// for the certificate that is shared, in the table of a listener.
fn place<'a>(config: &'a Config, error: &TlsConfigError) -> Option<&'a Place> {
    let s2s = &config.s2s;
    let file = |file: &'a Option<Sited<String>>| file.as_ref().map(|file| &file.place);
    let tls = s2s.outgoing.tls.as_ref().map(|tls| &tls.client);
    let own = listeners_own(config);
    let written = match error.key {
        TlsKey::Certfile => [
            tls.and_then(|tls| file(&tls.certfile)),
            file(&s2s.certfile),
            own.map(|tls| &tls.certfile.place),
        ],
        TlsKey::Keyfile => [
            tls.and_then(|tls| file(&tls.keyfile)),
            own.and_then(|tls| file(&tls.keyfile)),
            None,
        ],
        TlsKey::Cacertfile => [
            tls.and_then(|tls| file(&tls.cacertfile)),
            file(&s2s.cafile),
            None,
        ],
        TlsKey::Ciphers => [
            tls.and_then(|tls| file(&tls.ciphers)),
            file(&s2s.ciphers),
            None,
        ],
        TlsKey::Versions => [
            tls.and_then(|tls| tls.versions.first())
                .map(|version| &version.place),
            None,
            None,
        ],
        TlsKey::CrlFiles => [
            tls.and_then(|tls| tls.crl_files.get(error.index.unwrap_or(0)))
                .map(|file| &file.place),
            None,
            None,
        ],
        TlsKey::Password => [
            tls.and_then(|tls| tls.password.as_ref())
                .map(|password| &password.place),
            None,
            None,
        ],
        TlsKey::VerifyMode
        | TlsKey::KeepSecrets
        | TlsKey::EarlyData
        | TlsKey::SessionTickets
        | TlsKey::Dhfile => [None; 3],
    };
    let wanted = s2s.use_starttls.as_ref().map(|wanted| &wanted.place);
    written.into_iter().flatten().next().or(wanted)
}

fn listeners_own(config: &Config) -> Option<&Tls> {
    config
        .listeners
        .iter()
        .find_map(|listener| match &listener.kind {
            ListenerKind::S2s(s2s) => s2s.tls.as_ref(),
            ListenerKind::C2s(_) | ListenerKind::Service(_) | ListenerKind::Http(_) => None,
        })
}

/// `s2s.outgoing.tls`.
fn table(tls: &crate::config::s2s::OutgoingTls) -> TlsOptions {
    let client = &tls.client;
    let path = |file: &Option<Sited<String>>| file.as_ref().map(|file| file.value.clone());
    let offers = |version: &str| {
        client.versions.is_empty() || client.versions.iter().any(|found| found.value == version)
    };
    TlsOptions {
        certfile: path(&client.certfile).unwrap_or_default(),
        keyfile: path(&client.keyfile),
        cacertfile: path(&client.cacertfile),
        password: client
            .password
            .as_ref()
            .map(|password| password.value.expose())
            .filter(|password| !password.is_empty())
            .map(KeyPassword::new),
        ciphers: path(&client.ciphers),
        versions: TlsVersions {
            tls12: offers("tlsv1.2"),
            tls13: offers("tlsv1.3"),
        },
        verify_mode: match client.verify_mode {
            Configured::Peer => VerifyMode::Peer,
            Configured::SelfSignedPeer => VerifyMode::SelfsignedPeer,
            Configured::None => VerifyMode::None,
        },
        crl_files: client
            .crl_files
            .iter()
            .map(|file| file.value.clone())
            .collect(),
        keep_secrets: tls.start.keep_secrets,
        names_host: client.server_name_indication.enabled,
        ..TlsOptions::default()
    }
}

/// The manner of 6.3, for both directions; None where it names no certificate.
pub fn section(config: &Config) -> Option<TlsOptions> {
    let s2s = &config.s2s;
    let wanted = s2s.use_starttls.as_ref()?;
    let ciphers = s2s.ciphers.as_ref().map_or("", |ciphers| &ciphers.value);
    // A list of versions is what MongooseIM's own file has there.
    let names: Vec<&str> = ciphers.split(':').filter(|name| !name.is_empty()).collect();
    let (versions, suites): (Vec<&str>, Vec<&str>) = names
        .iter()
        .partition(|name| name.to_ascii_lowercase().starts_with("tlsv1"));
    let offers = |version: &str| {
        versions.is_empty()
            || versions
                .iter()
                .any(|found| found.eq_ignore_ascii_case(version))
    };
    Some(TlsOptions {
        certfile: s2s.certfile.as_ref()?.value.clone(),
        cacertfile: s2s.cafile.as_ref().map(|file| file.value.clone()),
        ciphers: (!suites.is_empty()).then(|| suites.join(":")),
        versions: TlsVersions {
            tls12: offers("tlsv1.2"),
            tls13: offers("tlsv1.3"),
        },
        verify_mode: VerifyMode::Peer,
        disconnect_on_failure: wanted.value == UseStartTls::RequiredTrusted,
        between_servers: true,
        ..TlsOptions::default()
    })
}
