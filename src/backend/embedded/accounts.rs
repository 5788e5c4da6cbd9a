//! Accounts as rows of SQLite.
//!
//! A row of format "plain" fills `password`; a row of format "scram" fills the columns of the hashes
//! it has keys for. SCRAM keys are one value (version, iterations, salt, stored key, server key),
//! because they are read and written together only.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use super::schema::failed;
use crate::proto::sasl::keys::Credentials;
use crate::proto::sasl::keys::ScramKeys;
use crate::proto::sasl::keys::Secret;
use crate::store::AccountId;
use crate::store::AccountRow;
use crate::store::AccountStore;
use crate::store::StoreError;

/// First byte of stored SCRAM keys, for a layout that changes one day.
const KEYS_VERSION: u8 = 1;

/// The open file. Lives on: the store's thread.
pub(super) struct Database {
    pub(super) connection: Connection,
}

impl AccountStore for Database {
    fn count(&mut self, host: Option<&str>) -> Result<u64, StoreError> {
        let sql = match host {
            Some(_) => "SELECT count(*) FROM accounts WHERE host = ?1",
            None => "SELECT count(*) FROM accounts WHERE ?1 IS NULL",
        };
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([host], |row| row.get::<_, i64>(0)))
            .map(i64::unsigned_abs)
            .map_err(|error| failed("count accounts", &error))
    }

    fn create(
        &mut self,
        id: &AccountId,
        credentials: &Credentials,
        created_at: u64,
    ) -> Result<bool, StoreError> {
        let columns = Columns::of(credentials)?;
        let sql = "INSERT INTO accounts
            (host, user, password, scram_sha1, scram_sha256, scram_sha512, created_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (host, user) DO NOTHING";
        // SQLite's integers are signed; the year 292 billion can wait.
        let created_at = i64::try_from(created_at).unwrap_or(i64::MAX);
        self.changed("create an account", sql, |statement| {
            statement.execute(params![
                id.host(),
                id.user(),
                columns.password,
                columns.sha1,
                columns.sha256,
                columns.sha512,
                created_at
            ])
        })
    }

    fn delete(&mut self, id: &AccountId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM accounts WHERE host = ?1 AND user = ?2";
        self.changed("delete an account", sql, |statement| {
            statement.execute([id.host(), id.user()])
        })
    }

    fn exists(&mut self, id: &AccountId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM accounts WHERE host = ?1 AND user = ?2";
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.exists([id.host(), id.user()]))
            .map_err(|error| failed("read an account", &error))
    }

    fn list(
        &mut self,
        host: Option<&str>,
        after: Option<&AccountId>,
        rows: u32,
    ) -> Result<Vec<AccountRow>, StoreError> {
        // The empty string sorts before every host and user.
        let (mut after_host, mut after_user) = after.map_or(("", ""), |id| (id.host(), id.user()));
        if let Some(host) = host {
            if after_host > host {
                return Ok(Vec::new());
            }
            if after_host < host {
                after_user = "";
            }
            after_host = host;
        }
        // Two statements, so that each is one range of the key's index.
        let sql = match host {
            Some(_) => {
                "SELECT host, user, created_at FROM accounts
                    WHERE host = ?1 AND user > ?2 ORDER BY user LIMIT ?3"
            }
            None => {
                "SELECT host, user, created_at FROM accounts
                    WHERE (host, user) > (?1, ?2) ORDER BY host, user LIMIT ?3"
            }
        };
        let read = |connection: &Connection| -> rusqlite::Result<Vec<AccountRow>> {
            let mut statement = connection.prepare_cached(sql)?;
            let found = statement.query_map(params![after_host, after_user, rows], row)?;
            found.collect()
        };
        read(&self.connection).map_err(|error| failed("list accounts", &error))
    }

    fn lookup(&mut self, id: &AccountId) -> Result<Option<Credentials>, StoreError> {
        let sql = "SELECT password, scram_sha1, scram_sha256, scram_sha512 FROM accounts
            WHERE host = ?1 AND user = ?2";
        let columns = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_row([id.host(), id.user()], Columns::read)
                    .optional()
            })
            .map_err(|error| failed("read an account", &error))?;
        columns.map(|columns| columns.credentials(id)).transpose()
    }

    fn set_credentials(
        &mut self,
        id: &AccountId,
        credentials: &Credentials,
    ) -> Result<bool, StoreError> {
        let columns = Columns::of(credentials)?;
        let sql = "UPDATE accounts
            SET password = ?3, scram_sha1 = ?4, scram_sha256 = ?5, scram_sha512 = ?6
            WHERE host = ?1 AND user = ?2";
        self.changed("set a password", sql, |statement| {
            statement.execute(params![
                id.host(),
                id.user(),
                columns.password,
                columns.sha1,
                columns.sha256,
                columns.sha512
            ])
        })
    }
}

impl Database {
    /// Runs a statement that changes one row or none; whether it changed one.
    fn changed(
        &mut self,
        doing: &'static str,
        sql: &str,
        run: impl FnOnce(&mut rusqlite::CachedStatement<'_>) -> rusqlite::Result<usize>,
    ) -> Result<bool, StoreError> {
        let rows = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| run(&mut statement));
        rows.map(|rows| rows > 0)
            .map_err(|error| failed(doing, &error))
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<AccountRow> {
    let host: String = row.get(0)?;
    let user: String = row.get(1)?;
    let created_at: i64 = row.get(2)?;
    let id = AccountId::from_prepared(&user, &host);
    Ok(AccountRow {
        id,
        created_at: u64::try_from(created_at).unwrap_or(0),
    })
}

/// The columns that hold what proves a password.
struct Columns {
    password: Option<String>,
    sha1: Option<Vec<u8>>,
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

impl Columns {
    fn of(credentials: &Credentials) -> Result<Self, StoreError> {
        Ok(match credentials {
            Credentials::Plain(secret) => Self {
                password: Some(secret.expose().to_owned()),
                sha1: None,
                sha256: None,
                sha512: None,
            },
            Credentials::Scram {
                sha1,
                sha256,
                sha512,
            } => Self {
                password: None,
                sha1: sha1.as_ref().map(encode).transpose()?,
                sha256: sha256.as_ref().map(encode).transpose()?,
                sha512: sha512.as_ref().map(encode).transpose()?,
            },
        })
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            password: row.get(0)?,
            sha1: row.get(1)?,
            sha256: row.get(2)?,
            sha512: row.get(3)?,
        })
    }

    fn credentials(self, id: &AccountId) -> Result<Credentials, StoreError> {
        if let Some(password) = self.password {
            return Ok(Credentials::Plain(Secret::new(&password)));
        }
        let keys = |column: Option<Vec<u8>>, name: &str| {
            let Some(bytes) = column else { return Ok(None) };
            decode(&bytes).map(Some).ok_or_else(|| StoreError::Corrupt {
                what: format!("{name} of {id}"),
            })
        };
        Ok(Credentials::Scram {
            sha1: keys(self.sha1, "scram_sha1")?,
            sha256: keys(self.sha256, "scram_sha256")?,
            sha512: keys(self.sha512, "scram_sha512")?,
        })
    }
}

/// version (1) iterations (4, big-endian), then salt, stored key and server key, each behind its
/// length (1).
fn encode(keys: &ScramKeys) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![KEYS_VERSION];
    bytes.extend_from_slice(&keys.iterations.to_be_bytes());
    for part in [&keys.salt, &keys.stored_key, &keys.server_key] {
        let Ok(length) = u8::try_from(part.len()) else {
            return Err(StoreError::Failed {
                doing: "store SCRAM keys",
                reason: format!(
                    "a salt or key of {} bytes, at most 255 can be stored",
                    part.len()
                ),
            });
        };
        bytes.push(length);
        bytes.extend_from_slice(part);
    }
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Option<ScramKeys> {
    let (&version, rest) = bytes.split_first()?;
    if version != KEYS_VERSION {
        return None;
    }
    let (iterations, rest) = rest.split_first_chunk::<4>()?;
    let (salt, rest) = part(rest)?;
    let (stored_key, rest) = part(rest)?;
    let (server_key, rest) = part(rest)?;
    let keys = ScramKeys {
        salt: salt.into(),
        iterations: u32::from_be_bytes(*iterations),
        stored_key: stored_key.into(),
        server_key: server_key.into(),
    };
    rest.is_empty().then_some(keys)
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::embedded::schema;
    use crate::base::data_dir::tests::Scratch;
    use crate::store::conformance;

    fn database(scratch: &Scratch) -> Database {
        Database {
            connection: schema::open(&scratch.path().join("meerkat.db")).expect("made"),
        }
    }

    #[test]
    fn keeps_the_contract() {
        let scratch = Scratch::new("contract");
        conformance::accounts(&mut database(&scratch));
    }

    #[test]
    fn a_plain_password_comes_back_as_it_went() {
        let scratch = Scratch::new("plain");
        let mut database = database(&scratch);
        let id = conformance::id("romeo");
        let password = "wherefore\u{0}\u{1F339}'\"; DROP TABLE accounts";
        let credentials = Credentials::Plain(Secret::new(password));
        assert_eq!(database.create(&id, &credentials, 1), Ok(true));
        match database.lookup(&id) {
            Ok(Some(Credentials::Plain(found))) => assert_eq!(found.expose(), password),
            other => panic!("{other:?}"),
        }
        // From plain to keys and nothing of the password stays behind.
        assert_eq!(
            database.set_credentials(&id, &conformance::scram("x")),
            Ok(true)
        );
        assert!(matches!(
            database.lookup(&id),
            Ok(Some(Credentials::Scram { .. }))
        ));
    }

    #[test]
    fn damaged_keys_are_an_error_and_not_a_login() {
        let keys = ScramKeys {
            salt: Box::from([1_u8, 2]),
            iterations: 4096,
            stored_key: Box::from([3_u8; 20]),
            server_key: Box::from([4_u8; 20]),
        };
        let bytes = encode(&keys).expect("short enough");
        assert!(decode(&bytes).is_some_and(|back| back.salt == keys.salt
            && back.iterations == 4096
            && back.stored_key == keys.stored_key
            && back.server_key == keys.server_key));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_none(), "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(decode(&longer).is_none());
        let mut other_version = bytes;
        other_version[0] = 2;
        assert!(decode(&other_version).is_none());

        let scratch = Scratch::new("damaged");
        let mut database = database(&scratch);
        let id = conformance::id("romeo");
        assert_eq!(database.create(&id, &conformance::scram("x"), 1), Ok(true));
        database
            .connection
            .execute("UPDATE accounts SET scram_sha256 = x'0100'", [])
            .expect("updated");
        let error = database.lookup(&id).expect_err("damaged");
        assert_eq!(
            error,
            StoreError::Corrupt {
                what: "scram_sha256 of romeo@example.org".to_owned()
            }
        );
        assert_eq!(
            database.set_credentials(&id, &conformance::scram("y")),
            Ok(true)
        );
        assert!(database.lookup(&id).is_ok(), "'account passwd' repairs it");
    }
}
