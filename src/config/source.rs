//! Where a value stands: the file's text, a span in it, and the TOML path.
//!
//! A [`Place`] carries its source, so that a part which looks at a value long after the file was
//! decoded (the TLS layer that finds a certificate unusable) can still point at the line it came
//! from. Lines and columns are counted from 1, columns in characters.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Name and text of a configuration file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A span of the configuration file and the TOML path of what stands there.
#[derive(Clone, Default)]
pub struct Place {
    source: Arc<Source>,
    start: usize,
    end: usize,
    path: Arc<str>,
    implied: bool,
}

impl Place {
    /// Both ends are clamped to the text and moved down to a character boundary.
    pub(crate) fn new(source: &Arc<Source>, start: usize, end: usize, path: &str) -> Self {
        let start = boundary(&source.text, start);
        let end = boundary(&source.text, end).max(start);
        Self {
            source: Arc::clone(source),
            start,
            end,
            path: Arc::from(path),
            implied: false,
        }
    }

    /// The same span under the path of one of its keys: for a key that is not written.
    pub(crate) fn below(&self, key: &str) -> Self {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Self {
            path: Arc::from(path),
            implied: true,
            ..self.clone()
        }
    }

    /// Name of the file, as the caller gave it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// TOML path with array indices, for example `listen.c2s[1].port`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        1 + self.before().bytes().filter(|byte| *byte == b'\n').count()
    }

    /// Column, counted from 1 in characters.
    #[must_use]
    pub fn column(&self) -> usize {
        let before = self.before();
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        1 + before.get(line..).unwrap_or_default().chars().count()
    }

    /// Whether the value is written in the file; a default is not.
    #[must_use]
    pub fn is_written(&self) -> bool {
        !self.implied
    }

    pub(crate) fn text(&self) -> &str {
        &self.source.text
    }

    pub(crate) fn span(&self) -> std::ops::Range<usize> {
        self.start..self.end
    }

    fn before(&self) -> &str {
        self.source.text.get(..self.start).unwrap_or_default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file(), self.line(), self.column())
    }
}

/// The text of the file stays out: it may hold passwords.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {}", self.path)
    }
}

fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A value that remembers where it was written. A default has the place of its section.
#[derive(Clone, Debug, Default)]
pub struct Sited<T> {
    /// The value itself.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T> Deref for Sited<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Arc::new(Source {
            name: "f".into(),
            text: "a\n\u{e4}\u{f6} x = 1\n".into(),
        });
        let place = Place::new(&source, 7, 8, "x");
        assert_eq!((place.line(), place.column()), (2, 4));
        assert_eq!(place.to_string(), "f:2:4");
    }

    #[test]
    fn a_span_outside_the_text_is_clamped() {
        let source = Arc::new(Source {
            name: "f".into(),
            text: "\u{e4}".into(),
        });
        assert_eq!(Place::new(&source, 1, 99, "").span(), 0..2);
    }
}
