//! The stream itself: its header, its features, its errors (RFC 6120 section 4).

pub mod error;
pub mod framing;
pub mod header;
