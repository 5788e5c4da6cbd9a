//! Every file of tests/data/listen is accepted or refused as its manifest says.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use meerkat::config;
use meerkat::config::Config;
use meerkat::config::Errors;
use meerkat::config::Files;

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
