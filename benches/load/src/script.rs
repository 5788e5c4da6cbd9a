//! What a client says, and what it waits for before it says the next thing.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;

use crate::frames::Frames;
use crate::scram;
use crate::scram::Hash;

/// Password of every user.
pub(crate) const PASSWORD: &str = "secret";
/// The resource that clients bind.
pub(crate) const RESOURCE: &str = "desk";

/// What a client does.
#[derive(Debug)]
pub(crate) enum Act {
    /// Says this.
    Say(Vec<u8>),
    /// The same, in WebSocket frames from here on.
    Frame(Vec<u8>),
    /// Begins TLS.
    Secure,
    /// Answers the challenge of SCRAM.
    Prove(Hash),
    /// Closes its own side of the connection.
    Finish,
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// This is in an answer that is whole.
    Text(&'static [u8]),
    /// TLS is ready.
    Secure,
    /// The server has closed, or has said this last.
    End(&'static [u8]),
}

/// One step.
#[derive(Debug)]
pub(crate) struct Step {
    /// First this,
    pub(crate) act: Act,
    /// then that.
    pub(crate) until: Until,
    /// What the answer before has to hold: something that is offered.
    pub(crate) needs: Option<&'static [u8]>,
}

/// How far a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Connects, and closes when the server has taken it.
    Connect,
    /// Stream header and features.
    Stream,
    /// SASL as well.
    Login,
    /// Second stream, binding, the session request and presence as well.
    Session,
}

/// How it proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mechanism {
    /// PLAIN
    Plain,
    /// SCRAM-SHA-1
    #[value(name = "scram-sha-1")]
    ScramSha1,
    /// SCRAM-SHA-256
    #[value(name = "scram-sha-256")]
    ScramSha256,
    /// PLAIN by SASL2 (XEP-0388)
    Sasl2,
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tls {
    /// Never
    None,
    /// When the server has offered it
    Starttls,
    /// With the first byte
    Direct,
}

/// How clients behave, whoever they are.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// The host of the users.
    pub(crate) domain: String,
    /// How they log in.
    pub(crate) mechanism: Mechanism,
    /// When TLS begins.
    pub(crate) tls: Tls,
    /// Path of the WebSocket, where it is one.
    pub(crate) websocket: Option<String>,
}

impl Manner {
    /// The steps of the client with this number.
    pub(crate) fn steps(&self, depth: Depth, number: usize) -> Vec<Step> {
        let mut steps = Vec::with_capacity(8);
        if self.tls == Tls::Direct {
            steps.push(Step {
                act: Act::Secure,
                until: Until::Secure,
                needs: None,
            });
        }
        if depth == Depth::Connect {
            steps.push(Step {
                act: Act::Finish,
                until: Until::End(b"</stream:stream>"),
                needs: None,
            });
            return steps;
        }
        if self.tls == Tls::Starttls {
            steps.push(say(self.header(), FEATURES));
            let start = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec();
            steps.push(Step {
                needs: Some(b"<starttls"),
                ..say(start, b"<proceed")
            });
            steps.push(Step {
                act: Act::Secure,
                until: Until::Secure,
                needs: None,
            });
        }
        if let Some(path) = &self.websocket {
            steps.push(say(Frames::request(path, &self.domain), b"\r\n\r\n"));
            steps.push(Step {
                act: Act::Frame(self.header()),
                until: Until::Text(FEATURES),
                needs: Some(b" 101 "),
            });
        } else {
            steps.push(say(self.header(), FEATURES));
        }
        if depth >= Depth::Login {
            self.log_in(number, depth, &mut steps);
        }
        if depth >= Depth::Session {
            self.open_session(&mut steps);
        }
        steps
    }

    /// The step of a client that says goodbye.
    pub(crate) fn leave(&self) -> Step {
        let (last, until): (&[u8], &[u8]) = if self.websocket.is_some() {
            (
                b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
                b"<close",
            )
        } else {
            (b"</stream:stream>", b"</stream:stream>")
        };
        Step {
            act: Act::Say(last.to_vec()),
            until: Until::End(until),
            needs: None,
        }
    }

    /// What the first tag of a stanza declares: in frames there is no stream that does.
    pub(crate) fn xmlns(&self) -> &'static str {
        if self.websocket.is_some() {
            " xmlns='jabber:client'"
        } else {
            ""
        }
    }

    fn header(&self) -> Vec<u8> {
        let domain = &self.domain;
        if self.websocket.is_some() {
            return format!(
                "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{domain}' version='1.0'/>"
            )
            .into_bytes();
        }
        format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='{domain}' \
             version='1.0' xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        .into_bytes()
    }

    fn log_in(&self, number: usize, depth: Depth, steps: &mut Vec<Step>) {
        const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
        let auth = |name: &str, first: &str| {
            format!("<auth xmlns='{SASL}' mechanism='{name}'>{first}</auth>").into_bytes()
        };
        let plain = || BASE64_STANDARD.encode(format!("\0user{number}\0{PASSWORD}"));
        let mut scram = |hash, name, offer| {
            steps.push(Step {
                needs: Some(offer),
                ..say(auth(name, &scram::first(number)), b"</challenge>")
            });
            steps.push(Step {
                act: Act::Prove(hash),
                until: Until::Text(b"<success"),
                needs: None,
            });
        };
        match self.mechanism {
            Mechanism::ScramSha1 => scram(Hash::Sha1, "SCRAM-SHA-1", b">SCRAM-SHA-1<"),
            Mechanism::ScramSha256 => scram(Hash::Sha256, "SCRAM-SHA-256", b">SCRAM-SHA-256<"),
            Mechanism::Plain => steps.push(Step {
                needs: Some(b">PLAIN<"),
                ..say(auth("PLAIN", &plain()), b"<success")
            }),
            Mechanism::Sasl2 => {
                let request = format!(
                    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{}\
                     </initial-response></authenticate>",
                    plain()
                );
                // Features follow by themselves.
                let until: &[u8] = if depth > Depth::Login {
                    FEATURES
                } else {
                    b"<success"
                };
                steps.push(Step {
                    act: Act::Say(request.into_bytes()),
                    until: Until::Text(until),
                    needs: Some(b"urn:xmpp:sasl:2"),
                });
                return;
            }
        }
        if depth > Depth::Login {
            steps.push(say(self.header(), FEATURES));
        }
    }

    fn open_session(&self, steps: &mut Vec<Step>) {
        let xmlns = self.xmlns();
        let bind = format!(
            "<iq{xmlns} type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>{RESOURCE}</resource></bind></iq>"
        );
        let session = format!(
            "<iq{xmlns} type='set' id='s'>\
             <session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"
        );
        steps.push(say(bind.into_bytes(), b"</iq>"));
        steps.push(say(session.into_bytes(), b"<iq"));
        steps.push(say(
            format!("<presence{xmlns}/>").into_bytes(),
            b"<presence",
        ));
    }
}

const FEATURES: &[u8] = b"</stream:features>";

fn say(bytes: Vec<u8>, until: &'static [u8]) -> Step {
    Step {
        act: Act::Say(bytes),
        until: Until::Text(until),
        needs: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manner() -> Manner {
        Manner {
            domain: "localhost".to_owned(),
            mechanism: Mechanism::Plain,
            tls: Tls::None,
            websocket: None,
        }
    }

    #[test]
    fn a_deeper_client_says_more() {
        let all = [Depth::Connect, Depth::Stream, Depth::Login, Depth::Session];
        let counts = all.map(|depth| manner().steps(depth, 7).len());
        assert_eq!(counts, [1, 1, 2, 6]);
        let secured = Manner {
            tls: Tls::Starttls,
            ..manner()
        };
        assert_eq!(secured.steps(Depth::Stream, 7).len(), 4);
    }

    #[test]
    fn the_password_is_that_of_its_number() {
        let steps = manner().steps(Depth::Login, 7);
        let Act::Say(auth) = &steps[1].act else {
            panic!("it says its password")
        };
        let auth = String::from_utf8_lossy(auth).into_owned();
        let plain = BASE64_STANDARD.encode("\0user7\0secret");
        assert!(auth.contains(&plain), "{auth}");
    }

    #[test]
    fn stanzas_in_frames_declare_their_namespace() {
        let framed = Manner {
            websocket: Some("/ws".to_owned()),
            ..manner()
        };
        let steps = framed.steps(Depth::Session, 7);
        let said = steps.iter().filter_map(|step| match &step.act {
            Act::Say(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        });
        let stanzas: Vec<_> = said
            .filter(|s| s.starts_with("<iq") || s.starts_with("<presence"))
            .collect();
        assert_eq!(stanzas.len(), 3);
        assert!(
            stanzas
                .iter()
                .all(|stanza| stanza.contains(" xmlns='jabber:client'"))
        );
    }
}
