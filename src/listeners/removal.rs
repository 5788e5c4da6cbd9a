//! The end of an account: by its user (XEP-0077 section 3.2) or by the operator.
//!
//! The store removes it with everything that belongs to it and says whom it had in its roster; then
//! its sessions end, and its contacts are told that there are no subscriptions any more.

use crate::base::key::Key;
use crate::listeners::ending::EndReason;
use crate::listeners::mail::Note;
use crate::listeners::shard::Shard;
use crate::listeners::status::Answer;
use crate::listeners::status::Reply;
use crate::modules::happening::Happening;
use crate::modules::pipeline::domain_of;
use crate::modules::roster;
use crate::modules::roster_change;
use crate::net::ring::Ring;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::route;
use crate::session::roster::Roster;
use crate::store::AccountId;
use crate::store::Request;
use crate::store::Response;
use crate::store::StoreError;
use crate::store::data::Thing;

/// What became of the order to remove an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed {
        /// Sessions that ended.
        sessions: usize,
        /// Contacts that were told.
        contacts: usize,
    },
    /// There is none.
    NoSuchAccount,
    /// The store could not say.
    Failed,
}

impl Shard {
    /// The operator removes an account; the shard that owns its user sees to it.
    pub(super) fn remove_account(&self, jid: &str, reply: Reply) {
        let account = crate::jid::parse(jid).ok().filter(|parts| {
            let bare = parts.bare();
            let hash = self.sessions.hash(&bare);
            route::owner(hash, self.desk.mesh.shards()) == self.number()
        });
        let account = account.and_then(|parts| {
            let user = parts.node.as_deref()?;
            Some(AccountId::from_prepared(user, &parts.domain))
        });
        let Some(id) = account else {
            return reply(Answer::Removed(None));
        };
        let (outside, about) = (self.outside.clone(), id.clone());
        // Refused, it drops the reply with the question, and whoever asked is told that nobody answers.
        let _ = self.store.submit(
            Request::Delete { id },
            Box::new(move |result| {
                let _ = outside.send(Note::Removed(about, result, reply));
            }),
        );
    }

    /// The store has answered that.
    pub(super) fn account_removed(
        &mut self,
        ring: &mut Ring,
        id: &AccountId,
        result: Result<Response, StoreError>,
        reply: Reply,
    ) {
        let removal = match result {
            Ok(Response::Deleted(roster)) => {
                let (sessions, contacts) = self.end_account(ring, &id.to_string(), &roster);
                Removal::Removed { sessions, contacts }
            }
            Ok(Response::NoSuchAccount) => Removal::NoSuchAccount,
            Ok(_) | Err(_) => Removal::Failed,
        };
        reply(Answer::Removed(Some(removal)));
    }

    /// The account is gone, which had this roster: how many sessions end, and contacts are told.
    pub(super) fn end_account(
        &mut self,
        ring: &mut Ring,
        bare: &str,
        roster: &[Thing],
    ) -> (usize, usize) {
        let host = domain_of(bare);
        self.desk.note_happened(Happening::Unregistered, host);
        let hash = self.sessions.hash(bare);
        let user = self.sessions.user(hash, bare);
        let sessions = user.into_iter().flat_map(|user| user.sessions());
        let keys: Vec<Key> = sessions.map(|session| session.connection).collect();
        for key in &keys {
            let error = StreamError::because(
                StreamCondition::NotAuthorized,
                "the account has been removed",
            );
            self.end_with(ring, *key, EndReason::Replaced, error);
        }
        let things = roster.iter().map(|(name, value)| (&**name, &**value));
        let Some(roster) = Roster::decode(things) else {
            tracing::error!("a removed account's roster was damaged: its contacts are not told");
            return (keys.len(), 0);
        };
        // Behind the presence that ended with the sessions.
        for after in roster::farewells(&roster, bare) {
            roster_change::follow(&mut self.scene(), bare, &after, None);
        }
        (keys.len(), roster.items().len())
    }
}
