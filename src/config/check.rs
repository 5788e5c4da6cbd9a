//! The strict check of a tree against the declarations: types, bounds, unknown and missing keys.
//!
//! It walks the whole file and collects every error; rules that look at several options at once
//! belong to the sections.

use std::io;

use super::decode::find;
use super::decode::integer;
use super::decode::text;
use super::error::Error;
use super::error::Errors;
use super::error::Level;
use super::error::Notice;
use super::option::Kind;
use super::option::Opt;
use super::option::Repeats;
use super::option::Schema;
use super::option::Unwritten;
use super::option::one_of;
use super::source::Place;
use super::tree::Entry;
use super::tree::Node;
use super::tree::Value;

/// Most keys that an error about an unknown key lists; a longer list helps nobody.
const KEYS_LISTED_MAX: usize = 40;

/// How alike (0 to 1) two keys are before one is suggested for the other.
const SUGGESTION_LIKENESS_MIN: f64 = 0.5;

/// Reads files for [`super::decode()`], which never touches the system itself.
pub trait Files {
    /// The content of the file that the configuration calls `path`.
    ///
    /// # Errors
    /// The system's reason why it cannot be read.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
}

/// The walk over the tree, and the errors it found.
pub(crate) struct Check<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) errors: Errors,
    pub(crate) notices: Vec<Notice>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(files: &'a dyn Files) -> Self {
        Self {
            files,
            errors: Errors::default(),
            notices: Vec::new(),
        }
    }

    /// The errors in the order of the file.
    pub(crate) fn into_errors(mut self) -> Errors {
        self.errors.sort();
        self.errors
    }

    /// The notices, the weightier first, then in the order of the file.
    pub(crate) fn into_notices(mut self) -> Vec<Notice> {
        self.notices
            .sort_by_key(|notice| (notice.level, notice.place.span().start));
        self.notices
    }

    pub(crate) fn notice(&mut self, level: Level, place: &Place, text: impl Into<String>) {
        self.notices.push(Notice {
            level,
            place: place.clone(),
            text: text.into(),
        });
    }

    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>, accepted: &str) {
        self.errors
            .push(Error::new(place.clone(), message).accepting(accepted));
    }

    /// Checks a table against its schema.
    pub(crate) fn section(&mut self, node: &Node, schema: &Schema) {
        for entry in node.entries() {
            match schema.options().find(|option| option.is_called(&entry.key)) {
                Some(option) => {
                    self.twice(node, entry, option);
                    self.value(&entry.node, &option.kind);
                }
                None => self.unknown(entry, schema),
            }
        }
        for option in schema.options() {
            self.unwritten(node, option);
        }
    }

    /// Checks any value.
    pub(crate) fn value(&mut self, node: &Node, kind: &Kind) {
        match kind {
            Kind::Section(schema) if matches!(node.value, Value::Table(_)) => {
                self.section(node, schema);
            }
            Kind::Named(kind) if matches!(node.value, Value::Table(_)) => {
                self.named(node, kind);
            }
            Kind::List(item, repeats) if matches!(node.value, Value::Array(_)) => {
                self.list(node, item, *repeats);
            }
            Kind::Checked(rule) => match text(node).map(rule.check) {
                Some(Ok(())) => {}
                Some(Err(reason)) => self.error(&node.place, reason, &expected(kind)),
                None => self.wrong(node, kind),
            },
            Kind::Readable => self.readable(node, kind),
            Kind::Bool
            | Kind::False
            | Kind::Int(_)
            | Kind::IntOrInfinity(_)
            | Kind::Text
            | Kind::Name
            | Kind::OneOf(_)
            | Kind::OneInt(_)
            | Kind::List(..)
            | Kind::Section(_)
            | Kind::Named(_)
            | Kind::Either(_)
            | Kind::Anything => {
                if !fits(node, kind) {
                    self.wrong(node, kind);
                }
            }
        }
    }

    fn wrong(&mut self, node: &Node, kind: &Kind) {
        let hint = match (kind, &node.value) {
            (Kind::List(Kind::Section(_), _), Value::Table(_)) => {
                "; a table of an array is headed by double brackets, [[...]]"
            }
            (Kind::Section(_) | Kind::Named(_), Value::Array(elements)) if !elements.is_empty() => {
                "; it is headed by single brackets, [...], and [[...]] by what is below it"
            }
            (_, _) => "",
        };
        let message = match text(node) {
            Some(text) if is_word(kind) => format!("{text:?} is not accepted"),
            _ => format!("{} is not accepted", node.described()),
        };
        self.error(&node.place, message, &format!("{}{hint}", expected(kind)));
    }

    fn readable(&mut self, node: &Node, kind: &Kind) {
        match text(node) {
            None | Some("") => self.wrong(node, kind),
            Some(path) => {
                if let Err(reason) = self.files.read(path) {
                    self.error(
                        &node.place,
                        format!("cannot be read: {reason}"),
                        &expected(kind),
                    );
                }
            }
        }
    }

    fn named(&mut self, node: &Node, kind: &Kind) {
        for entry in node.entries() {
            if entry.key.is_empty() {
                self.error(&entry.key_place, "an empty name", "expected a name");
            }
            self.value(&entry.node, kind);
        }
    }

    fn list(&mut self, node: &Node, item: &Kind, repeats: Repeats) {
        if repeats == Repeats::RefusedNorEmpty && node.elements().is_empty() {
            self.error(
                &node.place,
                "an empty array",
                "expected at least one element",
            );
        }
        let mut seen: Vec<(Option<&str>, Option<i64>)> = Vec::new();
        for element in node.elements() {
            self.value(element, item);
            let value = (text(element), integer(element));
            if repeats != Repeats::Allowed && value != (None, None) && seen.contains(&value) {
                self.error(&element.place, "is in the array twice", "each element once");
            }
            seen.push(value);
        }
    }

    /// An option under two of its names says two things.
    fn twice(&mut self, node: &Node, entry: &Entry, option: &Opt) {
        let Some(first) = find(node, option) else {
            return;
        };
        if first.key != entry.key {
            let message = format!("is another name of {:?}, which is written too", first.key);
            self.error(&entry.key_place, message, "only one of the two");
        }
    }

    fn unknown(&mut self, entry: &Entry, schema: &Schema) {
        let known: Vec<&str> = schema.options().map(|option| option.key).collect();
        let listed = match known.len() {
            0 => "no key is known here".into(),
            1..=KEYS_LISTED_MAX => format!("known here: {}", known.join(", ")),
            _ => String::new(),
        };
        let accepted = match suggestion(&entry.key, schema) {
            Some((near, true)) => format!("did you mean `{near}`? {listed}"),
            Some((near, false)) => format!("the nearest known key is `{near}`; {listed}"),
            None => listed,
        };
        let accepted = accepted.trim_end_matches([' ', ';']);
        self.error(&entry.key_place, "unknown key", accepted);
    }

    fn unwritten(&mut self, node: &Node, option: &Opt) {
        if find(node, option).is_some() {
            return;
        }
        let place = node.place.below(option.key);
        match (&option.unwritten, &option.kind) {
            (Unwritten::Required, kind) => {
                self.error(&place, "is missing", &expected(kind));
            }
            (Unwritten::Section, Kind::Section(schema)) => {
                self.section(&Node::made(place, Value::Table(Vec::new())), schema);
            }
            (
                Unwritten::Section
                | Unwritten::Unset(_)
                | Unwritten::Int(_)
                | Unwritten::Bool(_)
                | Unwritten::Text(_)
                | Unwritten::Empty,
                _,
            ) => {}
        }
    }
}

fn expected(kind: &Kind) -> String {
    format!("expected {}", kind.accepted())
}

/// Kinds whose wrong strings are worth repeating in the message; others may be secrets.
fn is_word(kind: &Kind) -> bool {
    match kind {
        Kind::OneOf(_) => true,
        Kind::Either(kinds) => kinds.iter().any(is_word),
        Kind::Bool
        | Kind::False
        | Kind::Int(_)
        | Kind::IntOrInfinity(_)
        | Kind::Text
        | Kind::Name
        | Kind::OneInt(_)
        | Kind::Checked(_)
        | Kind::Readable
        | Kind::List(..)
        | Kind::Section(_)
        | Kind::Named(_)
        | Kind::Anything => false,
    }
}

/// Whether a value that needs no walk is of its kind.
fn fits(node: &Node, kind: &Kind) -> bool {
    match kind {
        Kind::Bool => matches!(node.value, Value::Boolean(_)),
        Kind::False => matches!(node.value, Value::Boolean(false)),
        Kind::Int(range) => integer(node).is_some_and(|n| range.min <= n && n <= range.max),
        Kind::IntOrInfinity(range) => {
            text(node) == Some("infinity") || fits(node, &Kind::Int(*range))
        }
        Kind::Text => text(node).is_some(),
        Kind::Name => text(node).is_some_and(|text| !text.is_empty()),
        Kind::OneOf(words) => text(node).is_some_and(|text| words.contains(&text)),
        Kind::OneInt(numbers) => integer(node).is_some_and(|n| numbers.contains(&n)),
        Kind::Checked(rule) => text(node).is_some_and(|text| (rule.check)(text).is_ok()),
        Kind::Either(kinds) => kinds.iter().any(|kind| fits(node, kind)),
        Kind::Anything => true,
        Kind::Readable | Kind::List(..) | Kind::Section(_) | Kind::Named(_) => false,
    }
}

/// The nearest known key, or the same key one section further in, and whether it is near enough
/// to be what was meant.
fn suggestion(written: &str, schema: &Schema) -> Option<(String, bool)> {
    let inner = schema.options().find_map(|option| {
        let Kind::Section(inner) = &option.kind else {
            return None;
        };
        let known = inner.options().any(|inner| inner.is_called(written));
        known.then(|| (format!("{}.{written}", option.key), true))
    });
    let names = schema.options().flat_map(|option| {
        [option.key]
            .into_iter()
            .chain(option.aliases.iter().map(|a| a.key))
    });
    inner.or_else(|| nearest(written, names))
}

/// The word that looks most like `written`, and whether it looks very much like it.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<(String, bool)> {
    let written = written.to_lowercase();
    known
        .map(|key| (strsim::normalized_damerau_levenshtein(&written, key), key))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(likeness, key)| (key.to_owned(), likeness >= SUGGESTION_LIKENESS_MIN))
}

/// "`a`, `b` or `c`".
pub(crate) fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    one_of(words.map(|word| format!("{word:?}")))
}
