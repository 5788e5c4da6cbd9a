//! `meerkat doctor`: what this machine allows, against what the configuration asks for.
//!
//! [`judge`] turns what [`facts`] found into a table of ok, warn and fail, each with the command that
//! mends it. It computes only, so that every row is tested on any machine. The start prints the
//! warnings of the same table.

mod facts;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

pub(super) use self::facts::Facts;
use crate::cli::Failure;
use crate::cli::Loaded;
use crate::config::Config;
use crate::net::preflight::limits::LOCKED_MEMORY_BYTES_MIN;
use crate::net::preflight::limits::backlog_warning;

/// Open files beside those of connections: rings, listening sockets, the store, certificates.
const FILES_BESIDE: u64 = 256;
/// Fewer than so many connections on a machine without a configured bound deserve a warning.
const CONNECTIONS_FEW: u64 = 4_096;
/// Memory of an idle connection in bytes, ours and the kernel's, with room for its buffers.
const CONNECTION_BYTES: u64 = 12 * 1024;
/// Memory of the process without connections, in bytes.
const PROCESS_BYTES: u64 = 128 << 20;
/// Free disk below which the store will soon fail, and below which to look, in bytes.
const DISK_FAIL_BYTES: u64 = 64 << 20;
const DISK_WARN_BYTES: u64 = 1 << 30;
/// Ports for connections that we open; a server with many peers, or a proxy beside it, needs them.
const PORTS_FEW: u64 = 10_000;
/// Days before a certificate expires from which that is said.
const EXPIRY_WARNING_DAYS: i64 = 14;
/// No clock that is right shows less: seconds since 1970 of the year 2026.
const CLOCK_UNIX_MIN: u64 = 1_767_225_600;

/// How a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    /// The command or setting that mends it; empty where nothing is to be mended.
    pub(super) remedy: String,
}

impl Row {
    fn ok(what: &str, found: String) -> Self {
        Self::new(Verdict::Ok, what, found, String::new())
    }

    fn new(verdict: Verdict, what: &str, found: String, remedy: String) -> Self {
        Self {
            what: what.to_owned(),
            verdict,
            found,
            remedy,
        }
    }

    /// As the start says it: one line.
    pub(super) fn warning(&self) -> String {
        format!("{}: {}; {}", self.what, self.found, self.remedy)
    }
}

/// Connections that the configuration lets in, where every listener has a bound.
fn wanted(config: &Config) -> Option<u64> {
    let bounds = config.listeners.iter();
    let mut bounds = bounds.map(|listener| listener.common.max_connections.finite());
    bounds.try_fold(0, |sum: u64, bound| Some(sum.saturating_add(bound?)))
}

/// The rows about the machine that the start does not look at itself.
pub(super) fn judge(facts: &Facts, config: &Config) -> Vec<Row> {
    let wanted = wanted(config);
    let mut rows = vec![
        open_files(facts.open_files, facts.nr_open, wanted),
        locked_memory(facts.locked_memory),
    ];
    rows.extend(facts.memory.map(|memory| memory_row(memory, wanted)));
    let dials = config.federates();
    rows.extend(facts.ports.filter(|_| dials).map(ports));
    rows.extend(facts.free_disk.map(|free| disk(free, config)));
    rows.push(clock(facts.unix_seconds, facts.synchronised));
    rows
}

/// The kernel's bound on backlogs, against those of the listeners, by path.
fn somaxconn_rows(somaxconn: u32, backlogs: &[(&str, u32)]) -> Vec<Row> {
    let cut: Vec<Row> = backlogs
        .iter()
        .filter_map(|(path, backlog)| {
            let warning = backlog_warning(*backlog, somaxconn)?;
            let (found, remedy) = warning.split_once("; ").unwrap_or((&warning, ""));
            let what = format!("backlog of {path}");
            Some(Row::new(Verdict::Warn, &what, found.into(), remedy.into()))
        })
        .collect();
    if !cut.is_empty() {
        return cut;
    }
    let largest = backlogs.iter().map(|(_, backlog)| *backlog).max();
    let found = match largest {
        Some(largest) => format!("{somaxconn}, the largest backlog is {largest}"),
        None => format!("{somaxconn}, nothing listens"),
    };
    vec![Row::ok("somaxconn", found)]
}

fn open_files(limit: u64, nr_open: Option<u64>, wanted: Option<u64>) -> Row {
    let room = limit.saturating_sub(FILES_BESIDE);
    let needed = wanted.unwrap_or(CONNECTIONS_FEW);
    let files = needed.saturating_add(FILES_BESIDE).max(65_536);
    let asked = match wanted {
        Some(wanted) => format!("max_connections asks for {wanted}"),
        None => "max_connections is \"infinity\"".to_owned(),
    };
    let found = format!("{limit}, room for {room} connections; {asked}");
    if room >= needed {
        return Row::ok("open files", found);
    }
    let system = match nr_open {
        Some(nr_open) if nr_open < files => format!("`sysctl -w fs.nr_open={files}` and "),
        Some(_) | None => String::new(),
    };
    let remedy = format!(
        "{system}LimitNOFILE={files} in the unit, `docker run --ulimit nofile={files}`, or \
         `ulimit -n {files}`"
    );
    Row::new(Verdict::Warn, "open files", found, remedy)
}

fn locked_memory(limit: u64) -> Row {
    if limit == u64::MAX {
        return Row::ok("locked memory", "unlimited".to_owned());
    }
    let found = format!(
        "{} KiB, an executor needs {} KiB",
        limit / 1024,
        LOCKED_MEMORY_BYTES_MIN / 1024
    );
    if limit >= LOCKED_MEMORY_BYTES_MIN {
        return Row::ok("locked memory", found);
    }
    let remedy = "LimitMEMLOCK=infinity in the unit, `docker run --ulimit memlock=-1`, or \
                  `ulimit -l 8192`";
    Row::new(Verdict::Fail, "locked memory", found, remedy.to_owned())
}

fn memory_row(memory: u64, wanted: Option<u64>) -> Row {
    let room = memory.saturating_sub(PROCESS_BYTES) / CONNECTION_BYTES;
    let needed = wanted.unwrap_or(CONNECTIONS_FEW);
    let found = format!(
        "{} MiB, room for some {room} idle connections",
        memory >> 20
    );
    if room >= needed {
        return Row::ok("memory", found);
    }
    let mib = (needed
        .saturating_mul(CONNECTION_BYTES)
        .saturating_add(PROCESS_BYTES))
        >> 20;
    let remedy = format!(
        "lower max_connections, or give it {mib} MiB (MemoryMax= of the unit, docker run --memory)"
    );
    Row::new(Verdict::Warn, "memory", found, remedy)
}

fn ports((first, last): (u64, u64)) -> Row {
    let number = (last + 1).saturating_sub(first);
    let found = format!("{first}-{last} for connections that are opened here");
    if number >= PORTS_FEW {
        return Row::ok("port range", found);
    }
    let remedy = "`sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"`";
    Row::new(Verdict::Warn, "port range", found, remedy.to_owned())
}

fn disk(free: u64, config: &Config) -> Row {
    let folder = &config.runtime.data_dir.value;
    let found = format!("{} MiB free for {folder}", free >> 20);
    let verdict = match free {
        ..DISK_FAIL_BYTES => Verdict::Fail,
        DISK_FAIL_BYTES..DISK_WARN_BYTES => Verdict::Warn,
        DISK_WARN_BYTES.. => return Row::ok("disk", found),
    };
    let remedy = format!("make room (`du -xh {folder}`), or name another [runtime] data_dir");
    Row::new(verdict, "disk", found, remedy)
}

fn clock(unix_seconds: u64, synchronised: Option<bool>) -> Row {
    let remedy = "`timedatectl set-ntp true`, or install chrony".to_owned();
    if unix_seconds < CLOCK_UNIX_MIN {
        let found = "it shows a time that is long over; certificates cannot be judged".to_owned();
        return Row::new(Verdict::Fail, "clock", found, remedy);
    }
    match synchronised {
        Some(true) => Row::ok("clock", "synchronised".to_owned()),
        Some(false) => {
            let found = "not synchronised; certificates and stamps go by it".to_owned();
            Row::new(Verdict::Warn, "clock", found, remedy)
        }
        None => Row::ok(
            "clock",
            "whether it is synchronised may not be asked here".to_owned(),
        ),
    }
}

/// A certificate's row, by the days that are left.
fn certificate(listener: &str, days_left: i64) -> Row {
    let what = format!("certificate of {listener}");
    let remedy = "renew it; a changed file is read by itself, or on SIGHUP".to_owned();
    match days_left {
        ..0 => Row::new(Verdict::Fail, &what, "expired".to_owned(), remedy),
        0..EXPIRY_WARNING_DAYS => Row::new(
            Verdict::Warn,
            &what,
            format!("{days_left} days left"),
            remedy,
        ),
        EXPIRY_WARNING_DAYS.. => Row::ok(&what, format!("{days_left} days left")),
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let word = row.verdict.word();
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{word:<4}  {:<width$}  {}", row.what, row.found);
        if !row.remedy.is_empty() {
            let _ = writeln!(text, "{:<4}  {:<width$}  mend: {}", "", "", row.remedy);
        }
    }
    text
}

/// The same for machines: an object of `rows`, and how many of them `warn` and `fail`.
fn document(rows: &[Row]) -> serde_json::Value {
    let row = |row: &Row| {
        json!({
            "what": row.what,
            "verdict": row.verdict.word(),
            "found": row.found,
            "remedy": row.remedy,
        })
    };
    json!({
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "warn": count(rows, Verdict::Warn),
        "fail": count(rows, Verdict::Fail),
    })
}

fn count(rows: &[Row], verdict: Verdict) -> usize {
    rows.iter().filter(|row| row.verdict == verdict).count()
}

/// `meerkat doctor`: the table, or with `as_json` one JSON document.
///
/// # Errors
/// When it cannot be written.
pub fn run(loaded: &Loaded, as_json: bool) -> Result<ExitCode, Failure> {
    let rows = facts::all_rows(loaded);
    let (warns, fails) = (count(&rows, Verdict::Warn), count(&rows, Verdict::Fail));
    let text = match as_json {
        true => format!("{:#}\n", document(&rows)),
        false => format!("{}{warns} to look at, {fails} to mend\n", table(&rows)),
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::new(format!("stdout: {error}")))?;
    Ok(match fails {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::modules::Policy;

    #[test]
    fn open_files_have_to_do_for_max_connections() {
        let row = open_files(20_000, Some(1 << 20), Some(18_000));
        assert_eq!(row.verdict, Verdict::Ok, "{row:?}");
        let row = open_files(1_024, Some(1 << 20), None);
        assert_eq!(row.verdict, Verdict::Warn);
        assert!(row.remedy.contains("LimitNOFILE=65536"), "{row:?}");
        assert!(!row.remedy.contains("nr_open"), "{row:?}");
        let row = open_files(20_000, Some(1 << 20), Some(2_000_000));
        assert!(row.remedy.contains("fs.nr_open=2000256"), "{row:?}");
    }

    #[test]
    fn each_thing_has_its_bounds() {
        let verdicts = |rows: &[Row]| rows.iter().map(|row| row.verdict).collect::<Vec<_>>();
        let config = Config::default();
        let disks = [0, 65 << 20, 2 << 30].map(|free| disk(free, &config));
        assert_eq!(
            verdicts(&disks),
            [Verdict::Fail, Verdict::Warn, Verdict::Ok]
        );
        let clocks = [
            (0, Some(true)),
            (u64::MAX, Some(false)),
            (u64::MAX, Some(true)),
        ];
        let clocks = clocks.map(|(now, synchronised)| clock(now, synchronised));
        assert_eq!(
            verdicts(&clocks),
            [Verdict::Fail, Verdict::Warn, Verdict::Ok]
        );
        let days = [-1, 3, 90].map(|days| certificate("listen.c2s[0]", days));
        assert_eq!(verdicts(&days), [Verdict::Fail, Verdict::Warn, Verdict::Ok]);
        let locked = [64 << 10, 512 << 10, u64::MAX].map(locked_memory);
        assert_eq!(verdicts(&locked), [Verdict::Fail, Verdict::Ok, Verdict::Ok]);
        let ranges = [(60_000, 60_999), (32_768, 60_999)].map(ports);
        assert_eq!(verdicts(&ranges), [Verdict::Warn, Verdict::Ok]);
        let memories = [256 << 20, 1 << 40].map(|memory| memory_row(memory, Some(100_000)));
        assert_eq!(verdicts(&memories), [Verdict::Warn, Verdict::Ok]);
    }

    #[test]
    fn a_backlog_that_is_cut_is_named_and_else_the_bound() {
        let backlogs = [("listen.c2s[0]", 1024), ("listen.s2s[0]", 8192)];
        let cut = somaxconn_rows(4096, &backlogs);
        assert_eq!(cut.len(), 1, "{cut:?}");
        assert_eq!(cut[0].what, "backlog of listen.s2s[0]");
        assert!(cut[0].remedy.contains("somaxconn=8192"), "{cut:?}");
        let fine = somaxconn_rows(8192, &backlogs);
        let wanted = "8192, the largest backlog is 8192".to_owned();
        assert_eq!(fine, [Row::ok("somaxconn", wanted)]);
    }

    #[test]
    fn ports_are_judged_where_other_servers_are_connected_to() {
        let facts = Facts {
            open_files: 1 << 20,
            nr_open: None,
            locked_memory: u64::MAX,
            memory: None,
            ports: Some((60_000, 60_010)),
            free_disk: None,
            unix_seconds: u64::MAX,
            synchronised: None,
        };
        let has = |config: &Config| {
            let rows = judge(&facts, config);
            rows.iter().any(|row| row.what == "port range")
        };
        let mut config = Config::default();
        config.s2s.default_policy = Policy::Allow;
        assert_eq!(has(&config), config.federates());
        config.s2s.default_policy = Policy::Deny;
        assert!(!has(&config));
    }

    #[test]
    fn machines_read_the_same_rows() {
        let rows = [disk(0, &Config::default()), clock(u64::MAX, Some(true))];
        let document = document(&rows);
        assert_eq!(document["fail"], 1);
        assert_eq!(document["warn"], 0);
        assert_eq!(document["rows"][0]["verdict"], "fail");
        assert_eq!(document["rows"][1]["found"], "synchronised");
    }

    #[test]
    fn what_is_to_be_mended_says_how() {
        let rows = [disk(0, &Config::default()), clock(u64::MAX, Some(true))];
        let text = table(&rows);
        assert!(
            text.contains("fail  disk ") && text.contains("mend: make room"),
            "{text}"
        );
        assert!(text.contains("ok    clock"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
