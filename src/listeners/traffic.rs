//! Which class of traffic a connection belongs to: what is at its other end, and for which host.
//!
//! Counting is a plain addition to the shard's cells of that class. A connection knows its class, so
//! that nothing has to be looked up for a stanza.

use crate::listeners::connection::Connection;
use crate::listeners::connection::Stage;
use crate::listeners::desk::Desk;
use crate::listeners::settings::Listener;
use crate::listeners::shard::Shard;
use crate::modules::happening::Happening;
use crate::proto::stanza::Stanza;
use crate::route::hosts::Hosts;

/// What is at the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Peers {
    /// Clients, also those that have not logged in.
    Clients,
    /// Other servers.
    Servers,
    /// External components.
    Components,
}

/// How a stream is carried, by its place among the ways of `metrics::traffic`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// TCP in clear.
    Clear,
    /// TLS; what is counted is what is in it.
    Tls,
    /// A WebSocket; what is counted is what is in its frames.
    WebSocket,
}

impl Peers {
    /// Each.
    pub const ALL: [Self; 3] = [Self::Clients, Self::Servers, Self::Components];

    /// The metric label, MongooseIM's.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Clients => "c2s",
            Self::Servers => "s2s",
            Self::Components => "component",
        }
    }

    /// Who connects to a listener.
    pub fn of(listener: &Listener) -> Self {
        match (listener.is_s2s, &listener.components) {
            (true, _) => Self::Servers,
            (false, Some(_)) => Self::Components,
            (false, None) => Self::Clients,
        }
    }

    /// The number of a class. None: the host is not known, or there is none.
    pub fn class(self, hosts: &Hosts, host: Option<usize>) -> u16 {
        let base = self as usize * (hosts.as_slice().len() + 1);
        let number = base + host.map_or(0, |host| host + 1);
        u16::try_from(number).unwrap_or_default()
    }

    /// How many classes there are.
    pub fn classes(hosts: &Hosts) -> usize {
        Self::ALL.len() * (hosts.as_slice().len() + 1)
    }
}

impl Connection {
    /// How its stream is carried; None for HTTP and BOSH, which are counted by their bodies, and for
    /// WebSockets, by what is in frames.
    pub fn way(&self) -> Option<Way> {
        let is_stream = self.carrier.is_none() && !matches!(self.stage, Stage::Http);
        is_stream.then_some(if self.tls.is_some() {
            Way::Tls
        } else {
            Way::Clear
        })
    }
}

impl Desk {
    /// Bytes of a stream came in.
    pub fn note_bytes_in(&mut self, class: u16, way: Way, bytes: usize) {
        if let Some(traffic) = self.traffic.get_mut(usize::from(class)) {
            traffic.bytes_in[way as usize] += bytes as u64;
        }
    }

    /// Something happened to a user of a host.
    pub fn note_happened(&mut self, what: Happening, host: &str) {
        let place = self.settings.hosts.position(host).map_or(0, |at| at + 1);
        if let Some(counts) = self.happened.get_mut(place) {
            counts[what as usize] += 1;
        }
    }

    /// So often since the start, over all hosts.
    pub fn happened_in_all(&self, what: Happening) -> u64 {
        self.happened
            .iter()
            .map(|counts| counts[what as usize])
            .sum()
    }
}

impl Shard {
    /// A stanza came in on a connection of this class.
    pub fn note_received(&mut self, class: u16, stanza: &Stanza<'_>) {
        let (kind, is_error) = (stanza.kind.number(), stanza.kind.is_error());
        self.cells.stanzas_in[kind] += 1;
        if let Some(traffic) = self.desk.traffic.get_mut(usize::from(class)) {
            traffic.received.note(kind, is_error, stanza.bytes.len());
        }
    }

    /// Logins that were refused on the stream of a host.
    pub fn note_failed_logins(&mut self, host: &str, count: u8) {
        for _ in 0..count {
            self.desk.note_happened(Happening::LoginFailed, host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_number_of_its_own() {
        let hosts = Hosts::new(["a".to_owned(), "b".to_owned()], 1);
        let mut numbers = Vec::new();
        for peers in Peers::ALL {
            for host in [None, Some(0), Some(1)] {
                numbers.push(peers.class(&hosts, host));
            }
        }
        let expected: Vec<u16> = (0..Peers::classes(&hosts) as u16).collect();
        assert_eq!(numbers, expected);
        assert_eq!((hosts.position("b"), hosts.position("c")), (Some(1), None));
    }
}
