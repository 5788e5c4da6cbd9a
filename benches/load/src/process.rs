//! CPU time and memory of a process and of all that it started.

use std::fs;

use rustix::time::ClockId;
use rustix::time::clock_gettime;

/// What a process tree has used so far, and holds now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU time in nanoseconds, by the scheduler's own count: /proc/PID/stat has ticks of 10 ms.
    pub(crate) cpu_ns: u64,
    /// Resident memory in KiB.
    pub(crate) rss_kib: u64,
}

/// The usage of `root` and its descendants; `None` where there is no such process.
pub(crate) fn usage(root: u32) -> Option<Usage> {
    fs::metadata(format!("/proc/{root}/task")).ok()?;
    let mut sum = Usage::default();
    let mut left = vec![root];
    while let Some(process) = left.pop() {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        sum.rss_kib += rss.map_or(0, first_number);
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            sum.cpu_ns += first_number(&read("schedstat"));
            let children = read("children");
            left.extend(children.split_whitespace().flat_map(str::parse::<u32>));
        }
    }
    Some(sum)
}

/// CPU time of this process in nanoseconds. The scheduler's count of whoever runs is from when it last
/// ran out, which in a short run may be never.
pub(crate) fn own_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn first_number(text: &str) -> u64 {
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let usage = usage(std::process::id()).expect("it runs");
        assert!(usage.cpu_ns > 0 && usage.rss_kib > 0, "{usage:?}");
    }

    #[test]
    fn work_without_a_pause_is_seen() {
        for _ in 0..1_000 {
            let before = own_cpu_ns();
            std::hint::black_box((0..1_000).map(std::hint::black_box).sum::<u64>());
            assert!(own_cpu_ns() > before);
        }
    }

    #[test]
    fn no_process_has_no_usage() {
        assert!(usage(u32::MAX).is_none());
    }
}
