//! The command line, and what of it cannot be done.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::ValueEnum;

use crate::chat::Pace;
use crate::process::usage;
use crate::proxy::Version;
use crate::script::Manner;
use crate::script::Mechanism;
use crate::script::Tls;

/// Source addresses that there are: two bytes of 127/8, hosts 1 to 254.
const SOURCES_MAX: usize = 254 * 256;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Connect, close, and wait until the server has: accepts a second
    Connect,
    /// Connect, stream header, features, close
    Stream,
    /// The same and a login
    Login,
    /// The same and binding, session request, presence
    Session,
    /// Sessions that stay and are silent: memory of each
    Idle,
    /// Messages between pairs of users
    Chat,
    /// One user's presence to all others; the count is of what they hear
    Broadcast,
    /// Sessions that end in order and begin anew, while the others stay
    Churn,
    /// Serve canned answers; prints the port
    Floor,
    /// Print `count` accounts as lines of jid,password
    Accounts,
}

impl Mode {
    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}

/// Drives an XMPP server and tells what it costs.
#[derive(Debug, Parser)]
#[command(version, about = "Drives an XMPP server and tells what it costs")]
pub(crate) struct Arguments {
    /// What to do
    pub(crate) mode: Mode,
    /// Where the server listens
    #[arg(long, default_value = "127.0.0.1:5222")]
    pub(crate) to: SocketAddrV4,
    /// Process whose CPU time and memory are read, with all that it started
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// The host of the users
    #[arg(long, default_value = "localhost")]
    pub(crate) domain: String,
    /// Connections, messages, or what else the mode counts
    #[arg(long, short = 'n', default_value_t = 10_000)]
    pub(crate) count: usize,
    /// Connections that negotiate at the same time
    #[arg(long, default_value_t = 50)]
    pub(crate) at_once: usize,
    /// Connections, messages or presences a second, instead of as fast as it goes
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Users that talk, listen, or take turns to visit
    #[arg(long, default_value_t = 200)]
    pub(crate) users: usize,
    /// chat: idle sessions beside the users
    #[arg(long, default_value_t = 0)]
    pub(crate) beside: usize,
    /// chat, broadcast: messages of each user, or presences, under way
    #[arg(long, default_value_t = 1)]
    pub(crate) window: usize,
    /// chat: to full addresses
    #[arg(long)]
    pub(crate) full: bool,
    /// How users log in
    #[arg(long, value_enum, default_value_t = Mechanism::Plain)]
    pub(crate) mechanism: Mechanism,
    /// When TLS begins; certificates are not checked
    #[arg(long, value_enum, default_value_t = Tls::None)]
    pub(crate) tls: Tls,
    /// Begin with a PROXY header, each client with an address of its own
    #[arg(long, value_enum)]
    pub(crate) proxy: Option<Version>,
    /// Speak over a WebSocket at this path
    #[arg(long, value_name = "PATH")]
    pub(crate) websocket: Option<String>,
    /// Addresses of 127.1.0.0/16 that connections come from; 0: as the kernel decides
    #[arg(long, default_value_t = 200)]
    pub(crate) sources: usize,
    /// Seconds without any answer after which the rest counts as failed
    #[arg(long, default_value_t = 10)]
    pub(crate) patience: u64,
    /// Write the result there
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Draw latencies there, or the growth of memory (idle)
    #[arg(long)]
    pub(crate) svg: Option<PathBuf>,
    /// Allow a target that is not on loopback. Ask its owner first
    #[arg(long)]
    pub(crate) anywhere: bool,
}

impl Arguments {
    /// How clients behave.
    pub(crate) fn manner(&self) -> Manner {
        Manner {
            domain: self.domain.clone(),
            mechanism: self.mechanism,
            tls: self.tls,
            websocket: self.websocket.clone(),
        }
    }

    /// How fast they talk.
    pub(crate) fn pace(&self) -> Pace {
        self.rate.map_or(Pace::Window(self.window), Pace::PerSecond)
    }

    /// How long they wait.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }

    /// Says what cannot be done.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_loopback = self.to.ip().is_loopback();
        if !is_loopback && !self.anywhere {
            return Err(format!("{} is not on loopback (--anywhere)", self.to));
        }
        if !is_loopback && self.sources > 0 {
            return Err("--sources: only loopback is reached from 127/8; write 0".to_owned());
        }
        if self.sources > SOURCES_MAX {
            return Err(format!("--sources: at most {SOURCES_MAX}"));
        }
        if self.users < 2 || (self.mode == Mode::Chat && self.users % 2 == 1) {
            return Err("--users: at least 2, and an even number where they chat".to_owned());
        }
        if self.mode == Mode::Session && self.users < self.at_once {
            return Err(
                "--users: at least --at-once, or sessions of a user replace each other".to_owned(),
            );
        }
        if self.at_once == 0 || self.window == 0 || self.count == 0 || self.patience == 0 {
            return Err("--at-once, --window, --count and --patience: at least 1".to_owned());
        }
        if self
            .rate
            .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
        {
            return Err("--rate: more than 0".to_owned());
        }
        if self.mode == Mode::Churn && self.rate.is_some() {
            return Err("--rate: churn goes as fast as --at-once lets it".to_owned());
        }
        if self.websocket.is_some() && self.tls == Tls::Starttls {
            return Err("--websocket: TLS begins with the first byte or never".to_owned());
        }
        if self.pid.is_some_and(|pid| usage(pid).is_none()) {
            return Err("--pid: no such process".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(words: &[&str]) -> Result<(), String> {
        let words = ["stampede", "chat"].iter().chain(words);
        Arguments::try_parse_from(words)
            .expect("they are known")
            .check()
    }

    #[test]
    fn only_loopback_unless_told() {
        assert!(judged(&["--to", "127.9.9.9:5222"]).is_ok());
        assert!(judged(&["--to", "192.0.2.1:5222"]).is_err());
        assert!(
            judged(&["--to", "192.0.2.1:5222", "--anywhere"]).is_err(),
            "from 127/8"
        );
        let anywhere = ["--to", "192.0.2.1:5222", "--anywhere", "--sources", "0"];
        assert!(judged(&anywhere).is_ok());
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        assert!(judged(&["--users", "3"]).is_err());
        assert!(judged(&["--window", "0"]).is_err());
        let crowded = ["stampede", "session", "--users", "20", "--at-once", "21"];
        assert!(
            Arguments::try_parse_from(crowded)
                .expect("they are known")
                .check()
                .is_err()
        );
        assert!(judged(&["--patience", "0"]).is_err());
        assert!(judged(&["--sources", "70000"]).is_err());
        assert!(judged(&["--websocket", "/ws", "--tls", "starttls"]).is_err());
        for rate in ["0", "nan", "inf"] {
            assert!(judged(&["--rate", rate]).is_err(), "{rate}");
        }
        assert!(judged(&["--pid", "4294967295"]).is_err());
    }
}
