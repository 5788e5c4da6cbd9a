//! The scanner once more, written to be obviously right: character by character, with strings.
//!
//! It keeps nothing from call to call, reads the item from its first byte each time, and copies
//! every name and value. The property tests and the fuzz target hold the fast one against it, and
//! the benches take it as the fixed reference for instruction counts. Nothing serves with it.

use super::Limits;
use super::error::Limit;
use super::error::Malformed;
use super::error::Restricted;
use super::error::ScanError;
use super::head::Head;
use super::head::Name;
use super::head::XML_NAMESPACE;
use super::head::XMLNS_NAMESPACE;
use super::names;
use super::names::Decoded;
use super::outside::DECLARATION_BYTES_MAX;
use super::scope::HEADER_BINDINGS_MAX;
use super::scope::STREAMS_NAMESPACE;
use super::scope::StreamScope;

/// What stands at the front of the input; the first number is the offset behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// All white space there is.
    Whitespace(usize),
    /// A whole element.
    Element(usize, Box<Summary>),
    /// The end tag of the stream.
    StreamEnd(usize),
}

/// Prefix, local name and namespace.
pub type FullName = (String, String, String);

/// What [`Head`] says, with strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub name: FullName,
    pub tag_end: usize,
    pub self_closing: bool,
    /// Name as written, decoded value, whether it declares a namespace.
    pub attributes: Vec<(String, String, bool)>,
    pub first_child: Option<FullName>,
    pub children: u32,
    pub header_prefixes_used: u32,
    pub inherits_default: bool,
}

impl Summary {
    /// What the fast scanner says of the element `input`.
    pub fn of(head: &Head, scope: &StreamScope, input: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let full = |name: &Name| {
            let namespace = name.namespace(scope, input).into_owned();
            (
                text(name.prefix.of(input)),
                text(name.local.of(input)),
                namespace,
            )
        };
        let attributes = head.attributes().iter();
        let attributes = attributes.map(|attribute| {
            let name = text(attribute.name().of(input));
            (
                name,
                attribute.decoded(input).into_owned(),
                attribute.is_xmlns,
            )
        });
        Self {
            name: full(&head.name),
            tag_end: head.tag_end,
            self_closing: head.self_closing,
            attributes: attributes.collect(),
            first_child: head.first_child.as_ref().map(full),
            children: head.children,
            header_prefixes_used: head.header_prefixes_used,
            inherits_default: head.inherits_default,
        }
    }
}

/// Like [`super::Scanner::scan`]; `None` is "more".
///
/// # Errors
/// Where the bytes so far cannot become a stanza.
pub fn scan(limits: &Limits, scope: &StreamScope, input: &[u8]) -> Result<Option<Item>, ScanError> {
    let spaces = input.iter().take_while(|&&byte| is_space(byte)).count();
    if spaces > 0 {
        return Ok(Some(Item::Whitespace(spaces)));
    }
    bounded(limits, input, |reader| reader.item(limits, scope))
}

/// Like [`super::Scanner::scan_header`]: the offset behind the header, and its tag.
///
/// # Errors
/// Where the bytes so far cannot become a header.
pub fn scan_header(limits: &Limits, input: &[u8]) -> Result<Option<(usize, Summary)>, ScanError> {
    bounded(limits, input, |reader| reader.header(limits))
}

enum Stop {
    More,
    Fail(ScanError),
}

impl<E: Into<ScanError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fail(error.into())
    }
}

fn bounded<T>(
    limits: &Limits,
    input: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Stop>,
) -> Result<Option<T>, ScanError> {
    let bytes = input.get(..limits.stanza_bytes_max).unwrap_or(input);
    match read(&mut Reader {
        bytes,
        pos: 0,
        name_bytes_max: limits.name_bytes_max,
    }) {
        Ok(found) => Ok(Some(found)),
        Err(Stop::Fail(error)) => Err(error),
        Err(Stop::More) if input.len() >= limits.stanza_bytes_max => Err(Limit::StanzaBytes.into()),
        Err(Stop::More) => Ok(None),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
    name_bytes_max: usize,
}

/// An open element.
struct Open {
    name: String,
    /// Prefix and namespace.
    declared: Vec<(String, String)>,
    default: Option<String>,
}

/// A start tag.
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
    is_empty: bool,
}

impl Reader<'_> {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.rest().first().copied().ok_or(Stop::More)
    }

    /// The next character, whichever.
    fn any_char(&mut self) -> Result<char, Stop> {
        match names::decode(self.rest()) {
            Decoded::Char(char, len) => {
                self.pos += len;
                Ok(char)
            }
            Decoded::Incomplete => Err(Stop::More),
            Decoded::Invalid => Err(ScanError::UnsupportedEncoding.into()),
        }
    }

    /// The next character, one that XML has.
    fn char(&mut self) -> Result<char, Stop> {
        let char = self.any_char()?;
        if names::is_xml_char(char) {
            Ok(char)
        } else {
            Err(Malformed::Character.into())
        }
    }

    fn spaces(&mut self) -> Result<bool, Stop> {
        let start = self.pos;
        while is_space(self.peek()?) {
            self.pos += 1;
        }
        Ok(self.pos > start)
    }

    fn item(&mut self, limits: &Limits, scope: &StreamScope) -> Result<Item, Stop> {
        if self.peek()? != b'<' {
            self.char()?;
            return Err(ScanError::BadFormat.into());
        }
        self.pos = 1;
        match self.peek()? {
            b'/' => {
                self.pos = 2;
                self.end_tag(scope.stream_tag())?;
                Ok(Item::StreamEnd(self.pos))
            }
            b'!' => {
                self.pos = 0;
                self.declaration()?;
                Err(ScanError::BadFormat.into())
            }
            _ => {
                self.pos = 0;
                let summary = self.element(limits, scope, false)?;
                Ok(Item::Element(self.pos, Box::new(summary)))
            }
        }
    }

    /// At a `<`: an element to its end, or only the tag of a stream header.
    fn element(
        &mut self,
        limits: &Limits,
        scope: &StreamScope,
        is_header: bool,
    ) -> Result<Summary, Stop> {
        let mut summary = Summary::default();
        let mut open: Vec<Open> = Vec::new();
        loop {
            self.pos += 1;
            match self.peek()? {
                b'/' => {
                    self.pos += 1;
                    let expected = open.last().map(|open| open.name.clone());
                    self.end_tag(&expected.unwrap_or_default())?;
                    open.pop();
                }
                b'!' => {
                    self.pos -= 1;
                    self.declaration()?;
                    self.cdata()?;
                }
                b'?' => return Err(Restricted::ProcessingInstruction.into()),
                _ if open.len() >= limits.depth_max => return Err(Limit::Depth.into()),
                _ => {
                    let tag = self.start_tag(limits)?;
                    let is_empty = tag.is_empty;
                    self.tag_end(limits, scope, &mut open, tag, &mut summary, is_header)?;
                    if is_header {
                        return Ok(summary);
                    }
                    if is_empty {
                        open.pop();
                    }
                }
            }
            if open.is_empty() {
                return Ok(summary);
            }
            self.text()?;
        }
    }

    /// Opens the element, an empty one too.
    fn tag_end(
        &mut self,
        limits: &Limits,
        scope: &StreamScope,
        open: &mut Vec<Open>,
        tag: Tag,
        summary: &mut Summary,
        is_header: bool,
    ) -> Result<(), Stop> {
        let in_scope: usize = open.iter().map(|open| open.declared.len()).sum();
        let max = if is_header {
            HEADER_BINDINGS_MAX
        } else {
            usize::MAX
        };
        let room = limits.namespaces_max.min(max) - in_scope;
        let (declared, default) = declarations(&tag.attributes, room)?;
        open.push(Open {
            name: tag.name.clone(),
            declared,
            default,
        });
        let name = resolve(open, scope, &tag.name, true, summary)?;
        let mut known = Vec::new();
        for (attribute, _) in tag.attributes.iter().filter(|(name, _)| !is_xmlns(name)) {
            let (_, local, namespace) = resolve(open, scope, attribute, false, summary)?;
            if known.contains(&(local.clone(), namespace.clone())) {
                return Err(Malformed::DuplicateAttribute.into());
            }
            known.push((local, namespace));
        }
        if open.len() == 1 {
            if !is_header && name.1 == "stream" && name.2 == STREAMS_NAMESPACE {
                return Err(ScanError::UnexpectedHeader.into());
            }
            summary.name = name;
            summary.tag_end = self.pos;
            summary.self_closing = tag.is_empty;
            let attributes = tag.attributes.into_iter();
            summary.attributes = attributes
                .map(|(name, value)| {
                    let is_xmlns = is_xmlns(&name);
                    (name, value, is_xmlns)
                })
                .collect();
        } else if open.len() == 2 {
            summary.children += 1;
            summary.first_child.get_or_insert(name);
        }
        Ok(())
    }

    /// Behind `<`.
    fn start_tag(&mut self, limits: &Limits) -> Result<Tag, Stop> {
        let name = self.name()?;
        let mut attributes: Vec<(String, String)> = Vec::new();
        loop {
            let is_spaced = self.spaces()?;
            match self.peek()? {
                b'>' => {
                    self.pos += 1;
                    return Ok(Tag {
                        name,
                        attributes,
                        is_empty: false,
                    });
                }
                b'/' => {
                    self.pos += 1;
                    if self.peek()? != b'>' {
                        return Err(Malformed::StartTag.into());
                    }
                    self.pos += 1;
                    return Ok(Tag {
                        name,
                        attributes,
                        is_empty: true,
                    });
                }
                _ if !is_spaced => return Err(Malformed::Attribute.into()),
                _ => {}
            }
            let attribute = self.name()?;
            if attributes.iter().any(|(known, _)| *known == attribute) {
                return Err(Malformed::DuplicateAttribute.into());
            }
            if attributes.len() == limits.attributes_max {
                return Err(Limit::Attributes.into());
            }
            self.spaces()?;
            if self.peek()? != b'=' {
                return Err(Malformed::Attribute.into());
            }
            self.pos += 1;
            self.spaces()?;
            let value = self.value()?;
            attributes.push((attribute, value));
        }
    }

    /// At the quote; the value decoded.
    fn value(&mut self) -> Result<String, Stop> {
        let quote = self.peek()?;
        if quote != b'"' && quote != b'\'' {
            return Err(Malformed::Attribute.into());
        }
        self.pos += 1;
        let mut value = String::new();
        loop {
            match self.char()? {
                char if char == char::from(quote) => return Ok(value),
                '<' => return Err(Malformed::Value.into()),
                '&' => value.push(self.reference()?),
                // One line end may be two characters (XML 1.0 section 2.11).
                '\n' if self.bytes.get(self.pos.wrapping_sub(2)) == Some(&b'\r') => {}
                '\t' | '\r' | '\n' => value.push(' '),
                char => value.push(char),
            }
        }
    }

    /// A name with at most one colon, between two names. Stops in front of what ends it.
    fn name(&mut self) -> Result<String, Stop> {
        let start = self.pos;
        let mut local = start;
        loop {
            if self.pos - start > self.name_bytes_max {
                return Err(Limit::NameBytes.into());
            }
            let at = self.pos;
            let char = self.any_char()?;
            if at == local && !names::starts_name(char) {
                return Err(Malformed::Name.into());
            }
            if char == ':' && local == start {
                local = self.pos;
            } else if !names::continues_name(char) {
                if char == ':' || !char.is_ascii() {
                    return Err(Malformed::Name.into());
                }
                self.pos = at;
                let name = self.bytes.get(start..at).unwrap_or_default();
                return Ok(String::from_utf8_lossy(name).into_owned());
            }
        }
    }

    /// Behind the `&`.
    fn reference(&mut self) -> Result<char, Stop> {
        if self.peek()? != b'#' {
            return self.entity();
        }
        self.pos += 1;
        let radix = if self.peek()? == b'x' { 16 } else { 10 };
        self.pos += usize::from(radix == 16);
        let mut code: Option<u32> = None;
        loop {
            let char = char::from(self.peek()?);
            self.pos += 1;
            match (char.to_digit(radix), code) {
                (Some(digit), _) => {
                    let grown = code.unwrap_or(0) * radix + digit;
                    if grown > u32::from(char::MAX) {
                        return Err(Malformed::Reference.into());
                    }
                    code = Some(grown);
                }
                (None, Some(code)) if char == ';' => {
                    let char = char::from_u32(code).filter(|&char| names::is_xml_char(char));
                    return char.ok_or(Malformed::Reference.into());
                }
                (None, _) => return Err(Malformed::Reference.into()),
            }
        }
    }

    fn entity(&mut self) -> Result<char, Stop> {
        let start = self.pos;
        loop {
            if self.pos - start > self.name_bytes_max {
                return Err(Limit::NameBytes.into());
            }
            let at = self.pos;
            let char = self.any_char()?;
            if char == ';' && at > start {
                return match self.bytes.get(start..at).unwrap_or_default() {
                    b"amp" => Ok('&'),
                    b"apos" => Ok('\''),
                    b"gt" => Ok('>'),
                    b"lt" => Ok('<'),
                    b"quot" => Ok('"'),
                    _ => Err(Restricted::Entity.into()),
                };
            }
            let fits = if at == start {
                names::starts_name(char)
            } else {
                names::continues_name(char)
            };
            if !fits && char != ':' {
                return Err(Malformed::Reference.into());
            }
        }
    }

    /// Up to the next `<`.
    fn text(&mut self) -> Result<(), Stop> {
        let mut run = self.pos;
        while self.peek()? != b'<' {
            match self.char()? {
                '&' => {
                    self.reference()?;
                    run = self.pos;
                }
                '>' if self
                    .bytes
                    .get(run..self.pos)
                    .is_some_and(|run| run.ends_with(b"]]>")) =>
                {
                    return Err(Malformed::CdataEnd.into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// At `<!`; passes only where that begins a CDATA section.
    fn declaration(&self) -> Result<(), Stop> {
        let keywords = ["DOCTYPE", "ELEMENT", "ATTLIST", "ENTITY", "NOTATION"];
        let forbidden = keywords.map(|keyword| (format!("<!{keyword}"), Restricted::Doctype));
        let comment = [("<!--".to_owned(), Restricted::Comment)];
        for (start, reason) in forbidden.into_iter().chain(comment) {
            if self.rest().starts_with(start.as_bytes()) {
                return Err(reason.into());
            }
            if start.as_bytes().starts_with(self.rest()) {
                return Err(Stop::More);
            }
        }
        let cdata = b"<![CDATA[";
        if self.rest().starts_with(cdata) {
            return Ok(());
        }
        if cdata.starts_with(self.rest()) {
            Err(Stop::More)
        } else {
            Err(Malformed::Markup.into())
        }
    }

    /// At `<![CDATA[`, to behind the `]]>`.
    fn cdata(&mut self) -> Result<(), Stop> {
        self.pos += b"<![CDATA[".len();
        let start = self.pos;
        while !self
            .bytes
            .get(start..self.pos)
            .is_some_and(|section| section.ends_with(b"]]>"))
        {
            self.char()?;
        }
        Ok(())
    }

    /// Behind `</`, to behind the `>`.
    fn end_tag(&mut self, name: &str) -> Result<(), Stop> {
        if name.is_empty() {
            return Err(Malformed::EndTag.into());
        }
        for &byte in name.as_bytes() {
            if self.peek()? != byte {
                return Err(Malformed::EndTag.into());
            }
            self.pos += 1;
        }
        self.spaces()?;
        if self.peek()? != b'>' {
            return Err(Malformed::EndTag.into());
        }
        self.pos += 1;
        Ok(())
    }

    fn header(&mut self, limits: &Limits) -> Result<(usize, Summary), Stop> {
        if matches!(self.bytes, [0, ..] | [b'<', 0, ..]) {
            return Err(ScanError::UnsupportedEncoding.into());
        }
        if self.is_declaration()? {
            self.xml_declaration()?;
        }
        self.spaces()?;
        if self.peek()? != b'<' {
            self.char()?;
            return Err(Malformed::Header.into());
        }
        match self.bytes.get(self.pos + 1) {
            None => return Err(Stop::More),
            Some(b'?') if self.is_declaration()? => return Err(Malformed::Declaration.into()),
            Some(b'!') => {
                self.declaration()?;
                return Err(Malformed::Header.into());
            }
            Some(b'/') => return Err(Malformed::Header.into()),
            Some(_) => {}
        }
        let summary = self.element(limits, &StreamScope::unbound(), true)?;
        if summary.self_closing {
            Err(ScanError::BadFormat.into())
        } else {
            Ok((self.pos, summary))
        }
    }

    /// At `<?xml ` or the like; any other processing instruction is refused.
    fn is_declaration(&self) -> Result<bool, Stop> {
        if !self.rest().starts_with(b"<?") {
            return Ok(false);
        }
        for (i, &byte) in b"<?xml".iter().enumerate() {
            match self.rest().get(i) {
                None => return Err(Stop::More),
                Some(&found) if found == byte => {}
                Some(_) => return Err(Restricted::ProcessingInstruction.into()),
            }
        }
        match self.rest().get(5) {
            None => Err(Stop::More),
            Some(&byte) if is_space(byte) => Ok(true),
            Some(_) => Err(Restricted::ProcessingInstruction.into()),
        }
    }

    fn xml_declaration(&mut self) -> Result<(), Stop> {
        let whole = self.bytes;
        self.bytes = whole.get(..DECLARATION_BYTES_MAX).unwrap_or(whole);
        let result = self.pseudo_attributes();
        let is_cut = self.bytes.len() == DECLARATION_BYTES_MAX;
        self.bytes = whole;
        match result {
            Err(Stop::More) if is_cut => Err(Limit::Declaration.into()),
            other => other,
        }
    }

    fn pseudo_attributes(&mut self) -> Result<(), Stop> {
        self.pos += b"<?xml".len();
        let mut expected = &["version", "encoding", "standalone"][..];
        loop {
            let is_spaced = self.spaces()?;
            if self.peek()? == b'?' && expected.len() < 3 {
                self.pos += 1;
                let is_end = self.peek()? == b'>';
                self.pos += 1;
                return if is_end {
                    Ok(())
                } else {
                    Err(Malformed::Declaration.into())
                };
            }
            let first = char::from(self.peek()?);
            let next = expected.iter().position(|name| name.starts_with(first));
            let (true, Some(index)) = (is_spaced, next) else {
                return Err(Malformed::Declaration.into());
            };
            let Some((&name, rest)) = expected.get(index..).and_then(<[_]>::split_first) else {
                return Err(Malformed::Declaration.into());
            };
            if expected.len() == 3 && index > 0 {
                return Err(Malformed::Declaration.into());
            }
            expected = rest;
            let value = self.pseudo_attribute(name)?;
            judge_pseudo_attribute(name, &value)?;
        }
    }

    fn pseudo_attribute(&mut self, name: &str) -> Result<String, Stop> {
        for &byte in name.as_bytes() {
            if self.peek()? != byte {
                return Err(Malformed::Declaration.into());
            }
            self.pos += 1;
        }
        self.spaces()?;
        if self.peek()? != b'=' {
            return Err(Malformed::Declaration.into());
        }
        self.pos += 1;
        self.spaces()?;
        let quote = self.peek()?;
        if quote != b'"' && quote != b'\'' {
            return Err(Malformed::Declaration.into());
        }
        self.pos += 1;
        let mut value = String::new();
        loop {
            let byte = self.peek()?;
            self.pos += 1;
            if byte == quote {
                return Ok(value);
            }
            if !byte.is_ascii_alphanumeric() && !b"._-".contains(&byte) {
                return Err(Malformed::Declaration.into());
            }
            value.push(char::from(byte));
        }
    }
}

fn judge_pseudo_attribute(name: &str, value: &str) -> Result<(), Stop> {
    match (name, value) {
        ("version", "1.0") | ("standalone", "yes") => Ok(()),
        ("standalone", "no") => Err(Restricted::Standalone.into()),
        ("encoding", _) if !value.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Err(Malformed::Declaration.into())
        }
        ("encoding", _) if value.eq_ignore_ascii_case("utf-8") => Ok(()),
        ("encoding", _) => Err(ScanError::UnsupportedEncoding.into()),
        _ => Err(Malformed::Declaration.into()),
    }
}

fn is_xmlns(name: &str) -> bool {
    name == "xmlns" || name.starts_with("xmlns:")
}

/// What the attributes of a tag declare: prefixes, `room` at most, and the default namespace.
#[expect(clippy::type_complexity, reason = "used once, and described above")]
fn declarations(
    attributes: &[(String, String)],
    room: usize,
) -> Result<(Vec<(String, String)>, Option<String>), Stop> {
    let (mut prefixes, mut default) = (Vec::new(), None);
    for (name, value) in attributes {
        let is_reserved = value == XML_NAMESPACE || value == XMLNS_NAMESPACE;
        match name
            .strip_prefix("xmlns")
            .map(|rest| rest.strip_prefix(':'))
        {
            Some(None) if name == "xmlns" => {
                if is_reserved {
                    return Err(Malformed::NamespaceName.into());
                }
                default = Some(value.clone());
            }
            Some(Some("xmlns")) => return Err(Malformed::Prefix.into()),
            Some(Some("xml")) if value == XML_NAMESPACE => {}
            Some(Some(_)) if is_reserved || value.is_empty() => {
                return Err(Malformed::NamespaceName.into());
            }
            Some(Some("xml")) => return Err(Malformed::NamespaceName.into()),
            Some(Some(_)) if prefixes.len() >= room => return Err(Limit::Namespaces.into()),
            Some(Some(prefix)) => prefixes.push((prefix.to_owned(), value.clone())),
            Some(None) | None => {}
        }
    }
    Ok((prefixes, default))
}

/// The expanded name of an element or attribute of the innermost open element.
fn resolve(
    open: &[Open],
    scope: &StreamScope,
    name: &str,
    is_element: bool,
    summary: &mut Summary,
) -> Result<FullName, Stop> {
    let Some((prefix, local)) = name.split_once(':') else {
        let mut namespace = String::new();
        if is_element {
            let inner = open.iter().rev().find_map(|open| open.default.clone());
            summary.inherits_default |= inner.is_none();
            namespace = inner.unwrap_or_else(|| scope.default_namespace().to_owned());
        }
        return Ok((String::new(), name.to_owned(), namespace));
    };
    let full = |namespace: &str| (prefix.to_owned(), local.to_owned(), namespace.to_owned());
    if prefix == "xml" {
        return Ok(full(XML_NAMESPACE));
    }
    let mut inner = open
        .iter()
        .rev()
        .flat_map(|open| open.declared.iter().rev());
    if let Some((_, namespace)) = inner.find(|(declared, _)| declared == prefix) {
        return Ok(full(namespace));
    }
    let mut outer = scope.bindings();
    let (index, _, namespace) = outer
        .find(|&(_, bound, _)| bound == prefix)
        .ok_or(Malformed::Prefix)?;
    summary.header_prefixes_used |= 1 << index;
    Ok(full(namespace))
}
