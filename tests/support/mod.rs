//! What integration tests share: a server in this process, scripted clients, trees of XML.
//!
//! Read `play.rs` first: it carries out a dialogue line by line. Nothing here sleeps; whatever is
//! waited for has a deadline.

pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod pattern;
pub(crate) mod play;
pub(crate) mod scram;
pub(crate) mod script;
pub(crate) mod site;
pub(crate) mod tree;
