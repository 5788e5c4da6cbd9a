//! Opening the file and bringing its schema up to date.
//!
//! The version of the schema is SQLite's `user_version`: the number of [`MIGRATIONS`] carried out. A
//! migration is only ever appended; each runs once, in the transaction that raises the version, so a
//! crash in the middle leaves the old schema. A file with a higher version than ours is refused
//! untouched.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::ErrorCode;
use rusqlite::OpenFlags;
use rusqlite::TransactionBehavior;
use rusqlite::config::DbConfig;

use crate::base::data_dir;
use crate::store::StoreError;

/// Marks the file as a meerkat store ("meer"), for us and for file(1).
const APPLICATION_ID: i64 = 0x6d65_6572;

/// How long a transaction waits for another process (an import, a backup) to let go of the write
/// lock, in steps of [`LOCK_STEP`].
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// Pause between two attempts at the lock. SQLite's own pauses grow to 100 ms, which would let an
/// import that commits without pause win every time against the server.
const LOCK_STEP: Duration = Duration::from_millis(1);

/// Attempts at the switch to WAL, which fails without waiting while another process makes it.
const WAL_ATTEMPTS_MAX: u32 = 1000;

/// Prepared statements kept by a connection: more than there are.
const STATEMENTS_MAX: usize = 64;

/// Each entry turns the schema of its index into that of its index + 1.
const MIGRATIONS: &[&str] = &[
    // 1: accounts. Host first in the key: lists go by host, and a host's accounts lie together.
    // Exactly the columns of the formats in use are filled; see accounts.rs for the keys' layout.
    "CREATE TABLE accounts (
        host TEXT NOT NULL,
        user TEXT NOT NULL,
        password TEXT,
        scram_sha1 BLOB,
        scram_sha256 BLOB,
        scram_sha512 BLOB,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (host, user)
    ) STRICT, WITHOUT ROWID;",
    // 2: small things that belong to an account, and go with it; area is Area::number.
    "CREATE TABLE data (
        host TEXT NOT NULL,
        user TEXT NOT NULL,
        area INTEGER NOT NULL,
        name TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (host, user, area, name),
        FOREIGN KEY (host, user) REFERENCES accounts (host, user) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;",
    // 3: messages for users who are not here. AUTOINCREMENT: a number never comes again.
    "CREATE TABLE offline (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        host TEXT NOT NULL,
        user TEXT NOT NULL,
        came_at INTEGER NOT NULL,
        stanza BLOB NOT NULL,
        FOREIGN KEY (host, user) REFERENCES accounts (host, user) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX offline_of ON offline (host, user);",
];

/// Opens the store's file, made where it is missing, with the newest schema.
pub(super) fn open(file: &Path) -> Result<Connection, StoreError> {
    let failed = |error: std::io::Error| StoreError::Failed {
        doing: "open its file",
        reason: format!("{}: {error}", file.display()),
    };
    // Made by us and not by SQLite, so that it is private from its first instant. SQLite gives the
    // WAL and its index the same mode and, as root, the same owner.
    data_dir::make_private_file(file).map_err(failed)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags).map_err(|e| named(e, file))?;
    configure(&mut connection).map_err(|e| named(e, file))?;
    identify(&connection, file)?;
    use_wal(&connection, file)?;
    migrate(&mut connection, file)?;
    Ok(connection)
}

fn configure(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(wait_for_lock))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Otherwise each statement is planned anew for each value that is bound to it, which takes longer
    // than to carry it out: each of ours has one index that it can use.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // FULL: the WAL is on the disk before a commit returns, which is what an answer promises.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Replaced and deleted credentials do not linger in free space.
    connection.pragma_update(None, "secure_delete", true)
}

fn wait_for_lock(attempts: i32) -> bool {
    let waited = LOCK_STEP.saturating_mul(attempts.unsigned_abs());
    if waited >= LOCK_WAIT_MAX {
        return false;
    }
    pause();
    true
}

#[expect(
    clippy::disallowed_methods,
    reason = "on the store's thread or the command line's, never on an executor"
)]
fn pause() {
    std::thread::sleep(LOCK_STEP);
}

/// Refuses what we did not write and what a later version wrote, before anything is changed.
fn identify(connection: &Connection, file: &Path) -> Result<(), StoreError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(|e| named(e, file))?;
    let version = number("user_version").map_err(|e| named(e, file))?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|e| named(e, file))?;
    let is_new = application == 0 && version == 0 && tables == 0;
    if application != APPLICATION_ID && !is_new {
        return Err(StoreError::NotOurs {
            file: file.display().to_string(),
        });
    }
    refuse_newer(version, file)
}

fn refuse_newer(version: i64, file: &Path) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as i64;
    if version <= known {
        return Ok(());
    }
    Err(StoreError::NewerSchema {
        file: file.display().to_string(),
        found: version,
        known,
    })
}

fn use_wal(connection: &Connection, file: &Path) -> Result<(), StoreError> {
    for _ in 0..WAL_ATTEMPTS_MAX {
        let answer = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match answer.map_err(|e| named(e, file)) {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => return Ok(()),
            Ok(mode) => {
                return Err(StoreError::Failed {
                    doing: "use a write-ahead log",
                    reason: format!(
                        "{} is on a file system without shared memory or locks (journal mode \
                         stays {mode}); put the data folder on a local disk",
                        file.display()
                    ),
                });
            }
            Err(StoreError::Locked) => pause(),
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Locked)
}

fn migrate(connection: &mut Connection, file: &Path) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|e| named(e, file))?;
    // Read inside the transaction: another process may have migrated while we waited for it.
    let version = transaction
        .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .map_err(|e| named(e, file))?;
    refuse_newer(version, file)?;
    let done = usize::try_from(version).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(done) {
        transaction
            .execute_batch(migration)
            .map_err(|e| named(e, file))?;
    }
    if done < MIGRATIONS.len() {
        let version = MIGRATIONS.len() as i64;
        let set = |name, value: i64| transaction.pragma_update(None, name, value);
        set("user_version", version).map_err(|e| named(e, file))?;
        set("application_id", APPLICATION_ID).map_err(|e| named(e, file))?;
    }
    transaction.commit().map_err(|e| named(e, file))
}

fn named(error: rusqlite::Error, file: &Path) -> StoreError {
    if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
        return StoreError::NotOurs {
            file: file.display().to_string(),
        };
    }
    failed("open its file", &error)
}

/// The engine's error in our terms.
pub(super) fn failed(doing: &'static str, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked,
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt {
            what: error.to_string(),
        },
        _ => StoreError::Failed {
            doing,
            reason: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::data_dir::tests::Scratch;

    #[test]
    fn a_newer_schema_is_refused_untouched() {
        let scratch = Scratch::new("newer");
        let file = scratch.path().join("meerkat.db");
        drop(open(&file).expect("made"));
        let connection = Connection::open(&file).expect("opened");
        connection
            .pragma_update(None, "user_version", 99)
            .expect("set");
        drop(connection);
        let error = open(&file).expect_err("refused");
        assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }));
        assert!(error.to_string().contains("later version"), "{error}");
    }

    #[test]
    fn a_foreign_file_is_refused_untouched() {
        let scratch = Scratch::new("foreign");
        let text = scratch.path().join("text");
        std::fs::write(
            &text,
            "not a database, but long enough to look like one\n".repeat(99),
        )
        .expect("written");
        let before = std::fs::read(&text).expect("readable");
        assert!(matches!(open(&text), Err(StoreError::NotOurs { .. })));
        assert_eq!(std::fs::read(&text).expect("readable"), before);

        let other = scratch.path().join("other.db");
        let connection = Connection::open(&other).expect("opened");
        connection
            .execute_batch("CREATE TABLE t (a)")
            .expect("made");
        drop(connection);
        assert!(matches!(open(&other), Err(StoreError::NotOurs { .. })));
    }

    #[test]
    fn every_version_reaches_the_newest_schema() {
        let schema = |connection: &Connection| -> Vec<String> {
            let mut rows = connection
                .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
                .expect("valid");
            let rows = rows.query_map([], |row| row.get(0)).expect("run");
            rows.collect::<Result<_, _>>().expect("read")
        };
        let scratch = Scratch::new("versions");
        let newest = schema(&open(&scratch.path().join("newest")).expect("made"));
        for version in 0..MIGRATIONS.len() {
            let file = scratch.path().join(version.to_string());
            let old = Connection::open(&file).expect("opened");
            for migration in &MIGRATIONS[..version] {
                old.execute_batch(migration).expect("migrated");
            }
            if version > 0 {
                old.pragma_update(None, "user_version", version as i64)
                    .expect("set");
                old.pragma_update(None, "application_id", APPLICATION_ID)
                    .expect("set");
            }
            drop(old);
            assert_eq!(schema(&open(&file).expect("migrated")), newest);
        }
    }

    #[test]
    fn many_may_open_a_new_store_at_once() {
        let scratch = Scratch::new("at-once");
        let file = scratch.path().join("meerkat.db");
        std::thread::scope(|scope| {
            let opened: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| open(&file).map(drop)))
                .collect();
            for thread in opened {
                assert_eq!(thread.join().expect("no panic"), Ok(()));
            }
        });
    }
}
