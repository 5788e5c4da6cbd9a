//! Who may import whom: docs/ARCHITECTURE.md has the same table in prose.

use crate::source::Fault;
use crate::source::File;
use crate::source::Tree;
use crate::source::find_all;

/// A folder below src/ and what it may name besides itself. An entry `a::b` allows only that part.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("metrics", &["base"]),
    ("xml", &["base", "metrics"]),
    ("jid", &["base", "metrics"]),
    ("proto", &["base", "metrics", "xml", "jid"]),
    ("config", &["base", "metrics", "xml", "jid"]),
    ("runtime", &["base", "metrics"]),
    (
        "store",
        &["base", "metrics", "xml", "jid", "proto", "config"],
    ),
    (
        "auth",
        &["base", "metrics", "xml", "jid", "proto", "config", "store"],
    ),
    (
        "session",
        &["base", "metrics", "xml", "jid", "proto", "config", "store"],
    ),
    (
        "route",
        &[
            "base", "metrics", "xml", "jid", "proto", "config", "store", "auth", "session",
        ],
    ),
    (
        "net",
        &["base", "metrics", "runtime", "config", "proto::proxy"],
    ),
    (
        "modules",
        &[
            "base", "metrics", "xml", "jid", "proto", "config", "store", "auth", "session", "route",
        ],
    ),
    // proto::sasl: the keys that an account's row holds.
    (
        "backend",
        &[
            "base",
            "metrics",
            "jid",
            "config",
            "runtime",
            "net",
            "store",
            "proto::sasl",
        ],
    ),
    (
        "admin",
        &[
            "base", "metrics", "xml", "jid", "proto", "config", "store", "auth", "session",
            "route", "modules",
        ],
    ),
    ("listeners", BELOW_LISTENERS),
    ("cluster", BELOW_LISTENERS),
];

const BELOW_LISTENERS: &[&str] = &[
    "base", "metrics", "xml", "jid", "proto", "config", "store", "auth", "session", "route",
    "modules", "runtime", "net", "backend", "admin",
];

/// Level 6: may name everything.
const TOP: &[&str] = &["lib", "main", "cli", "server"];

/// Layers that only compute: time, chance and the system come in as parameters.
const PURE: &[&str] = &[
    "xml", "jid", "proto", "config", "store", "auth", "session", "route", "modules",
];

const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os::unix::net",
    "Instant::now",
    "SystemTime::now",
    "thread_rng",
    "RandomState::new",
    "Mutex",
    "RwLock",
    "tokio",
];

/// Where the executor and the ring may be named.
const IO: &[&str] = &["runtime", "net", "server"];

/// Imports go downwards only.
pub(crate) fn imports(tree: &Tree) -> Vec<Fault> {
    let files = tree.src().filter(|file| !TOP.contains(&file.layer()));
    files.flat_map(imports_of).collect()
}

fn imports_of(file: &File) -> Vec<Fault> {
    const REMEDY: &str = "move what is needed down a level, or hand it in as a parameter; the \
                          table is at the top of tests/tidy/layers.rs";
    let layer = file.layer();
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![file.fault(
            0,
            format!("src/{layer} has no place among the layers"),
            REMEDY,
        )];
    };
    let is_allowed = |path: &[String]| {
        path.first().is_none_or(|first| {
            let whole = path.join("::");
            first == layer
                || allowed.iter().any(|entry| {
                    first == entry || whole == *entry || whole.starts_with(&format!("{entry}::"))
                })
        })
    };
    let mut faults = Vec::new();
    for offset in find_all(&file.product, "crate::") {
        for path in paths(&file.product[offset + "crate::".len()..]) {
            if !is_allowed(&path) {
                let what = format!("{layer} may not import {}", path.join("::"));
                faults.push(file.fault(offset, what, REMEDY));
            }
        }
    }
    faults.extend(escapes(file));
    faults
}

/// `super::super::` must not climb to the crate's root, past the check above.
fn escapes(file: &File) -> Vec<Fault> {
    let below = file.path.trim_start_matches("src/").trim_end_matches(".rs");
    let depth = below.trim_end_matches("/mod").split('/').count();
    let chain = vec!["super"; depth].join("::");
    let found = find_all(&file.product, &chain).collect::<Vec<_>>();
    let fault = |offset| file.fault(offset, "`super` leaves the layer", "write crate:: instead");
    found.into_iter().map(fault).collect()
}

/// The paths, of two names at most, that a path or a `use` tree behind `crate::` stands for.
fn paths(text: &str) -> Vec<Vec<String>> {
    names(text)
        .into_iter()
        .flat_map(|(name, rest)| {
            let first = || name.to_owned();
            match rest.strip_prefix("::") {
                Some(rest) => {
                    let seconds = names(rest).into_iter();
                    seconds
                        .map(|(second, _)| vec![first(), second.to_owned()])
                        .collect()
                }
                None => vec![vec![first()]],
            }
        })
        .collect()
}

/// The name at the start of `text`, or each of a `{...}` group, with what follows it.
fn names(text: &str) -> Vec<(&str, &str)> {
    let text = text.trim_start();
    let Some(group) = text.strip_prefix('{') else {
        let end = text
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        return vec![text.split_at(end)];
    };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (offset, c) in group.char_indices() {
        let closes = c == '}' && depth == 0;
        if closes || (c == ',' && depth == 0) {
            if !group[start..offset].trim().is_empty() {
                found.extend(names(&group[start..offset]));
            }
            start = offset + 1;
        }
        match c {
            _ if closes => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// The pure layers touch nothing outside their arguments.
pub(crate) fn purity(tree: &Tree) -> Vec<Fault> {
    let files = tree.src().filter(|file| PURE.contains(&file.layer()));
    let find = |file| {
        forbidden(
            file,
            IMPURE,
            "take it as a parameter; this layer only computes",
        )
    };
    files.flat_map(find).collect()
}

/// glommio and io_uring stay behind `runtime` and `net`.
pub(crate) fn executor(tree: &Tree) -> Vec<Fault> {
    const REMEDY: &str = "use what crate::runtime and crate::net offer, or extend that";
    let files = tree.src().filter(|file| !IO.contains(&file.layer()));
    files
        .flat_map(|file| forbidden(file, &["glommio", "io_uring"], REMEDY))
        .collect()
}

/// What runs on the background thread, and nothing else, may name its runtime.
const BACKGROUND: &[&str] = &[
    "src/runtime/background.rs",
    "src/net/resolve.rs",
    "src/net/resolve/",
    "src/net/dial.rs",
    "src/net/dial/",
];

/// Tokio stays on the background thread.
pub(crate) fn background(tree: &Tree) -> Vec<Fault> {
    const REMEDY: &str = "hand a task to crate::runtime::background (docs/decisions/0040)";
    let is_elsewhere = |file: &&File| !BACKGROUND.iter().any(|path| file.path.starts_with(path));
    let files = tree.src().filter(is_elsewhere);
    files
        .flat_map(|file| forbidden(file, &["tokio::", "hickory_"], REMEDY))
        .collect()
}

fn forbidden(file: &File, patterns: &[&str], remedy: &'static str) -> Vec<Fault> {
    let find = |pattern: &&str| {
        let found = find_all(&file.product, pattern);
        found
            .map(|at| file.fault(at, format!("{pattern} in {}", file.layer()), remedy))
            .collect()
    };
    patterns
        .iter()
        .flat_map(|pattern| -> Vec<Fault> { find(pattern) })
        .collect()
}
