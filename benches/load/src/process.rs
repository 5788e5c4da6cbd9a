//! CPU time and memory of a process and of all that it started.

use std::fs;

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
    fn no_process_has_no_usage() {
        assert!(usage(u32::MAX).is_none());
    }
}
