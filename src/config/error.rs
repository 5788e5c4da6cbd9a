//! What is wrong with the file, shown with its line and a caret, and what is merely worth saying.

use std::fmt;

use annotate_snippets::AnnotationKind;
use annotate_snippets::Group;
use annotate_snippets::Level as Severity;
use annotate_snippets::Renderer;
use annotate_snippets::Snippet;

use super::source::Place;

/// Width at which the text below a caret is broken, for a terminal of 100 columns.
const HELP_COLUMNS_MAX: usize = 84;

/// One mistake of the operator.
#[derive(Clone, Debug)]
pub struct Error {
    place: Place,
    message: String,
    accepted: Option<String>,
}

impl Error {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
            accepted: None,
        }
    }

    /// Adds what would be accepted instead.
    pub(crate) fn accepting(mut self, accepted: impl Into<String>) -> Self {
        self.accepted = Some(accepted.into());
        self
    }

    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place.line()
    }

    /// Column, counted from 1 in characters.
    #[must_use]
    pub fn column(&self) -> usize {
        self.place.column()
    }

    /// What is wrong, without place and path.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be accepted.
    #[must_use]
    pub fn accepted(&self) -> Option<&str> {
        self.accepted.as_deref()
    }

    fn render(&self) -> String {
        let path = self.place.path();
        let title = match path {
            "" => self.message.clone(),
            _ => format!("{path}: {}", self.message),
        };
        let mark = AnnotationKind::Primary.span(self.place.span());
        let snippet = Snippet::source(self.place.text())
            .path(self.place.file())
            .annotation(mark);
        let mut group = Group::with_title(Severity::ERROR.primary_title(&title)).element(snippet);
        if let Some(accepted) = &self.accepted {
            group = group.element(Severity::HELP.message(wrapped(accepted)));
        }
        Renderer::plain().render(&[group])
    }
}

/// Breaks a long text between words; the renderer indents what follows.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > HELP_COLUMNS_MAX {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

/// Every mistake that was found, in the order of the file.
///
/// `Display` shows each with file, line, column, TOML path, the line itself and a caret.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    errors: Vec<Error>,
}

impl Errors {
    /// One error at a place that an earlier, successful [`super::decode()`] gave out, for what only
    /// a later step can see: a certificate that is none, a host name that is no address.
    #[must_use]
    pub fn at(place: &Place, message: impl Into<String>) -> Self {
        Self {
            errors: vec![Error::new(place.clone(), message)],
        }
    }

    /// Adds the errors of `other`.
    pub fn merge(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.sort();
    }

    pub(crate) fn push(&mut self, error: Error) {
        self.errors.push(error);
    }

    pub(crate) fn extend(&mut self, errors: impl IntoIterator<Item = Error>) {
        self.errors.extend(errors);
    }

    pub(crate) fn sort(&mut self) {
        self.errors.sort_by_key(|error| error.place.span().start);
    }

    /// The errors in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.errors.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.errors.iter().enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// How much a [`Notice`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Someone should look at it: it works, but hardly as meant.
    Warning,
    /// The option is accepted and does nothing in this version.
    NoEffect,
    /// Good to know.
    Info,
}

/// Something to tell the operator at start that is no error.
#[derive(Clone, Debug)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// What it is about.
    pub place: Place,
    /// One sentence without the path.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.path() {
            "" => write!(f, "{}: {}", self.place.file(), self.text),
            path => write!(f, "{}: {path}: {}", self.place, self.text),
        }
    }
}
