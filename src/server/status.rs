//! The local status socket: `meerkat status` asks, the shards answer.
//!
//! A Unix socket below the data folder, mode 0600: who may read the folder may ask. One question a
//! connection, answered with one JSON document.

use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::time::Instant;

use crate::cli::Loaded;
use crate::cli::version;
use crate::listeners::mail::Note;
use crate::listeners::settings::Settings;
use crate::listeners::status::ShardStatus;
use crate::listeners::status::StatusRequest;
use crate::runtime::mesh::Outside;

/// The socket's name below the data folder.
const SOCKET_NAME: &str = "meerkat.sock";
/// How long the shards may take to answer, and a client to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer that `meerkat status` reads, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// What the socket's thread needs.
pub struct Source {
    /// The shards.
    pub shards: Vec<Outside<Note>>,
    /// The CPU of each.
    pub cpus: Vec<usize>,
    /// The operator's configuration.
    pub settings: Arc<Settings>,
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

fn answer(mut stream: UnixStream, source: &Source) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let (sender, answers) = sync_channel(source.shards.len());
    for shard in &source.shards {
        let request = StatusRequest {
            answer: sender.clone(),
        };
        if shard.send(Note::Status(request)).is_err() {
            tracing::warn!("a shard's inbox is full: status is incomplete");
        }
    }
    drop(sender);
    let mut statuses: Vec<ShardStatus> = Vec::new();
    while let Ok(status) = answers.recv_timeout(PATIENCE) {
        statuses.push(status);
        if statuses.len() == source.shards.len() {
            break;
        }
    }
    statuses.sort_by_key(|status| status.shard);
    stream.write_all(render(source, &statuses).as_bytes())
}

fn render(source: &Source, statuses: &[ShardStatus]) -> String {
    let shards = join(statuses, |status| {
        let cpu = source.cpus.get(status.shard).copied().unwrap_or_default();
        format!(
            "{{\"shard\":{},\"cpu\":{cpu},\"connections\":{},\"sessions\":{},\"stanzas\":{},\
             \"ends\":{{{}}}}}",
            status.shard,
            status.connections,
            status.sessions,
            status.stanzas,
            join(&status.ends, |(label, count)| format!(
                "\"{label}\":{count}"
            )),
        )
    });
    let numbered: Vec<_> = source.settings.listeners().iter().enumerate().collect();
    let listeners = join(&numbered, |(number, listener)| {
        let open: usize = statuses
            .iter()
            .filter_map(|s| s.by_listener.get(*number))
            .sum();
        format!(
            "{{\"path\":\"{}\",\"address\":\"{}\",\"acceptors\":{:?},\"connections\":{open},\
             \"accepted\":{}}}",
            listener.path,
            listener.address,
            listener.acceptors,
            listener.gate.accepted(),
        )
    });
    let sessions: usize = statuses.iter().map(|status| status.sessions).sum();
    format!(
        "{{\"version\":\"{}\",\"uptime_s\":{},\"sessions\":{sessions},\"shards\":[{shards}],\
         \"listeners\":[{listeners}]}}\n",
        version(),
        source.since.elapsed().as_secs(),
    )
}

fn join<T>(items: &[T], render: impl Fn(&T) -> String) -> String {
    items.iter().map(render).collect::<Vec<_>>().join(",")
}

/// `meerkat status`.
pub fn ask(loaded: Loaded, json: bool) -> ExitCode {
    let path = socket_path(&loaded.data_folder());
    let mut text = String::new();
    let result = UnixStream::connect(&path).and_then(|stream| {
        stream.set_read_timeout(Some(2 * PATIENCE))?;
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)
    });
    let mut stderr = io::stderr();
    if let Err(error) = result {
        let path = path.display();
        // A closed stderr is nobody to tell.
        let _ = writeln!(
            stderr,
            "meerkat: no server answers at {path}: {error}\nStart one with `meerkat serve`, or name \
             its configuration with -c FILE"
        );
        return ExitCode::FAILURE;
    }
    let shown = if json { text } else { table(&text) };
    match io::stdout().write_all(shown.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The document as a person reads it.
fn table(json: &str) -> String {
    let Ok(status) = serde_json::from_str::<serde_json::Value>(json) else {
        return json.to_owned();
    };
    let number = |value: &serde_json::Value, key: &str| value[key].as_u64().unwrap_or_default();
    let mut text = format!(
        "meerkat {}, up {} s, {} sessions\n",
        status["version"].as_str().unwrap_or_default(),
        number(&status, "uptime_s"),
        number(&status, "sessions"),
    );
    for shard in status["shards"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "  shard {} (cpu {}): {} connections, {} sessions, {} stanzas\n",
            number(shard, "shard"),
            number(shard, "cpu"),
            number(shard, "connections"),
            number(shard, "sessions"),
            number(shard, "stanzas"),
        ));
    }
    for listener in status["listeners"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "  {} {}: {} open, {} accepted, acceptors {}\n",
            listener["path"].as_str().unwrap_or_default(),
            listener["address"].as_str().unwrap_or_default(),
            number(listener, "connections"),
            number(listener, "accepted"),
            listener["acceptors"],
        ));
    }
    text
}
