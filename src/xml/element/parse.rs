//! From the bytes of one element to its tree.
//!
//! The scanner has seen the bytes before and is the authority on what XMPP allows. This parser is
//! lenient only where leniency changes nothing (letters beyond ASCII in names); it gives one
//! reading of any bytes or none.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use memchr::memmem;

use super::{Attribute, Element, Namespace, Node, XML_NAMESPACE, XMLNS_NAMESPACE};
use crate::xml::write::is_char;

/// Elements inside each other, at most. It keeps recursion over a tree off the end of the stack.
pub const DEPTH_MAX: usize = 256;
/// Elements of one tree, at most: each costs a hundred bytes and more, for four bytes of text.
pub const ELEMENTS_MAX: usize = 16_384;
/// Attributes and namespace declarations of one element, at most: they are compared pairwise.
pub const ATTRIBUTES_MAX: usize = 256;
/// Namespace declarations in scope at one place, at most: every prefix is looked up among them.
pub const BINDINGS_MAX: usize = 512;

/// Declarations of an element of the usual kind, for which room is made at once.
const BINDINGS_USUAL: usize = 4;
/// Elements inside each other, likewise.
const DEPTH_USUAL: usize = 4;
/// Attributes of one element, likewise.
const ATTRIBUTES_USUAL: usize = 4;

/// Why bytes are no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Not UTF-8.
    Encoding,
    /// Not well-formed, or not exactly one element.
    Syntax,
    /// A comment, a processing instruction or a declaration (RFC 6120 section 11.1).
    Restricted,
    /// A reference to an entity or a character that does not exist.
    Reference,
    /// A character that XML does not have.
    Character,
    /// A prefix that nothing binds.
    Unbound,
    /// A declaration that Namespaces in XML 1.0 section 3 forbids.
    Declaration,
    /// An attribute twice.
    Duplicate,
    /// Deeper than [`DEPTH_MAX`].
    TooDeep,
    /// More than [`ELEMENTS_MAX`] elements, [`ATTRIBUTES_MAX`] attributes of one, or
    /// [`BINDINGS_MAX`] declarations.
    TooMany,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encoding => "not UTF-8",
            Self::Syntax => "not one well-formed element",
            Self::Restricted => "a comment, processing instruction or declaration",
            Self::Reference => "an unknown reference",
            Self::Character => "a character that XML does not have",
            Self::Unbound => "a prefix that is not bound",
            Self::Declaration => "a namespace declaration that is not allowed",
            Self::Duplicate => "an attribute twice",
            Self::TooDeep => "too deep",
            Self::TooMany => "too many elements, attributes or declarations",
        })
    }
}

impl std::error::Error for ParseError {}

type Result<T> = std::result::Result<T, ParseError>;

impl Element {
    /// Reads the one element that `bytes` are, white space around it aside. `default_namespace` and
    /// `bindings` (prefix and namespace) are what the stream header declares.
    pub fn parse(bytes: &[u8], default_namespace: &str, bindings: &[(&str, &str)]) -> Result<Self> {
        let rest = std::str::from_utf8(bytes).map_err(|_| ParseError::Encoding)?;
        let outer = bindings
            .iter()
            .filter(|(prefix, _)| !prefix.is_empty())
            .map(|(prefix, uri)| Binding::new(prefix, Cow::Borrowed(uri)));
        let mut parser = Parser {
            rest,
            bindings: Vec::with_capacity(bindings.len() + BINDINGS_USUAL),
            open: Vec::with_capacity(DEPTH_USUAL),
            spare: Written::with_capacity(ATTRIBUTES_USUAL),
            elements: 0,
        };
        parser.bindings.extend(outer);
        let default = Binding::new("", Cow::Borrowed(default_namespace));
        parser.bindings.push(default);
        parser.run()
    }
}

/// A prefix that is bound; most are not used.
struct Binding<'a> {
    /// Empty: the default namespace.
    prefix: &'a str,
    uri: Cow<'a, str>,
    /// Once an element or attribute is in it.
    shared: Option<Namespace>,
}

impl<'a> Binding<'a> {
    fn new(prefix: &'a str, uri: Cow<'a, str>) -> Self {
        Self {
            prefix,
            uri,
            shared: None,
        }
    }

    fn namespace(&mut self) -> Namespace {
        let uri = &self.uri;
        let shared = || Namespace::Shared(uri.as_ref().into());
        self.shared.get_or_insert_with(shared).clone()
    }
}

struct Parser<'a> {
    rest: &'a str,
    /// What is in scope, the innermost last.
    bindings: Vec<Binding<'a>>,
    open: Vec<Open<'a>>,
    /// The last tag's attributes, empty: its memory serves the next.
    spare: Written<'a>,
    elements: usize,
}

/// An element whose end tag is yet to come.
struct Open<'a> {
    element: Element,
    /// As written, for the end tag.
    tag: &'a str,
    /// How many bindings are in scope outside of it.
    outside: usize,
}

/// Names as written and decoded values.
type Written<'a> = Vec<(&'a str, Cow<'a, str>)>;

impl<'a> Parser<'a> {
    fn run(mut self) -> Result<Element> {
        loop {
            let Some(markup) = memchr(b'<', self.rest.as_bytes()) else {
                return Err(ParseError::Syntax);
            };
            let text = self.take(markup);
            self.text(text)?;
            if self.skip("</") {
                if let Some(root) = self.end_tag()? {
                    return if is_space(self.rest) {
                        Ok(root)
                    } else {
                        Err(ParseError::Syntax)
                    };
                }
            } else if self.skip("<![CDATA[") {
                self.character_data()?;
            } else if self.rest.starts_with("<!") || self.rest.starts_with("<?") {
                return Err(ParseError::Restricted);
            } else {
                self.take(1);
                if let Some(root) = self.start_tag()? {
                    return if is_space(self.rest) {
                        Ok(root)
                    } else {
                        Err(ParseError::Syntax)
                    };
                }
            }
        }
    }

    /// The next `length` bytes, which end at a character.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    // Inlined, a token of one or two bytes is compared in place.
    #[inline(always)]
    fn skip(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// True if there was any.
    fn skip_space(&mut self) -> bool {
        let rest = self.rest.trim_start_matches(is_space_char);
        let skipped = rest.len() < self.rest.len();
        self.rest = rest;
        skipped
    }

    /// Everything up to `end`, an ASCII character, which is skipped.
    fn until(&mut self, end: u8) -> Result<&'a str> {
        let length = memchr(end, self.rest.as_bytes()).ok_or(ParseError::Syntax)?;
        let before = self.take(length);
        self.take(1);
        Ok(before)
    }

    fn text(&mut self, raw: &str) -> Result<()> {
        match self.open.last_mut() {
            Some(_) if raw.is_empty() => Ok(()),
            Some(_) if ends_data(raw).is_some() => Err(ParseError::Syntax),
            Some(open) => {
                open.element.push_text(&decode(raw, false)?);
                Ok(())
            }
            None if is_space(raw) => Ok(()),
            None => Err(ParseError::Syntax),
        }
    }

    fn character_data(&mut self) -> Result<()> {
        let length = ends_data(self.rest).ok_or(ParseError::Syntax)?;
        let raw = self.take(length);
        self.take(DATA_END.len());
        let open = self.open.last_mut().ok_or(ParseError::Syntax)?;
        if !raw.chars().all(is_char) {
            return Err(ParseError::Character);
        }
        open.element.push_text(&line_ends(raw));
        Ok(())
    }

    /// The root, if this was its end.
    fn end_tag(&mut self) -> Result<Option<Element>> {
        let tag = self.until(b'>')?.trim_end_matches(is_space_char);
        match self.open.pop() {
            Some(open) if open.tag == tag => Ok(self.close(open.element, open.outside)),
            Some(_) | None => Err(ParseError::Syntax),
        }
    }

    fn close(&mut self, element: Element, outside: usize) -> Option<Element> {
        self.bindings.truncate(outside);
        match self.open.last_mut() {
            Some(parent) => {
                parent.element.nodes.push(Node::Element(element));
                None
            }
            None => Some(element),
        }
    }

    /// The root, if it was an empty one.
    fn start_tag(&mut self) -> Result<Option<Element>> {
        if self.open.len() >= DEPTH_MAX {
            return Err(ParseError::TooDeep);
        }
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            return Err(ParseError::TooMany);
        }
        let outside = self.bindings.len();
        let tag = self.name()?;
        let (mut attributes, is_empty) = self.attributes()?;
        let mut others = 0;
        for (name, value) in &mut attributes {
            if is_declaration(name) {
                self.declare(name, std::mem::take(value), outside)?;
            } else {
                others += 1;
            }
        }
        let (prefix, local) = split(tag)?;
        let mut element = Element::with_name(local, self.namespace(prefix)?);
        element.attributes.reserve_exact(others);
        for (name, value) in attributes.drain(..) {
            if !is_declaration(name) {
                self.attribute(&mut element, name, value)?;
            }
        }
        self.spare = attributes;
        if is_empty {
            return Ok(self.close(element, outside));
        }
        self.open.push(Open {
            element,
            tag,
            outside,
        });
        Ok(None)
    }

    fn name(&mut self) -> Result<&'a str> {
        let bytes = self.rest.as_bytes();
        let plain = bytes.iter().position(|byte| !continues_plainly(*byte));
        let end = match plain {
            Some(end) if bytes.get(end).is_some_and(u8::is_ascii) => end,
            _ => self
                .rest
                .find(|c| !continues_name(c))
                .unwrap_or(self.rest.len()),
        };
        match self.take(end) {
            "" => Err(ParseError::Syntax),
            name => Ok(name),
        }
    }

    /// Names and decoded values, up to the end of the tag; true if it is an empty element's.
    fn attributes(&mut self) -> Result<(Written<'a>, bool)> {
        let mut attributes = std::mem::take(&mut self.spare);
        loop {
            let spaced = self.skip_space();
            if self.skip("/>") {
                return Ok((attributes, true));
            }
            if self.skip(">") {
                return Ok((attributes, false));
            }
            if !spaced {
                return Err(ParseError::Syntax);
            }
            if attributes.len() >= ATTRIBUTES_MAX {
                return Err(ParseError::TooMany);
            }
            let name = self.name()?;
            self.skip_space();
            if !self.skip("=") {
                return Err(ParseError::Syntax);
            }
            self.skip_space();
            let quote = if self.skip("'") {
                b'\''
            } else if self.skip("\"") {
                b'"'
            } else {
                return Err(ParseError::Syntax);
            };
            let raw = self.until(quote)?;
            if raw.contains('<') {
                return Err(ParseError::Syntax);
            }
            attributes.push((name, decode(raw, true)?));
        }
    }

    /// Namespaces in XML 1.0 section 3 and 5: takes up a declaration, passes over the rest.
    fn declare(&mut self, name: &'a str, uri: Cow<'a, str>, outside: usize) -> Result<()> {
        let prefix = match name.strip_prefix("xmlns") {
            Some("") => "",
            Some(rest) => match rest.strip_prefix(':') {
                Some(prefix) if is_local(prefix) => prefix,
                Some(_) => return Err(ParseError::Declaration),
                None => return Ok(()),
            },
            None => return Ok(()),
        };
        let is_allowed = match (prefix, &*uri) {
            ("xmlns", _) | (_, XMLNS_NAMESPACE) => false,
            ("xml", XML_NAMESPACE) => true,
            ("xml", _) | (_, XML_NAMESPACE) => false,
            ("", _) => true,
            (_, uri) => !uri.is_empty(),
        };
        if !is_allowed {
            return Err(ParseError::Declaration);
        }
        if self
            .bindings
            .iter()
            .skip(outside)
            .any(|bound| bound.prefix == prefix)
        {
            return Err(ParseError::Duplicate);
        }
        if self.bindings.len() >= BINDINGS_MAX {
            return Err(ParseError::TooMany);
        }
        self.bindings.push(Binding::new(prefix, uri));
        Ok(())
    }

    fn namespace(&mut self, prefix: &str) -> Result<Namespace> {
        if prefix == "xml" {
            return Ok(Namespace::Known(XML_NAMESPACE));
        }
        let found = self
            .bindings
            .iter_mut()
            .rev()
            .find(|bound| bound.prefix == prefix);
        found.map(Binding::namespace).ok_or(ParseError::Unbound)
    }

    fn attribute(&mut self, element: &mut Element, name: &str, value: Cow<'_, str>) -> Result<()> {
        let (prefix, local) = split(name)?;
        // The default namespace is not that of attributes.
        let namespace = match prefix {
            "" => Namespace::Known(""),
            prefix => self.namespace(prefix)?,
        };
        if element.attr_ns(local, &namespace).is_some() {
            return Err(ParseError::Duplicate);
        }
        let attribute = Attribute {
            namespace,
            name: local.into(),
            value: value.into(),
        };
        element.attributes.push(attribute);
        Ok(())
    }
}

/// What ends character data.
const DATA_END: &str = "]]>";

/// Where it stands.
fn ends_data(text: &str) -> Option<usize> {
    memchr(b']', text.as_bytes())?;
    memmem::find(text.as_bytes(), DATA_END.as_bytes())
}

fn is_declaration(name: &str) -> bool {
    name == "xmlns" || name.starts_with("xmlns:")
}

/// Prefix and local name.
fn split(name: &str) -> Result<(&str, &str)> {
    let (prefix, local) = match name.split_once(':') {
        Some((prefix, local)) if is_local(prefix) => (prefix, local),
        Some(_) => return Err(ParseError::Syntax),
        None => ("", name),
    };
    if is_local(local) && prefix != "xmlns" {
        Ok((prefix, local))
    } else {
        Err(ParseError::Syntax)
    }
}

/// A name without colon, as far as ASCII is concerned.
fn is_local(name: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    name.starts_with(starts) && !name.contains(':')
}

fn continues_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':') || (!c.is_ascii() && is_char(c))
}

fn continues_plainly(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':')
}

fn is_space(text: &str) -> bool {
    text.chars().all(is_space_char)
}

fn is_space_char(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Resolves references and normalises line ends, in an attribute all white space (XML 1.0 sections
/// 2.11, 3.3.3, 4.1 and 4.6).
fn decode(raw: &str, is_attribute: bool) -> Result<Cow<'_, str>> {
    // Most texts are as they stand.
    if raw
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'&')
    {
        return Ok(Cow::Borrowed(raw));
    }
    if !raw.chars().all(is_char) {
        return Err(ParseError::Character);
    }
    let mut plain = line_ends(raw);
    if is_attribute && plain.contains(['\t', '\n']) {
        plain = Cow::Owned(plain.replace(['\t', '\n'], " "));
    }
    if !plain.contains('&') {
        return Ok(plain);
    }
    let mut decoded = String::with_capacity(plain.len());
    let mut rest = &*plain;
    while let Some((before, behind)) = rest.split_once('&') {
        let (reference, behind) = behind.split_once(';').ok_or(ParseError::Reference)?;
        decoded.push_str(before);
        decoded.push(resolve(reference)?);
        rest = behind;
    }
    decoded.push_str(rest);
    Ok(Cow::Owned(decoded))
}

fn line_ends(raw: &str) -> Cow<'_, str> {
    if raw.contains('\r') {
        Cow::Owned(raw.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(raw)
    }
}

fn resolve(reference: &str) -> Result<char> {
    let number = match reference {
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "amp" => return Ok('&'),
        "quot" => return Ok('"'),
        "apos" => return Ok('\''),
        _ => reference.strip_prefix('#').ok_or(ParseError::Reference)?,
    };
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    // A sign is no digit, though the conversion would take it.
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(ParseError::Reference);
    }
    let code = u32::from_str_radix(digits, radix).map_err(|_| ParseError::Reference)?;
    char::from_u32(code)
        .filter(|c| is_char(*c))
        .ok_or(ParseError::Reference)
}
