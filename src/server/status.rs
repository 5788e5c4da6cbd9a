//! The local socket: `meerkat status`, `session`, `stats` and `account del` ask, the shards answer.
//!
//! A Unix socket below the data folder, mode 0600: who may read the folder may ask, end sessions, and
//! remove accounts.
//! One question a connection, a line of words, answered with one JSON document.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use serde_json::Value;
use serde_json::json;

use crate::backend::embedded::Handle as StoreHandle;
use crate::cli::version;
use crate::listeners::mail::Note;
use crate::listeners::report;
use crate::listeners::report::ServerFacts;
use crate::listeners::settings::Settings;
use crate::listeners::status::Answer;
use crate::listeners::status::Inquiry;
use crate::listeners::status::Question;
use crate::runtime::mesh::Outside;

/// The socket's name below the data folder.
const SOCKET_NAME: &str = "meerkat.sock";
/// How long the shards may take to answer, and a client to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client may take to ask.
const QUESTION_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a question; an address has 3071 at most.
const QUESTION_BYTES_MAX: u64 = 4096;
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What the socket's thread needs.
pub struct Source {
    /// The shards.
    pub shards: Vec<Outside<Note>>,
    /// The CPU of each.
    pub cpus: Vec<usize>,
    /// The operator's configuration.
    pub settings: Arc<Settings>,
    /// The store, for how long it takes.
    pub store: StoreHandle,
    /// When the server was started.
    pub since: Instant,
}

/// Where the socket is.
pub fn socket_path(data_folder: &Path) -> PathBuf {
    data_folder.join(SOCKET_NAME)
}

/// Opens the socket and answers on a thread of its own.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(data_folder: &Path, source: Source) -> io::Result<()> {
    let path = socket_path(data_folder);
    // A socket that a killed server left behind answers nobody.
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    std::thread::Builder::new()
        .name("status".to_owned())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever asks may be gone before the answer comes.
                let _ = answer(stream, &source);
            }
        })?;
    Ok(())
}

fn answer(stream: UnixStream, source: &Source) -> io::Result<()> {
    stream.set_read_timeout(Some(QUESTION_PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(&stream)
        .take(QUESTION_BYTES_MAX)
        .read_line(&mut line)?;
    let line = line.trim_end();
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let document = match word {
        "status" => status(source),
        "sessions" => {
            let answers = inquire(source, &Question::Sessions(rest.to_owned()));
            report::sessions(answers)
        }
        "kick" => report::kicked(inquire(source, &Question::Kick(rest.to_owned()))),
        "remove" => report::removed(inquire(source, &Question::Remove(rest.to_owned()))),
        _ => json!({"error": "unknown question"}),
    };
    writeln!(&stream, "{document}")
}

fn status(source: &Source) -> Value {
    let statuses = report::statuses(inquire(source, &Question::Status));
    let facts = facts(source);
    let mut document = report::status(&source.settings, &statuses, &facts);
    for shard in document["shards"].as_array_mut().into_iter().flatten() {
        let number = shard["shard"].as_u64().unwrap_or_default() as usize;
        shard["cpu"] = json!(source.cpus.get(number));
    }
    document
}

#[expect(
    clippy::disallowed_methods,
    reason = "the thread of the socket looks at the clock for the shards' figures"
)]
fn facts(source: &Source) -> ServerFacts {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    ServerFacts {
        version: version(),
        uptime_s: source.since.elapsed().as_secs(),
        unix_seconds: now.map_or(0, |now| now.as_secs()),
        store: source.store.times(),
    }
}

/// Asks every shard; those that do not answer in time are left out.
fn inquire(source: &Source, question: &Question) -> Vec<Answer> {
    let (sender, answers) = sync_channel(source.shards.len());
    for shard in &source.shards {
        let sender = sender.clone();
        let inquiry = Inquiry {
            question: question.clone(),
            reply: Box::new(move |answer| {
                // Whoever asked may have given up.
                let _ = sender.try_send(answer);
            }),
        };
        if shard.send(Note::Inquiry(inquiry)).is_err() {
            tracing::warn!("a shard's inbox is full: the answer is incomplete");
        }
    }
    drop(sender);
    let mut all = Vec::with_capacity(source.shards.len());
    while all.len() < source.shards.len()
        && let Ok(answer) = answers.recv_timeout(PATIENCE)
    {
        all.push(answer);
    }
    all
}

/// Asks the running server whose data is in this folder.
///
/// # Errors
/// When none answers.
pub fn ask(data_folder: &Path, question: &str) -> io::Result<Value> {
    let stream = UnixStream::connect(socket_path(data_folder))?;
    stream.set_read_timeout(Some(2 * PATIENCE))?;
    writeln!(&stream, "{question}")?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
    serde_json::from_str(&text).map_err(io::Error::other)
}
