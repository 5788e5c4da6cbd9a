//! What a client says, and what it waits for before it says the next thing.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Something to say, and what the answer has in it once it is whole.
#[derive(Debug)]
pub(crate) struct Step {
    /// The bytes to send.
    pub(crate) say: Vec<u8>,
    /// In the answer, which ends with `>`.
    pub(crate) until: &'static [u8],
}

/// How far a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Stream header and features.
    Stream,
    /// SASL PLAIN as well.
    Login,
    /// Second stream, binding, the session request and presence as well.
    Session,
}

/// The steps of the client with this number.
pub(crate) fn steps(depth: Depth, domain: &str, number: usize) -> Vec<Step> {
    let step = |say: &str, until| Step {
        say: say.as_bytes().to_vec(),
        until,
    };
    let header = format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='{domain}' version='1.0' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    );
    let mut steps = vec![step(&header, b"</stream:features>".as_slice())];
    if depth >= Depth::Login {
        let plain = BASE64_STANDARD.encode(format!("\0user{number}\0secret"));
        let auth = format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
        );
        steps.push(step(&auth, b"<success"));
    }
    if depth >= Depth::Session {
        steps.push(step(&header, b"</stream:features>"));
        let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                    <resource>desk</resource></bind></iq>";
        steps.push(step(bind, b"</iq>"));
        let session =
            "<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>";
        steps.push(step(session, b"<iq"));
        steps.push(step("<presence/>", b"<presence"));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deeper_client_says_more() {
        let counts =
            [Depth::Stream, Depth::Login, Depth::Session].map(|d| steps(d, "localhost", 7).len());
        assert_eq!(counts, [1, 2, 6]);
    }

    #[test]
    fn the_password_is_that_of_its_number() {
        let steps = steps(Depth::Login, "localhost", 7);
        let auth = String::from_utf8_lossy(&steps[1].say).into_owned();
        let plain = BASE64_STANDARD.encode("\0user7\0secret");
        assert!(auth.contains(&plain), "{auth}");
    }
}
