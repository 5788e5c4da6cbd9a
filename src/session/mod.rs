//! The sessions of one shard: who is here, with which resources, and how to reach them.
//!
//! Read [`table`]. Every user has one owner shard, so this table alone answers "who gets this?" for
//! its users; nothing here is shared or locked. Not here: sockets and streams (a session names its
//! connection by a key).

pub mod blocklist;
pub mod flushes;
pub mod roster;
pub mod rosters;
pub mod subscription;
pub mod table;
