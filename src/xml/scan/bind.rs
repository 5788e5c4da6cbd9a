//! Namespaces in XML 1.0: what the declarations of a tag bind, and what its prefixes mean.
//!
//! Called at the end of a tag that has either; most have neither, or one `xmlns`.

use super::Limits;
use super::error::Limit;
use super::error::Malformed;
use super::error::ScanError;
use super::head::Attribute;
use super::head::Namespace;
use super::head::Span;
use super::head::XML_NAMESPACE;
use super::head::XMLNS_NAMESPACE;
use super::scope::HEADER_BINDINGS_MAX;
use super::scope::StreamScope;
use super::simd;
use super::tables::Binding;
use super::tables::Tables;
use super::unescape;

/// Ids of the namespaces that the stream's header bound are below; those declared inside the
/// element follow.
const FIRST_ID: u16 = HEADER_BINDINGS_MAX as u16;
/// Id of the namespace of the prefix `xml`.
pub(super) const XML_ID: u16 = u16::MAX;

/// What a prefix means.
struct Meaning {
    namespace: Namespace,
    /// Equal for equal namespaces.
    id: u16,
}

/// Enters the declarations of the tag at hand and resolves its prefixes. Returns the namespace of
/// the element.
#[cold]
pub(super) fn bind(
    tables: &mut Tables,
    input: &[u8],
    limits: &Limits,
    scope: &StreamScope,
) -> Result<Namespace, ScanError> {
    let first = tables.tag.first as usize;
    let mut prefixed = 0;
    for index in first..tables.head.attributes.len() {
        let Some(&attribute) = tables.head.attributes.get(index) else {
            break;
        };
        if attribute.is_xmlns {
            declare(tables, input, limits, scope, attribute)?;
        } else if attribute.prefix_len != 0 {
            prefixed += 1;
        }
    }
    let mut namespace = without_prefix(tables);
    if tables.tag.prefix_len != 0 {
        let start = tables.tag.start;
        let prefix = Span {
            start,
            end: start + u32::from(tables.tag.prefix_len),
        };
        namespace = resolve(tables, input, scope, prefix)?.namespace;
    }
    if prefixed > 0 {
        resolve_attributes(tables, input, scope)?;
    }
    Ok(namespace)
}

/// The namespace of the element at hand if it has no prefix; it is the top-level one or a child.
#[inline(always)]
pub(super) fn without_prefix(tables: &Tables) -> Namespace {
    let own = (tables.tag.default as usize).checked_sub(1);
    match own.and_then(|index| tables.head.attributes.get(index)) {
        Some(xmlns) => Namespace::Declared {
            value: xmlns.value(),
            escaped: xmlns.escaped,
        },
        None if tables.open.is_empty() => Namespace::Inherited,
        None => tables.top_default,
    }
}

/// Enters `xmlns` or `xmlns:prefix`.
fn declare(
    tables: &mut Tables,
    input: &[u8],
    limits: &Limits,
    scope: &StreamScope,
    attribute: Attribute,
) -> Result<(), ScanError> {
    let raw = attribute.value().of(input);
    if holds_separator(input, attribute.value()) {
        return Err(Malformed::NamespaceName.into());
    }
    let is =
        |uri: &str| (attribute.escaped || raw.len() == uri.len()) && unescape::value_is(raw, uri);
    if attribute.prefix_len == 0 {
        let is_reserved = is(XML_NAMESPACE) || is(XMLNS_NAMESPACE);
        return if is_reserved {
            Err(Malformed::NamespaceName.into())
        } else {
            Ok(())
        };
    }
    let prefix = attribute.local();
    match prefix.of(input) {
        b"xmlns" => return Err(Malformed::Prefix.into()),
        b"xml" if is(XML_NAMESPACE) => return Ok(()),
        b"xml" => return Err(Malformed::NamespaceName.into()),
        _ => {}
    }
    if raw.is_empty() || is(XML_NAMESPACE) || is(XMLNS_NAMESPACE) {
        return Err(Malformed::NamespaceName.into());
    }
    let max = if tables.in_header {
        HEADER_BINDINGS_MAX
    } else {
        usize::from(u16::MAX / 2)
    };
    if tables.bindings.len() >= max.min(limits.namespaces_max) {
        return Err(Limit::Namespaces.into());
    }
    let hash = hash(raw);
    let id = id_of(tables, input, scope, raw, hash);
    let (value, escaped) = (attribute.value(), attribute.escaped);
    tables.bindings.push(Binding {
        prefix,
        value,
        escaped,
        id,
        hash,
    });
    Ok(())
}

/// Characters that no URI has (RFC 3986 section 2) and that programs give to expat to stand between a
/// namespace and a name: ElementTree takes `}`, others a space, a line end or `|`.
///
/// COMPAT(expat): it ends the stream of a recipient at a namespace name with the recipient's
/// separator in it, so relaying one would let a client end another's stream.
pub(super) fn may_separate(char: char) -> bool {
    char <= ' ' || matches!(char, '\\' | '^' | '`' | '{' | '|' | '}')
}

/// Whether a namespace name has such a character, also by reference.
fn holds_separator(input: &[u8], value: Span) -> bool {
    let end = value.end as usize;
    let mut at = simd::find::<{ simd::SEPARATOR }>(input, value.start as usize);
    while at < end {
        match input.get(at) {
            // The other quote than that around the value.
            Some(b'\'' | b'"') => at = simd::find::<{ simd::SEPARATOR }>(input, at + 1),
            Some(b'&') => return unescape::decoded(value.of(input)).any(may_separate),
            Some(_) | None => return true,
        }
    }
    false
}

/// FNV-1a of the decoded value: spares comparing long names that differ late.
fn hash(raw: &[u8]) -> u32 {
    unescape::decoded(raw).fold(0x811C_9DC5, |hash, char| {
        (hash ^ u32::from(char)).wrapping_mul(0x0100_0193)
    })
}

/// The id of a namespace: that of the outermost binding that means the same.
fn id_of(tables: &Tables, input: &[u8], scope: &StreamScope, raw: &[u8], hash: u32) -> u16 {
    let mut outer = scope.bindings().take(HEADER_BINDINGS_MAX);
    if let Some((index, ..)) = outer.find(|(.., uri)| unescape::value_is(raw, uri)) {
        return index as u16;
    }
    let mut inner = tables.bindings.iter();
    let same = inner.find(|binding| {
        binding.hash == hash && unescape::values_equal(binding.value.of(input), raw)
    });
    same.map_or(FIRST_ID + tables.bindings.len() as u16, |binding| {
        binding.id
    })
}

/// What a prefix means here: innermost declaration first, then the stream's header.
fn resolve(
    tables: &mut Tables,
    input: &[u8],
    scope: &StreamScope,
    prefix: Span,
) -> Result<Meaning, ScanError> {
    let name = prefix.of(input);
    match name {
        b"xml" => {
            return Ok(Meaning {
                namespace: Namespace::Xml,
                id: XML_ID,
            });
        }
        b"xmlns" => return Err(Malformed::Prefix.into()),
        _ => {}
    }
    let mut bindings = tables.bindings.iter().rev();
    if let Some(found) = bindings.find(|binding| binding.prefix.of(input) == name) {
        let namespace = Namespace::Declared {
            value: found.value,
            escaped: found.escaped,
        };
        return Ok(Meaning {
            namespace,
            id: found.id,
        });
    }
    let index = scope.lookup(name).ok_or(Malformed::Prefix)?;
    tables.head.header_prefixes_used |= 1 << index;
    let uri = scope.uri(index);
    let mut equal = scope.bindings().take(HEADER_BINDINGS_MAX);
    let first = equal.find(|&(.., other)| Some(other) == uri);
    let id = first.map_or_else(|| index.into(), |(first, ..)| first as u16);
    Ok(Meaning {
        namespace: Namespace::Stream(index),
        id,
    })
}

/// Resolves the prefixes of the attributes: no two may have the same local name and namespace.
fn resolve_attributes(
    tables: &mut Tables,
    input: &[u8],
    scope: &StreamScope,
) -> Result<(), ScanError> {
    let first = tables.tag.first as usize;
    for index in first..tables.head.attributes.len() {
        let Some(&attribute) = tables.head.attributes.get(index) else {
            break;
        };
        if attribute.is_xmlns || attribute.prefix_len == 0 {
            continue;
        }
        let id = resolve(tables, input, scope, attribute.prefix())?.id;
        let earlier = tables.head.attributes.get(first..index).unwrap_or_default();
        let local = attribute.local().of(input);
        let is_same = |other: &Attribute| {
            other.prefix_len != 0
                && !other.is_xmlns
                && other.namespace_id == id
                && other.local().of(input) == local
        };
        if earlier.iter().any(is_same) {
            return Err(Malformed::DuplicateAttribute.into());
        }
        if let Some(attribute) = tables.head.attributes.get_mut(index) {
            attribute.namespace_id = id;
        }
    }
    Ok(())
}
