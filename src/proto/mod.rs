//! The protocol, without input or output: bytes and answers go in, bytes and orders come out.
//!
//! A machine ([`c2s::negotiate::Negotiation`] is the one to read) takes one input at a time, appends
//! what is to be sent to the output it is given, and returns an order for what it cannot do itself:
//! start TLS, look somebody up, bind, end. The driver carries the order out and comes back with the
//! answer. Time, randomness and sockets come from outside, so that a test needs none of them.

pub mod bosh;
pub mod c2s;
pub mod ns;
pub mod proxy;
pub mod s2s;
pub mod sasl;
pub mod service;
pub mod stanza;
pub mod stream;
pub mod websocket;
