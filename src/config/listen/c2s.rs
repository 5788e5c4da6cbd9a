//! `[[listen.c2s]]`: clients.

use super::address::Everywhere;
use super::address::XMPP;
use super::tls;
use super::tls::Tls;
use crate::config::auth::Method;
use crate::config::option::Kind;
use crate::config::option::Repeats;
use crate::config::option::Schema;
use crate::config::option::Unwritten;
use crate::config::option::options;
use crate::config::source::Sited;

options! {
    /// Options of c2s listeners alone.
    C2s {
        /// Rule of `[access]` that decides, by the full JID, who may open a session; "all":
        /// everybody.
        access: Sited<String> = Kind::Name, Unwritten::Text("all");
        /// Offer the session request of RFC 3921, as optional, for old clients.
        backwards_compatible_session: bool = Kind::Bool, Unwritten::Bool(true);
        /// Methods of `[auth]` that may be used here.
        allowed_auth_methods: Option<Vec<Sited<Method>>> =
            Kind::List(&Kind::OneOf(Method::WORDS), Repeats::Refused),
            Unwritten::Unset("all that [auth] configures");
        /// Certificate, key and rules of TLS. Absent: no TLS is offered.
        tls: Option<Tls> = Kind::Section(&tls::XMPP), Unwritten::Unset("no TLS");
    }
}

/// Keys of a c2s listener.
pub(crate) const SCHEMA: Schema = Schema {
    groups: &[Everywhere::OPTIONS, XMPP, C2s::OPTIONS],
};
