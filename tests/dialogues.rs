//! Conversations with the real server, over real sockets: one text file each, in tests/dialogues.
//!
//! tests/dialogues/README.md says how they are written. Those that ask for the same configuration
//! share a server, and within it all run at once, each in domains of its own. To run some:
//! `MEERKAT_DIALOGUES=c2s/sasl cargo test --test dialogues`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clients of a test wait, read the clock and share what they found"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use support::play::play;
use support::script::Script;
use support::site::Site;

/// Servers at a time; each has an executor, and locked memory, on every core.
const SITES_MAX: usize = 3;
/// Dialogues at a time on one server.
const DIALOGUES_MAX: usize = 16;

/// Where what is not to be run yet lies.
const NOT_RUN: &str = "pending";

#[test]
fn conversations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut files = Vec::new();
    find(&folder, &mut files);
    let wanted = std::env::var("MEERKAT_DIALOGUES").unwrap_or_default();
    let mut failures = Vec::new();
    let mut groups: BTreeMap<String, Vec<Script>> = BTreeMap::new();
    let mut found = 0;
    for (place, file) in files.iter().enumerate() {
        let name = file
            .strip_prefix(&folder)
            .expect("found below it")
            .display()
            .to_string();
        let is_wanted = name.contains(&wanted);
        if !is_wanted || (name.starts_with(NOT_RUN) && !wanted.starts_with(NOT_RUN)) {
            continue;
        }
        found += 1;
        let text = fs::read_to_string(file).expect("a dialogue is UTF-8");
        match Script::parse(&name, &text, place) {
            Ok(script) => groups.entry(script.key()).or_default().push(script),
            Err(what) => failures.push(what),
        }
    }
    assert!(found > 0, "no dialogue's name contains {wanted:?}");
    let groups: Vec<Vec<Script>> = groups.into_values().collect();
    failures.extend(at_once(&groups, SITES_MAX, |group| together(group)));
    assert!(
        failures.is_empty(),
        "{} of {found} dialogues fail:\n\n{}\n",
        failures.len(),
        failures.join("\n\n")
    );
}

/// All text files, in order, so that a dialogue has the same domains in every run.
fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
}

/// Dialogues that share a server.
fn together(scripts: &[Script]) -> Vec<String> {
    let hosts: Vec<String> = scripts
        .iter()
        .flat_map(|script| script.hosts.clone())
        .collect();
    let first = &scripts[0];
    let site = match Site::start(&hosts, &first.sections, &first.listener) {
        Ok(site) => site,
        Err(what) => return vec![format!("{}: the server does not start: {what}", first.name)],
    };
    at_once(scripts, DIALOGUES_MAX, |script| {
        play(script, &site).err().into_iter().collect()
    })
}

/// Does something with every element, with so many threads; collects what failed.
fn at_once<T: Sync>(
    elements: &[T],
    threads: usize,
    work: impl Fn(&T) -> Vec<String> + Sync,
) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(elements.len()) {
            scope.spawn(|| {
                while let Some(element) = elements.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let failed = work(element);
                    failures
                        .lock()
                        .expect("nothing panics with it")
                        .extend(failed);
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("nothing panics with it");
    failures.sort();
    failures
}
