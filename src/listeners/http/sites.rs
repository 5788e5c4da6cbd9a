//! Which handler of an http listener a request is for.

use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use crate::config::listen::Http;
use crate::listeners::http::bosh::BODY_BYTES;
use crate::listeners::http::dashboard;

/// What answers requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Handler {
    /// RFC 7395; the number of the listener that its connections become.
    WebSocket(u16),
    /// XEP-0206; the number of the listener that its sessions belong to.
    Bosh(u16),
    /// Figures for Prometheus.
    Metrics,
    /// The page with live figures; its number among those of the listener.
    Dashboard(u16),
    /// A handler that loads and has no code yet: its name.
    Absent(&'static str),
}

#[derive(Clone, Debug)]
struct Site {
    /// Lower case; None: any.
    host: Option<Box<str>>,
    path: Box<str>,
    /// Everything below the path, too.
    below: bool,
    handler: Handler,
}

/// The handlers of one http listener. Lives on: every shard (in the settings).
#[derive(Clone, Debug, Default)]
pub struct Sites {
    sites: Vec<Site>,
}

/// Why a request has no handler.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoSite {
    /// It does not say for which host it is, or says it twice (RFC 9112 section 3.2).
    BadHost,
    /// Nothing is there.
    NotFound,
}

impl Sites {
    /// From the file. `number` gives the listener that connections of a handler become, by the
    /// handler's type and its place among those of its type.
    pub fn new(http: &Http, number: impl Fn(&str, usize) -> u16) -> Self {
        let handlers = &http.handlers;
        let mut this = Self::default();
        for (place, handler) in handlers.mongoose_websocket_handler.iter().enumerate() {
            let number = number("mongoose_websocket_handler", place);
            this.add(
                &handler.host.value,
                &handler.path.value,
                Handler::WebSocket(number),
            );
        }
        for (place, handler) in handlers.mongoose_bosh_handler.iter().enumerate() {
            let number = number("mongoose_bosh_handler", place);
            this.add(
                &handler.host.value,
                &handler.path.value,
                Handler::Bosh(number),
            );
        }
        for handler in &handlers.mongoose_prometheus_handler {
            this.add(&handler.host.value, &handler.path.value, Handler::Metrics);
        }
        for (place, handler) in handlers.meerkat_dashboard.iter().enumerate() {
            let path = handler.path.value.trim_end_matches('/');
            let dashboard = Handler::Dashboard(place as u16);
            this.add_below(&handler.host.value, path, dashboard);
        }
        for api in &handlers.mongoose_graphql_handler {
            let absent = Handler::Absent("mongoose_graphql_handler");
            this.add_below(&api.host.value, &api.path.value, absent);
        }
        for api in &handlers.mongoose_admin_api {
            let absent = Handler::Absent("mongoose_admin_api");
            this.add_below(&api.host.value, &api.path.value, absent);
        }
        for api in &handlers.mongoose_client_api {
            let absent = Handler::Absent("mongoose_client_api");
            this.add_below(&api.host.value, &api.path.value, absent);
        }
        this
    }

    fn add(&mut self, host: &str, path: &str, handler: Handler) {
        // COMPAT(MongooseIM): "[...]" at the end of a path stands for anything.
        let (path, below) = match path.strip_suffix("[...]") {
            Some(path) => (path, true),
            None => (path, false),
        };
        // COMPAT(MongooseIM): a slash at the end of a path means nothing, nor does a dot at that of a
        // host, neither here nor in a request.
        let path = if below { path } else { trimmed(path) };
        let host = host.strip_suffix('.').unwrap_or(host);
        self.sites.push(Site {
            host: (host != "_").then(|| host.to_ascii_lowercase().into()),
            path: path.into(),
            below,
            handler,
        });
    }

    fn add_below(&mut self, host: &str, path: &str, handler: Handler) {
        self.add(host, path, handler);
        if let Some(site) = self.sites.last_mut() {
            site.below = true;
        }
    }

    /// Handlers that answer 501, each once.
    pub fn absent(&self) -> Vec<&'static str> {
        let mut names: Vec<&'static str> = Vec::new();
        for site in &self.sites {
            if let Handler::Absent(name) = site.handler
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    /// The handler of a request; the most specific host wins.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, parts: &Parts) -> Result<&Handler, NoSite> {
        let host = host(parts).ok_or(NoSite::BadHost)?;
        let path = parts.uri.path();
        let fits = |site: &&Site| {
            let below = path.strip_prefix(&*site.path).is_some_and(|rest| {
                rest.is_empty() || site.path.ends_with('/') || rest.starts_with('/')
            });
            (trimmed(path) == &*site.path || (site.below && below))
                && site.host.as_deref().is_none_or(|own| own == host)
        };
        let sites = self.sites.iter().filter(fits);
        let specific = |site: &&Site| (site.host.is_some(), site.path.len());
        // Of equals the first one of the file.
        let best = sites.rev().max_by_key(specific);
        best.map(|site| &site.handler).ok_or(NoSite::NotFound)
    }

    /// Host (None: any), path and handler of every site.
    pub fn entries(&self) -> impl Iterator<Item = (Option<&str>, &str, &Handler)> {
        let sites = self.sites.iter();
        sites.map(|site| (site.host.as_deref(), &*site.path, &site.handler))
    }

    /// Whether pages of other origins may know what a request of theirs is told.
    pub fn is_open(&self, parts: &Parts) -> bool {
        matches!(
            self.find(parts),
            Ok(Handler::Bosh(_) | Handler::WebSocket(_))
        )
    }

    /// Bytes that the body of this request may have; `stanza` gives those of a stanza on a listener.
    pub fn body_bytes_max(&self, parts: &Parts, stanza: impl Fn(u16) -> usize) -> usize {
        match self.find(parts) {
            Ok(Handler::Bosh(number)) => stanza(*number).saturating_add(BODY_BYTES),
            Ok(Handler::Dashboard(_)) => dashboard::BODY_BYTES_MAX,
            Ok(Handler::WebSocket(_) | Handler::Metrics | Handler::Absent(_)) | Err(_) => 0,
        }
    }
}

/// A path without the slash at its end; the root is its own.
fn trimmed(path: &str) -> &str {
    path.strip_suffix('/')
        .filter(|rest| !rest.is_empty())
        .unwrap_or(path)
}

/// The host that a request is for, in lower case, without a port.
pub fn host(parts: &Parts) -> Option<String> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().ok()?),
        (None, None) if parts.version < hyper::Version::HTTP_11 => Some(""),
        (None, None) => parts.uri.authority().map(|authority| authority.as_str()),
        (_, Some(_)) => None,
    }?;
    let named = match parts.uri.authority() {
        Some(authority) => authority.clone(),
        // RFC 9112 section 3.2: it may be empty.
        None if header.is_empty() => return Some(String::new()),
        None => header.parse::<Authority>().ok()?,
    };
    // RFC 9110 section 4.2.4: a user does not belong there.
    if named.as_str().contains('@') {
        return None;
    }
    let name = named.host();
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    Some(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, hosts: &[&str]) -> Parts {
        let mut builder = hyper::Request::builder().uri(uri);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        builder.body(()).expect("a request").into_parts().0
    }

    fn sites() -> Sites {
        let mut sites = Sites::default();
        sites.add("_", "/ws", Handler::WebSocket(1));
        sites.add("Chat.example", "/ws", Handler::WebSocket(2));
        sites.add("_", "/ws", Handler::WebSocket(3));
        sites.add_below("_", "/api", Handler::Absent("a"));
        sites.add("_", "/any/[...]", Handler::WebSocket(4));
        sites
    }

    #[test]
    fn the_most_specific_host_wins() {
        let sites = sites();
        let table = [
            ("/ws", "localhost", Ok(&Handler::WebSocket(1))),
            ("/ws?x=y", "localhost:5280", Ok(&Handler::WebSocket(1))),
            ("/ws", "CHAT.example:80", Ok(&Handler::WebSocket(2))),
            ("/ws", "[::1]:5280", Ok(&Handler::WebSocket(1))),
            ("/ws/", "localhost", Ok(&Handler::WebSocket(1))),
            ("/ws//", "localhost", Err(NoSite::NotFound)),
            ("/ws/x", "localhost", Err(NoSite::NotFound)),
            ("/ws", "chat.example.", Ok(&Handler::WebSocket(2))),
            ("/", "localhost", Err(NoSite::NotFound)),
            ("/wsx", "localhost", Err(NoSite::NotFound)),
            ("/api", "localhost", Ok(&Handler::Absent("a"))),
            ("/api/x/y", "localhost", Ok(&Handler::Absent("a"))),
            ("/apix", "localhost", Err(NoSite::NotFound)),
            ("/any/x", "localhost", Ok(&Handler::WebSocket(4))),
            ("/any", "localhost", Err(NoSite::NotFound)),
        ];
        for (path, host, expected) in table {
            assert_eq!(
                sites.find(&request(path, &[host])),
                expected,
                "{host}{path}"
            );
        }
        let absolute = request("http://chat.example/ws", &["localhost"]);
        assert_eq!(sites.find(&absolute), Ok(&Handler::WebSocket(2)));
    }

    #[test]
    fn one_host_is_named() {
        let sites = sites();
        assert_eq!(sites.find(&request("/ws", &[])), Err(NoSite::BadHost));
        assert_eq!(
            sites.find(&request("/ws", &["a", "b"])),
            Err(NoSite::BadHost)
        );
    }
}
