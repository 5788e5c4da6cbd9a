//! meerkat: an XMPP server for Linux.
#![deny(unsafe_code)]

pub mod net;
pub mod runtime;
