//! Documents point to what is there: links and their anchors, and the files that text names.

use std::collections::BTreeSet;

use crate::source::Fault;
use crate::source::File;
use crate::source::SKIPPED;
use crate::source::Tree;

/// What is written for people to read, and names files.
const DOCUMENTS: &[&str] = &[".md", ".toml", ".yaml", ".sh", "Dockerfile"];

/// Folders of the repository that a path begins with.
const FOLDERS: &[&str] = &["benches/", "config/", "docs/", "scripts/", "src/", "tests/"];

/// Of a name that stands for others.
const PLACEHOLDERS: &[&str] = &["*", "NAME", "NNNN", "..."];

/// `[text](target)` and `src="target"` in Markdown lead to a file, and to a heading of it.
pub(crate) fn links(tree: &Tree) -> Vec<Fault> {
    let documents = tree.files.values().filter(|file| is_markdown(&file.path));
    documents.flat_map(|file| links_of(tree, file)).collect()
}

fn links_of(tree: &Tree, file: &File) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (at, target) in targets(&file.text) {
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let to = joined(folder_of(&file.path), path);
        let to = if path.is_empty() { &file.path } else { &to };
        let remedy = "name a file or heading that is there, relative to this file";
        if !exists(tree, to) {
            faults.push(file.fault(at, format!("no {to}"), remedy));
        } else if !anchor.is_empty()
            && is_markdown(to)
            && !headings(&tree.files[to].text).contains(anchor)
        {
            faults.push(file.fault(at, format!("no heading {anchor} in {to}"), remedy));
        }
    }
    faults
}

/// Words of documents, and `docs/` anywhere, that look like paths are paths.
pub(crate) fn paths(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in tree.files.values() {
        // A record names what there was on its day.
        let is_passed_over = ["tests/tidy", "benches/record/", "Cargo.lock"];
        if is_passed_over
            .iter()
            .any(|start| file.path.starts_with(start))
        {
            continue;
        }
        let is_document = DOCUMENTS.iter().any(|end| file.path.ends_with(end))
            || file.path.starts_with("scripts/");
        for (at, word) in path_words(&file.text) {
            let is_ours = FOLDERS.iter().any(|folder| word.starts_with(folder));
            let is_source = word.ends_with(".rs") && is_markdown(&file.path);
            let is_looked_at = (is_document && is_ours) || is_source || word.starts_with("docs/");
            if is_looked_at && !is_named(tree, file, word) {
                let remedy = "name what is there; write NAME for what stands for others";
                faults.push(file.fault(at, format!("no {word}"), remedy));
            }
        }
    }
    faults
}

/// From the root, from `src`, or from where the document is; a decision by its number.
fn is_named(tree: &Tree, file: &File, word: &str) -> bool {
    if word.split('/').any(|part| SKIPPED.contains(&part))
        || PLACEHOLDERS.iter().any(|mark| word.contains(mark))
    {
        return true;
    }
    let places = ["", "src", folder_of(&file.path)];
    places
        .iter()
        .any(|place| exists(tree, &joined(place, word)))
        || (word.starts_with("docs/decisions/")
            && tree.files.keys().any(|path| path.starts_with(word)))
}

fn exists(tree: &Tree, path: &str) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    tree.files.contains_key(path) || tree.files.keys().any(|file| file.starts_with(&folder))
}

fn is_markdown(path: &str) -> bool {
    path.ends_with(".md")
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Where each begins, and what it is; those that lead elsewhere are left out, and blocks of code.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut at, mut in_code) = (0, false);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        for (mark, end) in [("](", ')'), ("src=\"", '"')] {
            for (begin, _) in line.match_indices(mark).filter(|_| !in_code) {
                let rest = &line[begin + mark.len()..];
                if let Some((target, _)) = rest.split_once(end)
                    && !target.contains("://")
                {
                    found.push((at + begin, target));
                }
            }
        }
        at += line.len();
    }
    found
}

/// Anchors, as they are made of headings.
fn headings(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// Words with a slash, less the full stop of a sentence. What is part of an address or of a longer path
/// is none.
fn path_words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_./*-:@$~{}+".contains(c);
    text.split(move |c| !is_part(c)).filter_map(move |word| {
        let at = word.as_ptr().addr() - text.as_ptr().addr();
        let word = word.trim_end_matches(['.', ':']);
        let is_path = word.contains('/') && !word.contains([':', '@', '$', '~', '{', '+']);
        is_path.then_some((at, word))
    })
}
