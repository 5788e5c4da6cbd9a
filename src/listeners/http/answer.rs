//! Answers of http listeners.

use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::ACCESS_CONTROL_ALLOW_HEADERS;
use hyper::header::ACCESS_CONTROL_ALLOW_METHODS;
use hyper::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use hyper::header::ACCESS_CONTROL_MAX_AGE;
use hyper::header::ALLOW;
use hyper::header::CACHE_CONTROL;
use hyper::header::CONTENT_TYPE;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper::header::X_CONTENT_TYPE_OPTIONS;

use crate::listeners::http::conversation::Content;

/// How long a browser may remember what CORS allows, in seconds.
const CORS_SECONDS: &str = "86400";

/// An answer with a body.
pub fn content(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Content> {
    let mut answer = Response::new(Content::Whole(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// An answer that is its status.
pub fn status(status: StatusCode) -> Response<Content> {
    let text = format!("{status}\n");
    content(status, "text/plain; charset=utf-8", text)
}

/// An answer that is its status and a sentence.
pub fn explained(status: StatusCode, text: &str) -> Response<Content> {
    let text = format!("{status}: {text}\n");
    content(status, "text/plain; charset=utf-8", text)
}

/// The method is none of these.
pub fn not_allowed(methods: &'static str) -> Response<Content> {
    let answer = status(StatusCode::METHOD_NOT_ALLOWED);
    with(answer, ALLOW, methods)
}

/// Adds a header.
pub fn with(
    mut answer: Response<Content>,
    name: HeaderName,
    value: &'static str,
) -> Response<Content> {
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    answer
}

/// Adds a header whose value is computed; one that cannot be is left out.
pub fn with_text(
    mut answer: Response<Content>,
    name: HeaderName,
    value: &str,
) -> Response<Content> {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Lets pages of other origins read an answer. Nothing here is guarded by where a page comes from:
/// whoever logs in does so inside the stream.
pub fn with_cors(answer: Response<Content>) -> Response<Content> {
    with(answer, ACCESS_CONTROL_ALLOW_ORIGIN, "*")
}

/// The answer to a browser that asks what it may send.
pub fn preflight(methods: &'static str) -> Response<Content> {
    let mut answer = Response::new(Content::Whole(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let answer = with(answer, ACCESS_CONTROL_ALLOW_METHODS, methods);
    let answer = with(answer, ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type");
    let answer = with(answer, ACCESS_CONTROL_MAX_AGE, CORS_SECONDS);
    with_cors(answer)
}
