//! From the bytes of a CSV file (RFC 4180) to rows: an account and a password each.
//!
//! A line that is no row is told with its number and costs nothing but itself. That is why lines are
//! cut here and the library parses one at a time: a quote that is not closed would otherwise swallow
//! the accounts behind it. No password holds a line end, so no field of a good row does.

use std::collections::HashSet;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;

use crossbeam_channel::Sender;
use csv::ByteRecord;
use csv::ReaderBuilder;

use super::CHUNK_ROWS_MAX;
use super::Chunks;
use super::Told;
use crate::cli::Failure;
use crate::cli::account;
use crate::config::Config;
use crate::jid::JID_BYTES_MAX;
use crate::proto::sasl::keys::PASSWORD_BYTES_MAX;
use crate::store::AccountId;

/// Rows of one file. What is remembered of each, to find those that name an account twice, takes
/// about 100 bytes: 1 GB at most.
const ROWS_MAX: usize = 10_000_000;

/// Bytes of one line: the longest JID and password, quoted, with every quote doubled.
const LINE_BYTES_MAX: usize = 2 * (JID_BYTES_MAX + PASSWORD_BYTES_MAX) + 64;

/// Says where the columns are, in files that other programs wrote; matched in any case.
const HEADER: &str = "jid";

/// Some programs begin a UTF-8 file with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One account to make.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) id: AccountId,
    pub(super) password: String,
}

/// Where rows, and lines that are none, go.
pub(super) struct Out {
    pub(super) told: Sender<Told>,
    pub(super) take_slot: Sender<()>,
    pub(super) chunks: Chunks,
}

/// Reads the whole file. Fails where it cannot be read on; what was read before is on its way then.
pub(super) fn read(reader: impl Read, config: &Config, out: &Out) -> Result<(), Failure> {
    let mut lines = Lines {
        reader: BufReader::new(reader),
        number: 0,
        bytes: 0,
    };
    let mut seen = HashSet::new();
    let mut chunk = Vec::with_capacity(CHUNK_ROWS_MAX);
    let mut line = Vec::new();
    let read = loop {
        match lines.next(&mut line) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(Failure::new(format!("the file cannot be read: {error}"))),
        }
        if line.is_empty() || (lines.number == 1 && is_header(&line)) {
            continue;
        }
        // Every receiver is gone only where the import was given up.
        if out.take_slot.send(()).is_err() {
            return Ok(());
        }
        match row(&line, config, &mut seen) {
            Ok((id, password)) => chunk.push(Row {
                line: lines.number,
                id,
                password,
            }),
            Err(reason) => drop(out.told.send(Told::Bad {
                line: lines.number,
                reason,
            })),
        }
        if chunk.len() == CHUNK_ROWS_MAX {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_ROWS_MAX));
            if out.chunks.send(full).is_err() {
                return Ok(());
            }
            let _ = out.told.send(Told::Read(lines.bytes));
        }
        if seen.len() >= ROWS_MAX {
            break Err(Failure::new(format!(
                "more than {ROWS_MAX} rows: split the file; the rows up to here were imported"
            )));
        }
    };
    let _ = out.chunks.send(chunk);
    read
}

/// The lines of a file, each with a bound.
struct Lines<R> {
    reader: BufReader<R>,
    /// Of the line read last, from 1.
    number: u64,
    /// Read so far.
    bytes: u64,
}

impl<R: Read> Lines<R> {
    /// The next line without its end; `false` at the end of the file. Of a longer line than the
    /// bound so much is kept that the bound shows.
    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let bound = LINE_BYTES_MAX as u64 + 1;
        let mut read = (&mut self.reader).take(bound).read_until(b'\n', line)?;
        if read > LINE_BYTES_MAX && !line.ends_with(b"\n") {
            read += self.reader.skip_until(b'\n')?;
        }
        self.number += 1;
        self.bytes += read as u64;
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
        }
        if self.number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(read > 0)
    }
}

fn is_header(line: &[u8]) -> bool {
    let first = line.split(|byte| *byte == b',').next().unwrap_or_default();
    let is_edge = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'"';
    let from = first.iter().position(|byte| !is_edge(byte)).unwrap_or(0);
    let to = first
        .iter()
        .rposition(|byte| !is_edge(byte))
        .map_or(0, |last| last + 1);
    first
        .get(from..to)
        .is_some_and(|word| word.eq_ignore_ascii_case(HEADER.as_bytes()))
}

fn row(
    line: &[u8],
    config: &Config,
    seen: &mut HashSet<AccountId>,
) -> Result<(AccountId, String), String> {
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    // The library would take what is there of the field.
    if line.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        return Err("a quote is not closed; inside quotes a quote is written twice".to_owned());
    }
    let record = fields(line)?;
    if record.len() != 2 {
        let fields = if record.len() == 1 { "field" } else { "fields" };
        return Err(format!(
            "{} {fields} where jid,password is expected; a password with a comma has to stand in \
             quotes",
            record.len()
        ));
    }
    let field = |place| std::str::from_utf8(record.get(place).unwrap_or_default());
    let (Ok(jid), Ok(password)) = (field(0), field(1)) else {
        return Err("not UTF-8".to_owned());
    };
    let id = account::account(config, jid.trim()).map_err(|failure| failure.to_string())?;
    if !seen.insert(id.clone()) {
        return Err(format!(
            "{id} stands on an earlier line already, and that one counts"
        ));
    }
    Ok((id, password.to_owned()))
}

fn fields(line: &[u8]) -> Result<ByteRecord, String> {
    let mut record = ByteRecord::new();
    ReaderBuilder::new()
        .has_headers(false)
        .buffer_capacity(line.len().max(1))
        .from_reader(line)
        .read_byte_record(&mut record)
        .map_err(|error| error.to_string())?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sited;

    fn config() -> Config {
        let mut config = Config::default();
        config.general.hosts.push(Sited {
            value: "example.org".to_owned(),
            ..Sited::default()
        });
        config
    }

    /// Line, JID and password of each row, and the bad lines by number.
    type Parsed = (Vec<(u64, String, String)>, Vec<(u64, String)>);

    fn parse(text: &[u8]) -> Parsed {
        let (told, to_tell) = crossbeam_channel::unbounded();
        let (take_slot, _slots) = crossbeam_channel::unbounded();
        let (chunks, queue) = crossbeam_channel::unbounded();
        read(
            text,
            &config(),
            &Out {
                told,
                take_slot,
                chunks,
            },
        )
        .expect("readable");
        let rows = queue.iter().flatten();
        let rows = rows
            .map(|row| (row.line, row.id.to_string(), row.password))
            .collect();
        let bad = to_tell
            .iter()
            .filter_map(|told| match told {
                Told::Bad { line, reason } => Some((line, reason)),
                Told::Imported(_) | Told::Skipped | Told::Read(_) => None,
            })
            .collect();
        (rows, bad)
    }

    #[test]
    fn rows_with_and_without_header_and_quotes() {
        let expected = vec![
            (2, "romeo@example.org".to_owned(), "pen,cil".to_owned()),
            (3, "juliet@example.org".to_owned(), " \"x\" ".to_owned()),
        ];
        let text = b"\xef\xbb\xbfJID,password\nromeo@example.org,\"pen,cil\"\r\n\
            Juliet@EXAMPLE.org ,\" \"\"x\"\" \"\n";
        assert_eq!(parse(text), (expected, vec![]));
        let text = b"\xef\xbb\xbfromeo@example.org,p";
        let expected = vec![(1, "romeo@example.org".to_owned(), "p".to_owned())];
        assert_eq!(parse(text), (expected, vec![]));
        assert_eq!(parse(b""), (vec![], vec![]));
    }

    #[test]
    fn bad_lines_are_told_by_number_and_the_others_go_on() {
        let text = b"a@example.org,p\n\n\nb@example.org\nc@example.org,p,q\n\
            d@example.net,p\n@,p\ne@example.org,\xff\nA@example.org,again\nf@example.org,p\n";
        let (rows, bad) = parse(text);
        let users: Vec<_> = rows
            .iter()
            .map(|(line, jid, _)| (*line, jid.as_str()))
            .collect();
        assert_eq!(users, [(1, "a@example.org"), (10, "f@example.org")]);
        let lines: Vec<_> = bad.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [4, 5, 6, 7, 8, 9], "{bad:?}");
        assert!(bad[0].1.contains("1 field "), "{bad:?}");
        assert!(bad[1].1.contains("3 fields"), "{bad:?}");
        assert!(bad[5].1.contains("earlier line"), "{bad:?}");
    }

    #[test]
    fn an_open_quote_costs_its_own_line_only() {
        let (rows, bad) = parse(b"a@example.org,p\nb@example.org,\"oops\nc@example.org,p\n");
        assert_eq!(rows.len(), 2);
        assert_eq!(bad.len(), 1);
        assert!(
            bad[0].0 == 2 && bad[0].1.contains("quote is not closed"),
            "{bad:?}"
        );
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let long = "x".repeat(10 * LINE_BYTES_MAX);
        let (rows, bad) = parse(format!("{long}\nb@example.org,p\n{long}").as_bytes());
        assert_eq!(rows, [(2, "b@example.org".to_owned(), "p".to_owned())]);
        assert_eq!(
            bad.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [1, 3]
        );
        // The longest line that can be right is.
        let password = "\"".repeat(PASSWORD_BYTES_MAX);
        let line = format!("b@example.org,\"{}\"\n", "\"\"".repeat(PASSWORD_BYTES_MAX));
        assert_eq!(
            parse(line.as_bytes()).0,
            [(1, "b@example.org".to_owned(), password)]
        );
    }
}
