//! The file as a tree in which every node knows its place.
//!
//! `toml` parses; this module turns its spanned tables into [`Node`]s that carry the TOML path
//! with array indices, in the order of the file. Nothing is judged here except the syntax.

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;
use toml::de::DeValue;
use toml::de::Error as TomlError;

use super::error::Error;
use super::source::Place;
use super::source::Source;

/// One value of the file.
#[derive(Debug)]
pub(crate) struct Node {
    /// The value; of a table its header or, where it has none, its key.
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What TOML knows, as far as a configuration can use it.
#[derive(Debug)]
pub(crate) enum Value {
    Text(String),
    /// `None`: an integer that does not fit into 64 bits.
    Integer(Option<i64>),
    Float,
    Boolean(bool),
    Time,
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

impl Node {
    /// A value that stands nowhere in the file, such as a default.
    pub(crate) fn made(place: Place, value: Value) -> Self {
        Self { place, value }
    }

    /// Stands for a section that the file does not have.
    pub(crate) fn absent(root: &Self) -> Self {
        Self::made(root.place.clone(), Value::Table(Vec::new()))
    }

    /// The entries of a table; of anything else none.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float
            | Value::Boolean(_)
            | Value::Time
            | Value::Array(_) => &[],
        }
    }

    /// The elements of an array; of anything else none.
    pub(crate) fn elements(&self) -> &[Self] {
        match &self.value {
            Value::Array(elements) => elements,
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float
            | Value::Boolean(_)
            | Value::Time
            | Value::Table(_) => &[],
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
    }

    /// What this is, in the operator's words.
    pub(crate) fn described(&self) -> String {
        match &self.value {
            Value::Text(text) if text.is_empty() => "an empty string".into(),
            Value::Text(_) => "a string".into(),
            Value::Integer(Some(value)) => format!("the integer {value}"),
            Value::Integer(None) => "an integer beyond 64 bits".into(),
            Value::Float => "a float".into(),
            Value::Boolean(value) => format!("the boolean {value}"),
            Value::Time => "a date or time".into(),
            Value::Array(_) => "an array".into(),
            Value::Table(_) => "a table".into(),
        }
    }
}

/// Parses `source`. The tree is `None` where the text is too broken for one.
pub(crate) fn parse(source: &Arc<Source>) -> (Option<Node>, Vec<Error>) {
    let (table, broken) = DeTable::parse_recoverable(&source.text);
    let sound = broken.iter().all(is_repeated_key);
    let root = sound.then(|| Node {
        place: Place::new(source, 0, 0, ""),
        value: Value::Table(entries(source, "", table.get_ref())),
    });
    let errors = syntax_errors(source, &broken, root.as_ref());
    (root, errors)
}

/// One broken line makes the parser stumble over many that follow, so of the syntax errors only
/// the first is told; repeated keys disturb nothing else and are all told.
fn syntax_errors(source: &Arc<Source>, broken: &[TomlError], root: Option<&Node>) -> Vec<Error> {
    let start = |error: &TomlError| error.span().map_or(0, |span| span.start);
    let first = broken
        .iter()
        .filter(|error| !is_repeated_key(error))
        .min_by_key(|e| start(e));
    let repeated = broken.iter().filter(|error| is_repeated_key(error));
    first
        .into_iter()
        .chain(repeated)
        .map(|error| {
            let span = error.span().unwrap_or(0..0);
            let text = error.message().replace('\n', ", ");
            if is_repeated_key(error) {
                let path = root.map_or_else(String::new, |root| first_of(source, &span, root));
                let place = Place::new(source, span.start, span.end, &path);
                Error::new(place, "this key is written twice").accepting("expected each key once")
            } else {
                let place = Place::new(source, span.start, span.end, "");
                Error::new(place, format!("not TOML: {text}"))
            }
        })
        .collect()
}

/// The path of a key that is written twice: that of the one in the tree. The parser does
/// not say where the other belongs, so the table is the one whose header or brace is nearest
/// before it and that has such a key.
fn first_of(source: &Source, span: &Range<usize>, root: &Node) -> String {
    let written = source.text.get(span.clone()).unwrap_or_default();
    let name = written.trim_matches(['"', '\'']);
    let mut nearest: Option<(usize, &Place)> = None;
    let mut tables = vec![root];
    while let Some(node) = tables.pop() {
        tables.extend(node.elements());
        tables.extend(node.entries().iter().map(|entry| &entry.node));
        let start = node.place.span().start;
        let first = node.entries().iter().find(|entry| entry.key == name);
        if let Some(first) = first.filter(|first| first.key_place.span().start <= span.start)
            && nearest.is_none_or(|(found, _)| found <= start)
            && start <= span.start
        {
            nearest = Some((start, &first.key_place));
        }
    }
    nearest.map_or_else(String::new, |(_, place)| place.path().to_owned())
}

fn is_repeated_key(error: &TomlError) -> bool {
    error.message() == "duplicate key"
}

fn entries(source: &Arc<Source>, path: &str, table: &DeTable<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| {
            let name = key.get_ref().to_string();
            let path = join(path, &name);
            let key_at = key.span();
            Entry {
                key_place: Place::new(source, key_at.start, key_at.end, &path),
                node: node(source, &path, value.span(), value.get_ref()),
                key: name,
            }
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_place.span().start);
    entries
}

fn node(source: &Arc<Source>, path: &str, at: Range<usize>, value: &DeValue<'_>) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(digits) => {
            Value::Integer(i64::from_str_radix(digits.as_str(), digits.radix()).ok())
        }
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Time,
        DeValue::Table(table) => Value::Table(entries(source, path, table)),
        DeValue::Array(array) => Value::Array(
            array
                .iter()
                .enumerate()
                .map(|(n, v)| node(source, &format!("{path}[{n}]"), v.span(), v.get_ref()))
                .collect(),
        ),
    };
    Node {
        place: Place::new(source, at.start, at.end, path),
        value,
    }
}

/// A key that is not bare is quoted, as TOML would have it.
fn join(path: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let dot = if path.is_empty() { "" } else { "." };
    if !key.is_empty() && key.chars().all(bare) {
        format!("{path}{dot}{key}")
    } else {
        format!("{path}{dot}{key:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source {
            name: "test.toml".into(),
            text: text.into(),
        })
    }

    #[test]
    fn paths_have_indices_and_quotes() {
        let (root, errors) = parse(&source(
            "[[listen.c2s]]\n[[listen.c2s]]\n'a b'.c = [1, 2]\n",
        ));
        assert!(errors.is_empty());
        let root = root.expect("sound TOML has a tree");
        let second = &root
            .get("listen")
            .and_then(|n| n.get("c2s"))
            .expect("written")
            .elements()[1];
        let inner = second.get("a b").and_then(|n| n.get("c")).expect("written");
        assert_eq!(
            inner.elements()[1].place.path(),
            "listen.c2s[1].\"a b\".c[1]"
        );
        assert_eq!(inner.elements()[1].place.to_string(), "test.toml:3:15");
    }

    #[test]
    fn of_broken_lines_the_first_is_told() {
        let (root, errors) = parse(&source("a = 1\nb = [1,\nc = 3\n"));
        assert!(root.is_none());
        assert_eq!(errors.len(), 1);
        assert_eq!((errors[0].line(), errors[0].column()), (3, 1));
    }

    #[test]
    fn repeated_keys_leave_a_tree() {
        let (root, errors) = parse(&source("a = 1\na = 2\nb = 1\nb = 2\n"));
        assert!(root.is_some());
        assert_eq!(errors.iter().map(Error::line).collect::<Vec<_>>(), [2, 4]);
    }

    #[test]
    fn repeated_keys_have_the_path_of_the_first() {
        let text = "[general]\nport = 1\n[[l.c]]\nport = 1\n[[l.c]]\nport = 1\nport = 2\n\
                    t.a = 1\nt.a = 2\nx = {q = 1, q = 2}\n[general]\n";
        let (_, errors) = parse(&source(text));
        let paths: Vec<_> = errors.iter().map(|error| error.place().path()).collect();
        let lines: Vec<_> = errors.iter().map(Error::line).collect();
        assert_eq!(lines, [7, 9, 10, 11]);
        assert_eq!(
            paths,
            ["l.c[1].port", "l.c[1].t.a", "l.c[1].x.q", "general"]
        );
    }
}
