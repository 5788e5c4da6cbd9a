//! docs/configuration.md, rendered from the declarations of the options.
//!
//! A group of keys that several sections share is described once, where it comes first; the
//! others refer to it.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::Root;
use super::effect;
use super::option::Kind;
use super::option::Opt;
use super::option::Schema;
use super::option::Unwritten;

const HEAD: &str = "\
# Configuration

One TOML file, in the layout of MongooseIM. Types are strict: an integer is no float and no string.
An unknown key is an error. Every error of a file is reported at once, with line, column and what
would be accepted, and nothing starts while there is one. \"infinity\" is always in lower case.

`config/meerkat.toml` is the same as a file to start from, grouped by use. Options that MongooseIM
does not have are marked *ours*. What is marked *no effect yet* is accepted and checked, and named
once at start.

This page is made from the declarations in `src/config`; `MEERKAT_BLESS=1 cargo test --test
config_corpus` writes it anew.
";

/// The whole page.
#[must_use]
pub fn reference() -> String {
    let mut page = Page {
        text: HEAD.to_owned(),
        seen: HashMap::new(),
    };
    for option in Root::SCHEMA.options() {
        page.value(option.key, option.doc, &option.kind);
    }
    page.text
}

struct Page {
    text: String,
    /// Groups of keys that are described already, and under which heading.
    seen: HashMap<String, String>,
}

impl Page {
    /// Describes the sections that a value consists of.
    fn value(&mut self, path: &str, doc: &str, kind: &Kind) {
        match kind {
            Kind::Section(schema) => self.section(path, doc, schema),
            Kind::Named(inner) => self.value(&format!("{path}.NAME"), doc, inner),
            Kind::List(inner, _) => self.value(&format!("{path}[]"), doc, inner),
            Kind::Bool
            | Kind::False
            | Kind::Int(_)
            | Kind::IntOrInfinity(_)
            | Kind::Text
            | Kind::Name
            | Kind::OneOf(_)
            | Kind::OneInt(_)
            | Kind::Checked(_)
            | Kind::Readable
            | Kind::Either(_)
            | Kind::Anything => {}
        }
    }

    fn section(&mut self, path: &str, doc: &str, schema: &Schema) {
        let without = effect::section_without(&path.replace("[]", ""));
        let effect = if without { "*No effect yet.* " } else { "" };
        let text = format!(
            "\n{} `{path}`\n\n{effect}{}\n",
            heading(path),
            paragraph(doc)
        );
        self.push(&text);
        let mut inner = Vec::new();
        for group in schema.groups {
            self.group(path, group, &mut inner);
        }
        for (path, option) in inner {
            self.value(&path, option.doc, &option.kind);
        }
    }

    /// One table of keys; `inner` collects the sections among them.
    fn group(
        &mut self,
        path: &str,
        group: &'static [Opt],
        inner: &mut Vec<(String, &'static Opt)>,
    ) {
        if group.is_empty() {
            return;
        }
        let plain = || group.iter().filter(|option| !has_heading(&option.kind));
        let rows: String = plain().map(|option| row(path, option)).collect();
        let identity: String = group.iter().map(|option| row("", option)).collect();
        if let Some(first) = self.seen.get(&identity) {
            let keys: Vec<String> = group
                .iter()
                .map(|option| format!("`{}`", option.key))
                .collect();
            let text = format!("\n{}: as in `{first}`.\n", keys.join(", "));
            self.push(&text);
            return;
        }
        self.seen.insert(identity, path.to_owned());
        if !rows.is_empty() {
            self.push("\n| key | accepted | if absent | |\n|---|---|---|---|\n");
            self.push(&rows);
        }
        let headed = group.iter().filter(|option| has_heading(&option.kind));
        inner.extend(headed.map(|option| (format!("{path}.{}", option.key), option)));
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// Whether a value is described under a heading of its own.
fn has_heading(kind: &Kind) -> bool {
    match kind {
        Kind::Section(_) => true,
        Kind::Named(inner) | Kind::List(inner, _) => has_heading(inner),
        Kind::Bool
        | Kind::False
        | Kind::Int(_)
        | Kind::IntOrInfinity(_)
        | Kind::Text
        | Kind::Name
        | Kind::OneOf(_)
        | Kind::OneInt(_)
        | Kind::Checked(_)
        | Kind::Readable
        | Kind::Either(_)
        | Kind::Anything => false,
    }
}

fn heading(path: &str) -> &'static str {
    match path.matches('.').count() {
        0 => "##",
        1 => "###",
        _ => "####",
    }
}

/// The line of one key.
fn row(path: &str, option: &Opt) -> String {
    let mut notes = String::new();
    if option.ours {
        notes.push_str("*Ours.* ");
    }
    let section = path.replace("[]", "");
    let key = format!("{section}.{}", option.key);
    if !path.is_empty() && effect::without(&key) && !effect::section_without(&section) {
        notes.push_str("*No effect yet.* ");
    }
    for alias in option.aliases {
        let _ = write!(notes, "Also `{}` ({}). ", alias.key, alias.version);
    }
    let cells = [
        option.kind.accepted(),
        absent(option),
        format!("{notes}{}", paragraph(option.doc)),
    ];
    let [accepted, absent, text] = cells.map(|cell| cell.replace('|', "\\|"));
    format!(
        "| `{}` | {accepted} | {absent} | {} |\n",
        option.key,
        text.trim_end()
    )
}

fn absent(option: &Opt) -> String {
    match &option.unwritten {
        Unwritten::Required => "**mandatory**".into(),
        Unwritten::Unset(text) => (*text).into(),
        Unwritten::Int(number) => format!("`{number}`"),
        Unwritten::Bool(value) => format!("`{value}`"),
        Unwritten::Text(text) => format!("`{text:?}`"),
        Unwritten::Empty => "`[]`".into(),
        Unwritten::Section => String::new(),
    }
}

/// A doc comment as one line.
fn paragraph(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
