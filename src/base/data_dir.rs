//! The data folder: what only this server's user may read (accounts, keys, secrets).
//!
//! Folders are 0700 and files 0600 from the moment they exist, whatever the umask, so there is no
//! instant at which another user could open one. A file written here appears complete or not at all
//! and never replaces another: what an operator put there stays.

use std::ffi::OsString;
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::ErrorKind;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

/// Mode of a folder: its owner only.
const FOLDER_MODE: u32 = 0o700;
/// Mode of a file: its owner only, not executable.
const FILE_MODE: u32 = 0o600;
/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Makes the folder with its parents where it is missing; `true` where it was made now. An existing
/// folder is left as it is: its mode is the operator's choice.
pub fn make_folder(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(false),
        Ok(_) => {
            return Err(io::Error::new(
                ErrorKind::NotADirectory,
                "it is not a folder",
            ));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Another process that starts at the same moment may have made it: recursive() accepts that.
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)?;
    Ok(true)
}

/// Makes sure that the file exists and that nobody but its owner can open it; `true` where it was
/// made now, empty.
pub fn make_private_file(path: &Path) -> io::Result<bool> {
    match private_file(path) {
        Ok(file) => {
            file.sync_all()?;
            sync_folder_of(path)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mode = fs::metadata(path)?.mode();
            if mode & OTHERS != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(FILE_MODE))?;
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Writes a new file, 0600: complete and on the disk when this returns, or absent. Fails with
/// [`ErrorKind::AlreadyExists`] where there is a file of that name.
pub fn write_private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = unfinished_name(path);
    let written = write_and_sync(&unfinished, content)
        // A link, unlike a rename, never replaces what another process made in between.
        .and_then(|()| fs::hard_link(&unfinished, path));
    let removed = fs::remove_file(&unfinished);
    written?;
    removed?;
    sync_folder_of(path)
}

fn write_and_sync(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = private_file(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
}

/// Of this process only, so that two that start at once do not write into each other's file.
fn unfinished_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.unfinished", std::process::id()));
    path.with_file_name(name)
}

/// A new name is on the disk only once its folder is.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A folder of this test's own, removed when the test ends.
    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        /// `name` is of the test alone: tests run at the same time.
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("meerkat-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a scratch folder");
            Self(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").mode() & 0o7777
    }

    #[test]
    fn folders_and_files_are_private() {
        let scratch = Scratch::new("private");
        let folder = scratch.0.join("a/b");
        assert!(make_folder(&folder).expect("made"));
        assert!(!make_folder(&folder).expect("there already"));
        assert_eq!(mode(&folder), 0o700);

        let file = folder.join("secret");
        write_private_file(&file, b"first").expect("written");
        assert_eq!(mode(&file), 0o600);
        let again = write_private_file(&file, b"second").expect_err("never overwritten");
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).expect("readable"), b"first");
        let names: Vec<_> = fs::read_dir(&folder).expect("a folder").collect();
        assert_eq!(
            names.len(),
            1,
            "the unfinished file is gone, also after a failure"
        );
    }

    #[test]
    fn an_existing_file_is_tightened() {
        let scratch = Scratch::new("tighten");
        let file = scratch.0.join("db");
        fs::write(&file, b"content").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
        assert!(!make_private_file(&file).expect("there already"));
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read(&file).expect("readable"), b"content");
        assert!(make_private_file(&scratch.0.join("new")).expect("made"));
        assert_eq!(mode(&scratch.0.join("new")), 0o600);
    }

    #[test]
    fn a_file_in_the_way_of_a_folder_is_said() {
        let scratch = Scratch::new("in-the-way");
        let path = scratch.0.join("data");
        fs::write(&path, b"").expect("written");
        let error = make_folder(&path).expect_err("a file is no folder");
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
    }
}
