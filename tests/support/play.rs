//! Carries out a dialogue, line by line, and says where the server does not keep to it.

use std::collections::BTreeMap;

use super::client::Client;
use super::client::Next;
use super::client::show;
use super::pattern;
use super::pattern::Values;
use super::script;
use super::script::Line;
use super::script::Script;
use super::site::PASSWORD;
use super::site::Site;
use super::tree::CLIENT;
use super::tree::Item;
use super::tree::items;

const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";

/// The dialogue so far.
struct Stage<'a> {
    site: &'a Site,
    host: &'a str,
    clients: BTreeMap<String, Client>,
    values: Values,
    fences: usize,
    /// Connections to the server.
    opened: u64,
}

/// Carries a dialogue out.
///
/// # Errors
/// The first line that the server does not keep to, and everything that came to its client.
pub(crate) fn play(script: &Script, site: &Site) -> Result<(), String> {
    let mut stage = Stage {
        site,
        host: script.hosts.first().map(String::as_str).unwrap_or_default(),
        clients: BTreeMap::new(),
        values: Values::new(),
        fences: 0,
        opened: 0,
    };
    for line in &script.lines {
        stage.perform(line).map_err(|what| {
            let (name, number, actor) = (&script.name, line.number, &line.actor);
            let log = stage
                .clients
                .get(actor)
                .map(Client::log)
                .unwrap_or_default();
            format!(
                "{name}:{number}: {actor} {}: {what}\n  all that came: {log}",
                line.verb
            )
        })?;
    }
    Ok(())
}

impl Stage<'_> {
    fn perform(&mut self, line: &Line) -> Result<(), String> {
        if line.actor == "server" {
            return match line.verb.as_str() {
                "stops" => {
                    self.site.accepts(self.opened)?;
                    self.site.begin_to_stop()
                }
                "has stopped" => self.site.has_stopped(),
                other => Err(format!("a server cannot {other}")),
            };
        }
        let (user, resource) = match line.actor.split_once('/') {
            Some((user, resource)) => (user, Some(resource)),
            None => (line.actor.as_str(), None),
        };
        let words: Vec<&str> = line.verb.split(' ').collect();
        match words.as_slice() {
            ["opens"] => self.open(&line.actor).map(drop),
            ["opens", "to", "serve"] => self.open_to_serve(&line.actor).map(drop),
            ["opens", "to", "serve", "over", "TLS"] => self.open_to_serve(&line.actor)?.handshake(),
            ["opens", "to", "federate"] => self.open_to_federate(&line.actor),
            ["is", "called", "for", name] => self.be_called(&line.actor, name),
            ["serves", name] => self.serve(&line.actor, name, ""),
            ["serves", name, "everywhere"] => self.serve(&line.actor, name, "is_subdomain='true'"),
            ["wants", name] => self.want(&line.actor, name, "").map(drop),
            ["wants", name, "with", password] => {
                let id = self.want(&line.actor, name, "")?;
                self.client(&line.actor)?.shake_hands(&id, password)
            }
            ["opens", "over", "TLS"] => self.open(&line.actor)?.handshake(),
            ["opens", "a", "stream"] => self.stream(&line.actor),
            ["connects"] => self.log_in(line, (user, resource), "PLAIN", None),
            ["connects", "with", mechanism] => self.log_in(line, (user, resource), mechanism, None),
            ["connects", "over", channel] => {
                self.log_in(line, (user, resource), "PLAIN", Some(channel))
            }
            ["connects", "over", channel, "with", mechanism] => {
                self.log_in(line, (user, resource), mechanism, Some(channel))
            }
            ["is", "ended", "with", condition] => self.ended_with(&line.actor, &[*condition]),
            ["is", "ended", "with", condition, "or", other] => {
                self.ended_with(&line.actor, &[*condition, *other])
            }
            ["is", "available"] => self.announce(&line.actor, None),
            ["is", "available", "with", "priority", priority] => {
                self.announce(&line.actor, Some(priority))
            }
            _ => self.exchange(line, user, &words),
        }
    }

    fn open(&mut self, actor: &str) -> Result<&mut Client, String> {
        let client = Client::open(self.site.address, self.site.patience, self.host)?;
        self.opened += 1;
        self.clients.insert(actor.to_owned(), client);
        self.client(actor)
    }

    fn open_to_serve(&mut self, actor: &str) -> Result<&mut Client, String> {
        let address = self.site.service.ok_or("the server takes no components")?;
        let mut client = Client::open(address, self.site.patience, self.host)?;
        self.opened += 1;
        client.become_component();
        self.clients.insert(actor.to_owned(), client);
        self.client(actor)
    }

    fn open_to_federate(&mut self, actor: &str) -> Result<(), String> {
        let address = self.site.s2s.ok_or("the server takes no servers")?;
        let mut client = Client::open(address, self.site.patience, self.host)?;
        self.opened += 1;
        client.become_server();
        self.clients.insert(actor.to_owned(), client);
        Ok(())
    }

    /// The server has connected to a domain that the dialogue plays.
    fn be_called(&mut self, actor: &str, name: &str) -> Result<(), String> {
        let peer = self.site.peers.get(name);
        let peer = peer.ok_or("the dialogue is not with that peer")?;
        let (socket, _) = peer
            .accept()
            .map_err(|error| format!("nobody connects: {error}"))?;
        let mut client = Client::taken(socket, self.site.patience, self.host)?;
        client.become_server();
        self.clients.insert(actor.to_owned(), client);
        Ok(())
    }

    /// The stream of a component, as far as its header; a connection where there is none.
    fn want(&mut self, actor: &str, name: &str, more: &str) -> Result<String, String> {
        if !self.clients.contains_key(actor) {
            self.open_to_serve(actor)?;
        }
        self.client(actor)?.start_component(name, more)
    }

    fn serve(&mut self, actor: &str, name: &str, more: &str) -> Result<(), String> {
        let id = self.want(actor, name, more)?;
        // With is_subdomain the first of its names is below the dialogue's own host.
        let address = match more {
            "" => name.to_owned(),
            _ => format!("{name}.{}", self.host),
        };
        let client = self.client(actor)?;
        client.shake_hands(&id, PASSWORD)?;
        client.is_taken_as(&address)
    }

    fn client(&mut self, actor: &str) -> Result<&mut Client, String> {
        self.clients
            .get_mut(actor)
            .ok_or_else(|| "has not opened a connection".to_owned())
    }

    fn stream(&mut self, actor: &str) -> Result<(), String> {
        if !self.clients.contains_key(actor) {
            self.open(actor)?;
        }
        self.client(actor)?.start_stream()
    }

    fn log_in(
        &mut self,
        line: &Line,
        (user, resource): (&str, Option<&str>),
        mechanism: &str,
        channel: Option<&str>,
    ) -> Result<(), String> {
        let client = self.open(&line.actor)?;
        match channel {
            None => {}
            Some("TLS") => client.handshake()?,
            Some("STARTTLS") => {
                client.start_stream()?;
                client.negotiate_tls()?;
            }
            Some(other) => return Err(format!("there is no way to connect over {other}")),
        }
        client.start_stream()?;
        client.log_in(user, mechanism)?;
        client.bind(resource)
    }

    /// Its presence is seen by all available resources of the account, itself among them, and it
    /// sees theirs (RFC 6121 section 4.2.2).
    fn announce(&mut self, actor: &str, priority: Option<&str>) -> Result<(), String> {
        let client = self.client(actor)?;
        client.announce(priority)?;
        let jid = client.jid().ok_or("has no session")?.to_owned();
        let bare = client.bare().ok_or("has no session")?.to_owned();
        let is_own = |client: &Client| client.bare() == Some(&bare) && client.is_available();
        let own: Vec<String> = self
            .clients
            .values()
            .filter(|client| is_own(client))
            .filter_map(|client| client.jid().map(str::to_owned))
            .collect();
        for client in self.clients.values_mut().filter(|client| is_own(client)) {
            let is_new = client.jid() == Some(&jid);
            client.sees(if is_new {
                own.clone()
            } else {
                vec![jid.clone()]
            })?;
        }
        Ok(())
    }

    /// What a client does that is connected.
    fn exchange(&mut self, line: &Line, user: &str, words: &[&str]) -> Result<(), String> {
        match words {
            ["sends", ..] => self.send(line, words),
            ["receives"] => self.receive(line),
            ["receives", "in", "any", "order"] => self.receive_unordered(line),
            ["receives", "nothing"] => self.receive_nothing(&line.actor),
            _ => self.act(line, user, words),
        }
    }

    fn act(&mut self, line: &Line, user: &str, words: &[&str]) -> Result<(), String> {
        let client = self.client(&line.actor)?;
        match words {
            ["restarts"] => {
                client.restart();
                Ok(())
            }
            ["starts", "TLS"] => client.handshake(),
            ["negotiates", "TLS"] => {
                client.negotiate_tls()?;
                client.start_stream()
            }
            ["logs", "in"] => client.log_in(user, "PLAIN"),
            ["logs", "in", "with", mechanism] => client.log_in(user, mechanism),
            ["binds"] => client.bind(None),
            ["binds", resource] => client.bind(Some(resource)),
            ["is", "closed"] => expect_closed(client),
            ["is", "cut"] => client.drain(),
            ["closes"] => {
                client.skip_features()?;
                client.finish();
                match client.next()? {
                    Next::Item(Item::End) => expect_closed(client),
                    other => Err(format!("expected </stream:stream>, got {}", show(&other))),
                }
            }
            ["ends", "its", "side"] => {
                client.finish();
                Ok(())
            }
            ["vanishes"] => {
                self.clients.remove(&line.actor);
                Ok(())
            }
            _ => Err("nobody knows how to do that".to_owned()),
        }
    }

    fn send(&mut self, line: &Line, words: &[&str]) -> Result<(), String> {
        let text = pattern::fill_in(&line.block.join("\n"), &self.values);
        let text = script::encode(&script::repeat(&text))?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let client = self.client(&line.actor)?;
        match words {
            ["sends"] => client.send(text.as_bytes()),
            ["sends", "bytes"] => client.send(&script::bytes(&lines)?),
            ["sends", "byte", "by", "byte"] => {
                for byte in script::bytes(&lines)? {
                    client.send(&[byte])?;
                }
                Ok(())
            }
            ["sends", size, "bytes"] => {
                let size = size.parse().map_err(|error| format!("{size}: {error}"))?;
                client.send(script::fill(&text, size)?.as_bytes())
            }
            _ => Err("nobody knows how to send that".to_owned()),
        }
    }

    fn expected(&self, line: &Line) -> Result<Vec<Item>, String> {
        let content = self
            .clients
            .get(&line.actor)
            .map_or(CLIENT, Client::content);
        items(&script::repeat(&line.block.join("\n")), content)
    }

    fn receive(&mut self, line: &Line) -> Result<(), String> {
        for expected in self.expected(line)? {
            let mut values = std::mem::take(&mut self.values);
            let got = self.client(&line.actor)?.next()?;
            let is_match = match &got {
                Next::Item(item) => pattern::matches(&expected, item, &mut values),
                Next::Closed => false,
            };
            self.values = values;
            if !is_match {
                return Err(mismatch(&[expected], &got));
            }
        }
        Ok(())
    }

    fn receive_unordered(&mut self, line: &Line) -> Result<(), String> {
        let mut expected = self.expected(line)?;
        while !expected.is_empty() {
            let mut values = std::mem::take(&mut self.values);
            let got = self.client(&line.actor)?.next()?;
            let place = match &got {
                Next::Item(item) => expected
                    .iter()
                    .position(|expected| pattern::matches(expected, item, &mut values)),
                Next::Closed => None,
            };
            self.values = values;
            match place {
                Some(place) => drop(expected.remove(place)),
                None => return Err(mismatch(&expected, &got)),
            }
        }
        Ok(())
    }

    /// Every client that has a session sends a message to this one's full JID. Between two
    /// entities order is kept, so what came before these messages was all there was.
    fn receive_nothing(&mut self, actor: &str) -> Result<(), String> {
        let jid = self
            .client(actor)?
            .jid()
            .ok_or("has no session")?
            .to_owned();
        self.fences += 1;
        let id = format!("fence{}", self.fences);
        let mut awaited = 0;
        for client in self
            .clients
            .values_mut()
            .filter(|client| client.jid().is_some())
        {
            // Who has ended already can no longer have sent anything behind.
            awaited += usize::from(client.is_open() && client.fence(&jid, &id).is_ok());
        }
        for _ in 0..awaited {
            let got = self.client(actor)?.next()?;
            let is_fence = match &got {
                Next::Item(Item::Element(tree)) => tree.attribute("id") == Some(&id),
                Next::Item(Item::Header(_) | Item::End) | Next::Closed => false,
            };
            if !is_fence {
                return Err(format!("expected nothing, got {}", show(&got)));
            }
        }
        Ok(())
    }

    /// Our header where there was none yet, the error, both ends.
    fn ended_with(&mut self, actor: &str, conditions: &[&str]) -> Result<(), String> {
        let client = self.client(actor)?;
        if !client.is_in_stream() {
            match client.next()? {
                Next::Item(Item::Header(_)) => {}
                other => return Err(format!("expected a stream header, got {}", show(&other))),
            }
        }
        let mut expected = Vec::new();
        for condition in conditions {
            let error = format!("<{condition} xmlns='{STREAM_ERRORS}'/>...");
            expected.extend(items(
                &format!("<stream:error>{error}</stream:error>"),
                CLIENT,
            )?);
        }
        for expected in [expected, vec![Item::End]] {
            let got = client.next()?;
            let matches = |expected: &Item| match &got {
                Next::Item(item) => pattern::matches(expected, item, &mut Values::new()),
                Next::Closed => false,
            };
            if !expected.iter().any(matches) {
                return Err(mismatch(&expected, &got));
            }
        }
        client.finish();
        expect_closed(client)
    }
}

fn expect_closed(client: &mut Client) -> Result<(), String> {
    match client.next()? {
        Next::Closed => Ok(()),
        other => Err(format!(
            "expected the end of the connection, got {}",
            show(&other)
        )),
    }
}

fn mismatch(expected: &[Item], got: &Next) -> String {
    let expected: Vec<String> = expected
        .iter()
        .map(|item| match item {
            Item::Header(tree) | Item::Element(tree) => tree.to_string(),
            Item::End => "</stream:stream>".to_owned(),
        })
        .collect();
    format!(
        "\n  expected {}\n  got      {}",
        expected.join("\n        or "),
        show(got)
    )
}
