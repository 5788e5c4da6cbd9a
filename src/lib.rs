//! meerkat: an XMPP server for Linux, one executor per core.
//!
//! Two towers and a meeting place. The pure tower knows XMPP and no socket: [`xml`] and [`jid`] are
//! bytes and addresses, [`proto`] the protocol as machines, [`config`] the operator's file, [`store`]
//! and [`auth`] who may log in, [`session`] and [`route`] who is here and who gets what, [`modules`]
//! the features. The other tower knows io_uring and no XMPP: [`runtime`] starts a shard on each core,
//! [`net`] is its sockets, [`backend`] its database. They meet in [`listeners`], where a connection's
//! bytes become stanzas. [`cli`] and [`server`] start it all.
//!
//! Imports only go downwards; `tests/tidy.rs` holds the table. docs/ARCHITECTURE.md follows one
//! message from socket to socket.

#![deny(unsafe_code)]

pub mod auth;
pub mod backend;
pub mod base;
pub mod cli;
pub mod config;
pub mod jid;
pub mod listeners;
pub mod metrics;
pub mod modules;
pub mod net;
pub mod proto;
pub mod route;
pub mod runtime;
pub mod server;
pub mod session;
pub mod store;
pub mod xml;
