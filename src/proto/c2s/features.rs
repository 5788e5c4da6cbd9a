//! `<stream:features/>` for clients, in the order of XEP-0170.

use crate::proto::ns;
use crate::proto::sasl::Mechanism;

/// What a listener offers on a connection.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// The served hosts, prepared.
    pub hosts: &'a [Box<str>],
    /// The host that speaks before the client has named one.
    pub default_host: &'a str,
    /// `xml:lang` of our streams.
    pub language: &'a str,
    /// STARTTLS is offered.
    pub starttls: bool,
    /// Nothing goes before TLS.
    pub tls_required: bool,
    /// Mechanisms on a connection without TLS.
    pub clear: &'a [Mechanism],
    /// Mechanisms on a connection with TLS.
    pub secure: &'a [Mechanism],
    /// Registration before login.
    pub registration: bool,
    /// `backwards_compatible_session`.
    pub session: bool,
    /// The host's capabilities (XEP-0115) as they are written.
    pub capabilities: Option<&'a str>,
}

impl Offer<'_> {
    /// The mechanisms that may be used now.
    pub fn mechanisms(&self, secured: bool) -> &[Mechanism] {
        match (secured, self.tls_required) {
            (true, _) => self.secure,
            (false, false) => self.clear,
            (false, true) => &[],
        }
    }
}

/// Writes the features that follow a header.
pub fn write(offer: &Offer<'_>, secured: bool, authenticated: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<stream:features>");
    if authenticated {
        empty("bind", ns::BIND, out);
        if offer.session {
            out.extend_from_slice(b"<session xmlns='");
            out.extend_from_slice(ns::SESSION.as_bytes());
            out.extend_from_slice(b"'><optional/></session>");
        }
        // Only whoever has logged in learns what there is.
        out.extend_from_slice(offer.capabilities.unwrap_or_default().as_bytes());
    } else {
        before_login(offer, secured, out);
    }
    out.extend_from_slice(b"</stream:features>");
}

fn before_login(offer: &Offer<'_>, secured: bool, out: &mut Vec<u8>) {
    if offer.starttls && !secured {
        out.extend_from_slice(b"<starttls xmlns='");
        out.extend_from_slice(ns::TLS.as_bytes());
        out.extend_from_slice(if offer.tls_required {
            b"'><required/></starttls>"
        } else {
            b"'/>"
        });
    }
    let mechanisms = offer.mechanisms(secured);
    if !mechanisms.is_empty() {
        out.extend_from_slice(b"<mechanisms xmlns='");
        out.extend_from_slice(ns::SASL.as_bytes());
        out.extend_from_slice(b"'>");
        for mechanism in mechanisms {
            out.extend_from_slice(b"<mechanism>");
            out.extend_from_slice(mechanism.name().as_bytes());
            out.extend_from_slice(b"</mechanism>");
        }
        out.extend_from_slice(b"</mechanisms>");
    }
    if offer.registration && (secured || !offer.tls_required) {
        empty("register", ns::REGISTER_FEATURE, out);
    }
}

fn empty(name: &str, namespace: &str, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b" xmlns='");
    out.extend_from_slice(namespace.as_bytes());
    out.extend_from_slice(b"'/>");
}
