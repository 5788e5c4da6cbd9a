//! One HTTP/1 connection: hyper, polled by the shard.
//!
//! Hyper reads and writes two buffers in memory. The shard puts in what it received, polls, takes
//! what is to be sent, and answers the request that hyper has read; so hyper needs no executor and
//! no timer, and a connection needs no task. A request is handed over with its whole body.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;

use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Body;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::body::SizeHint;
use hyper::header::CONNECTION;
use hyper::header::HeaderValue;
use hyper::header::TRANSFER_ENCODING;
use hyper::http::request::Parts;
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1;
use hyper::service::Service;

use crate::listeners::http::answer;
use crate::listeners::http::gzip::Packing;
use crate::listeners::settings::Settings;

/// Bytes of a request's head, and of what hyper reads ahead.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Polls within which hyper has to use up what there is; each goes through it several times.
const POLLS_MAX: usize = 4096;

/// The body of an answer.
pub enum Content {
    /// All of it.
    Whole(Bytes),
    /// Events, as they come (server-sent events).
    Events(Rc<RefCell<Events>>),
}

/// Events that wait to be written. Lives on: the shard of the connection.
#[derive(Default)]
pub struct Events {
    /// In their order.
    pub queue: VecDeque<Bytes>,
    /// No more will come.
    pub ended: bool,
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Events(events) => {
                let mut events = events.borrow_mut();
                match events.queue.pop_front() {
                    Some(event) => Poll::Ready(Some(Ok(Frame::data(event)))),
                    None if events.ended => Poll::Ready(None),
                    // The shard polls again when there is one.
                    None => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// A request, whole.
pub struct Asked {
    /// Method, address and headers.
    pub parts: Parts,
    /// The body.
    pub body: Vec<u8>,
}

/// What hyper and the shard have for each other.
#[derive(Default)]
struct Exchange {
    request: Option<Asked>,
    answer: Option<Response<Content>>,
}

/// What hyper takes for a socket.
#[derive(Default)]
struct Buffers {
    input: Vec<u8>,
    read: usize,
    ended: bool,
    output: Vec<u8>,
}

struct Pipe(Rc<RefCell<Buffers>>);

impl hyper::rt::Read for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut buffers = self.0.borrow_mut();
        let waiting = buffers.input.get(buffers.read..).unwrap_or_default();
        let count = waiting.len().min(into.remaining());
        if count == 0 {
            return if buffers.ended {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        }
        into.put_slice(waiting.get(..count).unwrap_or_default());
        buffers.read += count;
        if buffers.read == buffers.input.len() {
            buffers.read = 0;
            buffers.input.clear();
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads the bodies of requests and waits for the shard's answers.
struct Serve {
    exchange: Rc<RefCell<Exchange>>,
    settings: Arc<Settings>,
    listener: u16,
}

impl Service<Request<Incoming>> for Serve {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let sites = &self.settings.listener(self.listener).sites;
        let most = sites.body_bytes_max(&parts, |number| {
            self.settings.listener(number).limits.stanza_bytes_max
        });
        let open = sites.is_open(&parts);
        let exchange = Rc::clone(&self.exchange);
        Box::pin(answer_to(parts, body, (most, open), exchange))
    }
}

async fn answer_to(
    parts: Parts,
    body: Incoming,
    (most, open): (usize, bool),
    exchange: Rc<RefCell<Exchange>>,
) -> Result<Response<Content>, Infallible> {
    // SPEC(RFC 9112 6.1): a length beside chunks may be an attempt at smuggling. Hyper goes by the
    // chunks and drops the length; whoever stands in front may have gone by the length. So nothing
    // that comes behind a chunked request is taken for another one.
    let chunked = parts.headers.contains_key(TRANSFER_ENCODING);
    let body = match read_body(body, most).await {
        Ok(body) => body,
        Err(status) if open => {
            return Ok(closing(answer::with_cors(answer::status(status))));
        }
        Err(status) => return Ok(closing(answer::status(status))),
    };
    exchange.borrow_mut().request = Some(Asked { parts, body });
    let answer = poll_fn(|_| match exchange.borrow_mut().answer.take() {
        Some(answer) => Poll::Ready(answer),
        None => Poll::Pending,
    });
    let answer = answer.await;
    Ok(if chunked { closing(answer) } else { answer })
}

async fn read_body(mut body: Incoming, most: usize) -> Result<Vec<u8>, StatusCode> {
    if body.size_hint().lower() > most as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else {
            return Err(StatusCode::BAD_REQUEST);
        };
        // Trailers say nothing that anybody here asks for.
        if let Ok(data) = frame.into_data() {
            if data.len() > most - bytes.len() {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

fn closing(mut answer: Response<Content>) -> Response<Content> {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

/// Hyper asked to be polled again.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How far hyper came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// It waits: for bytes, or for an answer to the request that it has read.
    Waits,
    /// The last answer is written, or the connection is another protocol's from here on.
    Done,
    /// The peer's HTTP is none; what there is to say about it is written.
    Failed,
}

/// One HTTP connection. Lives on: the shard that accepted it.
pub struct Conversation {
    hyper: Box<http1::Connection<Pipe, Serve>>,
    buffers: Rc<RefCell<Buffers>>,
    exchange: Rc<RefCell<Exchange>>,
    flag: Arc<Flag>,
    waker: Waker,
    /// Counts requests, so that a late answer finds the right one.
    pub serial: u32,
    /// A request has been handed over and not been answered.
    pub is_asking: bool,
    /// Bytes that have come since the last request: of one that has not come in whole.
    pub unasked_bytes: usize,
    /// The listener that the connection becomes when it is upgraded.
    pub upgrade: Option<u16>,
    /// The socket's own peer, where a trusted proxy names another.
    pub socket_peer: Option<SocketAddr>,
    /// Its requests come from a proxy whose word is taken.
    pub is_forwarded: bool,
    /// The BOSH session that is to answer the request.
    pub bosh: Option<Box<str>>,
    /// Whether the answer that is due is compressed.
    pub packing: Packing,
    /// Where events go.
    pub events: Option<Rc<RefCell<Events>>>,
    /// What is wrong with the peer's HTTP.
    pub failure: Option<hyper::Error>,
}

impl Conversation {
    /// Before the first byte.
    pub fn new(settings: &Arc<Settings>, listener: u16) -> Self {
        let buffers = Rc::new(RefCell::new(Buffers::default()));
        let exchange = Rc::new(RefCell::new(Exchange::default()));
        let serve = Serve {
            exchange: Rc::clone(&exchange),
            settings: Arc::clone(settings),
            listener,
        };
        let mut builder = http1::Builder::new();
        builder
            .half_close(true)
            .max_buf_size(HEAD_BYTES_MAX)
            // Times are kept by the shard.
            .header_read_timeout(None);
        let hyper = builder.serve_connection(Pipe(Rc::clone(&buffers)), serve);
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        Self {
            hyper: Box::new(hyper),
            buffers,
            exchange,
            waker: Waker::from(Arc::clone(&flag)),
            flag,
            serial: 0,
            is_asking: false,
            unasked_bytes: 0,
            upgrade: None,
            socket_peer: None,
            is_forwarded: false,
            bosh: None,
            packing: Packing::Off,
            events: None,
            failure: None,
        }
    }

    /// Takes in what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.unasked_bytes += bytes.len();
            self.buffers.borrow_mut().input.extend_from_slice(bytes);
        }
    }

    /// The peer sends no more.
    pub fn end_input(&mut self) {
        self.buffers.borrow_mut().ended = true;
    }

    /// True while received bytes wait for hyper, which reads on only after the next answer.
    pub fn has_input(&self) -> bool {
        !self.buffers.borrow().input.is_empty()
    }

    /// No further request after the one that is being answered.
    pub fn finish(&mut self) {
        Pin::new(&mut *self.hyper).graceful_shutdown();
        if let Some(events) = &self.events {
            events.borrow_mut().ended = true;
        }
    }

    /// Lets hyper work; what it writes is appended to `out`.
    pub fn poll(&mut self, out: &mut Vec<u8>) -> Progress {
        let mut context = Context::from_waker(&self.waker);
        let mut progress = Progress::Failed;
        for _ in 0..POLLS_MAX {
            self.flag.0.store(false, Ordering::Relaxed);
            match Pin::new(&mut *self.hyper).poll(&mut context) {
                Poll::Ready(Ok(())) => progress = Progress::Done,
                Poll::Ready(Err(error)) => self.failure = Some(error),
                Poll::Pending if self.flag.0.load(Ordering::Relaxed) => continue,
                Poll::Pending => progress = Progress::Waits,
            }
            break;
        }
        out.append(&mut self.buffers.borrow_mut().output);
        progress
    }

    /// The request that hyper has read, once.
    pub fn take_request(&mut self) -> Option<Asked> {
        let request = self.exchange.borrow_mut().request.take()?;
        self.serial = self.serial.wrapping_add(1);
        self.is_asking = true;
        self.unasked_bytes = 0;
        Some(request)
    }

    /// The answer to it; poll to have it written.
    pub fn answer(&mut self, answer: Response<Content>) {
        self.is_asking = false;
        self.bosh = None;
        self.exchange.borrow_mut().answer = Some(answer);
    }

    /// What came behind the request that upgraded the connection.
    pub fn into_rest(self) -> Vec<u8> {
        let parts = self.hyper.into_parts();
        let mut rest = parts.read_buf.to_vec();
        let buffers = self.buffers.borrow();
        rest.extend_from_slice(buffers.input.get(buffers.read..).unwrap_or_default());
        rest
    }
}
