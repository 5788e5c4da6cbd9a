//! What the server keeps: row types and one trait for each area (accounts, small things that
//! belong to them such as contacts, and messages that wait for them), without a word of SQL.
//!
//! Read `accounts::AccountStore` first. A backend implements the trait on a thread of its own;
//! [`memory`] implements it in a map and is the reference that every backend is compared with.
//!
//! Invariants:
//! - A key is prepared before it gets here (see [`AccountId`]): stores compare bytes.
//! - A request is a value ([`Request`]), and so is its answer ([`Response`]): both cross threads.
//! - An answer to a write means that the write survives a crash of the machine.
//!
//! Deliberately not here: files, threads, waiting, and deciding what a password is worth (`auth`).

pub mod accounts;
#[cfg(test)]
pub(crate) mod conformance;
pub mod data;
mod error;
pub mod memory;
pub mod offline;

pub use accounts::AccountId;
pub use accounts::AccountRow;
pub use accounts::AccountStore;
pub use accounts::Opening;
pub use accounts::Request;
pub use accounts::Response;
pub use accounts::Wanted;
pub use error::StoreError;
