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
use std::time::Duration;

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
    let others = (first.service.as_ref(), first.s2s.as_ref());
    let (sections, listener) = (&first.sections, &first.listener);
    let site = match Site::start(&hosts, sections, listener, others, &first.peers) {
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

/// Dialogues that the server does not keep to, and a part of what has to be said about each.
const WRONG: &[(&str, &str)] = &[
    ("romeo/r receives:\n  <message/>\n", "nothing came within"),
    (
        "romeo/r closes\nromeo/r receives:\n  <message/>\n",
        "the end of the connection",
    ),
    ("romeo/r is ended with conflict\n", "nothing came within"),
    ("romeo/r is closed\n", "nothing came within"),
    ("romeo/r opens\nromeo/r logs in\n", "got the stream header"),
    ("juliet/b connects with SCRAM-SHA-9\n", "got <failure"),
    ("romeo/r sings\n", "nobody knows how"),
    ("paris sends:\n  <message/>\n", "has not opened"),
    ("romeo/r receives:\n  <message>\n", "no XML"),
];

/// Expectations of the answer to a ping that are wrong in one place each.
const WRONG_ANSWERS: &[&str] = &[
    "<iq type='result' id='2' from='verona.example' to='romeo@verona.example/r'/>",
    "<iq type='result' id='1' from='verona.example'/>",
    "<iq type='result' id='1' from='verona.example' to='romeo@verona.example/r' a='{any}'/>",
    "<iq type='result' id='1' from='mantua.example' to='romeo@verona.example/r'/>",
    "<iq type='result' id='1' from='verona.example' to='romeo@verona.example/r'><a/></iq>",
    "<iq type='result' id='1' from='verona.example' to='romeo@verona.example/r'>a</iq>",
    "<iq type='result' id='{a}' from='{a}' to='romeo@verona.example/r'/>",
    "<iq xmlns='urn:x' type='result' id='1' from='verona.example' to='romeo@verona.example/r'/>",
    "<stream:iq type='result' id='1' from='verona.example' to='romeo@verona.example/r'/>",
    "<message type='result' id='1' from='verona.example' to='romeo@verona.example/r'/>",
    "</stream:stream>",
];

#[test]
fn what_is_wrong_is_found() {
    let mut wrong: Vec<(String, &str)> = Vec::new();
    for (text, part) in WRONG {
        wrong.push((format!("romeo/r connects\n{text}"), part));
    }
    let ping = "<iq type='get' id='1' to='verona.example'><ping xmlns='urn:xmpp:ping'/></iq>";
    for answer in WRONG_ANSWERS {
        let text = format!("romeo/r connects\nromeo/r sends:\n  {ping}\nromeo/r");
        wrong.push((format!("{text} receives:\n  {answer}\n"), "got      <iq "));
        if *answer != "</stream:stream>" {
            let text = format!("{text} receives in any order:\n  {answer}\n");
            wrong.push((text, "got      <iq "));
        }
    }
    let text = format!("romeo/r connects\nromeo/r sends:\n  {ping}\nromeo/r receives nothing\n");
    wrong.push((text, "expected nothing, got <iq "));
    let scripts = wrong
        .iter()
        .enumerate()
        .map(|(place, (text, _))| Script::parse("wrong", text, place).expect("it can be read"));
    let scripts: Vec<Script> = scripts.collect();
    let hosts: Vec<String> = scripts
        .iter()
        .flat_map(|script| script.hosts.clone())
        .collect();
    let site = Site::start(
        &hosts,
        &scripts[0].sections,
        &scripts[0].listener,
        (None, None),
        &[],
    );
    let mut site = site.expect("the server starts");
    // What is expected here never comes.
    site.patience = Duration::from_millis(500);
    let places: Vec<usize> = (0..wrong.len()).collect();
    let missed = at_once(&places, DIALOGUES_MAX, |place| {
        let (text, part) = &wrong[*place];
        match play(&scripts[*place], &site) {
            Err(what) if what.contains(part) => Vec::new(),
            Err(what) => vec![format!(
                "{text}\nis found by another fault than {part:?}: {what}"
            )],
            Ok(()) => vec![format!("{text}\nis not found")],
        }
    });
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}

#[test]
fn what_cannot_be_read_is_said_with_its_place() {
    for (text, part) in [
        ("\n  <message/>\n", "x:2: an indented line"),
        ("romeo\n", "x:1: who does what?"),
        ("with listener port = \n", "x:1: "),
        ("with server general = {\n", "x:1: "),
    ] {
        let error = Script::parse("x", text, 0).err().unwrap_or_default();
        assert!(error.contains(part), "{text:?}: {error:?}");
    }
}
