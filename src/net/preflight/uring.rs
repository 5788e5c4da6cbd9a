//! Whether this machine lets us have the rings we need, and if not, who is in the way.
//!
//! [`try_ring`] asks the kernel, [`Surroundings`] collects what explains a refusal, and
//! [`judge`] puts both into words. Only the first two touch the system.

use std::io;

use io_uring::IoUring;
use io_uring::Probe;
use io_uring::opcode;

use super::Refusal;
use super::limits;

/// The oldest kernel that has everything; the probe asks for the things, never for the number.
pub const KERNEL_MIN: &str = "6.1";

/// The first kernel with any io_uring.
const KERNEL_FIRST: (u32, u32) = (5, 1);

/// Where the seccomp profile for containers is shipped.
pub const SECCOMP_PROFILE: &str = "config/examples/seccomp.json";

/// Entries of the ring that is made to ask: the smallest a kernel makes.
const PROBE_ENTRIES: u32 = 1;

/// Operations of the rings, ours and those of the executors.
const OPERATIONS: &[(u8, &str)] = &[
    (opcode::Accept::CODE, "accept"),
    (opcode::Recv::CODE, "recv"),
    (opcode::Send::CODE, "send"),
    (opcode::Shutdown::CODE, "shutdown"),
    (opcode::Close::CODE, "close"),
    (opcode::Read::CODE, "read"),
    (opcode::PollAdd::CODE, "poll"),
    (opcode::Timeout::CODE, "timeout"),
    (opcode::AsyncCancel::CODE, "cancel"),
    (opcode::MsgRingData::CODE, "message to a ring"),
];

/// What the kernel answered when asked for a ring.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is there.
    Ready,
    /// No ring at all, for this reason.
    Refused(io::Error),
    /// A ring, but not with the flags of ours: the error, and what is asked for.
    FlagsRefused(io::Error),
    /// A ring that may not be asked what it can do.
    RegisterRefused(io::Error),
    /// A ring without these operations or properties.
    Lacking(Vec<&'static str>),
}

/// What may explain a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The release of the kernel, as uname(2) gives it.
    pub kernel: String,
    /// `kernel.io_uring_disabled`; `None` where the kernel has no such setting (before 6.6).
    pub io_uring_disabled: Option<u32>,
    /// `kernel.io_uring_group`, -1 for none.
    pub io_uring_group: Option<i64>,
    /// Whether a seccomp filter is on this process.
    pub seccomp: bool,
    /// Bytes of memory this process may lock.
    pub locked_memory: u64,
}

/// Asks the kernel for a ring like ours, and gives it back.
///
/// Multishot accept and receive, and rings of provided buffers, cannot be asked for one by one.
/// They are older than the flags that are asked for here.
#[must_use]
pub fn try_ring() -> Outcome {
    let with_flags: io::Result<IoUring> = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .build(PROBE_ENTRIES);
    let ring = match with_flags {
        Ok(ring) => ring,
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            return match IoUring::new(PROBE_ENTRIES) {
                Ok(_) => Outcome::FlagsRefused(error),
                Err(error) => Outcome::Refused(error),
            };
        }
        Err(error) => return Outcome::Refused(error),
    };
    let mut probe = Probe::new();
    if let Err(error) = ring.submitter().register_probe(&mut probe) {
        return Outcome::RegisterRefused(error);
    }
    let lacks = |(code, _): &&(u8, &str)| !probe.is_supported(*code);
    let mut lacking: Vec<_> = OPERATIONS
        .iter()
        .filter(lacks)
        .map(|(_, name)| *name)
        .collect();
    let parameters = ring.params();
    let properties = [
        (
            parameters.is_feature_ext_arg(),
            "waiting with a timeout (EXT_ARG)",
        ),
        (
            parameters.is_feature_nodrop(),
            "completions that are never dropped (NODROP)",
        ),
    ];
    lacking.extend(
        properties
            .iter()
            .filter(|(has, _)| !has)
            .map(|(_, name)| *name),
    );
    if lacking.is_empty() {
        Outcome::Ready
    } else {
        Outcome::Lacking(lacking)
    }
}

impl Surroundings {
    /// Reads them through `read`, which gives a file's text or `None`.
    pub fn read(read: impl Fn(&str) -> Option<String>, locked_memory: u64) -> Self {
        let number = |path| read(path)?.trim().parse::<i64>().ok();
        let status = read("/proc/self/status").unwrap_or_default();
        let seccomp = status
            .lines()
            .filter_map(|line| line.strip_prefix("Seccomp:"));
        let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            kernel: kernel.trim().to_owned(),
            io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled")
                .and_then(|value| u32::try_from(value).ok()),
            io_uring_group: number("/proc/sys/kernel/io_uring_group"),
            seccomp: seccomp.map(str::trim).any(|mode| mode == "2"),
            locked_memory,
        }
    }

    fn is_older_than(&self, wanted: (u32, u32)) -> bool {
        let mut parts = self
            .kernel
            .split(['.', '-'])
            .map_while(|part| part.parse().ok());
        match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) => (major, minor) < wanted,
            _ => false,
        }
    }
}

/// Turns an outcome into what to do about it.
pub fn judge(outcome: &Outcome, around: &Surroundings) -> Result<(), Refusal> {
    match outcome {
        Outcome::Ready => Ok(()),
        Outcome::Refused(error) => Err(refused(error, around)),
        Outcome::RegisterRefused(error) => Err(Refusal {
            cause: format!("io_uring_setup works here, but io_uring_register does not: {error}"),
            remedy: let_through(),
        }),
        Outcome::FlagsRefused(_) => Err(too_old(around, "rings that only one thread uses")),
        Outcome::Lacking(what) => Err(too_old(around, &what.join(", "))),
    }
}

fn refused(error: &io::Error, around: &Surroundings) -> Refusal {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => not_permitted(around),
        Some(libc::ENOSYS) => not_there(around),
        Some(libc::ENOMEM) => no_memory(around),
        Some(libc::EMFILE | libc::ENFILE) => Refusal {
            cause: format!("there is no file descriptor left for io_uring: {error}"),
            remedy: "docker run --ulimit nofile=1048576; in a systemd unit LimitNOFILE=1048576; \
                     for the whole system `sysctl -w fs.file-max=2097152`"
                .to_owned(),
        },
        _ => Refusal {
            cause: format!("the kernel ({}) refuses io_uring: {error}", around.kernel),
            remedy: format!("run on a kernel from {KERNEL_MIN} on that has io_uring enabled"),
        },
    }
}

fn not_permitted(around: &Surroundings) -> Refusal {
    match (around.io_uring_disabled, around.io_uring_group) {
        (Some(0) | None, _) if around.seccomp => Refusal {
            cause: "a seccomp filter refuses io_uring to this process, as the default profiles of \
                    Docker, containerd and Podman do"
                .to_owned(),
            remedy: let_through(),
        },
        (Some(0) | None, _) => Refusal {
            cause: "io_uring is refused to this process, though neither kernel.io_uring_disabled \
                    nor a seccomp filter says so: a security module (SELinux, AppArmor) may"
                .to_owned(),
            remedy: "look for a denial in `journalctl -k` or /var/log/audit/audit.log, and allow \
                     io_uring to this program in that module's policy"
                .to_owned(),
        },
        (Some(1), Some(group)) if group >= 0 => Refusal {
            cause: format!(
                "io_uring is kept for the group {group} (kernel.io_uring_disabled = 1, \
                 kernel.io_uring_group = {group})"
            ),
            remedy: format!(
                "run meerkat in that group (systemd: SupplementaryGroups={group}; \
                 docker run --group-add {group}), or {}",
                enable(),
            ),
        },
        (Some(1), _) => Refusal {
            cause: "io_uring is kept for CAP_SYS_ADMIN (kernel.io_uring_disabled = 1)".to_owned(),
            remedy: format!(
                "`sysctl -w kernel.io_uring_group=GID` with a group of the user that meerkat runs \
                 as, or {}",
                enable(),
            ),
        },
        (Some(value), _) => Refusal {
            cause: format!(
                "io_uring is switched off on this machine (kernel.io_uring_disabled = {value})"
            ),
            remedy: enable(),
        },
    }
}

/// How to end `kernel.io_uring_disabled`.
fn enable() -> String {
    "as root on the host `sysctl -w kernel.io_uring_disabled=0`, and the line \
     `kernel.io_uring_disabled = 0` in /etc/sysctl.d/60-meerkat.conf to keep it so"
        .to_owned()
}

/// How to get past a seccomp filter.
fn let_through() -> String {
    format!(
        "docker run --security-opt seccomp={SECCOMP_PROFILE} (shipped with meerkat: what \
         it needs, the three io_uring calls among it); in Kubernetes the same file as a Localhost \
         seccompProfile; in a systemd unit SystemCallFilter=@system-service @aio"
    )
}

fn not_there(around: &Surroundings) -> Refusal {
    if around.is_older_than(KERNEL_FIRST) {
        return too_old(around, "io_uring");
    }
    if around.seccomp {
        return Refusal {
            cause: "a seccomp filter hides io_uring from this process, as the default profiles of \
                    some container runtimes do"
                .to_owned(),
            remedy: let_through(),
        };
    }
    Refusal {
        cause: format!("this kernel ({}) was built without io_uring", around.kernel),
        remedy: format!(
            "run a kernel from {KERNEL_MIN} on with CONFIG_IO_URING=y, as those of Debian 12, \
             Ubuntu 24.04 and Fedora; sandboxes such as gVisor have none"
        ),
    }
}

fn no_memory(around: &Surroundings) -> Refusal {
    if around.locked_memory < limits::LOCKED_MEMORY_BYTES_MIN {
        return limits::too_little_locked_memory(around.locked_memory);
    }
    Refusal {
        cause: "there is no memory left for io_uring within the limit of this memory cgroup"
            .to_owned(),
        remedy: "docker run --memory with more than now, or in a systemd unit a larger MemoryMax; \
                 memory.events of the cgroup counts the refusals"
            .to_owned(),
    }
}

fn too_old(around: &Surroundings, what: &str) -> Refusal {
    Refusal {
        cause: format!(
            "the io_uring of this kernel ({}) lacks: {what}",
            around.kernel
        ),
        remedy: format!("run a kernel from {KERNEL_MIN} on, such as that of Debian 12"),
    }
}
