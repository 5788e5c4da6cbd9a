//! The stream header, and the XML declaration before it.

use super::Limits;
use super::Reader;
use super::Stop;
use super::Summary;
use super::is_space;
use crate::xml::scan::error::Limit;
use crate::xml::scan::error::Malformed;
use crate::xml::scan::error::Restricted;
use crate::xml::scan::error::ScanError;
use crate::xml::scan::outside::DECLARATION_BYTES_MAX;
use crate::xml::scan::scope::StreamScope;

impl Reader<'_> {
    pub(super) fn header(&mut self, limits: &Limits) -> Result<(usize, Summary), Stop> {
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
    pub(super) fn is_declaration(&self) -> Result<bool, Stop> {
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

    pub(super) fn xml_declaration(&mut self) -> Result<(), Stop> {
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

    pub(super) fn pseudo_attributes(&mut self) -> Result<(), Stop> {
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

    pub(super) fn pseudo_attribute(&mut self, name: &str) -> Result<String, Stop> {
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
