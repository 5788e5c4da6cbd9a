//! `[[listen.s2s]]`: servers that connect to us.

use super::address::Everywhere;
use super::address::XMPP;
use super::tls;
use super::tls::Tls;
use crate::config::option::Kind;
use crate::config::option::Schema;
use crate::config::option::Unwritten;
use crate::config::option::options;

options! {
    /// Options of s2s listeners alone.
    S2s {
        /// Certificate, key and rules of TLS. Absent: what `[s2s]` says in the 6.3 manner, else
        /// none.
        tls: Option<Tls> = Kind::Section(&tls::XMPP), Unwritten::Unset("see s2s.use_starttls");
    }
}

/// Keys of an s2s listener.
pub(crate) const SCHEMA: Schema = Schema {
    groups: &[Everywhere::OPTIONS, XMPP, S2s::OPTIONS],
};
