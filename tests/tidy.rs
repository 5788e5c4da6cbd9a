//! The house rules, as a test: what review should not have to look for.
//!
//! A check is a function from the tree to its faults, each with file, line and remedy. Text is
//! enough for all of them; `tidy/source.rs` strips comments, literals and unit tests first. Every
//! check is tried on files that break it and on files that do not, so that none passes by being
//! blind.

use std::path::Path;

#[path = "tidy/changelog.rs"]
mod changelog;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/links.rs"]
mod links;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use source::Fault;
use source::Tree;

/// A check, and files (path and text) that break it or look as if they did.
struct Rule {
    name: &'static str,
    check: fn(&Tree) -> Vec<Fault>,
    bad: &'static [(&'static str, &'static str)],
    good: &'static [(&'static str, &'static str)],
}

const RULES: &[Rule] = &[
    Rule {
        name: "imports go downwards",
        check: layers::imports,
        bad: &[
            (
                "src/jid/mod.rs",
                "use crate::{base::id, xml::{scan, token}};",
            ),
            ("src/jid/mod.rs", "fn scan() { crate::xml::scan() }"),
            ("src/jid/parse.rs", "use super::super::xml;"),
            (
                "src/net/accept.rs",
                "use crate::proto::{proxy, stanza::Kind};",
            ),
            ("src/net/accept.rs", "use crate::proto;"),
            ("src/base/id.rs", "use crate::metrics;"),
            ("src/store/mod.rs", "use crate::auth::Verdict;"),
            ("src/modules/ping.rs", "use crate::listeners::c2s;"),
            ("src/extras/mod.rs", "//! In no layer."),
        ],
        good: &[
            (
                "src/jid/mod.rs",
                "use crate::{base::id};\n// crate::xml\nlet a = \"crate::xml\";",
            ),
            (
                "src/jid/mod.rs",
                "#[cfg(test)]\nmod tests { use crate::xml; }",
            ),
            ("src/jid/parse.rs", "use super::prep;"),
            (
                "src/net/accept.rs",
                "use crate::proto::proxy::sniff;\nuse crate::proto::{proxy};",
            ),
            ("src/server.rs", "use crate::listeners;"),
        ],
    },
    Rule {
        name: "pure layers only compute",
        check: layers::purity,
        bad: &[
            (
                "src/proto/c2s.rs",
                "fn now() { std::time::Instant::now(); }",
            ),
            ("src/store/memory.rs", "use std::sync::Mutex;"),
        ],
        good: &[
            (
                "src/proto/c2s.rs",
                "fn now(now: Instant) { log(\"Instant::now\"); }",
            ),
            ("src/net/accept.rs", "let now = Instant::now();"),
        ],
    },
    Rule {
        name: "the executor stays behind runtime and net",
        check: layers::executor,
        bad: &[("src/listeners/drive.rs", "use glommio::spawn_local;")],
        good: &[("src/runtime/mod.rs", "use glommio::spawn_local;")],
    },
    Rule {
        name: "tokio stays on the background thread",
        check: layers::background,
        bad: &[("src/net/ring/mod.rs", "use tokio::net::TcpStream;")],
        good: &[("src/net/dial.rs", "use tokio::net::TcpStream;")],
    },
    Rule {
        name: "file length",
        check: shape::file_length,
        bad: &[],
        good: &[],
    },
    Rule {
        name: "function length",
        check: shape::function_length,
        bad: &[],
        good: &[],
    },
    Rule {
        name: "module documentation",
        check: shape::module_doc,
        bad: &[
            ("src/cli.rs", "use std::fs;\n//! Late."),
            ("tests/server/main.rs", ""),
        ],
        good: &[("src/cli.rs", "//! The command line.\n")],
    },
    Rule {
        name: "features name their document",
        check: shape::feature_names_its_document,
        bad: &[
            ("src/modules/ping.rs", "//! Answers pings.\n//! XEP-0199"),
            ("src/modules/mam/mod.rs", "//! XEP-NNNN: archive"),
        ],
        good: &[
            (
                "src/modules/ping.rs",
                "//! XEP-0199: XMPP Ping. Answers pings.\n",
            ),
            ("src/modules/mam/query.rs", "//! Queries.\n"),
        ],
    },
    Rule {
        name: "every file is compiled",
        check: shape::reachability,
        bad: &[("src/base/id.rs", "//! Lost.")],
        good: &[("src/lib.rs", "pub mod base;")],
    },
    Rule {
        name: "names say something",
        check: shape::names,
        bad: &[
            ("src/base/mod.rs", "pub fn get_id() {}"),
            ("src/net/utils.rs", ""),
        ],
        good: &[("src/base/id.rs", "pub fn id() { let get_id = 1; }")],
    },
    Rule {
        name: "no unfinished work",
        check: words::unfinished_work,
        bad: &[
            ("src/cli.rs", "// TODO: more"),
            ("benches/scan.rs", "fn f() { todo!() }"),
        ],
        good: &[("src/cli.rs", "let todos = XXXL; // mastodon")],
    },
    Rule {
        name: "no weak tests, no sleep",
        check: words::weak_tests,
        bad: &[
            ("tests/server/main.rs", "std::thread::sleep(second);"),
            ("src/cli.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}"),
        ],
        good: &[
            ("tests/server/main.rs", "// no thread::sleep here"),
            (
                "src/backend/embedded/schema.rs",
                "std::thread::sleep(step);",
            ),
        ],
    },
    Rule {
        name: "unsafe code has its places and its reasons",
        check: words::unsafe_code,
        bad: &[
            ("src/xml/token.rs", "// SAFETY: trust me\nunsafe { f() }"),
            ("src/net/socket.rs", "let x = unsafe { f() };"),
        ],
        good: &[
            (
                "src/xml/token.rs",
                "#![deny(unsafe_code)] // unsafe\nlet text = r#\"unsafe\"#;",
            ),
            (
                "src/net/socket.rs",
                "// SAFETY: a pointer to this stack.\nlet x = unsafe { f() };",
            ),
        ],
    },
    Rule {
        name: "connections are accepted in one place",
        check: words::one_accept,
        bad: &[
            (
                "src/net/accept.rs",
                "fn a() { ring.accept(1); ring.accept(2); }",
            ),
            ("src/listeners/c2s.rs", "opcode::AcceptMulti::new(fd)"),
        ],
        good: &[
            ("src/net/accept.rs", "fn a() { ring.accept(1); }"),
            ("src/net/ring/mod.rs", "opcode::AcceptMulti::new(fd)"),
        ],
    },
    Rule {
        name: "one function routes",
        check: words::one_route,
        bad: &[("src/modules/pipeline.rs", "pub fn route<T>(to: T) {}")],
        good: &[(
            "src/route/mod.rs",
            "pub fn route(to: &Jid) {} fn route_all() {}",
        )],
    },
    Rule {
        name: "no private paths",
        check: words::private_paths,
        bad: &[("docs/README.md", "see \"/home/ann/meerkat\"")],
        good: &[(
            "docs/README.md",
            "see https://example.org/home/ and $ROOT/home/",
        )],
    },
    Rule {
        name: "limits are used",
        check: words::limits_are_used,
        bad: &[("src/base/limits.rs", "pub const STANZAS_MAX: usize = 7;")],
        good: &[("src/base/limits.rs", "const _: () = assert!(1 < 2);")],
    },
    Rule {
        name: "fuzz targets are built and replayed",
        check: shape::fuzz_targets,
        bad: &[
            ("tests/fuzz/fuzz_targets/jid.rs", "//! Addresses."),
            ("tests/fuzz/Cargo.toml", "path = \"fuzz_targets/jid.rs\""),
        ],
        good: &[("tests/fuzz/Cargo.toml", "[package]")],
    },
    Rule {
        name: "the changelog has its form",
        check: changelog::changelog,
        bad: &[
            ("CHANGELOG.md", "# Changelog\n\n## Soon\n"),
            ("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n### New\n"),
            (
                "docs/CHANGELOG.md",
                "# Changelog\n\n## 0.1.0 - 2026-12-01\n\n- A server.\n",
            ),
            ("docs/CHANGELOG.md", "## 0.1.0 - 2026-12-01\n"),
        ],
        good: &[(
            "CHANGELOG.md",
            "# Changelog\n\n## Unreleased\n\n### Added\n\n- A server.\n\n## 0.1.0 - 2026-12-01\n",
        )],
    },
    Rule {
        name: "links lead somewhere",
        check: links::links,
        bad: &[
            ("README.md", "see [it](docs/LOST.md)"),
            ("docs/README.md", "# A title\nsee [it](#another-title)"),
            ("README.md", "<img src=\"docs/lost.png\">"),
        ],
        good: &[
            (
                "docs/a.md",
                "# What it's for\n[above](#what-its-for), [too](../docs/a.md#what-its-for), [there](https://a.b/c)",
            ),
            ("README.md", "```\n[a](b)\n```"),
        ],
    },
    Rule {
        name: "files that are named are there",
        check: links::paths,
        bad: &[
            ("README.md", "see `src/lost.rs`."),
            ("README.md", "see `net/lost.rs`."),
            ("config/meerkat.toml", "# see config/examples/lost.json."),
            ("src/cli.rs", "//! See docs/decisions/0999."),
        ],
        good: &[
            (
                "docs/decisions/0001-it.md",
                "docs/decisions/0001, https://docs/lost.md, tests/data/listen, src/modules/NAME.rs",
            ),
            ("src/cli.rs", "//! See src/cli.rs, and config/lost.toml."),
            ("src/net/ring.md", "net/ring.md, src/net/ring.md."),
        ],
    },
];

#[test]
fn the_tree_is_tidy() {
    let tree = Tree::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(tree.src().count() > 0, "the checks must see the sources");
    let mut report = String::new();
    for rule in RULES {
        for Fault {
            path,
            line,
            what,
            remedy,
        } in (rule.check)(&tree)
        {
            report += &format!("{path}:{line}: {what}\n    {}: {remedy}\n", rule.name);
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

fn tree(path: &str, text: &str) -> Tree {
    Tree::of([(path.to_owned(), text.to_owned())])
}

#[test]
fn every_check_can_fail_and_can_pass() {
    for Rule {
        name,
        check,
        bad,
        good,
    } in RULES
    {
        for (path, text) in *bad {
            let faults = check(&tree(path, text));
            assert!(!faults.is_empty(), "{name}: {path} {text:?}");
        }
        for (path, text) in *good {
            let faults = check(&tree(path, text));
            assert!(faults.is_empty(), "{name}: {path} {text:?} {faults:?}");
        }
    }
}

#[test]
fn sizes_are_those_of_the_product() {
    let function = |lines: usize| format!("fn long() {{\n{}}}\n", "a();\n".repeat(lines - 2));
    let in_tests = |text: &str| format!("#[cfg(test)]\nmod tests {{\n{text}}}\n");
    let functions = |text: String| shape::function_length(&tree("src/cli.rs", &text)).len();
    assert_eq!((functions(function(70)), functions(function(71))), (0, 1));
    assert_eq!(functions(in_tests(&function(71))), 0);
    assert_eq!(
        functions(format!(
            "type F = fn(u8) -> u8;\n{}",
            "const A: u8 = 1;\n".repeat(80)
        )),
        0
    );

    let files = |text: String| shape::file_length(&tree("src/cli.rs", &text)).len();
    let lines = "// Why.\n\na();\n".repeat(266);
    assert_eq!(
        (
            files(format!("{lines}a();\n")),
            files(format!("{lines}a();\na();\n"))
        ),
        (0, 1)
    );
    assert_eq!(files(format!("{lines}{}", in_tests(&lines))), 0);
}

#[test]
fn what_is_no_code_is_not_seen() {
    let text = "let a = 'x'; let b: &'a str = \"x\\\"x\"; /* x /* x */ x */ let c = r#\"x\"x\"#; \
                let d = b'x'; let e = '\\''; let f = '→'; // x\nlet g = b\"x\";";
    let tree = tree("src/cli.rs", text);
    let words: Vec<_> = source::words(&tree.files["src/cli.rs"].code)
        .map(|(_, word)| word)
        .collect();
    let seen = "let a let b a str let c let d b let e let f let g b";
    assert_eq!(words, seen.split(' ').collect::<Vec<_>>());
}

#[test]
fn test_modules_in_files_of_their_own_are_tests() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let tree = Tree::of([
        file("src/lib.rs", "mod jid;\n#[cfg(not(test))]\nmod base;"),
        file("src/jid/mod.rs", "pub mod parse;\n#[cfg(test)]\nmod tests;"),
        file("src/jid/parse.rs", "#[cfg(test)]\npub(crate) mod seeds;"),
        file("src/jid/parse/seeds.rs", "mod deep;"),
        file("src/jid/parse/seeds/deep.rs", ""),
        file("src/jid/tests.rs", ""),
        file("src/base.rs", ""),
    ]);
    let tests: Vec<_> = tree
        .src()
        .filter(|file| file.is_test)
        .map(|file| &*file.path)
        .collect();
    assert_eq!(
        tests,
        [
            "src/jid/parse/seeds.rs",
            "src/jid/parse/seeds/deep.rs",
            "src/jid/tests.rs"
        ]
    );
    assert!(shape::reachability(&tree).is_empty());
}
