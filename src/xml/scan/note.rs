//! What is kept of tags: the top-level one, the first one inside, and who is in the default
//! namespace of the stream.
//!
//! Off the ordinary way: most tags further inside have nothing of note.

use super::Limits;
use super::bind;
use super::error::ScanError;
use super::head::Name;
use super::head::Namespace;
use super::head::Span;
use super::scope::StreamScope;
use super::tables::Tables;
use super::tables::Tag;

impl Tables {
    /// The tag at hand is to be handed to [`note`].
    #[inline(always)]
    pub(super) fn tag_is_of_note(&self) -> bool {
        let is_outer = match self.open.len() {
            0 => true,
            1 => self.head.children == 0,
            _ => false,
        };
        is_outer || self.tag.is_bound || !self.head.inherits_default
    }
}

/// At the end of a tag, behind its `>`: takes note of it if all it takes is to remember it. All but
/// counting a child.
#[inline(always)]
pub(super) fn note_plain(tables: &mut Tables, input: &[u8], end: usize, is_empty: bool) -> bool {
    let depth = tables.open.len();
    let is_stream = || {
        let name = input.get(tables.tag.start as usize..).unwrap_or_default();
        tables.tag.name_len == 6 && name.starts_with(b"stream")
    };
    if tables.tag.is_bound || depth == 0 && (tables.in_header || is_stream()) {
        return false;
    }
    let namespace = bind::without_prefix(tables);
    match depth {
        0 => {
            tables.head.header_prefixes_used = 0;
            tables.head.inherits_default = tables.tag.default == 0;
            tables.default_depth = usize::from(tables.tag.default != 0 && !is_empty);
            keep_top(tables, namespace, end, is_empty);
            tables.top_default = namespace;
        }
        1 => {
            inherit(tables, depth, is_empty);
            if tables.head.children == 0 {
                tables.head.first_child = Some(plain_name_of(tables.tag, namespace));
            }
        }
        _ => inherit(tables, depth, is_empty),
    }
    true
}

/// At the end of a tag, behind its `>`: resolves prefixes, takes note of it, and opens it.
pub(super) fn note(
    tables: &mut Tables,
    input: &[u8],
    limits: &Limits,
    scope: &StreamScope,
    end: usize,
    is_empty: bool,
) -> Result<(), ScanError> {
    let depth = tables.open.len();
    let outer_bindings = tables.bindings.len();
    if depth == 0 {
        tables.head.header_prefixes_used = 0;
        tables.head.inherits_default = false;
    }
    let namespace = if tables.tag.is_bound {
        bind::bind(tables, input, limits, scope)?
    } else {
        bind::without_prefix(tables)
    };
    inherit(tables, depth, is_empty);
    match depth {
        0 => top(tables, input, scope, namespace, end, is_empty)?,
        1 => {
            tables.head.children += 1;
            if tables.head.children == 1 {
                tables.head.first_child = Some(name_of(tables.tag, namespace));
            }
        }
        _ => {}
    }
    if is_empty {
        tables.bindings.truncate(outer_bindings);
    } else if !tables.in_header {
        tables.open_tag(outer_bindings);
    }
    Ok(())
}

/// Keeps the top-level tag.
fn top(
    tables: &mut Tables,
    input: &[u8],
    scope: &StreamScope,
    namespace: Namespace,
    end: usize,
    is_empty: bool,
) -> Result<(), ScanError> {
    let name = name_of(tables.tag, namespace);
    if name.local.of(input) == b"stream" && !tables.in_header && scope.is_streams(namespace, input)
    {
        return Err(ScanError::UnexpectedHeader);
    }
    tables.top_default = bind::without_prefix(tables);
    keep_top(tables, namespace, end, is_empty);
    tables.head.name = name;
    Ok(())
}

#[inline(always)]
fn keep_top(tables: &mut Tables, namespace: Namespace, end: usize, is_empty: bool) {
    let head = &mut tables.head;
    head.name = plain_name_of(tables.tag, namespace);
    head.tag_end = end;
    head.self_closing = is_empty;
    head.first_child = None;
    head.children = 0;
    head.attributes_len = head.attributes.len();
    tables.first = head.attributes_len;
}

/// Notes whether the element, which stands at `depth`, is in the stream's default namespace.
#[inline(always)]
fn inherit(tables: &mut Tables, depth: usize, is_empty: bool) {
    if tables.head.inherits_default {
        return;
    }
    if tables.tag.default != 0 {
        if tables.default_depth == 0 && !is_empty {
            tables.default_depth = depth + 1;
        }
    } else if tables.default_depth == 0 && tables.tag.prefix_len == 0 {
        tables.head.inherits_default = true;
    }
}

/// The name of a tag, which has no prefix.
#[inline(always)]
fn plain_name_of(tag: Tag, namespace: Namespace) -> Name {
    let (start, end) = (tag.start, tag.start + u32::from(tag.name_len));
    Name {
        prefix: Span { start, end: start },
        local: Span { start, end },
        namespace,
    }
}

/// The name of a tag.
#[inline(always)]
fn name_of(tag: Tag, namespace: Namespace) -> Name {
    let Tag {
        start,
        name_len,
        prefix_len,
        ..
    } = tag;
    let skipped = if prefix_len == 0 {
        0
    } else {
        u32::from(prefix_len) + 1
    };
    Name {
        prefix: Span {
            start,
            end: start + u32::from(prefix_len),
        },
        local: Span {
            start: start + skipped,
            end: start + u32::from(name_len),
        },
        namespace,
    }
}
