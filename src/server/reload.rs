//! What SIGHUP reads anew: certificates with all of a listener's `tls` table, and log levels. No
//! connection notices.
//!
//! Whatever else differs in the file is named in the log and holds from the next start on. A file
//! with an error changes nothing; a certificate that cannot be used leaves its listener what it has.

use std::path::PathBuf;

use super::federation;
use super::log::Log;
use super::log::NewLevels;
use super::served;
use super::tls;
use super::watch::Watch;
use crate::cli::Loaded;
use crate::config::changes;
use crate::config::listen::Listener;
use crate::listeners::mail::Note;
use crate::net::tls::TlsServer;
use crate::runtime::mesh::Outside;

/// What has to be known for a reload. Lives on: the main thread.
pub(super) struct Reload {
    /// As the server was started.
    running: Loaded,
    /// The last file that was valid: its `tls` tables hold.
    latest: Loaded,
    shards: Vec<Outside<Note>>,
    watch: Watch,
}

impl Reload {
    /// For a server that was started with `running`.
    pub(super) fn new(running: Loaded, shards: Vec<Outside<Note>>) -> Self {
        let watch = Watch::new(files(&running, &running));
        Self {
            latest: running.clone(),
            running,
            shards,
            watch,
        }
    }

    /// SIGHUP: everything that can change is read anew.
    pub(super) fn all(&mut self, log: &Log) {
        match self.running.again() {
            Ok(fresh) => {
                if log.take_levels(&fresh.config) == NewLevels::Overridden {
                    tracing::info!("MEERKAT_LOG is set: log levels of the file do not hold");
                }
                self.name_the_rest(&fresh);
                self.latest = fresh;
            }
            Err(failure) => {
                tracing::error!(
                    "the configuration has errors and the running one stays: {failure}"
                );
            }
        }
        self.certificates();
        // The tables may name other files now.
        self.watch = Watch::new(files(&self.running, &self.latest));
    }

    /// Reads the certificates anew where their files changed.
    pub(super) fn look_at_files(&mut self) {
        if self.watch.have_changed() {
            tracing::info!("certificate files changed");
            self.certificates();
        }
    }

    fn name_the_rest(&self, fresh: &Loaded) {
        let applied = |path: &str| {
            path == "general.loglevel"
                || path.starts_with("runtime.log_levels")
                || served(&self.running.config)
                    .iter()
                    .filter(|listener| now(listener, fresh).is_some())
                    .any(|listener| is_inside_tls(path, &listener.path))
        };
        let rest: Vec<String> = changes(&self.running.config, &fresh.config)
            .into_iter()
            .filter(|path| !applied(path))
            .collect();
        if !rest.is_empty() {
            tracing::warn!(
                keys = rest.join(", "),
                "changed in the file and not applied: restart to apply"
            );
        }
    }

    fn certificates(&self) {
        let mut fresh: Vec<(u16, TlsServer)> = Vec::new();
        for (number, listener) in served(&self.running.config).iter().enumerate() {
            let (loaded, source) = source(listener, &self.running, &self.latest);
            match tls::build(loaded, source) {
                Ok(Some(server)) => {
                    tell(listener, &server);
                    fresh.push((number as u16, server));
                }
                Ok(None) => {}
                Err(errors) => tracing::error!(
                    listener = %listener.path,
                    "the certificate cannot be used and the old one stays: {errors}"
                ),
            }
        }
        let outgoing = match federation::client(&self.running) {
            Ok((outgoing, ..)) => outgoing,
            Err(errors) => {
                tracing::error!("s2s.outgoing: the old certificate stays: {errors}");
                None
            }
        };
        if fresh.is_empty() && outgoing.is_none() {
            return;
        }
        for shard in &self.shards {
            let mut note = Note::Certificates(fresh.clone(), outgoing.clone());
            // A full inbox has room again after the shard's next turn.
            while let Err(back) = shard.send(note) {
                note = back;
                std::thread::yield_now();
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates are judged by the wall clock"
)]
fn tell(listener: &Listener, server: &TlsServer) {
    let days_left = server.days_left(std::time::SystemTime::now());
    tracing::info!(listener = %listener.path, days_left, "certificate read");
    for warning in server.warnings() {
        let (option, text) = (warning.key.name(), &warning.text);
        tracing::warn!(listener = %listener.path, option, "{text}");
    }
}

/// The file and the listener in it that a running listener takes its certificate from.
fn source<'a>(
    listener: &'a Listener,
    running: &'a Loaded,
    latest: &'a Loaded,
) -> (&'a Loaded, &'a Listener) {
    match now(listener, latest) {
        Some(fresh) => (latest, fresh),
        None => (running, listener),
    }
}

/// The same listener in another file: that of the same path, address and mode of TLS.
fn now<'a>(listener: &Listener, fresh: &'a Loaded) -> Option<&'a Listener> {
    let same = fresh.config.listeners.iter().find(|other| {
        other.path == listener.path && other.common.address == listener.common.address
    })?;
    let mode = |listener: &Listener| listener.tls().map(|tls| tls.mode);
    (mode(same).is_some() && mode(same) == mode(listener)).then_some(same)
}

fn is_inside_tls(path: &str, listener: &str) -> bool {
    let inside = path
        .strip_prefix(listener)
        .and_then(|rest| rest.strip_prefix(".tls."));
    inside.is_some_and(|key| key != "mode")
}

/// All files that certificates are made of.
fn files(running: &Loaded, latest: &Loaded) -> Vec<PathBuf> {
    let listeners = served(&running.config);
    let mut files = Vec::new();
    for listener in &listeners {
        let (loaded, source) = source(listener, running, latest);
        let Some(tls) = source.tls() else { continue };
        let named = [
            Some(&tls.certfile),
            tls.keyfile.as_ref(),
            tls.cacertfile.as_ref(),
        ];
        let named = named.into_iter().flatten().chain(&tls.crl_files);
        files.extend(named.map(|file| loaded.locate(&file.value)));
    }
    let s2s = &running.config.s2s;
    let client = s2s.outgoing.tls.as_ref().map(|tls| &tls.client);
    let named = [
        s2s.certfile.as_ref(),
        s2s.cafile.as_ref(),
        client.and_then(|tls| tls.certfile.as_ref()),
        client.and_then(|tls| tls.keyfile.as_ref()),
        client.and_then(|tls| tls.cacertfile.as_ref()),
    ];
    files.extend(
        named
            .into_iter()
            .flatten()
            .map(|file| running.locate(&file.value)),
    );
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_table_is_applied_but_for_its_mode() {
        let listener = "listen.c2s[1]";
        assert!(is_inside_tls("listen.c2s[1].tls.certfile", listener));
        assert!(!is_inside_tls("listen.c2s[1].tls.mode", listener));
        assert!(!is_inside_tls("listen.c2s[1].tls", listener));
        assert!(!is_inside_tls("listen.c2s[10].tls.certfile", listener));
        assert!(!is_inside_tls("listen.c2s[1].port", listener));
    }
}
