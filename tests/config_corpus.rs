//! Every file of tests/data/listen is accepted or refused as its manifest says, and no change of one
//! makes the decoder panic.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use meerkat::config;
use meerkat::config::Bound;
use meerkat::config::Config;
use meerkat::config::Errors;
use meerkat::config::Files;
use meerkat::config::Level;
use meerkat::config::Who;
use proptest::prelude::*;

/// Files relative to a folder, as a server that was started there would see them.
struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(path))
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/listen")
}

fn load(folder: &Path, name: &str) -> Result<Config, Errors> {
    let text = fs::read_to_string(folder.join(name)).expect("the manifest names files that exist");
    config::decode(&text, name, &Folder(folder.to_owned()))
}

/// The rows of a table with a heading, split at tabs.
fn table(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(corpus().join(name)).expect("the table is committed");
    text.lines()
        .skip(1)
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

#[test]
fn every_file_is_decided_as_the_manifest_says() {
    let decisions = table("decisions.tsv");
    let mut wrong = Vec::new();
    for row in table("manifest.tsv") {
        let [file, expect, ..] = row.as_slice() else {
            panic!("a short row: {row:?}")
        };
        let decision = decisions
            .iter()
            .find(|decision| decision.first() == Some(file));
        let expect = match expect.as_str() {
            "divergent" => decision
                .and_then(|row| row.get(1))
                .expect("each divergent is decided"),
            other => other,
        };
        match (load(&corpus(), file), expect) {
            (Ok(_), "valid") => {}
            (Err(errors), "invalid") => {
                for error in errors.iter() {
                    assert!(error.line() > 0 && error.column() > 0, "{file}: {error}");
                }
            }
            (Ok(_), expect) => wrong.push(format!("{file}: accepted, but it is {expect}")),
            (Err(errors), expect) => wrong.push(format!("{file} is {expect}, but:\n{errors}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_divergent_file_is_decided() {
    let decided: Vec<_> = table("decisions.tsv")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    let divergent: Vec<_> = table("manifest.tsv")
        .into_iter()
        .filter(|row| row[1] == "divergent")
        .map(|row| row[0].clone())
        .collect();
    assert_eq!(divergent, decided);
}

#[test]
fn files_like_those_that_ship_with_mongooseim_load() {
    for name in ["stock_like_head.toml", "stock_like_63.toml"] {
        stock(&corpus(), name);
    }
}

/// The files of MongooseIM itself are not ours to ship; where they lie beside the repository they
/// must load unchanged.
#[test]
fn the_files_that_ship_with_mongooseim_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/listen");
    for name in ["stock_mongooseim.toml", "stock_mongooseim_6.3.3.toml"] {
        if folder.join(name).exists() {
            stock(&folder, name);
        }
    }
}

/// A file with one c2s listener on 5222 that limits everybody to 10 sessions.
fn stock(folder: &Path, name: &str) {
    let config = load(folder, name).unwrap_or_else(|errors| panic!("{errors}"));
    let c2s = config
        .listeners
        .iter()
        .find(|listener| listener.type_name() == "c2s");
    let c2s = c2s.expect("it has one");
    assert_eq!(c2s.common.address.port(), 5222);
    assert_eq!(c2s.common.max_stanza_size, Bound::At(65_536));
    let who = Who {
        node: "alice",
        domain: "localhost",
        resource: "r",
    };
    assert!(config.allows("c2s", "localhost", who));
    assert_eq!(config.sessions_max("localhost", who), Bound::At(10));
    assert!(config.rate(&c2s.common.shaper, "localhost", who).is_some());
    let warning = config
        .notices
        .iter()
        .find(|notice| notice.level == Level::Warning);
    assert!(warning.is_none(), "{name}: {warning:?}");
    // What has no effect is named once for each key.
    let mut named: Vec<_> = config
        .notices
        .iter()
        .map(|notice| notice.place.path())
        .collect();
    let count = named.len();
    named.sort_unstable();
    named.dedup();
    assert!(count > 10, "{name}: {named:?}");
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = config::reference();
    if std::env::var_os("MEERKAT_BLESS").is_some() {
        fs::write(&path, &page).expect("docs can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let remedy = "run MEERKAT_BLESS=1 cargo test --test config_corpus";
    assert!(
        written == page,
        "docs/configuration.md is not what the options say: {remedy}"
    );
}

/// Texts of the corpus, from which the mutations start.
fn texts() -> Vec<String> {
    let rows = table("manifest.tsv");
    let mut texts: Vec<String> = rows
        .iter()
        .map(|row| fs::read_to_string(corpus().join(&row[0])).expect("the manifest's file"))
        .collect();
    texts.push(config::BUILT_IN.to_owned());
    for name in ["stock_like_head.toml", "stock_like_63.toml"] {
        texts.push(fs::read_to_string(corpus().join(name)).expect("committed"));
    }
    texts
}

/// A change of a text: what stands from `at` on, for `length` bytes, becomes `with`.
#[derive(Clone, Debug)]
struct Mutation {
    at: prop::sample::Index,
    length: usize,
    with: String,
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let words = prop::sample::select(vec![
        "",
        "\n",
        "\"",
        "'",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ",",
        ".",
        "#",
        "\t",
        "\r\n",
        "inf",
        "-1",
        "0",
        "9999999999999999999",
        "true",
        "\"infinity\"",
        "\u{e4}",
        "\u{1f600}",
        "\u{301}",
        "\u{202e}",
        "\\u0000",
        "listen.c2s",
        "[[listen.c2s]]\n",
        "port = 1\n",
        "tls",
        "= {}\n",
        "= []\n",
        "[access]\n",
        "[acl]\n",
        "x = [{acl = \"all\", value = \"x\"}]\n",
    ]);
    let with = prop_oneof![3 => words.prop_map(str::to_owned), 1 => ".{0,4}"];
    let one = (any::<prop::sample::Index>(), 0..12_usize, with);
    let one = one.prop_map(|(at, length, with)| Mutation { at, length, with });
    prop::collection::vec(one, 1..6)
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for mutation in mutations {
        let start = mutation.at.index(chars.len() + 1);
        let end = (start + mutation.length).min(chars.len());
        chars.splice(start..end, mutation.with.chars());
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever stands in a file: it is decoded or refused with places that exist, and the errors
    /// can be shown.
    #[test]
    fn no_file_makes_decoding_panic(
        pick in any::<prop::sample::Index>(),
        mutations in mutations(),
    ) {
        thread_local! {
            static TEXTS: Vec<String> = texts();
        }
        let text = TEXTS.with(|texts| mutate(pick.get::<String>(texts), &mutations));
        match config::decode(&text, "mutated.toml", &Folder(corpus())) {
            Ok(config) => prop_assert!(config.notices.iter().all(|n| !n.to_string().is_empty())),
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.to_string().contains("mutated.toml"));
                let lines = text.lines().count().max(1) + 1;
                prop_assert!(errors.iter().all(|error| error.line() <= lines));
            }
        }
    }
}
