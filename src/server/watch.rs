//! Notices that certificate files changed.
//!
//! By looking at them: a stat of a handful of files a second costs nothing, follows links (Kubernetes
//! swaps a link, certbot another), and works on every file system, which inotify does not.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What tells one version of a file from another: device, inode, size, time of change in
/// nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

/// Files that are watched. Lives on: the main thread.
pub(super) struct Watch {
    files: Vec<PathBuf>,
    /// As they were when they were last read.
    read: Vec<Option<Stamp>>,
    /// As they were at the last look.
    last: Vec<Option<Stamp>>,
}

impl Watch {
    /// Watches `files`, which have just been read.
    pub(super) fn new(mut files: Vec<PathBuf>) -> Self {
        files.sort();
        files.dedup();
        let read: Vec<_> = files.iter().map(stamp).collect();
        Self {
            files,
            last: read.clone(),
            read,
        }
    }

    /// Whether the files are others than those last read, and are the same as at the last look: a
    /// certificate is written before its key, and neither at once.
    pub(super) fn have_changed(&mut self) -> bool {
        let now: Vec<_> = self.files.iter().map(stamp).collect();
        let settled = now == self.last;
        self.last = now;
        if !settled || self.last == self.read {
            return false;
        }
        self.read.clone_from(&self.last);
        true
    }
}

fn stamp(file: &PathBuf) -> Option<Stamp> {
    let found = std::fs::metadata(file).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::data_dir::tests::Scratch;

    #[test]
    fn a_change_is_told_once_and_when_it_is_over() {
        let scratch = Scratch::new("watch");
        let (certificate, key) = (scratch.path().join("crt"), scratch.path().join("key"));
        fs::write(&certificate, "1").expect("written");
        let mut watch = Watch::new(vec![certificate.clone(), key.clone(), key.clone()]);
        assert!(!watch.have_changed());
        fs::write(&certificate, "22").expect("written");
        assert!(!watch.have_changed(), "it may still be written");
        fs::write(&key, "2").expect("written");
        assert!(!watch.have_changed(), "so it was");
        assert!(watch.have_changed());
        assert!(!watch.have_changed());
        fs::remove_file(&key).expect("removed");
        assert!(!watch.have_changed());
        assert!(watch.have_changed());
    }
}
