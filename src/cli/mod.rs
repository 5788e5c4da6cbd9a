//! The command line: `meerkat serve`, `check`, `doctor`, `account`, `status` and the rest.
//!
//! [`run`] parses the arguments and carries out one command. What needs executors and sockets is
//! given in by `main` ([`Commands`]), so that nothing here knows them.
//!
//! Exit status: 0 done; 1 something that the operator has to mend, said on stderr; 2 wrong
//! arguments. What a program may want to read goes to stdout, everything else to stderr, passwords
//! nowhere.

mod account;
mod check;
mod failure;
mod generate;
mod import;
mod live;
mod load;
mod passwords;
mod removal;

use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::Args;
use clap::CommandFactory as _;
use clap::Parser;
use clap::Subcommand;
use clap_complete::Shell;

pub use self::failure::Failure;
pub use self::load::Loaded;
use crate::config::Errors;

/// Most PBKDF2 rounds of `--iterations`, as of `auth.password.scram_iterations`.
const ITERATIONS_MAX: i64 = 100_000_000;

/// Below the options of `--help` and of the manual page.
const AFTERWARDS: &str = "\
Exit status: 0 done; 1 something to mend, said on standard error; 2 wrong arguments.

MEERKAT_LOG sets how much is logged, in place of [general] loglevel. SIGTERM and SIGINT end the \
server in order, a second one at once; SIGHUP reads certificates and log levels anew.";

/// Asks the server whose data is in a folder one question, a line of words.
pub type Ask = fn(&Path, &str) -> std::io::Result<serde_json::Value>;

/// What `main` gives in: the commands that are more than files and the store.
#[derive(Clone, Copy)]
pub struct Commands {
    /// Serves until told to stop.
    pub serve: fn(Loaded) -> ExitCode,
    /// Asks the running server.
    pub ask: Ask,
    /// Looks at the machine and prints a table, or the same as JSON.
    pub doctor: fn(&Loaded, as_json: bool) -> Result<ExitCode, Failure>,
    /// Tries what decoding cannot see (a certificate that is none), for `check`.
    pub examine: fn(&Loaded) -> Result<(), Errors>,
}

/// An XMPP server for Linux.
#[derive(Parser)]
#[command(name = "meerkat", version = VERSION.as_str(), after_long_help = AFTERWARDS)]
struct Arguments {
    /// Configuration file [default: config/meerkat.toml if there is one, else built-in defaults]
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT (the default)
    Serve,
    /// Read the configuration and tell every error in it
    Check,
    /// Compare what this machine allows with what the configuration asks for
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Add, change, list and import accounts, also while the server runs
    #[command(subcommand)]
    Account(Account),
    /// Show the sessions and listeners of the running server
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List, show or end sessions of the running server
    #[command(subcommand)]
    Session(live::Session),
    /// Show what each core of the running server does
    Stats {
        /// Again every second, as rates, until interrupted
        #[arg(long)]
        watch: bool,
        /// Stop after so many tables
        #[arg(long, value_name = "N", requires = "watch")]
        times: Option<u32>,
    },
    /// Print what a shell needs to complete these commands
    Completions {
        /// The shell; the text goes where that one looks for completions
        shell: Shell,
    },
    /// Write the manual pages of all commands
    Manual {
        /// A folder that is there
        folder: PathBuf,
    },
}

#[derive(Subcommand)]
enum Account {
    /// Make an account; asks for the password, or reads it as one line from stdin
    Add(NewPassword),
    /// Remove an account and all that belongs to it; a running server ends its sessions and tells its
    /// contacts
    Del {
        /// Such as romeo@example.org
        jid: String,
    },
    /// Set a new password; asks for it, or reads it as one line from stdin
    Passwd(NewPassword),
    /// List the accounts, one JID a line
    List {
        /// Of this host only
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
    },
    /// Make accounts from a CSV file with lines of jid,password
    Import(Import),
}

#[derive(Args)]
struct NewPassword {
    /// Such as romeo@example.org
    jid: String,
    /// The password; other users of this machine can see it in the list of processes
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
}

#[derive(Args)]
struct Import {
    /// The file, UTF-8; '-' reads stdin. A first line 'jid,password' is skipped
    file: PathBuf,
    /// Set the password of accounts that exist already instead of skipping them
    #[arg(long)]
    replace: bool,
    /// PBKDF2 rounds instead of those of the configuration: fewer import faster and are easier to
    /// guess from a stolen store
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=ITERATIONS_MAX))]
    iterations: Option<u32>,
    /// Print each JID to stdout once it is safely stored
    #[arg(long, short)]
    verbose: bool,
}

/// Name, version and, where the build knows it, commit: `--version` says it after the name.
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("MEERKAT_COMMIT") {
    Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
    None => env!("CARGO_PKG_VERSION").to_owned(),
});

/// Version and, where the build knows it, commit.
pub fn version() -> &'static str {
    &VERSION
}

/// Carries out what the arguments of the process ask for.
pub fn run(commands: Commands) -> ExitCode {
    let arguments = Arguments::parse();
    match carry_out(arguments, commands) {
        Ok(code) => code,
        Err(failure) => {
            failure.say();
            ExitCode::FAILURE
        }
    }
}

fn carry_out(arguments: Arguments, commands: Commands) -> Result<ExitCode, Failure> {
    let load = || load::load(arguments.config.as_deref());
    match arguments.command {
        None | Some(Command::Serve) => return Ok((commands.serve)(load()?)),
        Some(Command::Status { json }) => live::status(&load()?, commands.ask, json)?,
        Some(Command::Session(what)) => live::session(&load()?, commands.ask, what)?,
        Some(Command::Stats { watch, times }) => {
            live::stats(&load()?, commands.ask, (watch, times))?;
        }
        Some(Command::Doctor { json }) => return (commands.doctor)(&load()?, json),
        Some(Command::Check) => check::run(&load()?, commands.examine)?,
        Some(Command::Account(what)) => account(&load()?, commands.ask, what)?,
        Some(Command::Completions { shell }) => generate::completions(Arguments::command(), shell)?,
        Some(Command::Manual { folder }) => generate::manual(Arguments::command(), &folder)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn account(loaded: &Loaded, ask: Ask, what: Account) -> Result<(), Failure> {
    match what {
        Account::Add(new) => account::add(loaded, new),
        Account::Del { jid } => removal::del(loaded, ask, &jid),
        Account::Passwd(new) => account::passwd(loaded, new),
        Account::List { host } => account::list(loaded, host.as_deref()),
        Account::Import(options) => import::run(loaded, &options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serve_is_the_default_and_the_file_may_stand_anywhere() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).expect("valid");
        let bare = parse("meerkat -c a.toml");
        assert!(bare.command.is_none());
        assert_eq!(bare.config, Some(PathBuf::from("a.toml")));
        let behind = parse("meerkat account list -c a.toml");
        assert_eq!(behind.config, Some(PathBuf::from("a.toml")));
        assert!(matches!(
            behind.command,
            Some(Command::Account(Account::List { host: None }))
        ));
        assert!(Arguments::try_parse_from(["meerkat", "sevre"]).is_err());
        let none = ["meerkat", "account", "import", "f", "--iterations", "0"];
        assert!(Arguments::try_parse_from(none).is_err());
    }
}
