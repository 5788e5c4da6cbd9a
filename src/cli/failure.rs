//! What a command tells when it cannot do its work, and writing to streams that may be closed.

use std::fmt;
use std::io;
use std::io::Write;

use crate::backend::embedded::Refused;
use crate::store::StoreError;

/// What is wrong, where, and what to do about it: for the operator, exit status 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// From a whole text; a title and the rest may be on lines of their own.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// On stderr. A closed stderr is nobody to tell.
    pub fn say(&self) {
        let _ = writeln!(io::stderr(), "meerkat: {self}");
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::new(refused.to_string())
    }
}

/// Something the operator should know that is no failure, on stderr.
pub(super) fn hint(text: &str) {
    let _ = writeln!(io::stderr(), "meerkat: {text}");
}

/// A line of the answer, on stdout. `false` where nobody reads it any more (`| head`), which ends a
/// list and is no failure.
pub(super) fn answer(out: &mut dyn Write, line: &str) -> Result<bool, Failure> {
    match writeln!(out, "{line}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("stdout: {error}"))),
    }
}
