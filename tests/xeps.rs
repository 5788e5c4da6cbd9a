//! docs/xeps.toml is true, and docs/xeps.md and docs/doap.xml are made from it.
//!
//! `MEERKAT_BLESS=1 cargo test --test xeps` writes the two anew. A file of src/ whose first line
//! names a document, and that the table does not have, is a failure: whoever adds a feature adds its
//! row.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use toml::Table;

/// One `[[xep]]`.
struct Xep {
    number: u16,
    title: String,
    version: String,
    status: String,
    files: Vec<String>,
    note: String,
}

impl Xep {
    fn read(table: &Table) -> Self {
        let text = |key: &str| table.get(key).and_then(|value| value.as_str());
        let number = table["number"].as_integer().expect("a number");
        let files = table["files"].as_array().expect("files");
        Self {
            number: u16::try_from(number).expect("four digits"),
            title: text("title").expect("a title").to_owned(),
            version: text("version").expect("a version").to_owned(),
            status: text("status").expect("a status").to_owned(),
            files: files
                .iter()
                .map(|file| file.as_str().expect("a path").to_owned())
                .collect(),
            note: text("note").unwrap_or_default().to_owned(),
        }
    }

    fn name(&self) -> String {
        format!("XEP-{:04}", self.number)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tables(key: &str) -> Vec<Table> {
    let text = fs::read_to_string(root().join("docs/xeps.toml")).expect("it is committed");
    let mut table: Table = text.parse().expect("it is TOML");
    let rows = table.remove(key).expect("the table has it");
    let rows = rows.as_array().expect("an array of tables").clone();
    rows.into_iter()
        .map(|row| row.as_table().expect("a table").clone())
        .collect()
}

fn xeps() -> Vec<Xep> {
    tables("xep").iter().map(Xep::read).collect()
}

/// Title and number of each `[[rfc]]`.
fn rfcs() -> Vec<(i64, String)> {
    let rfc = |table: &Table| {
        let title = table["title"].as_str().expect("a title").to_owned();
        (table["number"].as_integer().expect("a number"), title)
    };
    tables("rfc").iter().map(rfc).collect()
}

/// Every Rust file below src/, relative to the root, with its text.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below it");
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.insert(name.display().to_string(), text);
            }
        }
    }
    found
}

/// The documents that a text names.
fn named(text: &str) -> impl Iterator<Item = u16> {
    text.match_indices("XEP-").filter_map(|(at, _)| {
        let digits = text.get(at + 4..at + 8)?;
        digits.parse().ok()
    })
}

#[test]
fn every_row_is_true() {
    let (xeps, sources) = (xeps(), sources());
    let mut wrong = Vec::new();
    let numbers: Vec<u16> = xeps.iter().map(|xep| xep.number).collect();
    if !numbers.is_sorted_by(|one, next| one < next) {
        wrong.push("the rows are not in the order of their numbers, each once".to_owned());
    }
    for xep in &xeps {
        let name = xep.name();
        if !["complete", "partial"].contains(&xep.status.as_str()) {
            wrong.push(format!("{name}: the status {:?} is none", xep.status));
        }
        if xep.status == "partial" && xep.note.is_empty() {
            wrong.push(format!(
                "{name}: partial, and the note does not say of what"
            ));
        }
        if xep.files.is_empty() {
            wrong.push(format!("{name}: no file"));
        }
        for file in &xep.files {
            let found = sources.get(file).is_some_and(|text| text.contains(&name));
            if !found {
                wrong.push(format!("{name}: {file} does not exist or does not name it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_feature_has_a_row() {
    let xeps = xeps();
    let mut missing = Vec::new();
    for (file, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        // Declared by an option, or framed and not served, a document is not implemented.
        if file.starts_with("src/config/") || file == "src/proto/stream/framing.rs" {
            continue;
        }
        for number in named(first) {
            // A feature is one file; of what has several, one is enough.
            let whole = !file.starts_with("src/modules/");
            let is_there = |xep: &Xep| xep.number == number && (whole || xep.files.contains(&file));
            if !xeps.iter().any(is_there) {
                missing.push(format!("XEP-{number:04} of {file}"));
            }
        }
    }
    let readme = fs::read_to_string(root().join("README.md")).expect("it is committed");
    let works = readme.split("## What works").nth(1).unwrap_or_default();
    let works = works.split("\n## ").next().unwrap_or_default();
    for number in named(works) {
        if !xeps.iter().any(|xep| xep.number == number) {
            missing.push(format!("XEP-{number:04} of README.md"));
        }
    }
    assert!(
        missing.is_empty(),
        "docs/xeps.toml lacks {}",
        missing.join(", ")
    );
}

#[test]
fn the_pages_are_up_to_date() {
    let mut stale = Vec::new();
    for (name, text) in [("docs/xeps.md", page()), ("docs/doap.xml", doap())] {
        let path = root().join(name);
        if std::env::var_os("MEERKAT_BLESS").is_some() {
            fs::write(&path, &text).expect("docs can be written");
        } else if fs::read_to_string(&path).ok() != Some(text) {
            stale.push(name);
        }
    }
    let remedy = "write them anew: MEERKAT_BLESS=1 cargo test --test xeps";
    assert!(
        stale.is_empty(),
        "{stale:?} differ from the table; {remedy}"
    );
}

fn page() -> String {
    let mut page = "\
# Documents

What meerkat implements, how completely, and where. Made from docs/xeps.toml by `MEERKAT_BLESS=1 cargo
test --test xeps`, as docs/doap.xml is; a test checks that they agree.

| document | title | version | | implemented in | remarks |
|---|---|---|---|---|---|
"
    .to_owned();
    for (number, title) in rfcs() {
        let _ = writeln!(
            page,
            "| [RFC {number}](https://www.rfc-editor.org/rfc/rfc{number}) | {title} | | | | |"
        );
    }
    for xep in xeps() {
        let name = xep.name();
        let files: Vec<String> = xep.files.iter().map(|f| format!("[{f}](../{f})")).collect();
        let address = format!("https://xmpp.org/extensions/{}.html", name.to_lowercase());
        let _ = writeln!(
            page,
            "| [{name}]({address}) | {} | {} | {} | {} | {} |",
            xep.title,
            xep.version,
            xep.status,
            files.join(", "),
            xep.note
        );
    }
    page.replace("|  |", "| |")
}

/// A description of the project as RDF (XEP-0453).
fn doap() -> String {
    let mut doap = "\
<?xml version='1.0' encoding='UTF-8'?>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://usefulinc.com/ns/doap#'
    xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project>
    <name>meerkat</name>
    <shortdesc xml:lang='en'>XMPP server for Linux</shortdesc>
    <description xml:lang='en'>An XMPP server for Linux with one executor on each core, configured by \
MongooseIM's TOML file.</description>
    <programming-language>Rust</programming-language>
    <os>Linux</os>
    <license rdf:resource='https://spdx.org/licenses/Apache-2.0'/>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>
"
    .to_owned();
    for (number, _) in rfcs() {
        let address = format!("https://xmpp.org/rfcs/rfc{number}.html");
        let _ = writeln!(doap, "    <implements rdf:resource='{address}'/>");
    }
    for xep in xeps() {
        let address = format!(
            "https://xmpp.org/extensions/{}.html",
            xep.name().to_lowercase()
        );
        let note = match xep.note.is_empty() {
            true => String::new(),
            false => format!(
                "\n        <xmpp:note xml:lang='en'>{}</xmpp:note>",
                xep.note
            ),
        };
        let _ = write!(
            doap,
            "    <implements>
      <xmpp:SupportedXep>
        <xmpp:xep rdf:resource='{address}'/>
        <xmpp:status>{}</xmpp:status>
        <xmpp:version>{}</xmpp:version>{note}
      </xmpp:SupportedXep>
    </implements>
",
            xep.status, xep.version
        );
    }
    doap.push_str("  </Project>\n</rdf:RDF>\n");
    doap
}

#[test]
fn the_description_is_xml() {
    let doap = doap();
    let mut reader = quick_xml::Reader::from_str(&doap);
    loop {
        match reader.read_event().expect("well-formed") {
            quick_xml::events::Event::Eof => break,
            _ => continue,
        }
    }
}
