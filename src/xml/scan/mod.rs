//! The stanza boundary scanner: where does the next top-level element of a stream end, is it
//! well-formed, and what does its tag say.
//!
//! [`Scanner::scan`] is the function to read first. It is handed whatever has arrived, from the
//! first byte of the current top-level item on, and either finds the item or keeps its place. It
//! checks everything that XML 1.0, Namespaces in XML 1.0 and RFC 6120 section 11 ask of an element,
//! because the bytes are relayed as they are: what we accept must mean the same to every recipient,
//! and end where we say it ends. It allocates nothing once its tables are there.
//!
//! How: what is ordinary is walked through a window of 64 classified bytes ([`walk`], [`simd`]), long
//! text and values by a loop over one class of bytes; end tags are compared in place with the start
//! tag; attribute names, prefixes and namespaces live in small tables of offsets ([`tables`]), whose
//! bounds are the [`Limits`]. UTF-8 is looked at from the first byte on that is not ASCII.
//!
//! Not here: what the elements mean. A stanza of the wrong name, a header without `to`, a namespace
//! that we do not serve are the business of the stream's machine.

mod bind;
mod content;
mod engine;
mod error;
mod head;
#[doc(hidden)]
pub mod naive;
mod names;
mod note;
mod outside;
mod reference;
mod resume;
mod rows;
mod scope;
mod simd;
mod tables;
mod tag;
#[cfg(test)]
mod tests;
mod unescape;
mod walk;

pub use error::Limit;
pub use error::Malformed;
pub use error::Restricted;
pub use error::ScanError;
pub use head::Attribute;
pub use head::Head;
pub use head::Name;
pub use head::Namespace;
pub use head::Span;
pub use head::XML_NAMESPACE;
pub use head::XMLNS_NAMESPACE;
pub use outside::DECLARATION_BYTES_MAX;
pub use scope::HEADER_BINDINGS_MAX;
pub use scope::STREAMS_NAMESPACE;
pub use scope::StreamScope;
pub use unescape::unescape;

use engine::Scan;
use engine::Step;
use engine::Stop;
use tables::State;
use tables::Tables;

/// Bytes of an element, from its `<` to the `>` of its end tag, where the operator says nothing.
pub const STANZA_BYTES_MAX: usize = 262_144;
/// Elements within each other. Archived, forwarded, encrypted messages reach 15.
pub const DEPTH_MAX: usize = 64;
/// Attributes of one tag, declarations among them. Duplicates are searched among so many.
pub const ATTRIBUTES_MAX: usize = 64;
/// Prefixes declared in an element and in scope at one place. A prefix is searched among so many.
pub const NAMESPACES_MAX: usize = 64;
/// Bytes of one name. The longest registered one has 45.
pub const NAME_BYTES_MAX: usize = 1024;

/// How much of one element may be before it is refused with `policy-violation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the `<` to the `>` of the end tag; of a stream header with what precedes its tag.
    /// `usize::MAX` is no limit (offsets reach to 4 GiB).
    pub stanza_bytes_max: usize,
    /// Elements within each other, the top-level one included.
    pub depth_max: usize,
    /// Attributes of one tag, namespace declarations included.
    pub attributes_max: usize,
    /// Prefixes declared inside an element and in scope at one place.
    pub namespaces_max: usize,
    /// Bytes of one name, prefix included; at most 65,535 are honoured.
    pub name_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stanza_bytes_max: STANZA_BYTES_MAX,
            depth_max: DEPTH_MAX,
            attributes_max: ATTRIBUTES_MAX,
            namespaces_max: NAMESPACES_MAX,
            name_bytes_max: NAME_BYTES_MAX,
        }
    }
}

impl Limits {
    /// [`Limits::name_bytes_max`] as far as the tables reach.
    #[inline]
    fn name_max(&self) -> usize {
        self.name_bytes_max.min(u16::MAX.into())
    }

    /// [`Limits::stanza_bytes_max`] as far as offsets reach.
    #[inline]
    fn size_max(&self) -> usize {
        self.stanza_bytes_max.min(u32::MAX as usize - 1)
    }
}

/// What stands at the front of the input. `end` is the offset behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The item is not whole. Call again with the same bytes and more behind them.
    More,
    /// White space between stanzas, all that has arrived. It may be dropped at once.
    Whitespace {
        /// Offset behind it.
        end: usize,
    },
    /// A whole element; [`Scanner::head`] describes it.
    Element {
        /// Offset behind its end tag.
        end: usize,
    },
    /// The stream's end tag. What follows must not be scanned.
    StreamEnd {
        /// Offset behind the tag.
        end: usize,
    },
}

/// What [`Scanner::scan_header`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFound {
    /// The header is not whole. Call again with the same bytes and more behind them.
    More,
    /// XML declaration, if any, and the opening tag; [`Scanner::head`] describes the tag.
    Header {
        /// Offset behind the tag.
        end: usize,
    },
}

/// Finds and checks one top-level item after the other.
///
/// Holds no bytes, only offsets: between two calls the buffer may move and the scanner may be kept
/// elsewhere. Between two items it holds nothing, and may serve another stream.
/// Lives on: a shard; one for all its connections, and one for each whose item is partial.
#[derive(Clone, Debug)]
pub struct Scanner {
    tables: Tables,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// With tables for the default [`Limits`]; those grow once where the limits used are larger.
    pub fn new() -> Self {
        Self {
            tables: Tables::new(),
        }
    }

    /// Forgets the item that was begun. Needed only to abandon one: finding it, and refusing it,
    /// leave the scanner ready for the next.
    pub fn reset(&mut self) {
        self.tables.restart();
    }

    /// An item has been begun and is not whole.
    pub fn is_midway(&self) -> bool {
        self.tables.state != State::Start
    }

    /// Looks for the end of the top-level item whose first byte is the first of `input`.
    ///
    /// After [`Found::More`] call again with the same bytes and more behind them; none of the work
    /// is repeated. After anything else `input` must begin behind `end`. `scope` is that of the
    /// stream, and like `limits` the same from call to call for one item.
    ///
    /// # Errors
    /// As early as the bytes allow. The stream has to be ended.
    #[inline]
    pub fn scan(
        &mut self,
        limits: &Limits,
        scope: &StreamScope,
        input: &[u8],
    ) -> Result<Found, ScanError> {
        match self.tables.state {
            State::Start => {
                if let [b'<', first, ..] = input
                    && !matches!(first, b'/' | b'!' | b'?')
                {
                    return self.scan_element(limits, scope, input);
                }
            }
            state => {
                if self.tables.run_goes_on(limits, input) {
                    return Ok(Found::More);
                }
                if !matches!(
                    state,
                    State::Begun | State::StreamEndName | State::StreamEndSpace
                ) {
                    return self.scan_element(limits, scope, input);
                }
            }
        }
        self.scan_item(limits, scope, input)
    }

    /// An element that begins, or goes on.
    #[inline]
    fn scan_element(
        &mut self,
        limits: &Limits,
        scope: &StreamScope,
        input: &[u8],
    ) -> Result<Found, ScanError> {
        let scan = Scan {
            input: input.get(..limits.size_max()).unwrap_or(input),
            tables: &mut self.tables,
            limits,
            scope,
        };
        let step = scan.run(0);
        let end = self.conclude(step, limits, input)?;
        Ok(end.map_or(Found::More, |end| Found::Element { end }))
    }

    fn scan_item(
        &mut self,
        limits: &Limits,
        scope: &StreamScope,
        input: &[u8],
    ) -> Result<Found, ScanError> {
        if self.tables.state == State::Start && input.first().is_some_and(u8::is_ascii_whitespace) {
            let end = simd::find::<{ simd::NOT_SPACE }>(input, 0);
            if end > 0 {
                return Ok(Found::Whitespace { end });
            }
        }
        let whole = input.get(..limits.size_max()).unwrap_or(input);
        let is_stream_end = match self.tables.state {
            State::StreamEndName | State::StreamEndSpace => true,
            State::Start | State::Begun => whole.starts_with(b"</"),
            _ => false,
        };
        if is_stream_end {
            let tag = scope.stream_tag().as_bytes();
            let step = outside::stream_end(&mut self.tables, whole, tag);
            let end = self.conclude(step, limits, input)?;
            return Ok(end.map_or(Found::More, |end| Found::StreamEnd { end }));
        }
        if let Err(stop) = self.begin(whole) {
            let end = self.conclude(Err(stop), limits, input)?;
            return Ok(end.map_or(Found::More, |end| Found::Element { end }));
        }
        self.scan_element(limits, scope, input)
    }

    /// Looks for the end of a stream header: an optional XML declaration and the opening tag.
    /// To be called like [`Scanner::scan`]; the tag is then in [`Scanner::head`].
    ///
    /// # Errors
    /// As early as the bytes allow. The stream has to be ended.
    pub fn scan_header(&mut self, limits: &Limits, input: &[u8]) -> Result<HeaderFound, ScanError> {
        if self.tables.run_goes_on(limits, input) {
            return Ok(HeaderFound::More);
        }
        let whole = input.get(..limits.size_max()).unwrap_or(input);
        let lead = match self.tables.state {
            State::Start | State::Begun | State::Lead => {
                outside::header_lead(&mut self.tables, whole)
            }
            _ => Ok(0),
        };
        self.tables.in_header = true;
        let scope = &StreamScope::unbound();
        let tables = &mut self.tables;
        let step = lead.and_then(|start| {
            let scan = Scan {
                input: whole,
                tables,
                limits,
                scope,
            };
            scan.run(start)
        });
        let end = self.conclude(step, limits, input)?;
        if end.is_some() && self.tables.head.self_closing {
            return Err(ScanError::BadFormat);
        }
        Ok(end.map_or(HeaderFound::More, |end| HeaderFound::Header { end }))
    }

    /// The tag of the element or stream header that was found last.
    pub fn head(&self) -> &Head {
        &self.tables.head
    }

    /// What the stream header just found sets for the stanzas to come; `input` are its bytes.
    pub fn take_scope(&self, input: &[u8]) -> StreamScope {
        StreamScope::of_header(&self.tables.head, input)
    }

    /// Checks that an element begins, or goes on.
    #[inline]
    fn begin(&mut self, input: &[u8]) -> Result<(), Stop> {
        if !matches!(self.tables.state, State::Start | State::Begun) {
            return Ok(());
        }
        match input {
            [b'<', byte, ..] if !matches!(byte, b'!' | b'?') => Ok(()),
            [] => Err(Stop::More),
            [b'<', b'?', ..] => Err(Restricted::ProcessingInstruction.into()),
            [b'<', b'!', ..] => {
                self.tables.state = State::Begun;
                Err(outside::judge_declaration(input, ScanError::BadFormat))
            }
            [b'<'] => {
                self.tables.state = State::Begun;
                Err(Stop::More)
            }
            _ => {
                self.tables.state = State::Begun;
                Err(outside::judge_text(input, ScanError::BadFormat))
            }
        }
    }

    /// The end, `None` where more is to come, or the error; ready for the next item but for `None`.
    #[inline]
    fn conclude(
        &mut self,
        step: Step,
        limits: &Limits,
        input: &[u8],
    ) -> Result<Option<usize>, ScanError> {
        let result = match step {
            Ok(end) => Ok(Some(end)),
            Err(Stop::Fail(error)) => Err(error),
            Err(Stop::More) if input.len() >= limits.size_max() => Err(Limit::StanzaBytes.into()),
            Err(Stop::More) => return Ok(None),
        };
        self.tables.restart();
        result
    }
}
