//! The control groups of this process, and those above it: each of them limits it.
//!
//! [`hierarchies`] finds the folders where the kernel shows a controller, in cgroup v2 and v1, through a
//! function that reads a file; [`memory_limit`] takes the tightest of their memory limits. What the CPU
//! quota means is in [`cpus`](super::cpus).

/// Which notation the files of a hierarchy have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// The folder of this process's group in one hierarchy, and those above it that can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    /// From the outermost to the process's own.
    pub(super) folders: Vec<String>,
}

/// Where `controller` is shown: the hierarchy of version 2, and that of the controller in version 1.
///
/// `read` gives the text of a file, or `None`.
pub(super) fn hierarchies(
    controller: &str,
    read: impl Fn(&str) -> Option<String>,
) -> Vec<Hierarchy> {
    let (Some(groups), Some(mounts)) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo"))
    else {
        return Vec::new();
    };
    let found = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (version, mount) = if controllers.is_empty() {
            (Version::Two, find_mount(&mounts, "cgroup2", None)?)
        } else if controllers.split(',').any(|name| name == controller) {
            let mount = find_mount(&mounts, "cgroup", Some(controller))?;
            (Version::One, mount)
        } else {
            return None;
        };
        let folders = mount.folders(path);
        Some(Hierarchy { version, folders })
    });
    found.collect()
}

/// Bytes of memory that the tightest of all groups allows; `None` where none has a limit.
///
/// `read` gives the text of a file, or `None`.
pub fn memory_limit(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = hierarchies("memory", &read).into_iter();
    let limits = groups.flat_map(|hierarchy| {
        let file = match hierarchy.version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        };
        let folders = hierarchy.folders.into_iter();
        folders.map(move |folder| format!("{folder}/{file}"))
    });
    // "max" is no number, and version 1 writes the largest one there is: the caller knows the machine's.
    let limits = limits.filter_map(|file| read(&file)?.trim().parse().ok());
    limits.min()
}

/// Where a hierarchy of cgroups is mounted, and which part of it.
struct Mount<'a> {
    root: &'a str,
    at: &'a str,
}

impl Mount<'_> {
    /// The folder of the cgroup `path`, and those above it that can be seen.
    fn folders(&self, path: &str) -> Vec<String> {
        // Without a cgroup namespace the path is the host's, and the mount begins inside it.
        let below = path
            .strip_prefix(self.root.trim_end_matches('/'))
            .unwrap_or("/");
        let below = below.trim_matches('/');
        let mut folders = vec![self.at.to_owned()];
        for name in below.split('/').filter(|name| !name.is_empty()) {
            let deeper = format!("{}/{name}", folders.last().map_or("", String::as_str));
            folders.push(deeper);
        }
        folders
    }
}

/// The first mount of that type, and of that controller in version 1 (proc(5), mountinfo).
fn find_mount<'a>(mounts: &'a str, kind: &str, controller: Option<&str>) -> Option<Mount<'a>> {
    mounts.lines().find_map(|line| {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, at) = (place.next()?, place.next()?);
        let mut system = system.split(' ');
        let is_kind = system.next()? == kind;
        let options = system.nth(1)?;
        let has = controller.is_none_or(|wanted| options.split(',').any(|name| name == wanted));
        (is_kind && has).then_some(Mount { root, at })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_MOUNT: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

    /// A machine with the given files, by path.
    fn limit_of(files: &[(&str, &str)]) -> Option<u64> {
        memory_limit(|path| {
            let file = files.iter().find(|(name, _)| *name == path);
            file.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn a_unit_is_limited_by_itself_and_by_its_slice() {
        let group = ("/proc/self/cgroup", "0::/system.slice/meerkat.service\n");
        let mounts = ("/proc/self/mountinfo", V2_MOUNT);
        let own = |text| {
            let path = "/sys/fs/cgroup/system.slice/meerkat.service/memory.max";
            (path, text)
        };
        let above = |text| ("/sys/fs/cgroup/system.slice/memory.max", text);
        assert_eq!(limit_of(&[group, mounts, own("max\n")]), None);
        assert_eq!(
            limit_of(&[group, mounts, own("536870912\n")]),
            Some(512 << 20)
        );
        let tighter = [group, mounts, own("536870912\n"), above("268435456\n")];
        assert_eq!(limit_of(&tighter), Some(256 << 20));
        assert_eq!(limit_of(&[group, mounts, own("nonsense")]), None);
        assert_eq!(limit_of(&[own("536870912\n")]), None);
    }

    #[test]
    fn version_1_with_and_without_a_namespace() {
        let mounts = (
            "/proc/self/mountinfo",
            "32 31 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
             33 31 0:30 / /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n",
        );
        let own = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n");
        for groups in ["9:memory:/docker/abc\n4:cpu:/\n0::/\n", "9:memory:/\n"] {
            let group = ("/proc/self/cgroup", groups);
            assert_eq!(limit_of(&[group, mounts, own]), Some(128 << 20));
        }
    }
}
