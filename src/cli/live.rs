//! `meerkat status`, `session` and `stats`: what the running server says, for people and programs.
//!
//! All of it comes over the local socket below the data folder; its permissions decide who may ask.

use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use super::Ask;
use super::Failure;
use super::Loaded;

/// Time between two tables of `stats --watch`.
const REFRESH: Duration = Duration::from_secs(1);
/// Clears the terminal and goes to its upper left corner (ECMA-48).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// `meerkat session`.
#[derive(Subcommand)]
pub(super) enum Session {
    /// List sessions, the most recently active first; 500 a core at most
    List {
        /// Only those with this text in their address
        text: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of the sessions of an account, or of one
    Show {
        /// Such as romeo@example.org or romeo@example.org/phone
        jid: String,
    },
    /// End the sessions of an account, or one; the client may log in again
    Kick {
        /// Such as romeo@example.org or romeo@example.org/phone
        jid: String,
    },
}

fn asked(loaded: &Loaded, ask: Ask, question: &str) -> Result<Value, Failure> {
    let folder = loaded.data_folder();
    ask(&folder, question).map_err(|error| {
        let folder = folder.display();
        Failure::new(format!(
            "no server answers below {folder}: {error}\nStart one with `meerkat serve`, or name its \
             configuration with -c FILE"
        ))
    })
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    let result = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    result.map_err(|error| Failure::new(format!("nobody reads: {error}")))
}

/// `meerkat status`.
pub(super) fn status(loaded: &Loaded, ask: Ask, json: bool) -> Result<(), Failure> {
    let status = asked(loaded, ask, "status")?;
    if json {
        return print(&format!("{status}\n"));
    }
    print(&status_table(&status))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn status_table(status: &Value) -> String {
    let mut lines = vec![format!(
        "meerkat {}, up {} s, {} sessions",
        text(status, "version"),
        number(status, "uptime_s"),
        number(status, "sessions"),
    )];
    lines.extend(list(status, "shards").iter().map(|shard| {
        format!(
            "  shard {} (cpu {}): {} connections, {} sessions, {} stanzas",
            number(shard, "shard"),
            number(shard, "cpu"),
            number(shard, "connections"),
            number(shard, "sessions"),
            number(shard, "stanzas"),
        )
    }));
    lines.extend(list(status, "listeners").iter().map(|listener| {
        format!(
            "  {} {}: {} open, {} accepted, acceptors {}",
            text(listener, "path"),
            text(listener, "address"),
            number(listener, "connections"),
            number(listener, "accepted"),
            listener["acceptors"],
        )
    }));
    lines.extend(list(status, "components").iter().map(|component| {
        let (name, shard) = (text(component, "name"), number(component, "shard"));
        format!("  component {name} (shard {shard})")
    }));
    lines.extend(list(status, "s2s").iter().map(|stream| {
        let way = if stream["outgoing"] == true {
            "to"
        } else {
            "from"
        };
        let proof = match text(stream, "proof") {
            "" => "not authenticated",
            proof => proof,
        };
        format!(
            "  s2s {} {way} {} ({}): {}, {proof} {}",
            text(stream, "local"),
            text(stream, "remote"),
            text(stream, "peer"),
            text(stream, "state"),
            text(stream, "tls"),
        )
    }));
    lines.push(String::new());
    lines.join("\n")
}

/// `meerkat session`.
pub(super) fn session(loaded: &Loaded, ask: Ask, what: Session) -> Result<(), Failure> {
    match what {
        Session::List { text, json } => {
            let question = format!("sessions {}", text.unwrap_or_default());
            let found = asked(loaded, ask, &question)?;
            print(&if json {
                format!("{found}\n")
            } else {
                session_table(&found)
            })
        }
        Session::Show { jid } => {
            let found = asked(loaded, ask, &format!("sessions {jid}"))?;
            let is_wanted = |session: &&Value| {
                let full = text(session, "jid");
                full == jid || full.split('/').next() == Some(&jid)
            };
            let shown: Vec<String> = list(&found, "sessions")
                .iter()
                .filter(is_wanted)
                .map(details)
                .collect();
            if shown.is_empty() {
                return Err(Failure::new(format!("{jid} has no session")));
            }
            print(&shown.join("\n"))
        }
        Session::Kick { jid } => {
            let answer = asked(loaded, ask, &format!("kick {jid}"))?;
            let kicked: Vec<&str> = list(&answer, "kicked")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            if kicked.is_empty() {
                return Err(Failure::new(format!("{jid} has no session")));
            }
            print(&format!("{}\n", kicked.join("\n")))
        }
    }
}

fn details(session: &Value) -> String {
    let fields = session.as_object().into_iter().flatten();
    let lines = fields
        .filter(|(name, _)| *name != "jid")
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("  {name:<10} {value}\n")
        });
    format!("{}\n{}", text(session, "jid"), lines.collect::<String>())
}

fn session_table(found: &Value) -> String {
    let sessions = list(found, "sessions");
    let width = sessions
        .iter()
        .map(|s| text(s, "jid").chars().count())
        .max();
    let width = width.unwrap_or_default().clamp(3, 60);
    let mut lines = vec![format!(
        "{:<width$}  {:<21}  {:<9}  {:>3}  {:>7}  {:>7}",
        "JID", "address", "over", "TLS", "age s", "idle s"
    )];
    lines.extend(sessions.iter().map(|session| {
        let tls = session["tls"].as_bool().unwrap_or_default();
        format!(
            "{:<width$}  {:<21}  {:<9}  {:>3}  {:>7}  {:>7}",
            text(session, "jid"),
            text(session, "peer"),
            text(session, "transport"),
            if tls { "yes" } else { "no" },
            number(session, "age_s"),
            number(session, "idle_s"),
        )
    }));
    if number(found, "left_out") > 0 {
        lines.push(format!(
            "{} more are not shown: name a part of them",
            found["left_out"]
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// `meerkat stats`: one table, or with `watch` one every second.
pub(super) fn stats(
    loaded: &Loaded,
    ask: Ask,
    (watch, times): (bool, Option<u32>),
) -> Result<(), Failure> {
    let mut before = asked(loaded, ask, "status")?;
    if !watch {
        return print(&stats_table(&before, None));
    }
    // Nobody ever sends: what is waited for is the time.
    let (_sender, never) = mpsc::sync_channel::<()>(1);
    let mut shown = 0;
    while times.is_none_or(|times| shown < times) {
        let _ = never.recv_timeout(REFRESH);
        let now = asked(loaded, ask, "status")?;
        print(&format!("{CLEAR}{}", stats_table(&now, Some(&before))))?;
        before = now;
        shown += 1;
    }
    Ok(())
}

fn stats_table(now: &Value, before: Option<&Value>) -> String {
    let mut lines = vec![
        format!(
            "meerkat {}  up {} s  {} sessions of {} users",
            text(now, "version"),
            number(now, "uptime_s"),
            number(now, "sessions"),
            number(now, "users"),
        ),
        String::new(),
    ];
    let unit = if before.is_some() { "/s" } else { "" };
    let titles = ["in", "out", "KiB in", "KiB out", "logins"].map(|title| format!("{title}{unit}"));
    lines.push(format!(
        "core  connections  sessions  {:>10}  {:>10}  {:>10}  {:>10}  {:>9}  waiting",
        titles[0], titles[1], titles[2], titles[3], titles[4]
    ));
    for (place, shard) in list(now, "shards").iter().enumerate() {
        let old = before.and_then(|before| list(before, "shards").get(place));
        let rate = |key| number(shard, key) - old.map_or(0, |old| number(old, key));
        lines.push(format!(
            "{:>4}  {:>11}  {:>8}  {:>10}  {:>10}  {:>10}  {:>10}  {:>9}  {:>7}",
            number(shard, "shard"),
            number(shard, "connections"),
            number(shard, "sessions"),
            rate("stanzas"),
            rate("stanzas_out"),
            rate("bytes_in") / 1024,
            rate("bytes_out") / 1024,
            rate("logins"),
            number(shard, "waiting"),
        ));
    }
    lines.push(String::new());
    for (place, listener) in list(now, "listeners").iter().enumerate() {
        let old = before.and_then(|before| list(before, "listeners").get(place));
        let accepted = number(listener, "accepted") - old.map_or(0, |old| number(old, "accepted"));
        let most = listener["connections_max"].as_u64();
        let most = most.map_or(String::new(), |most| format!(" of {most}"));
        lines.push(format!(
            "{} {}: {}{most} open, {accepted} accepted{unit}",
            text(listener, "path"),
            text(listener, "address"),
            number(listener, "connections"),
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_differences() {
        let at = |stanzas: u64, accepted: u64| {
            json!({
                "version": "1", "uptime_s": 5, "sessions": 2, "users": 1,
                "shards": [{"shard": 0, "connections": 3, "sessions": 2, "stanzas": stanzas}],
                "listeners": [{"path": "listen.c2s[0]", "address": "a", "connections": 3,
                               "connections_max": 9, "accepted": accepted}],
            })
        };
        let table = stats_table(&at(150, 8), Some(&at(100, 3)));
        assert!(table.contains("  50  "), "{table}");
        assert!(
            table.contains("listen.c2s[0] a: 3 of 9 open, 5 accepted/s\n"),
            "{table}"
        );
        let whole = stats_table(&at(150, 8), None);
        assert!(
            whole.contains(" 150  ") && whole.contains("8 accepted\n"),
            "{whole}"
        );
    }

    #[test]
    fn sessions_as_a_table_and_in_detail() {
        let session = json!({"jid": "a@b/c", "peer": "127.0.0.1:1", "transport": "tcp", "tls": true,
                             "age_s": 7, "idle_s": 3});
        let table = session_table(&json!({"sessions": [session], "left_out": 2}));
        assert!(table.contains("a@b/c  127.0.0.1:1"), "{table}");
        assert!(table.contains("2 more are not shown"), "{table}");
        assert!(details(&session).starts_with("a@b/c\n"));
        assert!(details(&session).contains("  age_s      7\n"));
    }
}
