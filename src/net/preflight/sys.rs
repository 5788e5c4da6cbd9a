//! The system calls of the preflight, behind safe functions: resource limits and CPU affinity.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// CPUs a mask has room for: the most that any kernel is built for.
const CPUS_MAX: usize = 8192;

/// A limit of setrlimit(2) that the server cares about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Open files, and so connections: `RLIMIT_NOFILE`.
    OpenFiles,
    /// Locked memory in bytes: `RLIMIT_MEMLOCK`.
    LockedMemory,
}

/// Both halves of a limit; `u64::MAX` is "unlimited".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: u64,
    /// Up to where the process may raise it.
    pub hard: u64,
}

/// Reads a limit of this process.
pub fn limit(resource: Resource) -> io::Result<Limit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one rlimit to a place that holds one.
    let answer = unsafe { libc::getrlimit(resource.number(), &raw mut limit) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Limit {
        soft: limit.rlim_cur,
        hard: limit.rlim_max,
    })
}

/// Sets a limit of this process.
pub fn set_limit(resource: Resource, limit: Limit) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: limit.soft,
        rlim_max: limit.hard,
    };
    // SAFETY: the kernel reads one rlimit from a place that holds one.
    let answer = unsafe { libc::setrlimit(resource.number(), &raw const limit) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The CPUs this process may run on, in ascending order.
pub fn affinity() -> io::Result<Vec<usize>> {
    let mut mask = [0u64; CPUS_MAX / u64::BITS as usize];
    // SAFETY: the kernel writes at most the given number of bytes, which is that of the mask.
    let answer =
        unsafe { libc::sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr().cast()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    let is_set = |cpu: &usize| mask[cpu / 64] & (1 << (cpu % 64)) != 0;
    Ok((0..CPUS_MAX).filter(is_set).collect())
}

/// Bytes that an ordinary user may still write to the file system of a folder.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let folder = CString::new(folder.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a NUL, and the kernel's answer is written to a place of its size.
    let answer = unsafe { libc::statvfs(folder.as_ptr(), found.as_mut_ptr()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so all of it is written.
    let found = unsafe { found.assume_init() };
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Whether something keeps the system's clock right.
pub fn clock_is_synchronised() -> io::Result<bool> {
    // SAFETY: a structure of numbers; zero in `modes` asks and sets nothing.
    let mut time: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel reads and writes one structure of that type.
    let state = unsafe { libc::adjtimex(&raw mut time) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(state != libc::TIME_ERROR && time.status & libc::STA_UNSYNC == 0)
}

impl Resource {
    fn number(self) -> libc::__rlimit_resource_t {
        match self {
            Self::OpenFiles => libc::RLIMIT_NOFILE,
            Self::LockedMemory => libc::RLIMIT_MEMLOCK,
        }
    }
}

const _: () = assert!(libc::RLIM_INFINITY == u64::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_as_set() {
        let before = limit(Resource::OpenFiles).expect("every process may read its limits");
        assert!(before.soft > 0 && before.soft <= before.hard);
        set_limit(Resource::OpenFiles, before).expect("every process may keep its limits");
        assert_eq!(limit(Resource::OpenFiles).expect("as before"), before);
    }

    #[test]
    fn there_is_a_disk_and_a_clock() {
        assert!(free_bytes(Path::new("/")).is_ok());
        assert!(free_bytes(Path::new("/no such folder")).is_err());
        // A sandbox may forbid the question, which is an answer too.
        let _ = clock_is_synchronised();
    }

    #[test]
    fn this_thread_runs_somewhere() {
        let cpus = affinity().expect("every process may read its affinity");
        assert!(!cpus.is_empty() && cpus.is_sorted());
    }
}
