//! XEP-0156: where a browser finds XMPP, under /.well-known on every http listener (RFC 6415).
//!
//! The links name the host that the request names, so that they are right behind a proxy too; with
//! its port for handlers of the same listener, with the listener's own port for those of others. What
//! listens on loopback is named to nobody but those who asked on loopback, and what speaks TLS comes
//! first, since clients take the first link of a kind.

use hyper::Response;
use hyper::StatusCode;
use hyper::header::HOST;
use hyper::http::request::Parts;
use serde_json::json;

use super::answer;
use super::conversation::Content;
use super::gzip;
use super::sites::Handler;
use super::sites::host;
use crate::listeners::settings::Listener;
use crate::listeners::settings::Settings;
use crate::xml::write::escape_attribute;

const XML: &str = "/.well-known/host-meta";
const JSON: &str = "/.well-known/host-meta.json";

/// Whether a path is one of these documents.
pub fn is_here(path: &str) -> bool {
    path == XML || path == JSON
}

/// The document. `secured`: the client speaks TLS, with us or with a proxy that we trust.
pub fn document(
    settings: &Settings,
    listener: &Listener,
    parts: &Parts,
    secured: bool,
) -> Response<Content> {
    let links = links(settings, listener, parts, secured);
    let answer = if parts.uri.path() == JSON {
        let links: Vec<_> = links
            .iter()
            .map(|(rel, href)| json!({"rel": rel, "href": href}))
            .collect();
        let text = json!({ "links": links }).to_string();
        answer::content(StatusCode::OK, "application/json", text)
    } else {
        let mut text = Vec::new();
        text.extend_from_slice(
            b"<?xml version='1.0' encoding='utf-8'?>\n\
              <XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n",
        );
        for (rel, href) in &links {
            text.extend_from_slice(b"  <Link rel='");
            text.extend_from_slice(rel.as_bytes());
            text.extend_from_slice(b"' href='");
            escape_attribute(href, &mut text);
            text.extend_from_slice(b"'/>\n");
        }
        text.extend_from_slice(b"</XRD>\n");
        answer::content(StatusCode::OK, "application/xrd+xml", text)
    };
    // Section 4: any page may read it.
    answer::with_cors(gzip::compressible(answer))
}

fn links(
    settings: &Settings,
    listener: &Listener,
    parts: &Parts,
    secured: bool,
) -> Vec<(&'static str, String)> {
    let name = host(parts).unwrap_or_default();
    let own = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let mut links = Vec::new();
    for other in settings.listeners() {
        let is_own = std::ptr::eq(other, listener);
        let is_near = listener.address.ip().is_loopback();
        if !is_own && !is_near && other.address.ip().is_loopback() {
            continue;
        }
        let secured = if is_own {
            secured
        } else {
            other.tls_at_start.is_some()
        };
        let bracketed = if name.contains(':') {
            format!("[{name}]")
        } else {
            name.clone()
        };
        let authority = match own.filter(|_| is_own) {
            Some(own) => own.to_owned(),
            None => format!("{bracketed}:{}", other.address.port()),
        };
        for (site_host, path, handler) in other.sites.entries() {
            if site_host.is_some_and(|site| site != name) || path.ends_with("[...]") {
                continue;
            }
            let (rel, scheme) = match (handler, secured) {
                (Handler::WebSocket(_), true) => ("urn:xmpp:alt-connections:websocket", "wss"),
                (Handler::WebSocket(_), false) => ("urn:xmpp:alt-connections:websocket", "ws"),
                (Handler::Bosh(_), true) => ("urn:xmpp:alt-connections:xbosh", "https"),
                (Handler::Bosh(_), false) => ("urn:xmpp:alt-connections:xbosh", "http"),
                (Handler::Metrics | Handler::Dashboard(_) | Handler::Absent(_), _) => continue,
            };
            links.push((secured, rel, format!("{scheme}://{authority}{path}")));
        }
    }
    links.sort_by_key(|(secured, ..)| !secured);
    links
        .into_iter()
        .map(|(_, rel, href)| (rel, href))
        .collect()
}
