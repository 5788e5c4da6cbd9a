//! The life of the process after its start: signals, files that change, the stop.

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use super::Server;
use super::log::Log;
use super::notify;
use super::reload::Reload;
use crate::cli::Failure;
use crate::runtime::memory::Memory;

/// Time between two looks at certificate files and at what the log left out.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Such looks between two at the memory that nobody needs.
const LOOKS_A_MEMORY_LOOK: u32 = 5;
/// Signals that wait; more of the same kind say nothing new.
const SIGNALS_MAX: usize = 16;

/// What the process was told.
pub(super) enum Told {
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop(i32),
}

/// Catches signals from now on. A second one that says stop ends the process at once.
///
/// # Errors
/// When they cannot be caught.
pub(super) fn catch_signals() -> Result<Receiver<Told>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("signals cannot be caught: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    let (sender, told) = sync_channel(SIGNALS_MAX);
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread
        .spawn(move || pass_on(&mut signals, &sender))
        .map_err(failed)?;
    Ok(told)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a second signal must end the process at once"
)]
fn pass_on(signals: &mut Signals, sender: &SyncSender<Told>) {
    let mut stopping = false;
    for signal in signals.forever() {
        let told = match signal {
            SIGHUP => Told::Reload,
            _ if stopping => std::process::exit(1),
            signal => {
                stopping = true;
                Told::Stop(signal)
            }
        };
        // Where so many wait, one more reload is none; nothing sends so many stops.
        let _ = sender.try_send(told);
    }
}

/// Until told to stop, then stops in order.
///
/// # Errors
/// When a shard had failed.
pub(super) fn run(
    server: Server,
    mut reload: Reload,
    log: &mut Log,
    told: &Receiver<Told>,
) -> Result<(), Failure> {
    let status = format!("serving {} listeners", server.addresses().len());
    notify::ready(&status);
    let mut memory = Memory::new();
    let mut looks = 0;
    loop {
        match told.recv_timeout(LOOK_EVERY) {
            Ok(Told::Reload) => {
                tracing::info!("SIGHUP: reading configuration and certificates");
                notify::reloading();
                reload.all(log);
                notify::ready(&status);
            }
            Ok(Told::Stop(signal)) => {
                tracing::info!(signal, "stopping");
                break;
            }
            Err(RecvTimeoutError::Timeout) => {
                reload.look_at_files();
                looks += 1;
                if looks % LOOKS_A_MEMORY_LOOK == 0 {
                    memory.look();
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new("nothing catches signals any more"));
            }
        }
        log.tell_losses();
    }
    notify::stopping(server.drain_ms());
    let stopped = server.stop();
    log.tell_losses();
    stopped
}
