//! XML as XMPP restricts it (RFC 6120 section 11): bytes in, verdicts and offsets out.
//!
//! Start with [`scan::Scanner`], which finds where the next top-level element of a stream ends and
//! vouches for its well-formedness. Nothing here builds a tree: a stanza stays the bytes that its
//! sender wrote, and whoever wants a part of it gets offsets.

pub mod element;
pub mod scan;
pub mod write;
