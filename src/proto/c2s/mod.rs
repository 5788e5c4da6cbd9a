//! Client streams: from the first byte to the bound resource (RFC 6120 sections 4 to 7).

pub mod features;
pub mod negotiate;
