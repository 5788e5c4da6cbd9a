//! The memory of the scanner: where it stands, and what is open.
//!
//! Everything is an offset into the element, never a pointer: the buffer may move between two
//! calls. The tables keep their capacity from element to element.

use super::Limits;
use super::engine::Exit;
use super::head::Head;
use super::head::Namespace;
use super::head::Span;
use super::rows::Rows;

/// What the next byte continues. Names where the scan stopped for want of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing of an element has been seen.
    #[default]
    Start,
    /// Some bytes that do not say yet what they begin; looked at again from the first.
    Begun,
    /// Before the tag of a stream header: declaration and white space.
    Lead,
    /// In the name of the stream's end tag.
    StreamEndName,
    /// Behind it.
    StreamEndSpace,
    /// In the name of a start tag, which begins at `mark`.
    ElementName,
    /// In a start tag, behind a name or a value.
    Gap,
    /// In a start tag, behind white space.
    Spaced,
    /// Behind the `/` of an empty-element tag.
    Slash,
    /// In the name of an attribute, which begins at `mark`.
    AttributeName,
    /// Before the `=`.
    Equals,
    /// Before the opening quote.
    Quote,
    /// In a value.
    Value,
    /// In a reference in a value.
    ValueReference,
    /// In text that began at `mark`, or at a `<` with nothing behind it.
    Text,
    /// In a reference in text.
    TextReference,
    /// In a CDATA section.
    Cdata,
    /// In the name of an end tag, which begins at `pos`.
    EndName,
    /// Behind it.
    EndSpace,
}

/// How far into a reference the scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// At the `&`.
    #[default]
    Ampersand,
    /// Behind `&#`.
    Hash,
    /// In decimal digits, at least one of them seen.
    Decimal,
    /// Behind `&#x`.
    HexStart,
    /// In hexadecimal digits, at least one of them seen.
    Hex,
    /// In a name, which begins at `mark`.
    Entity,
}

/// A start tag while it is scanned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tag {
    /// Where the name begins.
    pub(super) start: u32,
    pub(super) name_len: u16,
    /// Without the colon; 0 where there is none.
    pub(super) prefix_len: u16,
    /// Index of its first attribute.
    pub(super) first: u32,
    /// Index of the attribute behind its own `xmlns`; 0 = it has none.
    pub(super) default: u32,
    /// It has prefixes or declarations to look at when it ends.
    pub(super) is_bound: bool,
}

/// An element whose end tag is awaited.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Open {
    /// Where its name begins.
    pub(super) start: u32,
    pub(super) name_len: u16,
    /// Prefix bindings that were in scope outside of it.
    pub(super) bindings: u16,
}

/// A prefix declared inside the element.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Binding {
    pub(super) prefix: Span,
    pub(super) value: Span,
    pub(super) escaped: bool,
    /// The same for all bindings in scope that mean the same namespace.
    pub(super) id: u16,
    /// Of the decoded namespace name.
    pub(super) hash: u32,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) state: State,
    /// Where the scan left its ordinary way last.
    pub(super) exit: Exit,
    /// Where the scan goes on.
    pub(super) pos: usize,
    /// Where the token began that `state` speaks of.
    pub(super) mark: usize,
    /// The prefix length of the name that `state` speaks of, once its colon has been seen.
    pub(super) prefix_len: usize,
    /// The quote that ends the value.
    pub(super) quote: u8,
    pub(super) stage: Stage,
    /// Of the character reference so far.
    pub(super) code: u32,
    /// What is scanned is a stream header.
    pub(super) in_header: bool,
    /// Depth (1 = top) of the outermost open element with an `xmlns` of its own; 0 = none.
    pub(super) default_depth: usize,
    /// The default namespace inside the top-level element.
    pub(super) top_default: Namespace,
    pub(super) tag: Tag,
    /// Where attributes of the next tag go: behind those of the top-level one.
    pub(super) first: usize,
    pub(super) open: Rows<Open>,
    pub(super) bindings: Rows<Binding>,
    pub(super) head: Head,
}

impl Tables {
    /// With room for what the default limits allow.
    pub(super) fn new() -> Self {
        let limits = Limits::default();
        let head = Head {
            // Those of the top-level tag stay while those of another one are collected behind them.
            attributes: Rows::with_room(2 * limits.attributes_max),
            ..Head::default()
        };
        Self {
            open: Rows::with_room(limits.depth_max),
            bindings: Rows::with_room(limits.namespaces_max),
            head,
            ..Self::default()
        }
    }

    /// Forgets the element that was begun. The head of the last one stays readable.
    pub(super) fn restart(&mut self) {
        self.state = State::Start;
        self.stage = Stage::Ampersand;
        self.in_header = false;
        self.open.clear();
        self.bindings.clear();
        self.default_depth = 0;
        self.first = 0;
    }

    /// Prepares for a start tag whose name begins at `start`.
    #[inline(always)]
    pub(super) fn begin_tag(&mut self, start: usize) {
        self.head.attributes.truncate(self.first);
        self.tag = Tag {
            start: start as u32,
            first: self.first as u32,
            ..Tag::default()
        };
    }

    /// Opens the element whose tag is at hand. `bindings`: how many were in scope outside of it.
    #[inline(always)]
    pub(super) fn open_tag(&mut self, bindings: usize) {
        self.open.push(Open {
            start: self.tag.start,
            name_len: self.tag.name_len,
            bindings: bindings as u16,
        });
    }

    /// Takes the innermost element off.
    #[inline(always)]
    pub(super) fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            let outer = usize::from(open.bindings);
            if self.bindings.len() > outer {
                self.bindings.truncate(outer);
            }
        }
        if self.default_depth > self.open.len() {
            self.default_depth = 0;
        }
    }

    /// Takes note of where to go on.
    #[cold]
    pub(super) fn suspend(&mut self, state: State, pos: usize) {
        self.state = state;
        self.pos = pos;
    }
}
