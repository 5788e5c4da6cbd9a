//! Resource limits and kernel settings that decide how many connections there can be.

use std::io;

use super::Refusal;
use super::sys::Limit;

/// Locked memory in bytes below which an executor refuses to start, for root too (glommio 0.9.0).
pub const LOCKED_MEMORY_BYTES_MIN: u64 = 512 * 1024;

/// A limit as it was found and as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The soft limit at start.
    pub before: u64,
    /// The soft limit that holds.
    pub now: u64,
}

/// Raises open files as far as the process may: each connection is one.
///
/// A failure is none of the operator's business, for the old limit still holds and is reported.
pub fn open_files(limit: Limit, set: impl FnOnce(Limit) -> io::Result<()>) -> Raised {
    let raised = Limit {
        soft: limit.hard,
        ..limit
    };
    let now = if limit.soft < limit.hard && set(raised).is_ok() {
        limit.hard
    } else {
        limit.soft
    };
    Raised {
        before: limit.soft,
        now,
    }
}

/// Makes sure that executors can lock the memory they need; root may raise the hard limit as well.
pub fn locked_memory(
    limit: Limit,
    set: impl FnOnce(Limit) -> io::Result<()>,
) -> Result<Raised, Refusal> {
    if limit.soft >= LOCKED_MEMORY_BYTES_MIN {
        return Ok(Raised {
            before: limit.soft,
            now: limit.soft,
        });
    }
    let wanted = limit.hard.max(LOCKED_MEMORY_BYTES_MIN);
    match set(Limit {
        soft: wanted,
        hard: wanted,
    }) {
        Ok(()) => Ok(Raised {
            before: limit.soft,
            now: wanted,
        }),
        Err(_) => Err(too_little_locked_memory(limit.hard)),
    }
}

/// The refusal where `bytes` is all that the process may lock.
pub(super) fn too_little_locked_memory(bytes: u64) -> Refusal {
    let kib = bytes / 1024;
    Refusal {
        cause: format!(
            "this process may lock {kib} KiB of memory (RLIMIT_MEMLOCK), and io_uring needs {} KiB",
            LOCKED_MEMORY_BYTES_MIN / 1024,
        ),
        remedy: "docker run --ulimit memlock=-1; in a systemd unit LimitMEMLOCK=infinity; \
                 from a shell `ulimit -l 8192`, or a line `* - memlock 8192` in \
                 /etc/security/limits.conf and a new login"
            .to_owned(),
    }
}

/// The warning for a listener whose `backlog` the kernel cuts; `None` where it does not.
#[must_use]
pub fn backlog_warning(backlog: u32, somaxconn: u32) -> Option<String> {
    (backlog > somaxconn).then(|| {
        format!(
            "backlog = {backlog} is cut to {somaxconn} by the kernel; \
             `sysctl -w net.core.somaxconn={backlog}` makes room"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(_: Limit) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::EPERM))
    }

    #[test]
    fn open_files_go_to_the_hard_limit() {
        let mut asked = None;
        let limit = Limit {
            soft: 1024,
            hard: 524_288,
        };
        let raised = open_files(limit, |limit| {
            asked = Some(limit);
            Ok(())
        });
        assert_eq!(
            raised,
            Raised {
                before: 1024,
                now: 524_288
            }
        );
        assert_eq!(
            asked,
            Some(Limit {
                soft: 524_288,
                hard: 524_288
            })
        );
        assert_eq!(
            open_files(limit, refused),
            Raised {
                before: 1024,
                now: 1024
            }
        );
        let full = Limit {
            soft: 4096,
            hard: 4096,
        };
        assert_eq!(
            open_files(full, refused),
            Raised {
                before: 4096,
                now: 4096
            }
        );
    }

    #[test]
    fn locked_memory_is_enough_raised_or_refused() {
        let enough = Limit {
            soft: LOCKED_MEMORY_BYTES_MIN,
            hard: LOCKED_MEMORY_BYTES_MIN,
        };
        let unchanged = Raised {
            before: enough.soft,
            now: enough.soft,
        };
        assert_eq!(locked_memory(enough, refused), Ok(unchanged));

        let raisable = Limit {
            soft: 65_536,
            hard: 8 << 20,
        };
        assert_eq!(
            locked_memory(raisable, |_| Ok(())),
            Ok(Raised {
                before: 65_536,
                now: 8 << 20
            })
        );

        let low = Limit {
            soft: 65_536,
            hard: 65_536,
        };
        let root = |limit: Limit| {
            assert_eq!(
                limit,
                Limit {
                    soft: LOCKED_MEMORY_BYTES_MIN,
                    hard: LOCKED_MEMORY_BYTES_MIN
                }
            );
            Ok(())
        };
        assert_eq!(
            locked_memory(low, root).map(|raised| raised.now),
            Ok(LOCKED_MEMORY_BYTES_MIN)
        );

        let text = locked_memory(low, refused)
            .expect_err("it may not")
            .to_string();
        assert!(
            text.contains("64 KiB") && text.contains("--ulimit memlock"),
            "{text}"
        );
    }

    #[test]
    fn a_backlog_is_warned_about_only_when_cut() {
        assert_eq!(backlog_warning(1024, 4096), None);
        assert_eq!(backlog_warning(4096, 4096), None);
        let text = backlog_warning(4096, 128).expect("it is cut");
        assert!(
            text.contains("cut to 128") && text.contains("somaxconn=4096"),
            "{text}"
        );
    }
}
