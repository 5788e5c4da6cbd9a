//! RFC 6120, section 10.1: a session that has asked for a change of its roster is not read further
//! until that is written, so that what it sends next cannot overtake it (`modules::line`).
//!
//! What comes meanwhile is kept like an element that has not come in whole, and the end of the
//! connection waits behind it.

use crate::base::key::Key;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::shard::Shard;
use crate::net::ring::Ring;

impl Shard {
    /// Whether the end of a connection has to wait for what it has sent before: for a change of a
    /// roster, or for an answer that its negotiation waits for.
    pub(super) fn ends_later(&mut self, key: Key, reason: EndReason) -> bool {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return false;
        };
        let negotiates = matches!(connection.stage, Stage::Negotiating(_));
        let asks = connection.held && negotiates && reason == EndReason::PeerClosed;
        if connection.paused || asks {
            connection.ends_as = Some(reason);
        }
        connection.paused || asks
    }

    /// Sessions that have waited are read again.
    pub(super) fn run_resumed(&mut self, ring: &mut Ring) {
        while let Some(key) = self.desk.resumed.pop() {
            let Some(connection) = self.desk.slab.get_mut(key) else {
                continue;
            };
            connection.paused = false;
            let ends_as = connection.ends_as.take();
            self.feed(ring, key, &[]);
            match ends_as {
                // Something else that it had sent has to be written first.
                Some(reason) if self.ends_later(key, reason) => {}
                Some(EndReason::PeerClosed) => self.peer_closed(ring, key),
                Some(reason) => self.cut(ring, key, reason),
                None => self.listen_on(ring, key),
            }
            self.run_asked();
        }
    }
}
