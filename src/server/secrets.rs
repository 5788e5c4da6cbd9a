//! Secrets of listeners that stand in files of their own, made where a first start needs them.

use std::path::Path;
use std::path::PathBuf;

use crate::backend::first_start;
use crate::cli::Failure;
use crate::cli::Loaded;
use crate::config::ListenerKind;
use crate::config::Secret;
use crate::config::listen::Listener;

/// A secret made by this start: its file, and the listener that it is for.
pub(super) struct MadeSecret {
    /// The file, 0600.
    pub file: PathBuf,
    /// The listener's path in the configuration.
    pub listener: String,
}

/// Reads `password_file` of the listeners that have one, and makes what is missing below the data
/// folder.
///
/// # Errors
/// What cannot be read or made.
pub(super) fn read(
    loaded: &Loaded,
    listeners: &mut [Listener],
) -> Result<Vec<MadeSecret>, Failure> {
    let mut made = Vec::new();
    for listener in listeners {
        let ListenerKind::Service(service) = &mut listener.kind else {
            continue;
        };
        // A password in the table goes before its file.
        let Some(file) = &service.password_file else {
            continue;
        };
        if service.password.is_some() {
            continue;
        }
        let failed =
            |reason: String| Failure::new(format!("{}.password_file: {reason}", listener.path));
        let located = loaded.locate(&file.value);
        let secret = match std::fs::read_to_string(&located) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let secret = first_start::secret(Path::new(&file.value));
                let secret = secret.map_err(|error| failed(error.to_string()))?;
                made.push(MadeSecret {
                    file: PathBuf::from(&file.value),
                    listener: listener.path.clone(),
                });
                secret
            }
            Err(error) => return Err(failed(format!("{}: {error}", located.display()))),
        };
        if secret.is_empty() {
            return Err(failed(format!("{} is empty", located.display())));
        }
        service.password = Some(Secret::new(secret));
    }
    Ok(made)
}
