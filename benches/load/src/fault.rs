//! What can go wrong with a connection. It is counted by kind, and never ends the run.

use std::collections::BTreeMap;

use rustix::io::Errno;
use serde_json::Value;
use serde_json::json;

/// Why a client did not get to the end of its script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Nobody listens there.
    Refused,
    /// The server closed in order.
    Closed,
    /// The server closed at once.
    Reset,
    /// The server ended the stream with an error.
    StreamError,
    /// The login was refused.
    LoginFailed,
    /// A request was answered with an error.
    StanzaError,
    /// The server does not offer what the script needs.
    NotOffered,
    /// What came is no TLS, or the handshake failed.
    Tls,
    /// What came is no WebSocket, SCRAM or whatever was expected.
    Nonsense,
    /// There was no answer in time.
    Silent,
    /// This machine has no more ports, files or memory.
    Exhausted,
    /// Another error of the system.
    System,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::StreamError => "stream error",
            Self::LoginFailed => "login failed",
            Self::StanzaError => "stanza error",
            Self::NotOffered => "not offered",
            Self::Tls => "tls",
            Self::Nonsense => "nonsense",
            Self::Silent => "silent",
            Self::Exhausted => "exhausted",
            Self::System => "system",
        }
    }
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        match error {
            Errno::CONNREFUSED => Self::Refused,
            Errno::PIPE => Self::Closed,
            Errno::CONNRESET | Errno::CONNABORTED => Self::Reset,
            Errno::ADDRNOTAVAIL | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS => {
                Self::Exhausted
            }
            _ => Self::System,
        }
    }
}

/// How often each happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    /// Counts one.
    pub(crate) fn count(&mut self, fault: Fault) {
        self.count_all(fault, 1);
    }

    /// Counts so many.
    pub(crate) fn count_all(&mut self, fault: Fault, times: u64) {
        if times > 0 {
            *self.0.entry(fault).or_default() += times;
        }
    }

    /// Those of another part of the run too.
    pub(crate) fn add(&mut self, others: &Self) {
        for (fault, times) in &others.0 {
            self.count_all(*fault, *times);
        }
    }

    /// All together.
    pub(crate) fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    /// Kind -> count.
    pub(crate) fn told(&self) -> Value {
        self.0
            .iter()
            .map(|(fault, n)| (fault.name().to_owned(), json!(n)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_add_up_by_kind() {
        let mut faults = Faults::default();
        faults.count(Errno::CONNREFUSED.into());
        faults.count(Fault::Refused);
        let mut others = Faults::default();
        others.count_all(Fault::Silent, 3);
        faults.add(&others);
        assert_eq!(faults.sum(), 5);
        assert_eq!(faults.told(), json!({"refused": 2, "silent": 3}));
    }
}
