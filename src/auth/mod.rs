//! Who may log in, decided: which mechanisms are offered, what a new password is stored as, whether
//! a password is right.
//!
//! Read [`offer::AuthRules`] first. Everything here is a value in and a value out; what takes long
//! (PBKDF2) is returned as work for another thread ([`password::Work`]), never done on the way.
//!
//! Invariants:
//! - A user that does not exist is answered like one with a wrong password: the same mechanisms, a
//!   salt that stays the same ([`decoy`]), the same amount of work.
//! - Passwords are compared in constant time and appear in no `Debug` output.
//! - A wrong password costs the whole computation, a right one only the first time ([`verified`]).
//!
//! Not here: the SASL exchanges (`proto::sasl`), stores, and methods that ask an outside service.

pub mod anonymous;
pub mod decoy;
pub mod offer;
pub mod password;
pub mod verified;
