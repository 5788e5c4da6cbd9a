//! What the start tells the person who watches it.

use std::io::Write;

use serde_json::json;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime as _;
use tracing_subscriber::fmt::time::SystemTime;

use crate::backend::first_start::MadeCertificate;
use crate::cli::Failure;
use crate::cli::Loaded;
use crate::cli::version;
use crate::config::Config;
use crate::config::Level;
use crate::config::Modules;
use crate::config::Notice;
use crate::config::runtime::LogFormat;
use crate::listeners::settings::Listener;
use crate::listeners::settings::Settings;
use crate::net::accept::ACCEPTS_PER_CORE_MAX;
use crate::net::cpus::Cpus;
use crate::net::preflight::Report;
use crate::server::doctor;
use crate::server::doctor::Facts;
use crate::server::doctor::Verdict;
use crate::server::secrets::MadeSecret;

/// What the lines are named by where they are JSON.
const TARGET: &str = "meerkat::server::start";

/// Prints the lines to stderr; a closed stderr is nobody to tell. Where the log is for machines, each
/// is like a line of it.
pub(super) fn print(text: &str, format: LogFormat) {
    let text = match format {
        LogFormat::Text => text.to_owned(),
        LogFormat::Json => json_lines(text),
    };
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Why the server does not serve, on stderr. Where the log is for machines it is one line of it, the
/// remedy included; errors of the configuration itself are for people always, since they come before
/// it is known.
pub(super) fn refuse(failure: &Failure, format: LogFormat) {
    match format {
        LogFormat::Text => failure.say(),
        LogFormat::Json => {
            let line = json_line(&timestamp(), "ERROR", &failure.to_string());
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

fn json_lines(text: &str) -> String {
    let timestamp = timestamp();
    let line = |line: &str| {
        let level = match line.trim_start().starts_with("warning ") {
            true => "WARN",
            false => "INFO",
        };
        json_line(&timestamp, level, line.trim())
    };
    text.lines()
        .filter(|text| !text.is_empty())
        .map(line)
        .collect()
}

fn timestamp() -> String {
    let mut timestamp = String::new();
    // Writing into a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    timestamp
}

/// The fields are those of every line of the log in JSON.
fn json_line(timestamp: &str, level: &str, message: &str) -> String {
    let fields = json!({
        "timestamp": timestamp,
        "level": level,
        "message": message,
        "target": TARGET,
    });
    format!("{fields}\n")
}

/// What was found and made on the way.
pub(super) struct Start<'a> {
    /// The configuration.
    pub loaded: &'a Loaded,
    /// The kernel and its limits.
    pub report: &'a Report,
    /// The cores.
    pub cpus: &'a Cpus,
    /// Certificates made by this start.
    pub made: &'a [MadeCertificate],
    /// Secrets made by this start.
    pub secrets: &'a [MadeSecret],
}

impl Start<'_> {
    /// The lines.
    pub(super) fn text(&self, settings: &Settings) -> String {
        let mut lines = vec![
            format!(
                "meerkat {}, configured by {}",
                version(),
                self.loaded.name()
            ),
            format!("  cores      {}", self.cpus.line()),
        ];
        lines.extend(
            self.cpus
                .warning
                .iter()
                .map(|warning| format!("  warning    {warning}")),
        );
        lines.extend(
            self.report
                .lines()
                .iter()
                .map(|line| format!("  kernel     {line}")),
        );
        lines.extend(machine_warnings(self.loaded));
        for listener in settings.listeners() {
            lines.extend(self.listener_lines(settings, listener));
        }
        for made in self.made {
            let (certificate, names) = (made.certificate.display(), made.names.join(", "));
            lines.push(format!(
                "  made       self-signed certificate {certificate} for {names}"
            ));
        }
        for made in self.secrets {
            let (file, listener) = (made.file.display(), &made.listener);
            lines.push(format!("  made       secret {file} for {listener}"));
        }
        lines.extend(modules_lines(&self.loaded.config));
        let notices = self.loaded.config.notices.iter();
        lines.extend(notices.map(notice_line));
        let data = self.loaded.data_folder();
        lines.push(format!("  data       {}", data.display()));
        let host = settings.hosts.names().next().unwrap_or_default();
        lines.push(format!(
            "  account    make one with: meerkat account add NAME@{host}"
        ));
        lines.push(String::new());
        lines.join("\n")
    }

    /// A listener, and what is to be said about it.
    fn listener_lines(&self, settings: &Settings, listener: &Listener) -> Vec<String> {
        let mut lines = vec![listener_line(listener)];
        if let Some(warning) = self.report.backlog_warning(listener.backlog) {
            lines.push(format!("  warning    {}: {warning}", listener.path));
        }
        lines.extend(tls_warnings(listener));
        let served: u32 = listener.acceptors.iter().sum();
        if served < listener.num_acceptors {
            let path = &listener.path;
            lines.push(format!(
                "  note       {path}: of num_acceptors {served} are kept, \
                 {ACCEPTS_PER_CORE_MAX} a core at most"
            ));
        }
        // A host without any method is named by a notice of the configuration.
        let config = &self.loaded.config;
        let served = |host: &&str| config.auth_of(host).lets_in();
        for host in settings.without_login(listener).filter(served) {
            lines.push(format!(
                "  warning    {}: nobody can log in to {host} here: enable a method that \
                 the listener allows, and a mechanism that it can offer",
                listener.path
            ));
        }
        if let Some(why) = settings.plain_withheld(listener) {
            lines.push(format!("  note       {}: {why}", listener.path));
        }
        lines
    }
}

/// What is on, once for the server and once for each host with modules of its own.
fn modules_lines(config: &Config) -> Vec<String> {
    let line = |whose: &str, modules: &Modules| {
        let (on, off) = modules.names();
        let words = |names: Vec<&str>| match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(" ").replace("mod_", ""),
        };
        let (on, off) = (words(on), words(off));
        format!("  modules    {whose}{on}; off: {off}")
    };
    let own = config.host_config.iter().filter_map(|own| {
        let modules = own.modules.as_ref()?;
        Some(line(&format!("{}: ", own.name.value), modules))
    });
    [line("", &config.modules)].into_iter().chain(own).collect()
}

/// Of the table that `meerkat doctor` prints, what is not as it should be.
fn machine_warnings(loaded: &Loaded) -> Vec<String> {
    doctor::judge(&Facts::read(loaded), &loaded.config)
        .iter()
        .filter(|row| row.verdict != Verdict::Ok)
        .map(|row| format!("  warning    {}", row.warning()))
        .collect()
}

fn notice_line(notice: &Notice) -> String {
    match notice.level {
        Level::Warning => format!("  warning    {notice}"),
        Level::NoEffect | Level::Info => format!("  notice     {notice}"),
    }
}

fn listener_line(listener: &Listener) -> String {
    let mut shares: Vec<String> = listener.acceptors.iter().map(u32::to_string).collect();
    if shares.len() == 1 {
        shares = vec![format!("{} on one core", shares[0])];
    } else if shares.iter().all(|share| *share == shares[0]) {
        shares = vec![format!("{} on each of {} cores", shares[0], shares.len())];
    } else {
        shares = vec![format!("{} on {} cores", shares.join(" + "), shares.len())];
    }
    let mut paths: Vec<&str> = listener.sites.entries().map(|(_, path, _)| path).collect();
    paths.sort_unstable();
    paths.dedup();
    let tls = match (
        &listener.tls_at_start,
        listener.direct_tls,
        listener.tls_required,
    ) {
        (None, _, _) => "no TLS",
        (Some(_), true, _) if paths.is_empty() => "direct TLS",
        (Some(_), true, _) => "TLS",
        (Some(_), false, true) => "STARTTLS required",
        (Some(_), false, false) => "STARTTLS",
    };
    let proxy = if listener.proxy { ", PROXY header" } else { "" };
    let inherited = if listener.inherited {
        "inherited socket; "
    } else {
        ""
    };
    // Each handler of an http listener has a bound of its own.
    let what = match paths.is_empty() {
        true => format!("stanzas up to {} bytes", listener.limits.stanza_bytes_max),
        false => paths.join(" "),
    };
    format!(
        "  listening  {} on {} ({inherited}{tls}{proxy}; accepts {}; {what})",
        listener.path,
        listener.address,
        shares.join("")
    )
}

fn tls_warnings(listener: &Listener) -> Vec<String> {
    let warnings = listener.tls_at_start.iter().flat_map(|tls| tls.warnings());
    warnings
        .map(|warning| {
            format!(
                "  warning    {}: tls.{}: {}",
                listener.path,
                warning.key.name(),
                warning.text
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_get_an_object_for_each_line() {
        let text = json_lines("meerkat 0.1.0\n  warning    a \"thing\"\n\n");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["message"], "meerkat 0.1.0");
        assert_eq!(lines[1]["level"], "WARN");
        assert!(
            lines[1]["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
    }
}
