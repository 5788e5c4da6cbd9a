//! SASL (RFC 4422) as XMPP carries it (RFC 6120 section 6): the server's side, without accounts.
//!
//! [`exchange::Exchange`] is the machine: bytes of the client go in, a [`exchange::Step`] comes
//! out. It asks for what it cannot know (the keys of a user, the verdict on a password, a nonce)
//! and is told later. Who may log in, what an unknown user looks like, and threads that may take
//! milliseconds are the affair of `auth` and the driver.
//!
//! Invariants: nothing here tells a known user from an unknown one, secrets are compared in
//! constant time and never printed, and whatever the client sends is bounded by
//! [`exchange::MESSAGE_BYTES_MAX`].
//!
//! Deliberately not here: EXTERNAL, channel binding (the `-PLUS` names do not parse, and the flag
//! `p` is refused), and mechanisms that are broken.

pub mod base64;
pub mod exchange;
pub mod failure;
pub mod keys;
mod mechanism;
mod plain;
mod scram;

#[cfg(test)]
mod tests;

pub use mechanism::Mechanism;
