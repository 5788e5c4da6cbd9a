//! Names, tags, values, references, text: one character after the other.

use super::Limits;
use super::Reader;
use super::Stop;
use super::Tag;
use super::is_space;
use crate::xml::scan::error::Limit;
use crate::xml::scan::error::Malformed;
use crate::xml::scan::error::Restricted;
use crate::xml::scan::error::ScanError;
use crate::xml::scan::names;
use crate::xml::scan::names::Decoded;

impl Reader<'_> {
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Result<u8, Stop> {
        self.rest().first().copied().ok_or(Stop::More)
    }

    /// The next character, whichever.
    pub(super) fn any_char(&mut self) -> Result<char, Stop> {
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
    pub(super) fn char(&mut self) -> Result<char, Stop> {
        let char = self.any_char()?;
        if names::is_xml_char(char) {
            Ok(char)
        } else {
            Err(Malformed::Character.into())
        }
    }

    pub(super) fn spaces(&mut self) -> Result<bool, Stop> {
        let start = self.pos;
        while is_space(self.peek()?) {
            self.pos += 1;
        }
        Ok(self.pos > start)
    }

    /// Behind `<`.
    pub(super) fn start_tag(&mut self, limits: &Limits) -> Result<Tag, Stop> {
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
    pub(super) fn value(&mut self) -> Result<String, Stop> {
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
    pub(super) fn name(&mut self) -> Result<String, Stop> {
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
    pub(super) fn reference(&mut self) -> Result<char, Stop> {
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
                    return char.ok_or_else(|| Malformed::Reference.into());
                }
                (None, _) => return Err(Malformed::Reference.into()),
            }
        }
    }

    pub(super) fn entity(&mut self) -> Result<char, Stop> {
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
    pub(super) fn text(&mut self) -> Result<(), Stop> {
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
    pub(super) fn declaration(&self) -> Result<(), Stop> {
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
    pub(super) fn cdata(&mut self) -> Result<(), Stop> {
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
    pub(super) fn end_tag(&mut self, name: &str) -> Result<(), Stop> {
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
}
