//! `meerkat_dashboard`: one page that shows what the server does, and ends sessions.
//!
//! The page, its style and its script are embedded and hold nothing of anybody's; what they ask for
//! needs a login ([`login`]). Figures come as server-sent events ([`pulse`]), sessions and kicks as
//! answers of all shards. What is sent to the server is JSON, which no form of another site can send,
//! must not come from a page of another origin, and, where it changes something, shows the token that
//! only the page can read.

pub mod login;
pub mod pulse;

use hyper::Method;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::CACHE_CONTROL;
use hyper::header::CONTENT_SECURITY_POLICY;
use hyper::header::CONTENT_TYPE;
use hyper::header::COOKIE;
use hyper::header::HOST;
use hyper::header::HeaderMap;
use hyper::header::HeaderName;
use hyper::header::LOCATION;
use hyper::header::ORIGIN;
use hyper::header::REFERRER_POLICY;
use hyper::header::RETRY_AFTER;
use hyper::header::SET_COOKIE;
use hyper::header::X_FRAME_OPTIONS;
use serde_json::Value;
use serde_json::json;

use self::login::Attempt;
use self::login::LOGIN_S;
use self::login::Login;
use self::login::Pass;
use super::answer;
use super::conversation::Asked;
use super::conversation::Content;
use super::conversation::Conversation;
use super::forwarded;
use super::gather::Purpose;
use super::gzip;
use crate::base::key::Key;
use crate::listeners::report;
use crate::listeners::shard::Shard;
use crate::listeners::status::Answer;
use crate::listeners::status::Question;

/// Bytes of what is sent to a dashboard; an address has 3071 at most.
pub const BODY_BYTES_MAX: usize = 4096;
/// Nothing but what comes from here, and nothing in line.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
/// The header with the token.
const TOKEN: HeaderName = HeaderName::from_static("x-meerkat-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const JSON: &str = "application/json";
/// What a `Retry-After` says; seconds.
const RETRY_S: &str = "3";

/// What is the same for everybody: name below the path, kind, text.
const FILES: [(&str, &str, &str); 4] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("page/page.html"),
    ),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_str!("page/page.css"),
    ),
    (
        "/page.js",
        "text/javascript; charset=utf-8",
        include_str!("page/page.js"),
    ),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// What needs a login: name below the path, and the method.
const ASKS: [(&str, &str); 6] = [
    ("/session", "GET"),
    ("/events", "GET"),
    ("/login", "POST"),
    ("/logout", "POST"),
    ("/sessions", "POST"),
    ("/kick", "POST"),
];

impl Shard {
    /// Answers a request below a dashboard's path; None: the answer comes later.
    pub(super) fn ask_dashboard(
        &mut self,
        key: Key,
        conversation: &mut Conversation,
        number: u16,
        request: &Asked,
    ) -> Option<Response<Content>> {
        let settings = std::rc::Rc::clone(&self.settings);
        let connection = self.desk.slab.get_mut(key)?;
        let listener = settings.listener(connection.listener);
        let login = listener.dashboards.get(usize::from(number))?;
        let secured = connection.tls.is_some()
            || (conversation.is_forwarded && forwarded::is_secured(&request.parts.headers));
        let name = request.parts.uri.path().strip_prefix(&*login.path)?;
        if name.is_empty() {
            let moved = answer::status(StatusCode::PERMANENT_REDIRECT);
            return Some(guard(answer::with_text(
                moved,
                LOCATION,
                &format!("{}/", login.path),
            )));
        }
        if let Some((_, kind, text)) = FILES.iter().find(|(file, ..)| *file == name) {
            return Some(match request.parts.method {
                Method::GET | Method::HEAD => file(kind, text),
                _ => guard(answer::not_allowed("GET, HEAD")),
            });
        }
        let Some((_, method)) = ASKS.iter().find(|(ask, _)| *ask == name) else {
            return Some(guard(answer::status(StatusCode::NOT_FOUND)));
        };
        if request.parts.method.as_str() != *method {
            return Some(guard(answer::not_allowed(method)));
        }
        if *method == "POST" && !is_ours(&request.parts.headers) {
            return Some(refused(
                "what a page of another site sends is not looked at",
            ));
        }
        let asked = (key, conversation.serial);
        if name == "/login" {
            return Some(self.log_in(key, login, secured, request));
        }
        let Some(pass) = self.pass(login, &request.parts.headers) else {
            return Some(guard(answer::status(StatusCode::UNAUTHORIZED)));
        };
        if *method == "POST" && !shows_token(login, pass, &request.parts.headers) {
            return Some(refused("the token is missing or of another login"));
        }
        match name {
            "/session" => Some(session(self.facts.version, &login.token(pass))),
            "/events" => Some(self.stream_events(conversation, asked, number, pass)),
            "/logout" => {
                login.sign_out();
                tracing::info!(dashboard = %login.path, "every login of the dashboard was ended");
                let answer = answer::status(StatusCode::OK);
                Some(with_cookie(answer, login, "", 0, secured))
            }
            "/sessions" => self.ask_all(asked, Purpose::Sessions, request),
            "/kick" => self.ask_all(asked, Purpose::Kick, request),
            _ => Some(answer::status(StatusCode::NOT_FOUND)),
        }
    }

    fn pass(&self, login: &Login, headers: &HeaderMap) -> Option<Pass> {
        let now_s = self.facts.unix_seconds;
        let mut cookies = headers.get_all(COOKIE).iter();
        cookies.find_map(|header| login.pass(header.to_str().ok()?, now_s))
    }

    fn log_in(
        &mut self,
        key: Key,
        login: &Login,
        secured: bool,
        request: &Asked,
    ) -> Response<Content> {
        let now = (self.desk.now_ms, self.facts.unix_seconds);
        let Some(connection) = self.desk.slab.get_mut(key) else {
            return answer::status(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let peer = connection.peer;
        let body: Option<Value> = serde_json::from_slice(&request.body).ok();
        let text = |name: &str| body.as_ref()?.get(name)?.as_str();
        let (Some(username), Some(password)) = (text("username"), text("password")) else {
            return explained(
                StatusCode::BAD_REQUEST,
                "username and password are expected",
            );
        };
        match login.attempt((username, password), peer.ip(), now) {
            Attempt::Right(value) => {
                tracing::info!(%peer, dashboard = %login.path, "login to the dashboard");
                let answer = answer::status(StatusCode::OK);
                with_cookie(answer, login, &value, LOGIN_S, secured)
            }
            Attempt::Wrong => {
                tracing::warn!(%peer, dashboard = %login.path, "wrong login to the dashboard");
                explained(StatusCode::FORBIDDEN, "name or password is wrong")
            }
            Attempt::TooSoon => {
                let text = "after a wrong password there is a pause";
                let answer = explained(StatusCode::TOO_MANY_REQUESTS, text);
                answer::with(answer, RETRY_AFTER, RETRY_S)
            }
        }
    }

    /// Sessions with a text in their address, or the end of some, by an object with `text`.
    fn ask_all(
        &mut self,
        asked: (Key, u32),
        purpose: Purpose,
        request: &Asked,
    ) -> Option<Response<Content>> {
        let body: Option<Value> = serde_json::from_slice(&request.body).ok();
        let text = body.as_ref().and_then(|body| body.get("text")?.as_str());
        let Some(text) = text else {
            return Some(explained(StatusCode::BAD_REQUEST, "a text is expected"));
        };
        let question = match purpose {
            Purpose::Kick => Question::Kick(text.to_owned()),
            Purpose::Sessions | Purpose::Metrics | Purpose::Pulse => {
                Question::Sessions(text.to_owned())
            }
        };
        self.gather(Some(asked), purpose, &question);
        None
    }
}

/// What a document says that was asked for behind the login.
pub(super) fn document(status: StatusCode, document: &Value) -> Response<Content> {
    guard(answer::content(status, JSON, document.to_string()))
}

/// Who was made to leave; whoever had gone before is not found.
pub(super) fn kicked(answers: Vec<Answer>) -> Response<Content> {
    let kicked = report::kicked(answers);
    let is_empty = kicked["kicked"].as_array().is_none_or(Vec::is_empty);
    let status = if is_empty {
        StatusCode::NOT_FOUND
    } else {
        tracing::info!(kicked = %kicked["kicked"].as_array().map_or(0, Vec::len), "sessions ended from the dashboard");
        StatusCode::OK
    };
    document(status, &kicked)
}

fn session(version: &str, token: &str) -> Response<Content> {
    let text = json!({"version": version, "token": token});
    document(StatusCode::OK, &text)
}

fn explained(status: StatusCode, text: &str) -> Response<Content> {
    guard(answer::explained(status, text))
}

fn refused(text: &str) -> Response<Content> {
    explained(StatusCode::FORBIDDEN, text)
}

/// The token that `/session` gives.
fn shows_token(login: &Login, pass: Pass, headers: &HeaderMap) -> bool {
    let token = headers.get(TOKEN).and_then(|token| token.to_str().ok());
    token.is_some_and(|token| login.is_token(pass, token))
}

/// It is JSON, and not sent by a page of another origin. Who is no browser names no origin, and has
/// nobody's cookie either.
fn is_ours(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let same_site = headers
        .get(FETCH_SITE)
        .is_none_or(|site| site == "same-origin");
    let same_origin = match (headers.get(ORIGIN), text(HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host)),
        (Some(_), None) => false,
    };
    kind.trim().eq_ignore_ascii_case(JSON) && same_site && same_origin
}

fn with_cookie(
    answer: Response<Content>,
    login: &Login,
    value: &str,
    seconds: u64,
    secured: bool,
) -> Response<Content> {
    let (name, path) = (login::COOKIE, &login.path);
    let secure = if secured { "; Secure" } else { "" };
    let cookie = format!(
        "{name}={value}; Path={path}/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
    );
    guard(answer::with_text(answer, SET_COOKIE, &cookie))
}

fn file(kind: &'static str, text: &'static str) -> Response<Content> {
    let answer = answer::content(StatusCode::OK, kind, Bytes::from_static(text.as_bytes()));
    // It may have changed with the server.
    let answer = answer::with(guard(answer), CACHE_CONTROL, "no-cache");
    gzip::compressible(answer)
}

fn guard(answer: Response<Content>) -> Response<Content> {
    let answer = answer::with(answer, CONTENT_SECURITY_POLICY, POLICY);
    let answer = answer::with(answer, X_FRAME_OPTIONS, "DENY");
    answer::with(answer, REFERRER_POLICY, "no-referrer")
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn what_other_sites_send_is_refused() {
        let table: [(&[(HeaderName, &'static str)], bool); 8] = [
            (&[(CONTENT_TYPE, "application/json")], true),
            (
                &[
                    (CONTENT_TYPE, "Application/JSON; charset=utf-8"),
                    (HOST, "a"),
                ],
                true,
            ),
            (&[(CONTENT_TYPE, "text/plain")], false),
            (&[], false),
            (
                &[(CONTENT_TYPE, JSON), (HOST, "a:1"), (ORIGIN, "http://A:1")],
                true,
            ),
            (
                &[(CONTENT_TYPE, JSON), (HOST, "a:1"), (ORIGIN, "http://a:2")],
                false,
            ),
            (
                &[(CONTENT_TYPE, JSON), (HOST, "a"), (ORIGIN, "null")],
                false,
            ),
            (
                &[(CONTENT_TYPE, JSON), (HOST, "a"), (FETCH_SITE, "same-site")],
                false,
            ),
        ];
        for (headers, expected) in table {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(name, HeaderValue::from_static(value));
            }
            assert_eq!(is_ours(&map), expected, "{headers:?}");
        }
    }

    #[test]
    fn the_page_asks_nobody_else() {
        for (name, _, text) in FILES {
            let own = text.replace("http://www.w3.org/2000/svg", "");
            for word in [
                "http://",
                "https://",
                "//cdn",
                "@import",
                "style=",
                " onclick",
                // A resource may be called anything.
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
            ] {
                assert!(!own.contains(word), "{name} has {word}");
            }
        }
    }
}
