//! Sockets: listening, accepting, receiving, sending, and what wraps them.
//!
//! Read [`ring`] first, then [`accept`]: a connection's life begins there. This folder knows bytes
//! and addresses; it knows nothing of stanzas, JIDs or modules, except that [`proxy`] asks
//! `proto::proxy` what a PROXY header is.

#[expect(unsafe_code, reason = "the kernel shares rings and buffers with us")]
pub mod ring;
