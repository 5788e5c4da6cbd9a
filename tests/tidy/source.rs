//! The tree as the checks see it: files, and Rust code without its comments, literals and tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Folders that hold nothing written by hand.
pub(crate) const SKIPPED: &[&str] = &["target", "data", "corpora", ".git"];

/// Files larger than this are data.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A broken rule, in the words of the report.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) remedy: &'static str,
}

/// Every file of the repository, by its path from the root.
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, File>,
}

/// A file. The Rust views are as long as the text, with spaces for what is left out.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Without comments and literals.
    pub(crate) code: String,
    /// Of that, without what is compiled for tests only.
    pub(crate) product: String,
    /// Lines of the items that `product` leaves out.
    pub(crate) test_lines: usize,
    /// Whether all of it is compiled for tests only.
    pub(crate) is_test: bool,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Self {
        let mut found = Vec::new();
        collect(root, root, &mut found);
        Self::of(found)
    }

    pub(crate) fn of(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let files = files
            .into_iter()
            .map(|(path, text)| (path.clone(), File::new(path, text)));
        let mut tree = Self {
            files: files.collect(),
        };
        let in_tests: Vec<String> = tree.test_files();
        for path in in_tests {
            let Some(file) = tree.files.get_mut(&path) else {
                continue;
            };
            file.is_test = true;
            file.product = spaces(&file.text);
        }
        tree
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files
            .values()
            .filter(|file| file.path.ends_with(".rs"))
    }

    /// The Rust files of the product, those of its unit tests among them.
    pub(crate) fn src(&self) -> impl Iterator<Item = &File> {
        self.rust().filter(|file| file.path.starts_with("src/"))
    }

    /// Files that `root` leads to by `mod` lines, with whether each is for tests only.
    pub(crate) fn reachable(&self, root: &str) -> BTreeMap<String, bool> {
        let mut reached = BTreeMap::new();
        let mut waiting = vec![(root.to_owned(), false)];
        while let Some((path, is_test)) = waiting.pop() {
            let Some(file) = self.files.get(&path) else {
                continue;
            };
            if reached.insert(path, is_test).is_some() {
                continue;
            }
            for (name, offset) in file.module_lines() {
                let in_test = is_test || blank_at(&file.product, offset);
                waiting.extend(file.module_paths(name).map(|path| (path, in_test)));
            }
        }
        reached
    }

    /// Files that a test module leads to, be it reached from the root or not.
    fn test_files(&self) -> Vec<String> {
        let declared = self.src().flat_map(|file| {
            let tests = file
                .module_lines()
                .filter(|(_, at)| blank_at(&file.product, *at));
            tests
                .flat_map(|(name, _)| file.module_paths(name))
                .collect::<Vec<_>>()
        });
        declared
            .flat_map(|path| self.reachable(&path).into_keys().collect::<Vec<_>>())
            .collect()
    }
}

impl File {
    fn new(path: String, text: String) -> Self {
        let is_rust = path.ends_with(".rs");
        let code = if is_rust {
            code_of(&text)
        } else {
            String::new()
        };
        let (product, test_lines) = without_tests(&code);
        let is_test = path.starts_with("tests/") || path.starts_with("benches/");
        Self {
            path,
            text,
            code,
            product,
            test_lines,
            is_test,
        }
    }

    pub(crate) fn line_at(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    }

    pub(crate) fn fault(
        &self,
        offset: usize,
        what: impl Into<String>,
        remedy: &'static str,
    ) -> Fault {
        let (path, line) = (self.path.clone(), self.line_at(offset));
        Fault {
            path,
            line,
            what: what.into(),
            remedy,
        }
    }

    /// The first folder or file name below src/: what the layers are about.
    pub(crate) fn layer(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below
            .split('/')
            .next()
            .unwrap_or("")
            .trim_end_matches(".rs")
    }

    /// Names in lines like `mod name;`, and where they stand.
    fn module_lines(&self) -> impl Iterator<Item = (&str, usize)> {
        words(&self.code)
            .filter(|(_, word)| *word == "mod")
            .filter_map(|(offset, _)| {
                let (at, name) = words(&self.code[offset + 3..]).next()?;
                let rest = &self.code[offset + 3 + at + name.len()..];
                rest.trim_start().starts_with(';').then_some((name, offset))
            })
    }

    fn module_paths(&self, name: &str) -> impl Iterator<Item = String> + use<> {
        let stem = self.path.trim_end_matches(".rs");
        let (folder, file) = stem.rsplit_once('/').unwrap_or(("", stem));
        let is_root = matches!(file, "mod" | "lib" | "main");
        let folder = if is_root { folder } else { stem };
        [
            format!("{folder}/{name}.rs"),
            format!("{folder}/{name}/mod.rs"),
        ]
        .into_iter()
    }
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
            collect(root, &path, found);
        }
        // Where the tree is one of several of a repository, `.git` is a file.
        if !kind.is_file()
            || name == ".git"
            || entry
                .metadata()
                .is_ok_and(|about| about.len() > FILE_BYTES_MAX)
        {
            continue;
        }
        let Ok(below) = path.strip_prefix(root) else {
            continue;
        };
        // What is no UTF-8 has a name, and no text.
        let text = fs::read_to_string(&path).unwrap_or_default();
        found.push((below.to_string_lossy().into_owned(), text));
    }
}

// ---- a lexer that knows just enough

/// Identifiers and keywords with their offsets.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(is_word)?;
        let length = code[start..]
            .find(|c| !is_word(c))
            .unwrap_or(code.len() - start);
        rest = start + length;
        Some((start, &code[start..rest]))
    })
}

/// Offsets at which `wanted` stands, not as part of a longer word.
pub(crate) fn find_all<'a>(text: &'a str, wanted: &'a str) -> impl Iterator<Item = usize> + 'a {
    let first_is_word = wanted.starts_with(is_word);
    let last_is_word = wanted.ends_with(is_word);
    text.match_indices(wanted)
        .map(|(offset, _)| offset)
        .filter(move |offset| {
            let before = text[..*offset].ends_with(is_word);
            let after = text[offset + wanted.len()..].starts_with(is_word);
            !(first_is_word && before || last_is_word && after)
        })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn spaces(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
        .collect()
}

fn blank_at(text: &str, offset: usize) -> bool {
    text.as_bytes()
        .get(offset)
        .is_none_or(u8::is_ascii_whitespace)
}

/// `text` with spaces for comments and for the insides of literals.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let length = comment(&bytes[at..]).or_else(|| literal(bytes, at));
        if let Some(length) = length {
            let end = (at + length).min(bytes.len());
            for byte in code[at..end].iter_mut().filter(|byte| **byte != b'\n') {
                *byte = b' ';
            }
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(code).expect("whole comments and literals were replaced")
}

fn comment(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"//") {
        return Some(
            rest.iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(rest.len()),
        );
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut at, mut depth) = (2, 1);
    while at < rest.len() && depth > 0 {
        match &rest[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    Some(at)
}

/// The length of the string or character that begins at `at`.
fn literal(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest.first()? {
        b'"' => Some(quoted(rest, b'"')),
        b'\'' => character(rest),
        b'r' | b'b' | b'c' if !after_word => raw(rest),
        _ => None,
    }
}

/// Up to the closing `quote`, past escaped ones.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// A character, and no lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    let first = *rest.get(1)?;
    let width = match first {
        b'\\' => return Some(quoted(rest, b'\'')),
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(width + 2)
}

fn raw(rest: &[u8]) -> Option<usize> {
    let prefix = rest.iter().take_while(|byte| b"brc".contains(byte)).count();
    if !rest[..prefix].contains(&b'r') {
        // b"..." and b'.': what follows the prefix is found on its own.
        return None;
    }
    let hashes = rest[prefix..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let start = prefix + hashes;
    if rest.get(start) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let length = rest[start + 1..]
        .windows(end.len())
        .position(|window| window == end);
    Some(length.map_or(rest.len(), |length| start + 1 + length + end.len()))
}

/// `code` with spaces for items under `#[cfg(test)]`, and how many lines these have.
fn without_tests(code: &str) -> (String, usize) {
    let mut product = code.as_bytes().to_vec();
    let mut lines = 0;
    for (start, _) in code.match_indices("#[cfg(") {
        let attribute = &code[start
            ..code[start..]
                .find(']')
                .map_or(code.len(), |end| start + end)];
        let is_test = find_all(attribute, "test").next().is_some() && !attribute.contains("not(");
        if !is_test || product[start] == b' ' {
            continue;
        }
        let end = item_end(code, start + attribute.len() + 1);
        lines += code[start..end].lines().count();
        for byte in product[start..end]
            .iter_mut()
            .filter(|byte| **byte != b'\n')
        {
            *byte = b' ';
        }
    }
    (
        String::from_utf8(product).expect("code is replaced by whole items"),
        lines,
    )
}

/// Where the item that begins at `start` ends: its `;`, or the brace that closes it.
pub(crate) fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0i32;
    let mut braces = 0i32;
    for (offset, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' => braces += 1,
            b'}' => braces -= 1,
            _ => {}
        }
        let ends = depth == 0 && braces == 0 && (byte == b'}' || byte == b';');
        if ends {
            return offset + 1;
        }
    }
    code.len()
}
