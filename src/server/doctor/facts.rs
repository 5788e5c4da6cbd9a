//! What the machine says, for [`super::judge`]; what it does not say is left out of the table.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use super::Row;
use super::Verdict;
use super::certificate;
use super::judge;
use super::somaxconn_rows;
use crate::cli::Loaded;
use crate::net::cgroups;
use crate::net::cpus;
use crate::net::preflight;
use crate::net::preflight::sys;
use crate::net::preflight::sys::Resource;
use crate::server::served;
use crate::server::tls;

/// What was found. Values that could not be read are `None`.
pub(crate) struct Facts {
    /// Open files that this process may have.
    pub(super) open_files: u64,
    /// The most that any process may be given.
    pub(super) nr_open: Option<u64>,
    /// Bytes that this process may lock.
    pub(super) locked_memory: u64,
    /// Bytes of memory: the machine's, or the limit of a cgroup, the process's own or one above it.
    pub(super) memory: Option<u64>,
    /// Ports of outgoing connections.
    pub(super) ports: Option<(u64, u64)>,
    /// Bytes that are free where the data is.
    pub(super) free_disk: Option<u64>,
    /// The clock.
    pub(super) unix_seconds: u64,
    /// Whether something keeps the clock right.
    pub(super) synchronised: Option<bool>,
}

impl Facts {
    /// Asks the machine. Call it after the preflight, which raises the limits.
    pub(crate) fn read(loaded: &Loaded) -> Self {
        let limit = |resource| sys::limit(resource).map_or(0, |limit| limit.soft);
        Self {
            open_files: limit(Resource::OpenFiles),
            nr_open: number("/proc/sys/fs/nr_open"),
            locked_memory: limit(Resource::LockedMemory),
            memory: memory(),
            ports: ports(),
            free_disk: free_disk(&loaded.data_folder()),
            unix_seconds: unix_seconds(),
            synchronised: sys::clock_is_synchronised().ok(),
        }
    }
}

/// The whole table: what the start would look at as well.
pub(super) fn all_rows(loaded: &Loaded) -> Vec<Row> {
    let mut rows = Vec::new();
    match preflight::run() {
        Ok(report) => {
            let found = format!("Linux {}, io_uring ready", report.kernel);
            rows.push(Row::ok("kernel", found));
            rows.extend(report.somaxconn.iter().flat_map(|somaxconn| {
                let listeners = served(&loaded.config);
                let backlogs = listeners.iter();
                let backlogs =
                    backlogs.map(|listener| (listener.path.as_str(), listener.common.backlog));
                somaxconn_rows(*somaxconn, &backlogs.collect::<Vec<_>>())
            }));
        }
        Err(refusal) => rows.push(Row::new(
            Verdict::Fail,
            "kernel",
            refusal.cause,
            refusal.remedy,
        )),
    }
    rows.push(cores(loaded));
    rows.extend(judge(&Facts::read(loaded), &loaded.config));
    rows.extend(certificates(loaded));
    rows
}

fn cores(loaded: &Loaded) -> Row {
    let wanted = loaded.config.runtime.cores.as_ref();
    let wanted = wanted.and_then(|cores| NonZeroUsize::new(cores.value));
    match cpus::choose_here(wanted) {
        Ok(cpus) => match &cpus.warning {
            None => Row::ok("cores", cpus.line()),
            Some(warning) => {
                let remedy = "lower [runtime] cores, or raise the quota".to_owned();
                Row::new(Verdict::Warn, "cores", warning.clone(), remedy)
            }
        },
        Err(text) => {
            let (found, remedy) = text.split_once(": ").unwrap_or((&text, ""));
            Row::new(Verdict::Fail, "cores", found.to_owned(), remedy.to_owned())
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates are judged by the wall clock"
)]
fn certificates(loaded: &Loaded) -> Vec<Row> {
    let now = SystemTime::now();
    let exists = |path: &str| loaded.locate(path).exists();
    let listeners = served(&loaded.config);
    let rows = listeners.iter().filter_map(|listener| {
        let what = format!("certificate of {}", listener.path);
        let to_be_made = listener
            .tls()
            .is_some_and(|tls| tls.is_to_be_made(&loaded.config.runtime, exists));
        if to_be_made {
            return Some(Row::ok(&what, "made by the first start".to_owned()));
        }
        match tls::build(loaded, listener) {
            Ok(server) => Some(certificate(&listener.path, server?.days_left(now))),
            Err(errors) => {
                let remedy = "`meerkat check` says more".to_owned();
                let text = errors.to_string();
                let first = text.lines().next().unwrap_or_default().to_owned();
                Some(Row::new(Verdict::Fail, &what, first, remedy))
            }
        }
    });
    rows.collect()
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    let group = cgroups::memory_limit(|path| fs::read_to_string(path).ok());
    group.into_iter().chain(machine.map(|kib| kib * 1024)).min()
}

fn ports() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The folder may not be there yet: then that of the one above it counts.
fn free_disk(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|folder| folder.is_dir());
    sys::free_bytes(there.unwrap_or_else(|| Path::new("."))).ok()
}

#[expect(clippy::disallowed_methods, reason = "the clock itself is judged")]
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
