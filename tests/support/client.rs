//! A client of one dialogue: its stream, and how it logs in.

use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::connection::Came;
use super::connection::Connection;
use super::scram::Scram;
use super::site::PASSWORD;
use super::tree::CLIENT;
use super::tree::COMPONENT;
use super::tree::Item;
use super::tree::SERVER;
use super::tree::STREAMS;
use super::tree::StreamReader;
use super::tree::Tree;

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";

/// A client.
pub(crate) struct Client {
    connection: Connection,
    reader: StreamReader,
    host: String,
    content: &'static str,
    in_stream: bool,
    features_due: bool,
    bound: Option<String>,
    is_open: bool,
    is_available: bool,
}

/// What was waited for and came.
pub(crate) enum Next {
    /// The next item of the stream.
    Item(Item),
    /// The end of the connection.
    Closed,
}

impl Client {
    /// Connects.
    pub(crate) fn open(
        address: SocketAddr,
        patience: Duration,
        host: &str,
    ) -> Result<Self, String> {
        let connection = Connection::open(address, patience).map_err(|error| error.to_string())?;
        Ok(Self::on(connection, host))
    }

    /// The other end of a connection that the server has made.
    pub(crate) fn taken(socket: TcpStream, patience: Duration, host: &str) -> Result<Self, String> {
        let connection = Connection::on(socket, patience).map_err(|error| error.to_string())?;
        Ok(Self::on(connection, host))
    }

    fn on(connection: Connection, host: &str) -> Self {
        Self {
            connection,
            reader: StreamReader::default(),
            host: host.to_owned(),
            content: CLIENT,
            in_stream: false,
            features_due: false,
            bound: None,
            is_open: true,
            is_available: false,
        }
    }

    /// It is a component from now on.
    pub(crate) fn become_component(&mut self) {
        self.content = COMPONENT;
    }

    /// It is another server from now on.
    pub(crate) fn become_server(&mut self) {
        self.content = SERVER;
    }

    /// The namespace of its stream.
    pub(crate) fn content(&self) -> &'static str {
        self.content
    }

    /// Opens a component's stream; the stream's id (XEP-0114).
    pub(crate) fn start_component(&mut self, name: &str, more: &str) -> Result<String, String> {
        let name_attribute = attribute(name);
        let header = format!(
            "<stream:stream to='{name_attribute}' xmlns='{COMPONENT}' xmlns:stream='{STREAMS}' {more}>"
        );
        self.send(header.as_bytes())?;
        match self.next()? {
            Next::Item(Item::Header(header)) => {
                self.features_due = false;
                if header.attribute("from") != Some(name) || header.attribute("version").is_some() {
                    return Err(format!("no header of a component: {header}"));
                }
                let id = header.attribute("id").unwrap_or_default();
                Ok(id.to_owned())
            }
            other => Err(format!("expected a stream header, got {}", show(&other))),
        }
    }

    /// Proves to know the password; messages to `name` reach it afterwards.
    pub(crate) fn shake_hands(&mut self, id: &str, password: &str) -> Result<(), String> {
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(id.as_bytes());
        context.update(password.as_bytes());
        let digits = context.finish();
        let digits: Vec<String> = digits.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        self.send(format!("<handshake>{}</handshake>", digits.concat()).as_bytes())
    }

    /// The server has taken the component.
    pub(crate) fn is_taken_as(&mut self, name: &str) -> Result<(), String> {
        self.element(COMPONENT, "handshake")?;
        self.bound = Some(name.to_owned());
        Ok(())
    }

    /// A message that shows that nothing came before it.
    pub(crate) fn fence(&mut self, to: &str, id: &str) -> Result<(), String> {
        let from = match (self.content, &self.bound) {
            (COMPONENT, Some(name)) => format!(" from='{}'", attribute(name)),
            _ => String::new(),
        };
        let to = attribute(to);
        self.send(format!("<message to='{to}'{from} id='{id}' type='normal'/>").as_bytes())
    }

    /// The full JID, once it is bound; the name of a component.
    pub(crate) fn jid(&self) -> Option<&str> {
        self.bound.as_deref()
    }

    /// False once the server has ended the stream, or the client has.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Everything that came.
    pub(crate) fn log(&self) -> String {
        self.connection.log()
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.connection
            .send(bytes)
            .map_err(|error| format!("sending failed: {error}"))
    }

    /// The next that comes.
    pub(crate) fn next(&mut self) -> Result<Next, String> {
        let deadline = self.connection.deadline();
        loop {
            if let Some(item) = self.reader.next_item()? {
                match &item {
                    Item::Header(_) => (self.in_stream, self.features_due) = (true, true),
                    Item::Element(tree) if tree.is(STREAMS, "features") => {
                        self.features_due = false
                    }
                    Item::Element(_) => {}
                    Item::End => self.is_open = false,
                }
                return Ok(Next::Item(item));
            }
            match self.connection.receive(deadline)? {
                Came::Bytes(bytes) => self.reader.push(&bytes),
                Came::Closed if self.reader.unread().is_empty() => return Ok(Next::Closed),
                Came::Closed => return Err("the connection ended within an element".to_owned()),
            }
        }
    }

    /// The next item, which must be an element of this name.
    pub(crate) fn element(&mut self, namespace: &str, name: &str) -> Result<Tree, String> {
        match self.next()? {
            Next::Item(Item::Element(tree)) if tree.is(namespace, name) => Ok(tree),
            other => Err(format!(
                "expected <{name} xmlns='{namespace}'/>, got {}",
                show(&other)
            )),
        }
    }

    /// Sends a stream header and takes the server's.
    pub(crate) fn start_stream(&mut self) -> Result<(), String> {
        self.restart();
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xmlns='{CLIENT}' \
             xmlns:stream='{STREAMS}'>",
            self.host
        );
        self.send(header.as_bytes())?;
        match self.next()? {
            Next::Item(Item::Header(header)) => self.check_header(&header),
            other => Err(format!("expected a stream header, got {}", show(&other))),
        }
    }

    /// A new stream of the server is to come.
    pub(crate) fn restart(&mut self) {
        self.reader.restart();
        self.in_stream = false;
        self.features_due = false;
    }

    /// RFC 6120 section 4.7: what every header of ours has.
    fn check_header(&self, header: &Tree) -> Result<(), String> {
        let wanted = [("from", self.host.as_str()), ("version", "1.0")];
        for (name, value) in wanted {
            if header.attribute(name) != Some(value) {
                return Err(format!(
                    "{name} of the stream header is not {value}: {header}"
                ));
            }
        }
        if header.attribute("id").is_none_or(str::is_empty) {
            return Err(format!("the stream header has no id: {header}"));
        }
        Ok(())
    }

    /// Takes the features where they are still to come.
    pub(crate) fn skip_features(&mut self) -> Result<(), String> {
        if self.features_due {
            self.element(STREAMS, "features")?;
        }
        Ok(())
    }

    /// Asks for TLS and begins it.
    pub(crate) fn negotiate_tls(&mut self) -> Result<(), String> {
        self.skip_features()?;
        self.send(format!("<starttls xmlns='{TLS}'/>").as_bytes())?;
        self.element(TLS, "proceed")?;
        self.handshake()
    }

    /// Begins TLS.
    pub(crate) fn handshake(&mut self) -> Result<(), String> {
        self.restart();
        let host = self.host.clone();
        self.connection.start_tls(&host)
    }

    /// Logs in, and takes the header of the new stream.
    pub(crate) fn log_in(&mut self, user: &str, mechanism: &str) -> Result<(), String> {
        self.skip_features()?;
        match Scram::new(mechanism, user, PASSWORD) {
            None => {
                let data = match mechanism {
                    "PLAIN" => STANDARD.encode(format!("\0{user}\0{PASSWORD}")),
                    _ => "=".to_owned(),
                };
                self.authenticate(mechanism, &data)?;
                self.element(SASL, "success")?;
            }
            Some(mut scram) => {
                self.authenticate(mechanism, &scram.first())?;
                let challenge = self.element(SASL, "challenge")?.text();
                let answer = scram.answer(&challenge)?;
                self.send(format!("<response xmlns='{SASL}'>{answer}</response>").as_bytes())?;
                scram.verify(&self.element(SASL, "success")?.text())?;
            }
        }
        self.start_stream()
    }

    fn authenticate(&mut self, mechanism: &str, data: &str) -> Result<(), String> {
        let auth = format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{data}</auth>");
        self.send(auth.as_bytes())
    }

    /// Binds a resource; without one the server makes it.
    pub(crate) fn bind(&mut self, resource: Option<&str>) -> Result<(), String> {
        self.skip_features()?;
        let wish = resource
            .map(|name| format!("<resource>{name}</resource>"))
            .unwrap_or_default();
        let iq = format!("<iq id='bind' type='set'><bind xmlns='{BIND}'>{wish}</bind></iq>");
        self.send(iq.as_bytes())?;
        let answer = self.element(CLIENT, "iq")?;
        let jid = answer
            .child("bind")
            .and_then(|bind| bind.child("jid"))
            .map(Tree::text);
        let jid = jid.filter(|jid| resource.is_none_or(|name| jid.ends_with(&format!("/{name}"))));
        self.bound = Some(jid.ok_or_else(|| format!("not bound: {answer}"))?);
        Ok(())
    }

    /// The bare JID, once a resource is bound.
    pub(crate) fn bare(&self) -> Option<&str> {
        let (bare, _) = self.bound.as_deref()?.split_once('/')?;
        Some(bare)
    }

    /// True once it has announced itself.
    pub(crate) fn is_available(&self) -> bool {
        self.is_available && self.is_open
    }

    /// Sends initial presence.
    pub(crate) fn announce(&mut self, priority: Option<&str>) -> Result<(), String> {
        self.is_available = true;
        let priority = priority.map(|n| format!("<priority>{n}</priority>"));
        let presence = format!("<presence>{}</presence>", priority.unwrap_or_default());
        self.send(presence.as_bytes())
    }

    /// Takes the presence of these, in any order.
    pub(crate) fn sees(&mut self, mut jids: Vec<String>) -> Result<(), String> {
        while !jids.is_empty() {
            let presence = self.element(CLIENT, "presence")?;
            let from = presence.attribute("from").unwrap_or_default();
            let place = jids.iter().position(|jid| jid == from);
            let place = place.filter(|_| presence.attribute("type").is_none());
            let place =
                place.ok_or_else(|| format!("expected presence of {jids:?}: {presence}"))?;
            jids.remove(place);
        }
        Ok(())
    }

    /// True once the server's header was received.
    pub(crate) fn is_in_stream(&self) -> bool {
        self.in_stream
    }

    /// Sends the end of the stream and of the connection.
    pub(crate) fn finish(&mut self) {
        self.is_open = false;
        // A server that has closed already cannot take it.
        let _ = self.send(b"</stream:stream>");
        self.connection.finish();
    }

    /// Drops whatever comes, up to the end of the connection.
    pub(crate) fn drain(&mut self) -> Result<(), String> {
        let deadline = self.connection.deadline();
        while let Came::Bytes(_) = self.connection.receive(deadline)? {}
        Ok(())
    }
}

/// Text as it may stand between apostrophes.
pub(crate) fn attribute(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\'', "&apos;")
}

/// As a message shows it.
pub(crate) fn show(next: &Next) -> String {
    match next {
        Next::Item(Item::Header(tree)) => format!("the stream header {tree}"),
        Next::Item(Item::Element(tree)) => tree.to_string(),
        Next::Item(Item::End) => "</stream:stream>".to_owned(),
        Next::Closed => "the end of the connection".to_owned(),
    }
}
