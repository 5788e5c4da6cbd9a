//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, still alive.
//!
//! Without NOTIFY_SOCKET in the environment nothing is told and nothing fails.

use std::io;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::listeners::mail::Note;
use crate::runtime::mesh::Outside;

/// Time beyond the drain for which a stop asks the manager to wait: the store's last writes.
const STOP_MARGIN: Duration = Duration::from_secs(30);

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told (NOTIFY_SOCKET)");
    }
}

/// Everything is served.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is read anew; [`ready`] says that it is done.
pub(super) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

/// The server stops, which may take as long as the drain and the last writes.
pub(super) fn stopping(drain_ms: u64) {
    let patience = Duration::from_millis(drain_ms).saturating_add(STOP_MARGIN);
    let patience_us = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("closing every stream"),
        NotifyState::ExtendTimeoutUsec(patience_us),
    ]);
}

/// Where the manager watches this service: tells it that the server is alive as long as **every**
/// shard answers. One that hangs takes its users with it; then the manager starts the server anew.
///
/// # Errors
/// When there is no thread for it.
pub(super) fn watch(shards: &[Outside<Note>]) -> io::Result<()> {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return Ok(());
    };
    let shards = shards.to_vec();
    std::thread::Builder::new()
        .name("watchdog".to_owned())
        .spawn(move || {
            loop {
                if all_answer(&shards, period / 2) {
                    tell(&[NotifyState::Watchdog]);
                } else {
                    tracing::error!(
                        "a core does not answer; the service manager is not told that all is well"
                    );
                }
                // Twice in each period at least, as sd_watchdog_enabled(3) asks for.
                std::thread::park_timeout(period / 3);
            }
        })?;
    Ok(())
}

fn all_answer(shards: &[Outside<Note>], patience: Duration) -> bool {
    let (sender, answers) = sync_channel(shards.len());
    for shard in shards {
        // One whose inbox is full does not answer.
        let _ = shard.send(Note::Alive(sender.clone()));
    }
    shards
        .iter()
        .all(|_| answers.recv_timeout(patience).is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::listeners::mail::Mail;
    use crate::runtime::mesh;
    use crate::runtime::waker::Waker;

    #[test]
    fn one_silent_shard_is_enough_to_say_nothing() {
        let wakers: Vec<_> = (0..2)
            .map(|_| Arc::new(Waker::new().expect("eventfd")))
            .collect();
        let (mut ends, outside) = mesh::connect::<Mail, Note>(&wakers);
        let patience = Duration::from_millis(20);
        assert!(!all_answer(&outside, patience), "nobody answers");

        let answering = std::thread::Builder::new().spawn(move || {
            // The first question of each was never answered, and nobody waits for that any more.
            let mut answered = 0;
            while answered < 4 {
                for (number, end) in ends.iter_mut().enumerate() {
                    if let Some(Note::Alive(answer)) = end.receive_outside() {
                        let _ = answer.try_send(number);
                        answered += 1;
                    }
                }
                std::thread::yield_now();
            }
        });
        assert!(all_answer(&outside, Duration::from_secs(10)));
        answering.expect("a thread").join().expect("it ends");
    }
}
