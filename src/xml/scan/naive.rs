//! The scanner once more, written to be obviously right: character by character, with strings.
//!
//! It keeps nothing from call to call, reads the item from its first byte each time, and copies
//! every name and value. The property tests and the fuzz target hold the fast one against it, and
//! the benches take it as the fixed reference for instruction counts. Nothing serves with it.

mod header;
mod tokens;

use super::Limits;
use super::bind::may_separate;
use super::error::Limit;
use super::error::Malformed;
use super::error::Restricted;
use super::error::ScanError;
use super::head::Head;
use super::head::Name;
use super::head::XML_NAMESPACE;
use super::head::XMLNS_NAMESPACE;
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
        if is_xmlns(name) && value.chars().any(may_separate) {
            return Err(Malformed::NamespaceName.into());
        }
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
