//! XML as a tree, read by rxml: a parser that shares no code with the server's, and that refuses
//! everything XMPP forbids. Whatever the server sends has to get past it.

use std::collections::BTreeMap;
use std::fmt;

use rxml::Event;
use rxml::Options;
use rxml::Parse;
use rxml::Parser;
use rxml::QName;
use rxml::WithOptions;
use rxml::error::EndOrError;

/// RFC 6120: the stream element itself.
pub(crate) const STREAMS: &str = "http://etherx.jabber.org/streams";
/// RFC 6120: client streams.
pub(crate) const CLIENT: &str = "jabber:client";
/// RFC 6120: streams between servers.
pub(crate) const SERVER: &str = "jabber:server";
/// XEP-0114: streams of components.
pub(crate) const COMPONENT: &str = "jabber:component:accept";

/// Longest token that is read; the parser's own default is less than a stanza may have.
const TOKEN_BYTES_MAX: usize = 1 << 22;

/// A name with its namespace, which is empty for an attribute without prefix.
pub(crate) type Name = (String, String);

/// An element with everything in it. White space beside elements is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Namespace and local name.
    pub(crate) name: Name,
    /// Attributes in no order.
    pub(crate) attributes: BTreeMap<Name, String>,
    /// Children and text.
    pub(crate) nodes: Vec<Node>,
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A child.
    Element(Tree),
    /// Character data, decoded.
    Text(String),
}

/// What stands next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A stream header: its tag, without children.
    Header(Tree),
    /// A whole element below it.
    Element(Tree),
    /// The end of the stream.
    End,
}

impl Tree {
    fn new((namespace, name): &QName, attributes: &rxml::AttrMap) -> Self {
        let attributes = attributes.iter().map(|((namespace, name), value)| {
            let name = (namespace.to_string(), name.to_string());
            (name, value.clone())
        });
        Self {
            name: (namespace.to_string(), name.to_string()),
            attributes: attributes.collect(),
            nodes: Vec::new(),
        }
    }

    /// True for an element of that namespace and name.
    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        self.name.0 == namespace && self.name.1 == name
    }

    /// The value of an attribute without prefix.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let name = (String::new(), name.to_owned());
        self.attributes.get(&name).map(String::as_str)
    }

    /// The first child of that name, whatever its namespace.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children().find(|child| child.name.1 == name)
    }

    /// The children that are elements.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Self> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(child) => Some(child),
            Node::Text(_) => None,
        })
    }

    /// The text directly in it.
    pub(crate) fn text(&self) -> String {
        let texts = self.nodes.iter().filter_map(|node| match node {
            Node::Element(_) => None,
            Node::Text(text) => Some(text.as_str()),
        });
        texts.collect()
    }

    fn push_text(&mut self, text: &str) {
        match self.nodes.last_mut() {
            Some(Node::Text(last)) => last.push_str(text),
            Some(Node::Element(_)) | None => self.nodes.push(Node::Text(text.to_owned())),
        }
    }

    /// Indentation means nothing.
    fn drop_indentation(&mut self) {
        if self.children().next().is_some() {
            self.nodes.retain(|node| match node {
                Node::Element(_) => true,
                Node::Text(text) => !text.chars().all(|c| c.is_ascii_whitespace()),
            });
        }
    }
}

/// As XML, with each namespace written where it changes.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self, CLIENT)
    }
}

fn write(f: &mut fmt::Formatter<'_>, tree: &Tree, inherited: &str) -> fmt::Result {
    let (namespace, name) = &tree.name;
    write!(f, "<{name}")?;
    if namespace != inherited {
        write!(f, " xmlns='{namespace}'")?;
    }
    for ((namespace, name), value) in &tree.attributes {
        match namespace.as_str() {
            "" => write!(f, " {name}='{}'", escaped(value))?,
            rxml::XMLNS_XML => write!(f, " xml:{name}='{}'", escaped(value))?,
            other => write!(f, " {{{other}}}{name}='{}'", escaped(value))?,
        }
    }
    if tree.nodes.is_empty() {
        return f.write_str("/>");
    }
    f.write_str(">")?;
    for node in &tree.nodes {
        match node {
            Node::Element(child) => write(f, child, namespace)?,
            Node::Text(text) => f.write_str(&escaped(text))?,
        }
    }
    write!(f, "</{name}>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\'', "&apos;")
}

/// Reads one stream, in as many pieces as it comes.
pub(crate) struct StreamReader {
    parser: Parser,
    unread: Vec<u8>,
    open: Vec<Tree>,
    in_stream: bool,
}

impl Default for StreamReader {
    fn default() -> Self {
        let options = Options {
            max_token_length: TOKEN_BYTES_MAX,
            ..Options::default()
        };
        Self {
            parser: Parser::with_options(options),
            unread: Vec::new(),
            open: Vec::new(),
            in_stream: false,
        }
    }
}

impl StreamReader {
    /// Appends what has arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Begins a new stream: what is unread belongs to it.
    pub(crate) fn restart(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        *self = Self {
            unread,
            ..Self::default()
        };
    }

    /// What has arrived and was not read.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// The next item, `None` where it has not come in whole.
    ///
    /// # Errors
    /// What is wrong with the XML.
    pub(crate) fn next_item(&mut self) -> Result<Option<Item>, String> {
        loop {
            let mut rest = self.unread.as_slice();
            let event = self.parser.parse(&mut rest, false);
            let used = self.unread.len() - rest.len();
            self.unread.drain(..used);
            let item = match event {
                Ok(Some(event)) => self.event(event)?,
                Ok(None) => return Ok(None),
                Err(EndOrError::NeedMoreData) => return Ok(None),
                Err(EndOrError::Error(error)) => {
                    return Err(format!("what came is no XML for XMPP: {error}"));
                }
            };
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<Option<Item>, String> {
        match event {
            Event::XmlDeclaration(..) => {}
            Event::StartElement(_, name, attributes) => {
                let tree = Tree::new(&name, &attributes);
                if !self.in_stream {
                    self.in_stream = true;
                    return Ok(Some(Item::Header(tree)));
                }
                self.open.push(tree);
            }
            Event::EndElement(_) => {
                let Some(mut tree) = self.open.pop() else {
                    return Ok(Some(Item::End));
                };
                tree.drop_indentation();
                match self.open.last_mut() {
                    Some(parent) => parent.nodes.push(Node::Element(tree)),
                    None => return Ok(Some(Item::Element(tree))),
                }
            }
            Event::Text(_, text) => match self.open.last_mut() {
                Some(tree) => tree.push_text(&text),
                None if text.chars().all(|c| c.is_ascii_whitespace()) => {}
                None => return Err(format!("text between stanzas: {text:?}")),
            },
        }
        Ok(None)
    }
}

/// The items of a text, which stands where stanzas of the namespace `content` do. A header is written as an empty
/// element, the end of the stream as its end tag.
pub(crate) fn items(text: &str, content: &str) -> Result<Vec<Item>, String> {
    let trimmed = text.trim();
    let (text, ends) = match trimmed.strip_suffix("</stream:stream>") {
        Some(before) => (before, true),
        None => (trimmed, false),
    };
    let mut reader = StreamReader::default();
    reader.push(format!("<s xmlns='{content}' xmlns:stream='{STREAMS}'>{text}</s>").as_bytes());
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        match item {
            Item::Header(_) => {}
            Item::Element(tree) if tree.is(STREAMS, "stream") => items.push(Item::Header(tree)),
            Item::Element(tree) => items.push(Item::Element(tree)),
            Item::End => {
                items.extend(ends.then_some(Item::End));
                return Ok(items);
            }
        }
    }
    Err(format!("an element does not end: {text}"))
}
