//! How long one session may keep a core from all others.
//!
//! Eleven bytes of presence are a stanza for each of two thousand contacts, sixty bytes of a request a
//! megabyte of contacts, and the kernel may have eight megabytes of one connection ready at once. So
//! what counts is the time that a session's stanzas take: whoever has had its share of a turn is read
//! on in the next one, and its bytes wait until then as if they had not come.

use crate::base::key::Key;
use crate::listeners::shard::Shard;
use crate::modules::pipeline::Outbox;
use crate::proto::stanza::Type;

/// How long the stanzas of one session are handled while others wait, in microseconds; the stanza that
/// is begun within it is finished. Ordinary ones of a full buffer take half of it.
const SHARE_US: u64 = 1_000;
/// How long a turn may take before nobody gets more than is needed to see that, in microseconds.
const TURN_US: u64 = 20_000;
/// Points between two looks at the clock: messages without their size, so that it costs them nothing.
const POINTS_A_LOOK: usize = 32;
/// Bytes of a message that make one point more.
const BYTES_A_POINT: usize = 256;

/// What the session whose reads are being handled has taken. Lives on: one shard.
#[derive(Debug, Default)]
pub struct Effort {
    key: Option<Key>,
    points: usize,
    since_us: Option<u64>,
}

impl Effort {
    /// Bytes of this connection are about to be handled. Those of one come one after the other.
    pub fn begin(&mut self, key: Key) {
        if self.key != Some(key) {
            *self = Self {
                key: Some(key),
                ..Self::default()
            };
        }
    }
}

impl Shard {
    /// A session's stanza of so many bytes was handled: true when it has had its share and waits for the
    /// next turn.
    pub(super) fn has_had_its_share(&mut self, key: Key, kind: Type, bytes: usize) -> bool {
        // Presence and requests may have many recipients or a long answer: a look after each.
        self.effort.points += match kind {
            Type::Message(_) => 1 + bytes / BYTES_A_POINT,
            Type::Presence(_) | Type::Iq(_) => POINTS_A_LOOK,
        };
        if self.effort.points < POINTS_A_LOOK {
            return false;
        }
        self.effort.points = 0;
        let now_us = self.epoch.elapsed().as_micros() as u64;
        let since_us = *self.effort.since_us.get_or_insert(now_us);
        // Where many want more than there is, each gets less: what all together take stays short.
        let share_us = SHARE_US / (1 + self.tired.len() as u64);
        let (began_us, _) = self.turn;
        if now_us - since_us <= share_us && now_us - began_us <= TURN_US {
            return false;
        }
        self.desk.pause(key);
        self.tired.push(key);
        true
    }

    /// A new turn: who had had its share in the last one goes on.
    pub(super) fn wake_tired(&mut self) {
        self.effort = Effort::default();
        self.desk.resumed.append(&mut self.tired);
    }
}
