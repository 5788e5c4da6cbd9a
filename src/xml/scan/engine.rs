//! The scan of one element: the ordinary way ([`walk`]), and the steps aside where something is not
//! ordinary.
//!
//! Every step takes a position and returns the one behind what it recognised. Where the bytes run
//! out it first notes in [`Tables`] how to go on, so that a later call repeats nothing.

use super::Limits;
use super::error::Limit;
use super::error::Malformed;
use super::error::Restricted;
use super::error::ScanError;
use super::note;
use super::scope::StreamScope;
use super::simd;
use super::simd::Vector;
use super::tables::State;
use super::tables::Tables;
use super::walk;

/// Why a step did not get to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes ran out.
    More,
    /// The peer is at fault.
    Fail(ScanError),
}

impl<E: Into<ScanError>> From<E> for Stop {
    #[inline]
    fn from(error: E) -> Self {
        Self::Fail(error.into())
    }
}

/// The position behind what was recognised.
pub(super) type Step = Result<usize, Stop>;

/// Where the ordinary way is entered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    /// At a `<`.
    Markup(usize),
    /// In a start tag, behind its name, an attribute or white space. The second is which hashes of
    /// attribute names count as seen: see `Walker::attributes`.
    Tag(usize, u64),
    /// In text that began at [`Tables::mark`].
    Text(usize),
    /// Behind the end of the top-level element.
    Done(usize),
}

/// Where the ordinary way was left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Exit {
    /// Nowhere yet.
    #[default]
    Not,
    /// At a `<`.
    Markup(usize),
    /// At the first character of the name of a start tag.
    ElementName(usize),
    /// In a start tag, behind its name or an attribute. The second is as in [`Entry::Tag`].
    Gap(usize, u64),
    /// The same, behind white space.
    Spaced(usize, u64),
    /// Behind the `>` of a start tag; it may be an empty element.
    Note(usize, bool),
    /// In text.
    Text(usize),
    /// Behind `</`.
    EndTag(usize),
}

/// The element at the front of `input`, begun or to be begun.
pub(super) struct Scan<'a> {
    pub(super) input: &'a [u8],
    pub(super) tables: &'a mut Tables,
    pub(super) limits: &'a Limits,
    pub(super) scope: &'a StreamScope,
}

impl Scan<'_> {
    /// To the end of the element, or of the tag of a stream header; if nothing is under way from its
    /// `<` on, which is at `start`.
    #[inline]
    pub(super) fn run(self, start: usize) -> Step {
        if !matches!(self.tables.state, State::Start | State::Begun | State::Lead) {
            return self.resume();
        }
        self.walk(Entry::Markup(start))
    }

    /// Goes on where the last call ran out of bytes.
    #[cold]
    fn resume(self) -> Step {
        let entry = simd::dispatch(Resume {
            input: self.input,
            tables: &mut *self.tables,
            limits: self.limits,
        })?;
        self.walk(entry)
    }

    #[inline(always)]
    fn walk(self, entry: Entry) -> Step {
        simd::dispatch(walk::Walk {
            input: self.input,
            tables: self.tables,
            limits: self.limits,
            scope: self.scope,
            entry,
        })
    }
}

struct Resume<'a> {
    input: &'a [u8],
    tables: &'a mut Tables,
    limits: &'a Limits,
}

impl simd::Task for Resume<'_> {
    type Output = Result<Entry, Stop>;

    #[inline(always)]
    fn run<V: Vector>(self, vector: V) -> Result<Entry, Stop> {
        let mut place = Place {
            vector,
            input: self.input,
            tables: self.tables,
            limits: self.limits,
        };
        place.resume()
    }
}

/// A place out of the ordinary.
pub(super) struct Place<'a, V> {
    pub(super) vector: V,
    pub(super) input: &'a [u8],
    pub(super) tables: &'a mut Tables,
    pub(super) limits: &'a Limits,
}

impl<V: Vector> Place<'_, V> {
    /// Steps over it.
    #[cold]
    #[inline(never)]
    pub(super) fn step(&mut self, scope: &StreamScope, to: &mut Entry) -> Result<(), Stop> {
        *to = match self.tables.exit {
            Exit::Not => Entry::Done(0),
            Exit::Markup(pos) => self.markup(pos)?,
            Exit::ElementName(start) => match self.input.get(start) {
                Some(b'!' | b'?') => self.markup(start - 1)?,
                _ => Entry::Tag(self.element_name(start)?, walk::seen_at_first(self.limits)),
            },
            Exit::Gap(pos, seen) => {
                let (pos, seen) = self.gap(pos, seen)?;
                Entry::Tag(pos, seen)
            }
            Exit::Spaced(pos, seen) => {
                let (pos, seen) = self.spaced(pos, seen)?;
                Entry::Tag(pos, seen)
            }
            Exit::Note(end, is_empty) => {
                note::note(self.tables, self.input, self.limits, scope, end, is_empty)?;
                self.behind(end)
            }
            Exit::Text(pos) => self.text(pos)?,
            Exit::EndTag(start) => {
                let pos = self.end_tag(start)?;
                self.behind(pos)
            }
        };
        Ok(())
    }

    /// At a `<` that begins no tag, or one too deep, or not yet anything.
    fn markup(&mut self, pos: usize) -> Result<Entry, Stop> {
        match self.input.get(pos + 1) {
            Some(b'!') => {
                let pos = self.declaration(pos)?;
                Ok(self.behind(pos))
            }
            Some(b'?') => Err(Restricted::ProcessingInstruction.into()),
            Some(_) => Err(Limit::Depth.into()),
            None => {
                self.tables.suspend(State::Text, pos);
                Err(Stop::More)
            }
        }
    }

    /// Behind a tag, a CDATA section or a reference in text.
    pub(super) fn behind(&mut self, pos: usize) -> Entry {
        if self.tables.open.is_empty() {
            return Entry::Done(pos);
        }
        self.tables.mark = pos;
        Entry::Text(pos)
    }
}

/// `<!`: of what may follow, only a CDATA section inside an element is allowed.
///
/// Returns whether it is one; `None` while the bytes do not say.
pub(super) fn judge_declaration(bytes: &[u8]) -> Result<Option<bool>, ScanError> {
    const FORBIDDEN: [(&[u8], Restricted); 6] = [
        (b"<!--", Restricted::Comment),
        (b"<!DOCTYPE", Restricted::Doctype),
        (b"<!ELEMENT", Restricted::Doctype),
        (b"<!ATTLIST", Restricted::Doctype),
        (b"<!ENTITY", Restricted::Doctype),
        (b"<!NOTATION", Restricted::Doctype),
    ];
    if bytes.starts_with(CDATA_START) {
        return Ok(Some(true));
    }
    if CDATA_START.starts_with(bytes) {
        return Ok(None);
    }
    for (keyword, reason) in FORBIDDEN {
        if bytes.starts_with(keyword) {
            return Err(reason.into());
        }
        if keyword.starts_with(bytes) {
            return Ok(None);
        }
    }
    Err(Malformed::Markup.into())
}

/// What a CDATA section begins with.
pub(super) const CDATA_START: &[u8] = b"<![CDATA[";
