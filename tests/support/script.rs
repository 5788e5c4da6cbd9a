//! A dialogue as it is written: tests/dialogues/README.md says how.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use toml::Table;

use super::site::merge;

/// The two domains of a dialogue, as they are written in it. Each dialogue has its own, of the same
/// length, so that dialogues on one server do not meet.
const DOMAINS: [&str; 2] = ["verona.example", "mantua.example"];
/// Digits that make a domain its own.
const DOMAIN_DIGITS: usize = 5;

/// A dialogue.
pub(crate) struct Script {
    /// The file, for messages.
    pub(crate) name: String,
    /// Merged into the server's configuration.
    pub(crate) sections: Table,
    /// Merged into its listener.
    pub(crate) listener: Table,
    /// Merged into its listener for components; None: it has none.
    pub(crate) service: Option<Table>,
    /// Merged into its listener for servers; None: it has none.
    pub(crate) s2s: Option<Table>,
    /// Domains of other servers, which the dialogue plays.
    pub(crate) peers: Vec<String>,
    /// True where the server is stopped or otherwise not to be shared.
    pub(crate) alone: bool,
    /// The served domains.
    pub(crate) hosts: Vec<String>,
    /// What happens.
    pub(crate) lines: Vec<Line>,
}

/// One thing that happens.
pub(crate) struct Line {
    /// Where it is written.
    pub(crate) number: usize,
    /// Who: the first word.
    pub(crate) actor: String,
    /// What: the rest of the line, without a colon at its end.
    pub(crate) verb: String,
    /// The indented lines below, without their common indentation.
    pub(crate) block: Vec<String>,
}

impl Script {
    /// Reads a dialogue; `place` makes its domains unlike those of any other.
    pub(crate) fn parse(name: &str, text: &str, place: usize) -> Result<Self, String> {
        let hosts: Vec<String> = DOMAINS
            .iter()
            .map(|domain| own_domain(domain, place))
            .collect();
        let mut text = text.to_owned();
        for (domain, own) in DOMAINS.iter().zip(&hosts) {
            text = text.replace(domain, own);
            text = text.replace(&domain.to_uppercase(), &own.to_uppercase());
        }
        let mut script = Self {
            name: name.to_owned(),
            sections: Table::new(),
            listener: Table::new(),
            service: None,
            s2s: None,
            peers: Vec::new(),
            alone: false,
            hosts,
            lines: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            script
                .line(index + 1, line)
                .map_err(|what| format!("{name}:{}: {what}", index + 1))?;
        }
        script.lines.iter_mut().for_each(Line::take_indentation);
        Ok(script)
    }

    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.starts_with("  ") || (line.is_empty() && self.in_block()) {
            let last = self
                .lines
                .last_mut()
                .ok_or("an indented line that belongs to nothing")?;
            last.block.push(line.to_owned());
            return Ok(());
        }
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(option) = line.strip_prefix("with listener ") {
            return add_option(&mut self.listener, option);
        }
        if let Some(option) = line.strip_prefix("with service ") {
            return add_option(self.service.get_or_insert_default(), option);
        }
        if let Some(option) = line.strip_prefix("with s2s ") {
            return add_option(self.s2s.get_or_insert_default(), option);
        }
        if let Some(name) = line.strip_prefix("with peer ") {
            self.alone = true;
            self.peers.push(name.trim().to_owned());
            return Ok(());
        }
        if let Some(option) = line.strip_prefix("with server ") {
            return add_option(&mut self.sections, option);
        }
        let (actor, verb) = line.split_once(' ').ok_or("who does what?")?;
        let verb = verb.trim();
        let verb = verb.strip_suffix(':').unwrap_or(verb);
        self.alone |= actor == "server";
        self.lines.push(Line {
            number,
            actor: actor.to_owned(),
            verb: verb.to_owned(),
            block: Vec::new(),
        });
        Ok(())
    }

    fn in_block(&self) -> bool {
        self.lines.last().is_some_and(|line| !line.block.is_empty())
    }

    /// Dialogues of the same key may share a server.
    pub(crate) fn key(&self) -> String {
        let own = if self.alone { &*self.name } else { "" };
        let service = self.service.as_ref().map(Table::to_string);
        let s2s = self.s2s.as_ref().map(Table::to_string);
        let (sections, listener) = (&self.sections, &self.listener);
        format!("{own}\n{sections}\n{listener}\n{service:?}\n{s2s:?}")
    }
}

impl Line {
    fn take_indentation(&mut self) {
        while self.block.last().is_some_and(|line| line.trim().is_empty()) {
            self.block.pop();
        }
        let filled = self.block.iter().filter(|line| !line.trim().is_empty());
        let common = filled
            .map(|line| line.len() - line.trim_start().len())
            .min()
            .unwrap_or(0);
        for line in &mut self.block {
            *line = line.get(common..).unwrap_or_default().to_owned();
        }
    }
}

fn add_option(into: &mut Table, option: &str) -> Result<(), String> {
    let option: Table = option
        .parse()
        .map_err(|error: toml::de::Error| error.to_string())?;
    merge(into, &option);
    Ok(())
}

fn own_domain(domain: &str, place: usize) -> String {
    let (_, top) = domain.split_once('.').unwrap_or((domain, ""));
    let first = domain.get(..1).unwrap_or_default();
    format!("{first}{place:0DOMAIN_DIGITS$}.{top}")
}

/// Bytes as a dialogue writes them: `\r`, `\n`, `\t`, `\0`, `\\`, `\xNN`; the ends of lines do not count.
pub(crate) fn bytes(block: &[String]) -> Result<Vec<u8>, String> {
    let text = block.concat();
    let mut bytes = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, behind)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (byte, length) = match behind.as_bytes() {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'0', ..] => (0, 1),
            [b'\\', ..] => (b'\\', 1),
            [b'x', ..] => {
                let digits = behind.get(1..3).ok_or("\\x needs two digits")?;
                (
                    u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?,
                    3,
                )
            }
            _ => return Err(format!("an unknown escape: \\{behind}")),
        };
        bytes.push(byte);
        rest = &behind[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// Writes `{x*N}` out: N times what stands before the asterisk.
pub(crate) fn repeat(text: &str) -> String {
    let mut written = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        written.push_str(before);
        let repeated = behind.split_once('}').and_then(|(inside, behind)| {
            let (unit, count) = inside.rsplit_once('*')?;
            Some((unit.repeat(count.parse().ok()?), behind))
        });
        match repeated {
            Some((text, behind)) => {
                written.push_str(&text);
                rest = behind;
            }
            None => {
                written.push('{');
                rest = behind;
            }
        }
    }
    written.push_str(rest);
    written
}

/// Writes `{base64 ...}` out: the base64 of what follows, with the escapes of [`bytes`].
pub(crate) fn encode(text: &str) -> Result<String, String> {
    let Some((before, behind)) = text.split_once("{base64 ") else {
        return Ok(text.to_owned());
    };
    let (inside, behind) = behind.split_once('}').ok_or("{base64 without an end")?;
    let encoded = STANDARD.encode(bytes(&[inside.to_owned()])?);
    Ok(format!("{before}{encoded}{}", encode(behind)?))
}

/// Replaces `{fill}` by as many letters as make the text `size` bytes long.
pub(crate) fn fill(text: &str, size: usize) -> Result<String, String> {
    let (before, behind) = text.split_once("{fill}").ok_or("there is no {fill}")?;
    let room = size.checked_sub(before.len() + behind.len());
    let room = room.ok_or_else(|| format!("it has more than {size} bytes without {{fill}}"))?;
    Ok(format!("{before}{}{behind}", "x".repeat(room)))
}
