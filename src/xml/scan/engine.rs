//! The scan of one element: a window of classified bytes, and the loop over its tags.
//!
//! Every step takes a position and returns the one behind what it recognised. Where the bytes run
//! out it first notes in [`Tables`] how to go on, so that a later call repeats nothing.

use super::Limits;
use super::error::Limit;
use super::error::Malformed;
use super::error::Restricted;
use super::error::ScanError;
use super::scope::StreamScope;
use super::simd;
use super::simd::BLOCK;
use super::simd::Masks;
use super::simd::Vector;
use super::tables::State;
use super::tables::Tables;

/// Why a step did not get to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stop {
    /// The bytes ran out.
    #[default]
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

/// The same on the ordinary way: why it stopped is in [`Tables::stop`], since a reason handed from
/// step to step takes registers from all of them.
pub(super) type Way = Result<usize, Halt>;

/// See [`Tables::stop`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Halt;

/// A scan under way. `Scan::run` is the entry.
///
/// Everything on the ordinary way is inlined into that, and works in registers. Whatever is out of
/// the ordinary is called with a [`Place`] made for the call: a function that borrowed the engine
/// itself would drive it into memory.
pub(super) struct Engine<'a, V> {
    pub(super) vector: V,
    pub(super) input: &'a [u8],
    /// The input, or a copy with zeros behind it where that is shorter than a block.
    padded: &'a [u8],
    /// Where the block begins that `masks` describe.
    window: usize,
    masks: Masks,
    pub(super) tables: &'a mut Tables,
    pub(super) limits: &'a Limits,
    /// [`Limits::name_max`]
    pub(super) name_max: usize,
    pub(super) scope: &'a StreamScope,
}

/// What a step out of the ordinary needs.
pub(super) struct Place<'a, V> {
    pub(super) vector: V,
    pub(super) input: &'a [u8],
    pub(super) tables: &'a mut Tables,
    pub(super) limits: &'a Limits,
}

/// Where the ordinary way is entered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    /// At a `<`.
    Markup(usize),
    /// In a start tag, behind its name, an attribute or white space.
    Tag(usize),
    /// Behind the end of the top-level element.
    Done(usize),
}

/// The element at the front of `input`, begun or to be begun.
pub(super) struct Scan<'a> {
    pub(super) input: &'a [u8],
    pub(super) tables: &'a mut Tables,
    pub(super) limits: &'a Limits,
    pub(super) scope: &'a StreamScope,
    /// Where to begin if nothing is under way: at the `<`.
    pub(super) start: usize,
}

impl simd::Task for Scan<'_> {
    type Output = Step;

    #[inline(always)]
    fn run<V: Vector>(self, vector: V) -> Step {
        let Self {
            input,
            tables,
            limits,
            scope,
            start,
        } = self;
        let mut place = Place {
            vector,
            input,
            tables: &mut *tables,
            limits,
        };
        let entry = match place.tables.state {
            State::Start | State::Begun | State::Lead => Entry::Markup(start),
            _ => place.resume()?,
        };
        if let Entry::Done(end) = entry {
            return Ok(end);
        }
        let mut short = [0; BLOCK];
        let padded = match short.get_mut(..input.len()) {
            Some(front) if input.len() < BLOCK => {
                front.copy_from_slice(input);
                &short[..]
            }
            _ => input,
        };
        // No position is within a block of this one.
        let window = usize::MAX - 2 * BLOCK;
        let masks = Masks::default();
        let mut engine = Engine {
            vector,
            input,
            padded,
            window,
            masks,
            tables,
            limits,
            name_max: limits.name_max(),
            scope,
        };
        engine.element(entry).map_err(|Halt| engine.tables.stop)
    }
}

/// Which of the masks a search looks at.
macro_rules! finder {
    ($(#[$doc:meta])* $name:ident, $mask:ident, $class:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub(super) fn $name(&mut self, at: usize) -> usize {
            let offset = at.wrapping_sub(self.window);
            let mut from = at;
            if offset < BLOCK {
                let bits = self.masks.$mask >> offset;
                if bits != 0 {
                    return at + bits.trailing_zeros() as usize;
                }
                from = self.window + BLOCK;
            }
            let last = self.padded.len().saturating_sub(BLOCK);
            if from >= self.input.len() {
                return self.input.len();
            }
            self.window = from.min(last);
            let block = self.padded.get(self.window..).and_then(|rest| rest.first_chunk());
            self.masks = block.map(|block| self.vector.masks(block)).unwrap_or_default();
            let bits = self.masks.$mask >> ((from - self.window) % BLOCK);
            if bits != 0 {
                return from + bits.trailing_zeros() as usize;
            }
            self.vector.find::<{ simd::$class }>(self.input, self.window + BLOCK)
        }
    };
}

impl<V: Vector> Engine<'_, V> {
    finder! {
        /// The first byte at or behind `at` that is no ASCII name character, or the end.
        find_name_end, not_name, NOT_NAME
    }
    finder! {
        /// The first byte at or behind `at` that is more than ASCII text, or the end.
        find_text_end, text, TEXT
    }
    finder! {
        /// The first byte at or behind `at` that is more than an ASCII value, or the end.
        find_value_end, value, VALUE
    }

    /// For a step out of the ordinary.
    #[inline(always)]
    pub(super) fn place(&mut self) -> Place<'_, V> {
        let Self {
            vector,
            input,
            limits,
            ..
        } = *self;
        Place {
            vector,
            input,
            tables: self.tables,
            limits,
        }
    }

    /// The byte at a position, if it has arrived.
    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.input.get(at).copied()
    }

    /// Notes how to go on, and stops.
    #[inline(always)]
    pub(super) fn suspend(&mut self, state: State, pos: usize) -> Way {
        self.tables.suspend(state, pos);
        Err(Halt)
    }

    /// Stops because of the peer.
    #[inline(always)]
    pub(super) fn fail(&mut self, error: impl Into<ScanError>) -> Way {
        self.tables.fail(error.into());
        Err(Halt)
    }

    /// Takes a step out of the ordinary.
    #[inline(always)]
    pub(super) fn go<T>(
        &mut self,
        step: impl FnOnce(&mut Place<'_, V>) -> Result<T, Stop>,
    ) -> Result<T, Halt> {
        step(&mut self.place()).map_err(|stop| {
            self.tables.stop = stop;
            Halt
        })
    }

    /// Scans to the end of the top-level element, or of the stream header's tag. Neither leaves
    /// anything open.
    #[inline(always)]
    fn element(&mut self, entry: Entry) -> Way {
        let mut pos = match entry {
            Entry::Markup(pos) => pos,
            Entry::Tag(pos) => {
                // Which hashes the tag had is forgotten; its attributes are not.
                let pos = self.attributes(pos, u64::MAX)?;
                if self.tables.open.is_empty() {
                    return Ok(pos);
                }
                self.tables.mark = pos;
                self.text(pos)?
            }
            Entry::Done(end) => return Ok(end),
        };
        loop {
            pos = self.markup(pos)?;
            if self.tables.open.is_empty() {
                return Ok(pos);
            }
            self.tables.mark = pos;
            pos = self.text(pos)?;
        }
    }

    /// At a `<`.
    #[inline(always)]
    fn markup(&mut self, pos: usize) -> Way {
        match self.byte(pos + 1) {
            Some(b'/') => self.end_tag(pos + 2),
            Some(b'!') => self.go(|place| place.declaration(pos)),
            Some(b'?') => self.fail(Restricted::ProcessingInstruction),
            Some(_) if self.tables.open.len() >= self.limits.depth_max => self.fail(Limit::Depth),
            Some(_) => {
                self.tables.begin_tag(pos + 1);
                let pos = self.element_name(pos + 1)?;
                self.attributes(pos, 0)
            }
            None => self.suspend(State::Text, pos),
        }
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
