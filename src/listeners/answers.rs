//! Slow work: the store and password hashes. A question goes to a thread of its own, its answer
//! comes back as a note and goes on where the connection stopped.

use std::rc::Rc;

use crate::auth::anonymous::ANONYMOUS_RANDOM_BYTES;
use crate::auth::anonymous::anonymous_user;
use crate::auth::password::Check;
use crate::auth::password::ScramStart;
use crate::auth::password::Work;
use crate::auth::password::check_password;
use crate::auth::password::start_scram;
use crate::base::key::Key;
use crate::listeners::connection::Stage;
use crate::listeners::mail::Note;
use crate::listeners::mail::Purpose;
use crate::listeners::mail::Verdict;
use crate::listeners::shard::Shard;
use crate::listeners::shard::hex;
use crate::net::ring::Ring;
use crate::proto::c2s::negotiate::Negotiation;
use crate::proto::c2s::negotiate::Order;
use crate::proto::sasl::failure::Failure;
use crate::proto::sasl::keys::Hash;
use crate::proto::sasl::keys::ScramKeys;
use crate::proto::sasl::keys::Secret;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::store::AccountId;
use crate::store::Request;
use crate::store::Response;
use crate::store::StoreError;

/// Random bytes of the server's part of a SCRAM nonce.
const NONCE_BYTES: usize = 18;

impl Shard {
    /// SCRAM: what does the store hold of this user?
    pub(super) fn find_keys(&mut self, ring: &mut Ring, key: Key, user: &str, hash: Hash) {
        self.look_up(ring, key, user, Purpose::Keys(hash));
    }

    /// PLAIN: what does the store hold of this user?
    pub(super) fn find_password(
        &mut self,
        ring: &mut Ring,
        key: Key,
        user: &str,
        password: Secret,
    ) {
        self.look_up(ring, key, user, Purpose::Password(password));
    }

    fn look_up(&mut self, ring: &mut Ring, key: Key, user: &str, purpose: Purpose) {
        let Some(host) = self.host_of(key) else {
            return;
        };
        let request = Request::Lookup {
            id: AccountId::from_prepared(user, &host),
        };
        let outside = self.outside.clone();
        let user: Box<str> = user.into();
        let reply = Box::new(move |found| {
            // The inbox has room for every request that the store can hold.
            let _ = outside.send(Note::Found(key, user, purpose, found));
        });
        if self.store.submit_quietly(request, reply).is_err() {
            self.answer_login(ring, key, |negotiation, out| {
                negotiation.checked(Err(Failure::TemporaryAuthFailure), out)
            });
        }
    }

    pub(super) fn host_of(&self, key: Key) -> Option<Box<str>> {
        match &self.desk.slab.get(key)?.stage {
            Stage::Negotiating(negotiation) => Some(negotiation.host().into()),
            Stage::Proxy(_)
            | Stage::Http
            | Stage::Session(_)
            | Stage::Joining(_)
            | Stage::Peer(_)
            | Stage::Inbound(_)
            | Stage::Outbound(_)
            | Stage::Lent
            | Stage::Ending => None,
        }
    }

    /// Gives an answer to the negotiation and carries out what it orders.
    fn answer_login(
        &mut self,
        ring: &mut Ring,
        key: Key,
        answer: impl FnOnce(&mut Negotiation, &mut Vec<u8>) -> Order,
    ) {
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let Stage::Negotiating(negotiation) = &mut connection.stage else {
            return;
        };
        let failures = negotiation.failures();
        let order = answer(negotiation, &mut connection.out);
        let failed = negotiation.failures() - failures;
        let host = negotiation.host().to_owned();
        self.note_failed_logins(&host, failed);
        self.resume(ring, key, order);
    }

    /// A note from another thread.
    pub(super) fn note(&mut self, ring: &mut Ring, note: Note) {
        match note {
            Note::Found(key, user, purpose, found) => self.found(ring, key, &user, purpose, found),
            Note::Derived(key, keys) => self.give_keys(ring, key, keys.as_ref()),
            Note::Checked(key, verdict) => self.checked(ring, key, verdict),
            Note::Verified(proof) => self.verified.note(proof),
            Note::Registered(waiting, result) => self.registered(ring, &waiting, result),
            Note::Unregistered(key, back) => {
                let to = back
                    .from
                    .as_deref()
                    .map(reply::attribute)
                    .unwrap_or_default();
                let condition = StanzaCondition::ResourceConstraint;
                let addresses = (back.target.as_deref(), &*to, &*back.id);
                self.refuse_registration(key, addresses, (condition, ""));
            }
            Note::Dialled(name, attempt, result) => self.dialled(ring, &name, attempt, result),
            Note::Gathered(id, answer) => self.gathered(ring, id, answer),
            Note::Inquiry(inquiry) => self.inquired(ring, inquiry),
            Note::Removed(id, result, reply) => self.account_removed(ring, &id, result, reply),
            Note::Opening(opening, result) => {
                self.questions = self.questions.saturating_sub(1);
                self.opening(ring, *opening, result);
            }
            Note::Data(waiting, result) => self.data(&waiting, result),
            Note::Alive(answer) => {
                // Whoever asked may have given up.
                let _ = answer.try_send(self.number());
            }
            Note::Certificates(fresh, outgoing) => self.take_certificates(fresh, outgoing),
            Note::Stop(drain_ms, drained) => self.stop(ring, drain_ms, drained),
            Note::Drained => self.finish_drain(),
        }
    }

    fn found(
        &mut self,
        ring: &mut Ring,
        key: Key,
        user: &str,
        purpose: Purpose,
        found: Result<Response, StoreError>,
    ) {
        let Some(host) = self.host_of(key) else {
            return;
        };
        let Ok(Response::Credentials(stored)) = found else {
            tracing::error!("the store did not answer a login");
            return self.answer_login(ring, key, |negotiation, out| {
                negotiation.checked(Err(Failure::TemporaryAuthFailure), out)
            });
        };
        let id = AccountId::from_prepared(user, &host);
        let settings = Rc::clone(&self.settings);
        let Some(connection) = self.desk.slab.get(key) else {
            return;
        };
        let rules = settings.auth(settings.listener(connection.listener), &host);
        let (policy, decoys) = (&rules.password, &settings.decoys);
        match purpose {
            Purpose::Keys(hash) => match start_scram(policy, decoys, &id, stored, hash) {
                ScramStart::Ready(keys) => self.give_keys(ring, key, Some(&keys)),
                ScramStart::Derive(work) => {
                    self.compute(ring, key, move || work.run(), Note::Derived);
                }
            },
            Purpose::Password(password) => {
                if rules.any_login && stored.is_none() {
                    if let Some(connection) = self.desk.slab.get_mut(key) {
                        connection.guest = true;
                    }
                    return self.give_verdict(ring, key, true);
                }
                match check_password(policy, decoys, &id, stored, password.expose()) {
                    Check::Decided(right) => self.give_verdict(ring, key, right),
                    Check::Compute(work) => {
                        let remembers = rules.remembers_verified;
                        self.check(ring, key, &id, work, remembers);
                    }
                }
            }
        }
    }

    /// A password that was found right before, against the same keys, is right.
    fn check(&mut self, ring: &mut Ring, key: Key, id: &AccountId, work: Work, remembers: bool) {
        // Made of decoys too, or names without an account would be told from others by the clock.
        let proof = remembers.then(|| self.verified.proof(id, &work));
        let proof = proof.filter(|_| work.is_of_account);
        if let Some(proof) = &proof {
            if self.verified.knows(proof) {
                self.cells.passwords_remembered += 1;
                return self.give_verdict(ring, key, true);
            }
            self.cells.passwords_computed += 1;
        }
        let job = move || {
            let right = work.run();
            let proof = proof.filter(|_| right);
            Verdict { right, proof }
        };
        self.compute(ring, key, job, Note::Checked);
    }

    /// A password was computed: a right one is remembered on every shard, for nobody knows where
    /// its client comes in the next time.
    fn checked(&mut self, ring: &mut Ring, key: Key, verdict: Verdict) {
        if let Some(proof) = verdict.proof {
            for (shard, outside) in self.shards.iter().enumerate() {
                if shard != self.desk.mesh.me() {
                    // One whose inbox is full computes it once more.
                    let _ = outside.send(Note::Verified(proof.clone()));
                }
            }
            self.verified.note(proof);
        }
        self.give_verdict(ring, key, verdict.right);
    }

    fn compute<T: Default + Send + 'static>(
        &mut self,
        ring: &mut Ring,
        key: Key,
        job: impl FnOnce() -> T + Send + 'static,
        note: fn(Key, T) -> Note,
    ) {
        let outside = self.outside.clone();
        let taken = self.work.submit(job, move |result: Result<T, _>| {
            // A job that failed is answered like a wrong password.
            let _ = outside.send(note(key, result.unwrap_or_default()));
        });
        if taken.is_err() {
            self.answer_login(ring, key, |negotiation, out| {
                negotiation.checked(Err(Failure::TemporaryAuthFailure), out)
            });
        }
    }

    fn give_keys(&mut self, ring: &mut Ring, key: Key, keys: Option<&ScramKeys>) {
        let nonce = hex(&self.random_bytes::<NONCE_BYTES>());
        let keys = keys.ok_or(Failure::NotAuthorized);
        self.answer_login(ring, key, |negotiation, out| {
            negotiation.keys(keys, &nonce, out)
        });
    }

    fn give_verdict(&mut self, ring: &mut Ring, key: Key, right: bool) {
        let verdict = if right {
            Ok(())
        } else {
            Err(Failure::NotAuthorized)
        };
        self.answer_login(ring, key, |negotiation, out| {
            negotiation.checked(verdict, out)
        });
    }

    pub(super) fn admit_anonymous(&mut self, ring: &mut Ring, key: Key) {
        let user = anonymous_user(self.random_bytes::<ANONYMOUS_RANDOM_BYTES>());
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        let Stage::Negotiating(negotiation) = &mut connection.stage else {
            return;
        };
        let order = negotiation.admitted(&user, &mut connection.out);
        connection.held = negotiation.awaits();
        self.desk.touch(key);
        self.next_step(key);
        // Whoever called goes on with what came behind, and listens then: a client that binds at
        // once could not move to its owner while a receive is armed here.
        self.perform(ring, key, order, 0, 0);
    }
}
