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
        let path = listener.path.clone();
        match &mut listener.kind {
            ListenerKind::Service(service) => {
                let file = service.password_file.as_ref().map(|file| &*file.value);
                read_one(loaded, &path, file, &mut service.password, &mut made)?;
            }
            ListenerKind::Http(http) => {
                let dashboards = http.handlers.meerkat_dashboard.iter_mut().enumerate();
                for (place, dashboard) in dashboards {
                    let path = format!("{path}.handlers.meerkat_dashboard[{place}]");
                    let file = dashboard.password_file.as_ref().map(|file| &*file.value);
                    read_one(loaded, &path, file, &mut dashboard.password, &mut made)?;
                }
            }
            ListenerKind::C2s(_) | ListenerKind::S2s(_) => {}
        }
    }
    Ok(made)
}

/// A password in the table goes before its file.
fn read_one(
    loaded: &Loaded,
    path: &str,
    file: Option<&str>,
    password: &mut Option<Secret>,
    made: &mut Vec<MadeSecret>,
) -> Result<(), Failure> {
    let Some(file) = file.filter(|_| password.is_none()) else {
        return Ok(());
    };
    let failed = |reason: String| Failure::new(format!("{path}.password_file: {reason}"));
    let located = loaded.locate(file);
    let secret = match std::fs::read_to_string(&located) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = first_start::secret(Path::new(file));
            let secret = secret.map_err(|error| failed(error.to_string()))?;
            made.push(MadeSecret {
                file: PathBuf::from(file),
                listener: path.to_owned(),
            });
            secret
        }
        Err(error) => return Err(failed(format!("{}: {error}", located.display()))),
    };
    if secret.is_empty() {
        return Err(failed(format!("{} is empty", located.display())));
    }
    *password = Some(Secret::new(secret));
    Ok(())
}
