//! `[shaper.NAME]`: how fast input is read.

use super::option::Kind;
use super::option::Unwritten;
use super::option::options;

options! {
    /// `[shaper.NAME]`.
    Shaper {
        /// Bytes a second; also the size of the bucket, which starts full. For archive queries,
        /// queries a second.
        max_rate: u64 = Kind::POSITIVE, Unwritten::Required;
    }
}
