//! Compares what came with what a dialogue expects.
//!
//! `{any}` in a value or text stands for anything, `{name}` for anything that is then kept under
//! that name and has to be the same from there on. The text `...` stands for all that may follow in
//! its element.

use std::collections::BTreeMap;

use super::tree::Item;
use super::tree::Node;
use super::tree::Tree;

/// What names stand for.
pub(crate) type Values = BTreeMap<String, String>;

/// Compares items; what was captured is added to `values` only if they match.
pub(crate) fn matches(expected: &Item, got: &Item, values: &mut Values) -> bool {
    let mut captured = values.clone();
    let is_match = match (expected, got) {
        (Item::Header(expected), Item::Header(got))
        | (Item::Element(expected), Item::Element(got)) => tree(expected, got, &mut captured),
        (Item::End, Item::End) => true,
        (Item::Header(_) | Item::Element(_) | Item::End, _) => false,
    };
    if is_match {
        *values = captured;
    }
    is_match
}

fn tree(expected: &Tree, got: &Tree, values: &mut Values) -> bool {
    expected.name == got.name
        && expected.attributes.len() == got.attributes.len()
        && expected.attributes.iter().all(|(name, expected)| {
            got.attributes
                .get(name)
                .is_some_and(|got| text(expected, got, values))
        })
        && nodes(&expected.nodes, &got.nodes, values)
}

fn nodes(expected: &[Node], got: &[Node], values: &mut Values) -> bool {
    let Some((first, rest)) = expected.split_first() else {
        return got.is_empty();
    };
    match first {
        Node::Text(rest) if rest.trim() == "..." => true,
        // An element with text that may be absent.
        Node::Text(expected) if expected == "{any}" && got.is_empty() => true,
        Node::Text(expected) => match got.split_first() {
            Some((Node::Text(got), others)) => {
                text(expected, got, values) && nodes(rest, others, values)
            }
            Some((Node::Element(_), _)) | None => false,
        },
        Node::Element(expected) => match got.split_first() {
            Some((Node::Element(got), others)) => {
                tree(expected, got, values) && nodes(rest, others, values)
            }
            Some((Node::Text(_), _)) | None => false,
        },
    }
}

/// A name in braces that `text` holds: what is before it, the name, what is behind it.
fn braces(text: &str) -> Option<(&str, &str, &str)> {
    for (start, _) in text.match_indices('{') {
        let (before, rest) = text.split_at(start);
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if let Some((name, behind)) = rest.get(1..)?.split_once('}')
            && !name.is_empty()
            && name.chars().all(is_part)
        {
            return Some((before, name, behind));
        }
    }
    None
}

fn text(expected: &str, got: &str, values: &mut Values) -> bool {
    let Some((before, name, behind)) = braces(expected) else {
        return expected == got;
    };
    let Some(got) = got.strip_prefix(before) else {
        return false;
    };
    if let Some(known) = values.get(name).cloned() {
        return got
            .strip_prefix(&*known)
            .is_some_and(|rest| text(behind, rest, values));
    }
    let ends = (1..=got.len()).filter(|end| got.is_char_boundary(*end));
    for end in ends {
        let mut captured = values.clone();
        if name != "any" {
            captured.insert(name.to_owned(), got[..end].to_owned());
        }
        if text(behind, &got[end..], &mut captured) {
            *values = captured;
            return true;
        }
    }
    false
}

/// Puts what is known under a name in its place.
pub(crate) fn fill_in(text: &str, values: &Values) -> String {
    let Some((before, name, behind)) = braces(text) else {
        return text.to_owned();
    };
    let value = match values.get(name) {
        Some(value) => value.clone(),
        None => format!("{{{name}}}"),
    };
    format!("{before}{value}{}", fill_in(behind, values))
}
