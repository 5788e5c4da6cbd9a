//! Words that must not be there, or only in one place.

use crate::source::Fault;
use crate::source::File;
use crate::source::Tree;
use crate::source::find_all;
use crate::source::words;

/// Marks of unfinished work, in code and in comments.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "TODO", "FIXME", "XXX", "HACK"];

/// Tests that do not test or not always the same, and waits of a fixed length anywhere.
const WEAK_TESTS: &[(&str, &str)] = &[
    (
        "#[ignore",
        "fix the test, or assert the present behaviour and say why",
    ),
    (
        "#[should_panic",
        "let the code return an error and assert it",
    ),
    (
        "thread::sleep",
        "wait for the event, or hand in the time as a parameter",
    ),
];

const SLEEP: &str = "thread::sleep";

/// Threads of their own that may sleep: the one of SQLite, while another process holds its lock.
const MAY_SLEEP: &[&str] = &["src/backend/embedded/"];

/// Files that may contain unsafe code, each for a reason of its own.
const UNSAFE: &[&str] = &[
    "src/xml/scan/simd/x86.rs",
    "src/net/ring/",
    "src/net/socket.rs",
    "src/net/preflight/sys.rs",
    "src/net/preflight/tests.rs",
    "src/runtime/",
    "src/base/sys.rs",
    "tests/allocations.rs",
    "tests/scanner.rs",
];

/// How far above an unsafe block its reason may begin, in lines.
const SAFETY_LINES: usize = 8;

/// Where people have their folders.
const PRIVATE_PATHS: &[&str] = &["/root/", "/home/", "/Users/"];

/// Every file but this one, which has to name what it looks for.
fn files(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files
        .values()
        .filter(|file| !file.path.starts_with("tests/tidy"))
}

fn rust(tree: &Tree) -> impl Iterator<Item = &File> {
    files(tree).filter(|file| file.path.ends_with(".rs"))
}

pub(crate) fn unfinished_work(tree: &Tree) -> Vec<Fault> {
    let remedy = "finish it, or leave it out and open an issue";
    let mut faults = Vec::new();
    for (file, word) in rust(tree).flat_map(|file| UNFINISHED.iter().map(move |word| (file, word)))
    {
        let found = find_all(&file.text, word);
        faults.extend(found.map(|at| file.fault(at, format!("{word} in the tree"), remedy)));
    }
    faults
}

pub(crate) fn weak_tests(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in rust(tree) {
        let may_sleep = MAY_SLEEP.iter().any(|path| file.path.starts_with(path)) && !file.is_test;
        for (word, remedy) in WEAK_TESTS
            .iter()
            .filter(|(word, _)| !may_sleep || *word != SLEEP)
        {
            let found = find_all(&file.code, word);
            faults.extend(found.map(|at| file.fault(at, format!("`{word}`"), remedy)));
        }
    }
    faults
}

pub(crate) fn unsafe_code(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in rust(tree).filter(|file| !file.path.starts_with("tests/fuzz/")) {
        for (offset, _) in words(&file.code).filter(|(_, word)| *word == "unsafe") {
            if !UNSAFE.iter().any(|allowed| file.path.starts_with(allowed)) {
                let remedy = "do without, or move it to a file of the list in tests/tidy/words.rs";
                faults.push(file.fault(offset, "unsafe code in this file", remedy));
            } else if !says_why(file, offset) {
                let remedy = "`// SAFETY:` above it, arguing from what can be seen nearby";
                faults.push(file.fault(offset, "unsafe code without its reason", remedy));
            }
        }
    }
    faults
}

fn says_why(file: &File, offset: usize) -> bool {
    let line = file.line_at(offset);
    let above = file
        .text
        .lines()
        .take(line)
        .skip(line.saturating_sub(SAFETY_LINES + 1));
    let mut above = above.filter(|line| line.trim_start().starts_with("//"));
    above.any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
}

/// Connections are accepted in one place.
pub(crate) fn one_accept(tree: &Tree) -> Vec<Fault> {
    const HERE: &str = "src/net/accept.rs";
    const RING: &str = "src/net/ring/";
    let remedy = "connections come in through src/net/accept.rs and nowhere else";
    let mut faults = Vec::new();
    for file in tree.src() {
        let calls: Vec<usize> = find_all(&file.product, ".accept(").collect();
        let allowed = usize::from(file.path == HERE);
        let extra = calls.into_iter().skip(allowed);
        faults.extend(extra.map(|at| file.fault(at, "another place that accepts", remedy)));
        let kernel = [
            "Accept::new",
            "AcceptMulti::new",
            "libc::accept",
            "libc::accept4",
        ];
        for at in kernel.iter().flat_map(|word| find_all(&file.product, word)) {
            if !file.path.starts_with(RING) {
                faults.push(file.fault(at, "an accept past the ring", remedy));
            }
        }
    }
    faults
}

/// Where a stanza goes is decided in one function.
pub(crate) fn one_route(tree: &Tree) -> Vec<Fault> {
    let remedy = "ask crate::route::route, or give the function another name";
    let routes = tree.src().flat_map(|file| {
        let functions = find_all(&file.product, "fn");
        let named = functions.filter(|at| {
            words(&file.product[at + 2..])
                .next()
                .is_some_and(|(_, name)| name == "route")
        });
        named.map(move |at| (file, at))
    });
    let others = routes.filter(|(file, _)| file.path != "src/route/mod.rs");
    others
        .map(|(file, at)| file.fault(at, "another `fn route`", remedy))
        .collect()
}

pub(crate) fn private_paths(tree: &Tree) -> Vec<Fault> {
    let remedy = "use a path relative to the repository or to the file";
    let mut faults = Vec::new();
    for (file, path) in
        files(tree).flat_map(|file| PRIVATE_PATHS.iter().map(move |path| (file, path)))
    {
        let found = file.text.match_indices(path).filter(|(at, _)| {
            let before = file.text[..*at].chars().next_back();
            // As part of a longer path or address it is somebody else's.
            !before.is_some_and(|c| c.is_alphanumeric() || "/.-_}$".contains(c))
        });
        faults.extend(found.map(|(at, _)| file.fault(at, format!("a path in {path}"), remedy)));
    }
    faults
}

/// A bound that nothing obeys is none.
pub(crate) fn limits_are_used(tree: &Tree) -> Vec<Fault> {
    let Some(limits) = tree.files.get("src/base/limits.rs") else {
        return Vec::new();
    };
    let remedy = "use it where the thing is bounded, or delete it";
    let constants = words(&limits.product)
        .filter(|(_, word)| *word == "const")
        .filter_map(|(at, _)| {
            let (_, name) = words(&limits.product[at + 5..]).next()?;
            (name != "_").then_some((at, name))
        });
    let unused = constants.filter(|(_, name)| {
        let is_used = |file: &File| words(&file.product).any(|(_, word)| word == *name);
        !tree
            .src()
            .filter(|file| file.path != limits.path)
            .any(is_used)
    });
    unused
        .map(|(at, name)| limits.fault(at, format!("{name} bounds nothing"), remedy))
        .collect()
}
