//! The CPUs that executors are pinned to.
//!
//! The process may use the CPUs of its affinity, as many at a time as the CPU quota of its cgroups
//! pays for: an executor without its share of the quota would only be throttled. `[runtime] cores`
//! takes fewer, or insists on more than the quota.
//!
//! [`choose`] decides; [`quota`] reads cgroup v2 and v1 through a function that it is given.

use std::num::NonZeroUsize;

use super::cgroups;
use super::cgroups::Version;
use super::preflight::sys;

/// The CPUs of the executors, with what was found on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// One executor on each, in this order.
    pub chosen: Vec<usize>,
    /// CPUs in the affinity of the process.
    pub allowed: usize,
    /// What the cgroups pay for, where they limit it.
    pub quota: Option<Quota>,
    /// For the operator: a choice that is not a good one.
    pub warning: Option<String>,
}

/// CPU time that a cgroup may use in a period, both in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Time used at most.
    pub used_us: u64,
    /// In each of these.
    pub period_us: u64,
}

impl Quota {
    /// CPUs that the quota keeps busy: rounded up, at least one.
    #[must_use]
    pub fn cpus(self) -> usize {
        let cpus = self.used_us.div_ceil(self.period_us.max(1)).max(1);
        usize::try_from(cpus).unwrap_or(usize::MAX)
    }
}

impl Cpus {
    /// A line for the start-up text: how many, which, and what they were chosen from.
    #[must_use]
    pub fn line(&self) -> String {
        let number = self.chosen.len();
        let cores = if number == 1 { "core" } else { "cores" };
        let limit = match self.quota {
            Some(quota) => format!(", the cgroup's quota pays for {}", quota.cpus()),
            None => String::new(),
        };
        let allowed = self.allowed;
        format!(
            "{number} {cores} of {allowed} (CPUs {}{limit})",
            ranges(&self.chosen)
        )
    }
}

/// Asks this machine. `cores` is `[runtime] cores`; an error is a text for the operator.
pub fn choose_here(cores: Option<NonZeroUsize>) -> Result<Cpus, String> {
    let allowed = sys::affinity()
        .map_err(|error| format!("the CPUs of this process cannot be found out: {error}"))?;
    choose(
        &allowed,
        quota(|path| std::fs::read_to_string(path).ok()),
        cores,
    )
}

/// Picks the first CPUs of `allowed`: as many as `cores` says, else as the quota pays for.
pub fn choose(
    allowed: &[usize],
    quota: Option<Quota>,
    cores: Option<NonZeroUsize>,
) -> Result<Cpus, String> {
    let paid_for = quota.map_or(allowed.len(), |quota| quota.cpus().min(allowed.len()));
    let wanted = cores.map_or(paid_for, NonZeroUsize::get);
    let chosen = allowed
        .get(..wanted)
        .filter(|chosen| !chosen.is_empty())
        .ok_or_else(|| {
            format!(
                "[runtime] cores = {wanted}, but this process may use {} (CPUs {}): \
             lower it, or give the process more (taskset, docker run --cpuset-cpus, AllowedCPUs=)",
                allowed.len(),
                ranges(allowed),
            )
        })?;
    let warning = (wanted > paid_for).then(|| {
        format!(
            "[runtime] cores = {wanted}, but the CPU quota of the cgroup pays for {paid_for}: \
             the executors will be throttled together"
        )
    });
    Ok(Cpus {
        chosen: chosen.to_vec(),
        allowed: allowed.len(),
        quota,
        warning,
    })
}

/// The tightest quota of the process's cgroup and of those above it, in either version.
///
/// `read` gives the text of a file, or `None`.
pub fn quota(read: impl Fn(&str) -> Option<String>) -> Option<Quota> {
    let quota_of = |version, folder: &String| match version {
        Version::Two => quota_v2(&read(&format!("{folder}/cpu.max"))?),
        Version::One => {
            let used = read(&format!("{folder}/cpu.cfs_quota_us"))?;
            quota_v1(&used, &read(&format!("{folder}/cpu.cfs_period_us"))?)
        }
    };
    let hierarchies = cgroups::hierarchies("cpu", &read);
    let quotas = hierarchies.iter().flat_map(|hierarchy| {
        let folders = hierarchy.folders.iter();
        folders.filter_map(|folder| quota_of(hierarchy.version, folder))
    });
    quotas.min_by_key(|quota| quota.cpus())
}

/// `cpu.max`: the time or "max", and the period.
fn quota_v2(text: &str) -> Option<Quota> {
    let mut fields = text.split_whitespace();
    let used_us = fields.next()?.parse().ok()?;
    let period_us = fields.next()?.parse().ok().filter(|period| *period > 0)?;
    Some(Quota { used_us, period_us })
}

/// `cpu.cfs_quota_us`, -1 for no limit, and `cpu.cfs_period_us`.
fn quota_v1(used: &str, period: &str) -> Option<Quota> {
    let used_us = used.trim().parse().ok()?;
    let period_us = period.trim().parse().ok().filter(|period| *period > 0)?;
    Some(Quota { used_us, period_us })
}

/// "0-3,6" of 0, 1, 2, 3, 6.
fn ranges(cpus: &[usize]) -> String {
    let groups = cpus.chunk_by(|a, b| a + 1 == *b).map(|group| match group {
        [first, .., last] => format!("{first}-{last}"),
        [only] => only.to_string(),
        [] => String::new(),
    });
    groups.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(number: usize) -> Option<NonZeroUsize> {
        NonZeroUsize::new(number)
    }

    fn of(used_us: u64) -> Option<Quota> {
        Some(Quota {
            used_us,
            period_us: 100_000,
        })
    }

    #[test]
    fn the_quota_cuts_and_cores_decides() {
        let allowed = [0, 1, 2, 5];
        let picked = |quota, wanted| choose(&allowed, quota, wanted).map(|cpus| cpus.chosen);
        assert_eq!(picked(None, None), Ok(vec![0, 1, 2, 5]));
        assert_eq!(picked(of(150_000), None), Ok(vec![0, 1]));
        assert_eq!(picked(of(200_000), None), Ok(vec![0, 1]));
        assert_eq!(picked(of(10_000), None), Ok(vec![0]));
        assert_eq!(picked(of(900_000), None), Ok(vec![0, 1, 2, 5]));
        assert_eq!(picked(None, cores(3)), Ok(vec![0, 1, 2]));

        let throttled =
            choose(&allowed, of(150_000), cores(3)).expect("it is the operator's choice");
        assert_eq!(throttled.chosen, [0, 1, 2]);
        let warning = throttled.warning.expect("it is a poor one");
        assert!(
            warning.contains("cores = 3") && warning.contains("pays for 2"),
            "{warning}"
        );
        assert_eq!(
            choose(&allowed, of(150_000), cores(2)).map(|cpus| cpus.warning),
            Ok(None)
        );

        let error = choose(&allowed, None, cores(5)).expect_err("there are four");
        assert!(
            error.contains("cores = 5") && error.contains("may use 4 (CPUs 0-2,5)"),
            "{error}"
        );
    }

    #[test]
    fn the_line_tells_what_was_found() {
        let line = |quota, wanted| choose(&[0, 1, 2, 5], quota, wanted).map(|cpus| cpus.line());
        assert_eq!(line(None, None), Ok("4 cores of 4 (CPUs 0-2,5)".to_owned()));
        let limited = "1 core of 4 (CPUs 0, the cgroup's quota pays for 1)";
        assert_eq!(line(of(50_000), None), Ok(limited.to_owned()));
    }

    /// A machine with the given files, by path.
    fn quota_of(files: &[(&str, &str)]) -> Option<usize> {
        let read = |path: &str| {
            let file = files.iter().find(|(name, _)| *name == path);
            file.map(|(_, text)| (*text).to_owned())
        };
        quota(read).map(Quota::cpus)
    }

    const V2_MOUNT: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

    #[test]
    fn version_2_takes_the_tightest_of_all_levels() {
        let group = ("/proc/self/cgroup", "0::/system.slice/meerkat.service\n");
        let mounts = ("/proc/self/mountinfo", V2_MOUNT);
        let own = |text| ("/sys/fs/cgroup/system.slice/meerkat.service/cpu.max", text);
        let above = |text| ("/sys/fs/cgroup/system.slice/cpu.max", text);
        assert_eq!(quota_of(&[group, mounts]), None);
        assert_eq!(quota_of(&[group, mounts, own("max 100000\n")]), None);
        assert_eq!(quota_of(&[group, mounts, own("250000 100000\n")]), Some(3));
        assert_eq!(
            quota_of(&[group, mounts, own("max 100000"), above("100000 100000")]),
            Some(1)
        );
        assert_eq!(
            quota_of(&[group, mounts, own("200000 100000"), above("400000 100000")]),
            Some(2)
        );
        assert_eq!(quota_of(&[group, mounts, own("nonsense")]), None);
        assert_eq!(quota_of(&[group, mounts, own("100000 0")]), None);
    }

    #[test]
    fn a_container_sees_itself_as_the_root() {
        let mounts = ("/proc/self/mountinfo", V2_MOUNT);
        let own = ("/sys/fs/cgroup/cpu.max", "150000 100000\n");
        assert_eq!(
            quota_of(&[("/proc/self/cgroup", "0::/\n"), mounts, own]),
            Some(2)
        );
    }

    #[test]
    fn version_1_with_and_without_a_namespace() {
        let mounts = (
            "/proc/self/mountinfo",
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
             33 31 0:30 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
        );
        let used = |text| ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", text);
        let period = ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
        let groups = "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n";
        for groups in [groups, "4:cpu,cpuacct:/\n"] {
            let group = ("/proc/self/cgroup", groups);
            assert_eq!(
                quota_of(&[group, mounts, used("350000\n"), period]),
                Some(4)
            );
            assert_eq!(quota_of(&[group, mounts, used("-1\n"), period]), None);
            assert_eq!(quota_of(&[group, mounts, used("100000\n")]), None);
        }
    }

    #[test]
    fn this_machine_has_a_cpu() {
        let cpus = choose_here(cores(1)).expect("one CPU at least");
        assert_eq!(cpus.chosen.len(), 1);
        assert!(choose_here(cores(100_000)).is_err());
    }
}
