//! Opening a session: on the shard that owns its user, once what must be known of the user is read.
//!
//! Read `bind` first; everything below it happens in the order in which it is written.

use std::rc::Rc;

use crate::base::key::Key;
use crate::config::Auth;
use crate::config::access::Who;
use crate::jid::Jid;
use crate::listeners::connection::Connection;
use crate::listeners::connection::Receiving;
use crate::listeners::connection::Session;
use crate::listeners::connection::Stage;
use crate::listeners::ending::EndReason;
use crate::listeners::mail::Handover;
use crate::listeners::mail::Moved;
use crate::listeners::questions::Question;
use crate::listeners::shard::Shard;
use crate::listeners::shard::hex;
use crate::listeners::traffic::Peers;
use crate::modules::happening::Happening;
use crate::modules::kept;
use crate::modules::line;
use crate::modules::presence;
use crate::modules::roster_change;
use crate::net::ring::Ring;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply;
use crate::proto::stream::error::StreamCondition;
use crate::proto::stream::error::StreamError;
use crate::route::owner;
use crate::session::blocklist::Blocklist;
use crate::session::rosters::Wish;
use crate::session::table::Session as Replaced;
use crate::store::AccountId;
use crate::store::Response;
use crate::store::StoreError;
use crate::store::Wanted;
use crate::store::data::DataResponse;

/// A session that waits for what must be known of its user.
#[derive(Clone)]
pub struct Opening {
    /// The connection that it is for.
    pub connection: Key,
    /// Whose.
    pub id: AccountId,
    /// What the store is asked.
    pub wanted: Wanted,
    user: Jid,
    resource: Option<Box<str>>,
    /// [`Table::keeps`](crate::session::table::Table::keeps) before the store was asked.
    keeps: u64,
}

/// Why a connection goes to another shard.
pub enum Errand {
    /// To be bound where its user is owned: the bare JID, and the resource that the client wishes.
    Bind(Jid, Option<Box<str>>),
    /// A server's stream, to this shard, which owns the server's domain.
    Serve(usize),
}

impl Shard {
    /// Opens the session where its user is owned.
    pub(super) fn bind(
        &mut self,
        ring: &mut Ring,
        key: Key,
        user: Jid,
        resource: Option<Box<str>>,
    ) {
        let shard = owner(
            self.sessions.hash(user.bare()),
            self.settings.hosts.shards(),
        );
        if shard == self.number() {
            return self.bind_here(ring, key, &user, resource.as_deref());
        }
        // Its bytes are being handled just now, and some may be left: it goes at the end of the turn.
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.held = true;
            self.movers.push((key, Errand::Bind(user, resource)));
        }
    }

    /// Connections whose move had to wait go when nothing is under way for them any more.
    pub(super) fn run_movers(&mut self, ring: &mut Ring) {
        let waiting = std::mem::take(&mut self.movers);
        for (key, errand) in waiting {
            let Some(connection) = self.desk.slab.get_mut(key) else {
                continue;
            };
            if matches!(connection.stage, Stage::Ending) {
                continue;
            }
            let busy = connection.sending
                || connection.receiving != Receiving::Idle
                || connection.outbound_bytes() > 0
                || connection
                    .tls
                    .as_ref()
                    .is_some_and(|tls| !tls.send.is_empty());
            if busy {
                connection.stop_listening(ring, key);
                self.movers.push((key, errand));
            } else {
                connection.dirty = false;
                self.move_away(key, errand);
            }
        }
    }

    fn move_away(&mut self, key: Key, errand: Errand) {
        let shard = match &errand {
            Errand::Serve(shard) => *shard,
            Errand::Bind(user, _) => {
                let hash = self.sessions.hash(user.bare());
                owner(hash, self.settings.hosts.shards())
            }
        };
        let Some(mut connection) = self.desk.slab.remove(key) else {
            return;
        };
        connection.alarm = Default::default();
        self.bosh_moves(&mut connection, shard);
        self.partial_bytes = self
            .partial_bytes
            .saturating_sub(connection.partial_bytes());
        let handover = match errand {
            Errand::Serve(_) => Handover::Server(Box::new(connection)),
            Errand::Bind(user, resource) => Handover::Bind(Box::new(Moved {
                connection,
                user,
                resource,
            })),
        };
        self.desk.mesh.filling(shard).handovers.push(handover);
    }

    /// A connection arrives from another shard to be bound here.
    pub(super) fn arrive_here(&mut self, connection: Connection) -> Key {
        self.partial_bytes += connection.partial_bytes();
        let key = self.desk.slab.insert(connection);
        self.bosh_moved(key);
        self.arm_timer(key);
        key
    }

    /// Opens its session and goes on with what it has sent meanwhile.
    pub(super) fn take_over(
        &mut self,
        ring: &mut Ring,
        key: Key,
        user: &Jid,
        resource: Option<&str>,
    ) {
        if self.stop_by_ms > 0 {
            let error = StreamError::new(StreamCondition::SystemShutdown);
            return self.end_with(ring, key, EndReason::Shutdown, error);
        }
        self.bind_here(ring, key, user, resource);
        self.feed(ring, key, &[]);
        self.listen_on(ring, key);
    }

    /// Before anything can reach a user's first session, the contacts must be known, and whom the
    /// user blocks.
    fn bind_here(&mut self, ring: &mut Ring, key: Key, user: &Jid, resource: Option<&str>) {
        let mut wanted = self.wanted_of(user);
        let hash = self.sessions.hash(user.bare());
        let is_here = self.sessions.user(hash, user.bare()).is_some();
        let (true, false, Some(id)) = (wanted != Wanted::default(), is_here, AccountId::of(user))
        else {
            return self.bind_now(ring, key, user, resource);
        };
        if wanted.roster {
            wanted.roster = self.sessions.wish_roster(user.bare(), true) == Wish::Ask;
        }
        // The store answers in order: a roster that was asked for before is here when this answer
        // is, and a message that was to be kept before is counted in it.
        self.run_asked();
        self.question(Question::Opening(Box::new(Opening {
            connection: key,
            id,
            wanted,
            user: user.clone(),
            resource: resource.map(Box::from),
            keeps: self.sessions.keeps(),
        })));
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.held = true;
        }
    }

    /// What a first session of this user has to know.
    fn wanted_of(&self, user: &Jid) -> Wanted {
        let modules = self.facts.modules_of(user.domain());
        modules.map_or_else(Wanted::default, |modules| Wanted {
            roster: modules.mod_roster.is_some(),
            blocked: modules.mod_blocking.is_some(),
            kept: modules.mod_offline.is_some(),
        })
    }

    /// What must be known of the user is known, and the session opens.
    pub(super) fn opening(
        &mut self,
        ring: &mut Ring,
        opening: Opening,
        result: Result<Response, StoreError>,
    ) {
        let (key, user) = (opening.connection, opening.user);
        let negotiates = |stage: &Stage| matches!(stage, Stage::Negotiating(_));
        let why = result.as_ref().err().cloned();
        let (known, roster) = match result {
            Ok(Response::Opening(known)) => {
                let blocked = Blocklist::new(known.blocked.into_iter().map(|(name, _)| name));
                let roster = Ok(DataResponse::Things(known.roster));
                (Some((blocked, known.kept)), roster)
            }
            Ok(_) => (None, Err(StoreError::Stopped)),
            Err(error) => (None, Err(error)),
        };
        if let Some((list, _)) = &known {
            // For what waits for the roster, should the session not open.
            let hash = self.sessions.hash(user.bare());
            let rosters = self.sessions.rosters_mut();
            rosters.note_blocked(hash, user.bare(), list);
        }
        if opening.wanted.roster {
            roster_change::read(&mut self.scene(), user.bare(), roster);
        }
        let connection = self.desk.slab.get(key);
        if !connection.is_some_and(|connection| negotiates(&connection.stage)) {
            return line::opened(&mut self.scene(), user.bare());
        }
        let wanted = self.wanted_of(&user);
        let has_roster = !wanted.roster || self.sessions.roster(user.bare()).is_some();
        if let Some((blocked, kept)) = known
            && has_roster
        {
            self.bind_now(ring, key, &user, opening.resource.as_deref());
            if wanted.blocked {
                self.sessions
                    .change_blocked(user.bare(), |list| *list = blocked);
            }
            if wanted.kept && !kept && self.sessions.keeps() == opening.keeps {
                self.sessions.note_nothing_kept(user.bare(), key);
            }
        } else {
            // Without a reason: the roster is damaged, which was said, or was not read for another session.
            let why = why.map(|why| why.to_string()).unwrap_or_default();
            tracing::error!(why, "the store did not answer an opening session");
            self.bound(ring, key, Err(StanzaCondition::InternalServerError));
        }
        line::opened(&mut self.scene(), user.bare());
        self.feed(ring, key, &[]);
        self.listen_on(ring, key);
    }

    fn bind_now(&mut self, ring: &mut Ring, key: Key, user: &Jid, resource: Option<&str>) {
        let result = self.open_session(key, user, resource);
        self.bound(ring, key, result);
    }

    /// The client hears what became of binding.
    fn bound(&mut self, ring: &mut Ring, key: Key, result: Result<Jid, StanzaCondition>) {
        let now_ms = self.desk.now_ms;
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return;
        };
        connection.held = false;
        let Stage::Negotiating(negotiation) = &mut connection.stage else {
            return;
        };
        match result {
            Ok(full) => {
                negotiation.bound(Ok(full.as_str()), &mut connection.out);
                let attribute = reply::attribute(full.as_str());
                let escaped = matches!(attribute, std::borrow::Cow::Owned(_))
                    .then(|| attribute.into_owned().into_boxed_str());
                let jid = full.clone();
                connection.stage = Stage::Session(Box::new(Session { jid: full, escaped }));
                connection.deadline_ms = 0;
                connection.active_ms = now_ms;
                presence::opened(&mut self.scene(), key, &jid);
            }
            Err(condition) => {
                negotiation.bound(Err(condition), &mut connection.out);
                self.next_step(key);
            }
        }
        self.desk.touch(key);
        self.run_ends(ring);
    }

    fn open_session(
        &mut self,
        key: Key,
        user: &Jid,
        resource: Option<&str>,
    ) -> Result<Jid, StanzaCondition> {
        let made;
        let resource = match resource {
            Some(resource) => resource,
            None => {
                made = hex(&self.random_bytes::<8>());
                &made
            }
        };
        let prepared = crate::jid::resource_prep(resource);
        let prepared = prepared.map_err(|_| StanzaCondition::BadRequest)?;
        let full = Jid::new(user.node(), user.domain(), Some(&prepared));
        let full = full.map_err(|_| StanzaCondition::BadRequest)?;
        let settings = Rc::clone(&self.settings);
        let connection = self.desk.slab.get(key);
        let connection = connection.ok_or(StanzaCondition::InternalServerError)?;
        let (listener, guest) = (settings.listener(connection.listener), connection.guest);
        let who = Who {
            node: user.node().unwrap_or_default(),
            domain: user.domain(),
            resource: &prepared,
        };
        let config = &settings.config;
        if !config.allows(&listener.access, user.domain(), who) {
            return Err(StanzaCondition::NotAllowed);
        }
        if guest && !self.may_join(config.auth_of(user.domain()), user) {
            return Err(StanzaCondition::NotAllowed);
        }
        let most = config.sessions_max(user.domain(), who).finite();
        let most = most.map_or(usize::MAX, |most| most as usize);
        for replaced in self.sessions.bind(user.bare(), &prepared, key, most) {
            self.make_room(user, &replaced);
        }
        self.desk.note_happened(Happening::Login, user.domain());
        let hosts = &settings.hosts;
        let class = Peers::Clients.class(hosts, hosts.position(user.domain()));
        if let Some(connection) = self.desk.slab.get_mut(key) {
            connection.class = class;
        }
        self.shape(key, config.rate(&listener.shaper, user.domain(), who));
        Ok(full)
    }

    /// Whether a guest may have this name: by `allow_multiple_connections` also while somebody has it.
    fn may_join(&self, auth: &Auth, user: &Jid) -> bool {
        let hash = self.sessions.hash(user.bare());
        let is_taken = self.sessions.user(hash, user.bare()).is_some();
        let anonymous = auth.anonymous.as_ref();
        !is_taken || anonymous.is_some_and(|anonymous| anonymous.allow_multiple_connections)
    }

    /// A session that had to make room: who saw it is told, its connection ends with `conflict`
    /// (RFC 6120 section 7.7.2.2).
    fn make_room(&mut self, user: &Jid, session: &Replaced) {
        if let Ok(full) = Jid::new(user.node(), user.domain(), Some(&session.resource)) {
            presence::ended(&mut self.scene(), full.as_str(), user.bare(), session);
        }
        // It may hang: what its socket does not have goes to who is here now.
        kept::gone(&mut self.scene(), session.connection);
        self.desk
            .ends
            .push((session.connection, EndReason::Replaced));
    }
}
