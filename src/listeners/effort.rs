//! How long one session may keep a core from all others.
//!
//! Eleven bytes of presence are a stanza for each of two thousand contacts, sixty bytes of a request a
//! megabyte of contacts. So what counts is the time that a session's stanzas take: whoever has had its
//! share of a turn is read on in the next one, and its bytes wait until then as if they had not come.

use crate::base::key::Key;
use crate::listeners::shard::Shard;
use crate::modules::pipeline::Outbox;
use crate::proto::stanza::Type;

/// How long the stanzas of one read are handled while others wait, in microseconds; the stanza that is
/// begun within it is finished. Ordinary ones of a full buffer take half of it.
const SHARE_US: u64 = 1_000;
/// Messages between two looks at the clock. Presence and requests, which may have many recipients or a
/// long answer, are followed by a look each.
const MESSAGES_A_LOOK: u32 = 32;

/// What the read that is being handled has taken. Lives on: one shard.
#[derive(Debug, Default)]
pub struct Effort {
    messages: u32,
    since_us: Option<u64>,
}

impl Shard {
    /// A session's stanza was handled: true when it has had its share and waits for the next turn.
    pub(super) fn has_had_its_share(&mut self, key: Key, kind: Type) -> bool {
        if matches!(kind, Type::Message(_)) {
            self.effort.messages += 1;
            if self.effort.messages < MESSAGES_A_LOOK {
                return false;
            }
            self.effort.messages = 0;
        }
        let now_us = self.epoch.elapsed().as_micros() as u64;
        let since_us = *self.effort.since_us.get_or_insert(now_us);
        // Where many want more than there is, each gets less: what all together take stays short.
        let share_us = SHARE_US / (1 + self.tired.len() as u64);
        if now_us - since_us <= share_us {
            return false;
        }
        self.desk.pause(key);
        self.tired.push(key);
        true
    }

    /// A new turn: who had had its share in the last one goes on.
    pub(super) fn wake_tired(&mut self) {
        self.desk.resumed.append(&mut self.tired);
    }
}
