//! Finding, reading and decoding the configuration.
//!
//! The file is the one of `-c`, else config/meerkat.toml of the working folder, else the same
//! defaults built in. A relative path in a file is looked for in the working folder first, then in
//! the folder of the file: stock files are written for the one, hand-written ones for the other.

use std::fs;
use std::fs::File;
use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use crate::cli::Failure;
use crate::config;
use crate::config::Config;
use crate::config::Files;

/// The file that is used where there is one and `-c` names no other.
const DEFAULT_FILE: &str = "config/meerkat.toml";

/// What the built-in defaults are called in errors.
const BUILT_IN_NAME: &str = "(built-in defaults)";

/// Largest file that a configuration may refer to: certificate bundles and key files.
const REFERRED_BYTES_MAX: u64 = 64 << 20;

/// A valid configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Its file; `None`: the built-in defaults.
    pub file: Option<PathBuf>,
}

impl Loaded {
    /// What the configuration is called in texts.
    pub fn name(&self) -> String {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => BUILT_IN_NAME.to_owned(),
        }
    }

    /// The data folder.
    pub fn data_folder(&self) -> PathBuf {
        PathBuf::from(&self.config.runtime.data_dir.value)
    }

    /// Where a file that the configuration names is.
    pub fn locate(&self, path: &str) -> PathBuf {
        locate(path, self.file.as_deref())
    }

    /// Reads the same file anew, for a reload.
    pub fn again(&self) -> Result<Self, Failure> {
        match &self.file {
            Some(file) => read(file),
            None => built_in(),
        }
    }
}

/// Loads the configuration that `-c` names, or the one that is used without it.
pub(super) fn load(named: Option<&Path>) -> Result<Loaded, Failure> {
    if let Some(file) = named {
        return read(file);
    }
    let default = Path::new(DEFAULT_FILE);
    match default.try_exists() {
        Ok(true) => read(default),
        Ok(false) => built_in(),
        Err(error) => Err(unreadable(default, &error)),
    }
}

fn read(file: &Path) -> Result<Loaded, Failure> {
    let bytes =
        bounded(file, config::FILE_BYTES_MAX as u64).map_err(|error| unreadable(file, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error
            .as_bytes()
            .iter()
            .take(valid)
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        Failure::new(format!(
            "{}:{line}: the file is not UTF-8, as TOML has to be",
            file.display()
        ))
    })?;
    decode(&text, Some(file.to_owned()))
}

fn built_in() -> Result<Loaded, Failure> {
    decode(config::BUILT_IN, None)
}

fn decode(text: &str, file: Option<PathBuf>) -> Result<Loaded, Failure> {
    let name = file.as_ref().map_or_else(
        || BUILT_IN_NAME.to_owned(),
        |file| file.display().to_string(),
    );
    let files = OnDisk {
        file: file.as_deref(),
    };
    match config::decode(text, &name, &files) {
        Ok(config) => Ok(Loaded { config, file }),
        Err(errors) => Err(Failure::new(format!(
            "{}\n{errors}",
            match errors.len() {
                1 => format!("1 error in {name}:"),
                number => format!("{number} errors in {name}:"),
            }
        ))),
    }
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    let remedy = if error.kind() == ErrorKind::NotFound {
        "; name another with -c FILE"
    } else if error.kind() == ErrorKind::PermissionDenied {
        "; this user may not read it"
    } else {
        ""
    };
    Failure::new(format!(
        "the configuration file {} cannot be read: {error}{remedy}",
        file.display()
    ))
}

/// The files of this machine, for `config::decode`.
struct OnDisk<'a> {
    file: Option<&'a Path>,
}

impl Files for OnDisk<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        bounded(&locate(path, self.file), REFERRED_BYTES_MAX)
    }
}

/// Reads a whole file that is no larger than `max`.
fn bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(max.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > max {
        let text = format!("it is larger than {max} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    Ok(content)
}

/// The working folder goes first; where the path is in neither place, errors name this one.
fn locate(path: &str, file: Option<&Path>) -> PathBuf {
    let here = PathBuf::from(path);
    if here.is_absolute() || fs::exists(&here).unwrap_or(true) {
        return here;
    }
    match file.and_then(Path::parent).map(|folder| folder.join(path)) {
        Some(beside) if fs::exists(&beside).unwrap_or(false) => beside,
        Some(_) | None => here,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::data_dir::tests::Scratch;

    #[test]
    fn paths_are_found_beside_the_file_too() {
        let scratch = Scratch::new("locate");
        let file = scratch.path().join("meerkat.toml");
        fs::write(scratch.path().join("cert.pem"), "x").expect("written");
        assert_eq!(
            locate("cert.pem", Some(&file)),
            scratch.path().join("cert.pem")
        );
        assert_eq!(locate("cert.pem", None), Path::new("cert.pem"));
        assert_eq!(locate("none.pem", Some(&file)), Path::new("none.pem"));
        // The working folder of a test is the package's.
        assert_eq!(locate("Cargo.toml", Some(&file)), Path::new("Cargo.toml"));
        let absolute = scratch.path().join("cert.pem").display().to_string();
        assert_eq!(locate(&absolute, Some(&file)), Path::new(&absolute));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let scratch = Scratch::new("unreadable");
        let missing = scratch.path().join("missing.toml");
        let text = load(Some(&missing)).expect_err("missing").to_string();
        assert!(
            text.contains("missing.toml") && text.contains("-c FILE"),
            "{text}"
        );
        let latin = scratch.path().join("latin.toml");
        fs::write(&latin, b"a = 1\nb = \"\xe9\"\n").expect("written");
        let text = load(Some(&latin)).expect_err("not UTF-8").to_string();
        assert!(text.contains("latin.toml:2: "), "{text}");
        assert!(load(Some(scratch.path())).is_err(), "a folder is no file");
        assert!(bounded(&latin, 3).is_err());
    }
}
