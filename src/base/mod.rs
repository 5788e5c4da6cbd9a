//! What the standard library lacks: timers, buckets, limits, names. No word of XMPP.
//!
//! Read [`timer_wheel`] first; the rest are leaves. Not here: sockets, threads, clocks (time comes in
//! as milliseconds).

pub mod address_limits;
pub mod address_pauses;
pub mod data_dir;
pub mod key;
pub mod timer_wheel;
pub mod token_bucket;
