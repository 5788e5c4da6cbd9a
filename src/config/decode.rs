//! From nodes to typed values.
//!
//! [`super::check`] has reported everything that is wrong with the tree by itself; here a value
//! that did not pass simply becomes the type's empty value, so that the rules that look at several
//! options can still run and find their own errors in the same go. A file with errors yields no
//! configuration, so such a value is never used.

use std::collections::BTreeMap;

use super::option::Opt;
use super::option::Unwritten;
use super::source::Sited;
use super::tree::Entry;
use super::tree::Node;
use super::tree::Value;
use super::values::Bound;
use super::values::Cidr;
use super::values::Secret;

/// Types that can be read from a node.
pub(crate) trait Decode: Default {
    /// `None` where the node is of another kind.
    fn decode(node: &Node) -> Option<Self>;
}

/// Reads the next option of a declaration from its section.
pub(crate) fn read_next<T: Decode>(section: &Node, options: &mut std::slice::Iter<'_, Opt>) -> T {
    options
        .next()
        .map_or_else(T::default, |option| read(section, option))
}

/// Reads `option` from `section`, or what holds where it is not written.
pub(crate) fn read<T: Decode>(section: &Node, option: &Opt) -> T {
    let written = find(section, option).map(|entry| T::decode(&entry.node));
    let value = written.unwrap_or_else(|| {
        let place = section.place.below(option.key);
        unwritten(&option.unwritten).and_then(|value| T::decode(&Node::made(place, value)))
    });
    value.unwrap_or_default()
}

/// The entry of `option` under any of its names.
pub(crate) fn find<'a>(section: &'a Node, option: &Opt) -> Option<&'a Entry> {
    section
        .entries()
        .iter()
        .find(|entry| option.is_called(&entry.key))
}

fn unwritten(default: &Unwritten) -> Option<Value> {
    match default {
        Unwritten::Required | Unwritten::Unset(_) => None,
        Unwritten::Int(value) => Some(Value::Integer(Some(*value))),
        Unwritten::Bool(value) => Some(Value::Boolean(*value)),
        Unwritten::Text(text) => Some(Value::Text((*text).to_owned())),
        Unwritten::Empty => Some(Value::Array(Vec::new())),
        Unwritten::Section => Some(Value::Table(Vec::new())),
    }
}

/// The string of a node.
pub(crate) fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text),
        Value::Integer(_)
        | Value::Float
        | Value::Boolean(_)
        | Value::Time
        | Value::Array(_)
        | Value::Table(_) => None,
    }
}

/// The integer of a node.
pub(crate) fn integer(node: &Node) -> Option<i64> {
    match &node.value {
        Value::Integer(value) => *value,
        Value::Text(_)
        | Value::Float
        | Value::Boolean(_)
        | Value::Time
        | Value::Array(_)
        | Value::Table(_) => None,
    }
}

impl Decode for bool {
    fn decode(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Boolean(value) => Some(*value),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float
            | Value::Time
            | Value::Array(_)
            | Value::Table(_) => None,
        }
    }
}

macro_rules! decode_integers {
    ($($type:ty)+) => {
        $(
            impl Decode for $type {
                fn decode(node: &Node) -> Option<Self> {
                    integer(node).and_then(|value| Self::try_from(value).ok())
                }
            }
        )+
    };
}

decode_integers!(u8 u16 u64 i64 usize);

/// What is larger than any machine can reach counts as the largest number.
impl Decode for u32 {
    fn decode(node: &Node) -> Option<Self> {
        let value = u64::try_from(integer(node)?).ok()?;
        Some(Self::try_from(value).unwrap_or(Self::MAX))
    }
}

impl Decode for String {
    fn decode(node: &Node) -> Option<Self> {
        text(node).map(str::to_owned)
    }
}

impl Decode for Secret {
    fn decode(node: &Node) -> Option<Self> {
        text(node).map(Self::new)
    }
}

impl Decode for Cidr {
    fn decode(node: &Node) -> Option<Self> {
        Self::parse(text(node)?).ok()
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node) -> Option<Self> {
        T::decode(node).map(Some)
    }
}

impl<T: Decode> Decode for Bound<T> {
    fn decode(node: &Node) -> Option<Self> {
        if text(node) == Some("infinity") {
            return Some(Self::Infinity);
        }
        T::decode(node).map(Self::At)
    }
}

impl<T: Decode> Decode for Sited<T> {
    fn decode(node: &Node) -> Option<Self> {
        T::decode(node).map(|value| Self {
            value,
            place: node.place.clone(),
        })
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node) -> Option<Self> {
        Some(node.elements().iter().filter_map(T::decode).collect())
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node) -> Option<Self> {
        let value = |entry: &Entry| Some((entry.key.clone(), T::decode(&entry.node)?));
        Some(node.entries().iter().filter_map(value).collect())
    }
}

impl Decode for () {
    fn decode(_: &Node) -> Option<Self> {
        Some(())
    }
}
