//! `meerkat account add`, `passwd`, `list`; `del` is in `cli::removal`.
//!
//! They open the store themselves: SQLite lets them work beside a running server, which notices.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use super::NewPassword;
use super::passwords;
use crate::auth::password::PasswordPolicy;
use crate::backend::embedded::FILE_NAME;
use crate::backend::embedded::Handle;
use crate::backend::embedded::Store;
use crate::cli::Failure;
use crate::cli::Loaded;
use crate::cli::failure::answer;
use crate::cli::failure::hint;
use crate::config::Config;
use crate::config::auth::Method;
use crate::jid;
use crate::jid::Jid;
use crate::store::AccountId;
use crate::store::Request;
use crate::store::Response;
use crate::store::StoreError;
use crate::store::accounts::ACCOUNT_PAGE_ROWS_MAX;

/// Hosts that an error lists; a longer list helps nobody.
const HOSTS_LISTED_MAX: usize = 10;

/// `account add`.
pub(super) fn add(loaded: &Loaded, new: NewPassword) -> Result<(), Failure> {
    let id = account(&loaded.config, &new.jid)?;
    let store = Store::open(&loaded.data_folder())?;
    let handle = store.handle();
    if exists(&handle, &id)? {
        return Err(exists_already(&id));
    }
    let password = passwords::obtain(new.password, &id)?;
    let policy = PasswordPolicy::from_config(loaded.config.auth_of(id.host()));
    let credentials = passwords::credentials(&policy, &password)?;
    let create = Request::Create {
        id: id.clone(),
        credentials,
        created_at: now(),
    };
    done(&handle.call(create)?, || exists_already(&id))?;
    store.close();
    hint(&format!("{id} added to {}", file(loaded).display()));
    warn_if_unused(&loaded.config, id.host());
    Ok(())
}

/// `account passwd`.
pub(super) fn passwd(loaded: &Loaded, new: NewPassword) -> Result<(), Failure> {
    let id = account(&loaded.config, &new.jid)?;
    let store = existing_store(loaded)?;
    let handle = store.handle();
    if !exists(&handle, &id)? {
        return Err(no_such(&id, loaded));
    }
    let password = passwords::obtain(new.password, &id)?;
    let policy = PasswordPolicy::from_config(loaded.config.auth_of(id.host()));
    let credentials = passwords::credentials(&policy, &password)?;
    let set = Request::SetCredentials {
        id: id.clone(),
        credentials,
    };
    done(&handle.call(set)?, || no_such(&id, loaded))?;
    hint(&format!("the password of {id} is changed"));
    Ok(())
}

/// `account list`.
pub(super) fn list(loaded: &Loaded, host: Option<&str>) -> Result<(), Failure> {
    let host = host
        .map(prepared_host)
        .transpose()?
        .map(String::into_boxed_str);
    let store = existing_store(loaded)?;
    let handle = store.handle();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut after = None;
    loop {
        let list = Request::List {
            host: host.clone(),
            after,
            rows: ACCOUNT_PAGE_ROWS_MAX,
        };
        let Response::Page(rows) = handle.call(list)? else {
            return Err(unexpected());
        };
        for row in &rows {
            if !answer(&mut out, &row.id.to_string())? {
                return Ok(());
            }
        }
        match rows.last() {
            Some(row) => after = Some(row.id.clone()),
            None => return flush(out),
        }
    }
}

fn flush(mut out: impl io::Write) -> Result<(), Failure> {
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("stdout: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The account that a text names, on a host of this server.
pub(super) fn account(config: &Config, text: &str) -> Result<AccountId, Failure> {
    let id = parse(text)?;
    let serves = |host: &str| prepared_host(host).is_ok_and(|host| host == id.host());
    if config.general.hosts.iter().any(|host| serves(&host.value)) {
        return Ok(id);
    }
    let mut hosts: Vec<&str> = config
        .general
        .hosts
        .iter()
        .map(|host| host.value.as_str())
        .collect();
    let more = if hosts.len() > HOSTS_LISTED_MAX {
        ", ..."
    } else {
        ""
    };
    hosts.truncate(HOSTS_LISTED_MAX);
    Err(Failure::new(format!(
        "{text}: this server does not serve {}, only: {}{more}. Add the host to general.hosts, or \
         name another configuration with -c",
        id.host(),
        hosts.join(", ")
    )))
}

pub(super) fn parse(text: &str) -> Result<AccountId, Failure> {
    let jid: Jid = text.parse().map_err(|error| {
        Failure::new(format!(
            "{text}: not a JID such as romeo@example.org: {error}"
        ))
    })?;
    if jid.resource().is_some() {
        let remedy = format!("write {}", jid.bare());
        return Err(Failure::new(format!(
            "{text}: an account has no resource; {remedy}"
        )));
    }
    AccountId::of(&jid).ok_or_else(|| {
        Failure::new(format!(
            "{text}: names a host; an account is written as user@{text}"
        ))
    })
}

pub(super) fn prepared_host(host: &str) -> Result<String, Failure> {
    let prepared = jid::domain_prep(host);
    prepared
        .map(String::from)
        .map_err(|error| Failure::new(format!("{host}: {error}")))
}

pub(super) fn existing_store(loaded: &Loaded) -> Result<Store, Failure> {
    let file = file(loaded);
    if !file.exists() {
        return Err(Failure::new(format!(
            "there is no store {}: no account was ever made here. Is this the server's working \
             folder and configuration?",
            file.display()
        )));
    }
    Ok(Store::open(&loaded.data_folder())?)
}

pub(super) fn file(loaded: &Loaded) -> PathBuf {
    loaded.data_folder().join(FILE_NAME)
}

fn exists(handle: &Handle, id: &AccountId) -> Result<bool, StoreError> {
    let answer = handle.call(Request::Exists { id: id.clone() })?;
    Ok(matches!(answer, Response::Exists(true)))
}

/// Of a write; `otherwise` says why there was nothing to do.
fn done(response: &Response, otherwise: impl FnOnce() -> Failure) -> Result<(), Failure> {
    match response {
        Response::Done => Ok(()),
        Response::AlreadyExists | Response::NoSuchAccount => Err(otherwise()),
        Response::Count(_)
        | Response::Credentials(_)
        | Response::Data(_)
        | Response::Deleted(_)
        | Response::Exists(_)
        | Response::Offline(_)
        | Response::Opening(_)
        | Response::Page(_) => Err(unexpected()),
    }
}

fn exists_already(id: &AccountId) -> Failure {
    Failure::new(format!(
        "{id} exists already; to change its password: meerkat account passwd {id}"
    ))
}

pub(super) fn no_such(id: &AccountId, loaded: &Loaded) -> Failure {
    Failure::new(format!(
        "there is no account {id} in {}",
        file(loaded).display()
    ))
}

/// An account that nobody can use is worth a word.
pub(super) fn warn_if_unused(config: &Config, host: &str) {
    if !config.auth_of(host).enabled().contains(&Method::Internal) {
        hint(&format!(
            "nobody can log in to accounts of {host} before the configuration has a section \
             [auth.internal] that holds for it"
        ));
    }
}

/// Seconds since 1970, for new accounts.
#[expect(
    clippy::disallowed_methods,
    reason = "a command has no loop that gives it the time"
)]
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The store answered something else than what was asked.
pub(super) fn unexpected() -> Failure {
    Failure::new("the store gave an answer of another kind than asked; please report this")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sited;

    fn config() -> Config {
        let mut config = Config::default();
        for host in ["localhost", "Example.ORG"] {
            let host = Sited {
                value: host.to_owned(),
                ..Sited::default()
            };
            config.general.hosts.push(host);
        }
        config
    }

    #[test]
    fn an_account_is_a_prepared_bare_jid_of_a_served_host() {
        let found = account(&config(), "Romeo@EXAMPLE.org").expect("served");
        assert_eq!(found.to_string(), "romeo@example.org");
        for (text, part) in [
            ("romeo@example.net", "only: localhost, Example.ORG"),
            ("romeo@example.org/orchard", "write romeo@example.org"),
            ("example.org", "user@example.org"),
            ("@example.org", "not a JID"),
            ("a b@example.org", "not a JID"),
            ("", "not a JID"),
        ] {
            let failure = account(&config(), text).expect_err(text).to_string();
            assert!(failure.contains(part), "{text}: {failure}");
        }
    }
}
