//! Sockets: listening, accepting, receiving, sending, and what wraps them.
//!
//! Read [`ring`] first, then [`accept`]: a connection's life begins there. [`preflight`] asks the
//! kernel before anything depends on its answer. This folder knows bytes and addresses; it knows
//! nothing of stanzas, JIDs or modules.

pub mod accept;
pub mod cgroups;
pub mod cpus;
pub mod dial;
pub mod gate;
pub mod preflight;
pub mod resolve;
#[expect(unsafe_code, reason = "the kernel shares rings and buffers with us")]
pub mod ring;
pub mod socket;
pub mod tls;
