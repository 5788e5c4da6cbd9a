//! Small things of accounts as rows of SQLite.

use rusqlite::OptionalExtension;
use rusqlite::params;

use super::accounts::Database;
use super::schema::failed;
use crate::store::AccountId;
use crate::store::AccountStore;
use crate::store::StoreError;
use crate::store::data::Area;
use crate::store::data::DataResponse;
use crate::store::data::DataStore;
use crate::store::data::Remove;
use crate::store::data::Room;
use crate::store::data::Thing;

const THINGS: &str = "SELECT name, value FROM data WHERE host = ?1 AND user = ?2 AND area = ?3
    ORDER BY name";

impl DataStore for Database {
    fn things(&mut self, id: &AccountId, area: Area) -> Result<Vec<Thing>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Thing>> {
            let mut statement = self.connection.prepare_cached(THINGS)?;
            let rows =
                statement.query_map(params![id.host(), id.user(), area.number()], |row| {
                    let name: String = row.get(0)?;
                    let value: Vec<u8> = row.get(1)?;
                    Ok((name.into_boxed_str(), value.into_boxed_slice()))
                })?;
            rows.collect()
        };
        read().map_err(|error| failed("read an account's data", &error))
    }

    fn value(
        &mut self,
        id: &AccountId,
        area: Area,
        name: &str,
    ) -> Result<Option<Box<[u8]>>, StoreError> {
        let sql = "SELECT value FROM data
            WHERE host = ?1 AND user = ?2 AND area = ?3 AND name = ?4";
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let key = params![id.host(), id.user(), area.number(), name];
            statement
                .query_row(key, |row| row.get::<_, Vec<u8>>(0))
                .optional()
        };
        let value = read().map_err(|error| failed("read an account's data", &error))?;
        Ok(value.map(Vec::into_boxed_slice))
    }

    fn change(
        &mut self,
        id: &AccountId,
        area: Area,
        remove: &Remove,
        put: &[Thing],
        room: Room,
    ) -> Result<DataResponse, StoreError> {
        if !self.exists(id)? {
            return Ok(DataResponse::NoSuchAccount);
        }
        // What fails in the middle must not take other requests of the same commit with it.
        let write = |sql: &str| {
            let statement = self.connection.prepare_cached(sql);
            let done = statement.and_then(|mut statement| statement.execute([]));
            done.map(drop)
                .map_err(|error| failed("write an account's data", &error))
        };
        write("SAVEPOINT change")?;
        let fits = self
            .write_change(id, area, remove, put, room)
            .map_err(|error| failed("write an account's data", &error))?;
        if !fits {
            write("ROLLBACK TO change")?;
        }
        write("RELEASE change")?;
        Ok(match fits {
            true => DataResponse::Done,
            false => DataResponse::NoRoom,
        })
    }

    fn put(&mut self, id: &AccountId, area: Area, thing: &Thing) -> Result<bool, StoreError> {
        let sql = "INSERT INTO data (host, user, area, name, value)
            SELECT host, user, ?3, ?4, ?5 FROM accounts WHERE host = ?1 AND user = ?2
            ON CONFLICT (host, user, area, name) DO UPDATE SET value = excluded.value";
        let (name, value) = thing;
        let key = params![id.host(), id.user(), area.number(), name, &**value];
        let mut statement = self
            .connection
            .prepare_cached(sql)
            .map_err(|error| failed("write an account's data", &error))?;
        let rows = statement.execute(key);
        rows.map(|rows| rows > 0)
            .map_err(|error| failed("write an account's data", &error))
    }
}

impl Database {
    /// Whether what is there now fits.
    fn write_change(
        &self,
        id: &AccountId,
        area: Area,
        remove: &Remove,
        put: &[Thing],
        room: Room,
    ) -> rusqlite::Result<bool> {
        let (host, user, area) = (id.host(), id.user(), area.number());
        match remove {
            Remove::All => {
                let sql = "DELETE FROM data WHERE host = ?1 AND user = ?2 AND area = ?3";
                let mut statement = self.connection.prepare_cached(sql)?;
                statement.execute(params![host, user, area])?;
            }
            Remove::Names(names) => {
                let sql = "DELETE FROM data
                    WHERE host = ?1 AND user = ?2 AND area = ?3 AND name = ?4";
                let mut statement = self.connection.prepare_cached(sql)?;
                for name in names {
                    statement.execute(params![host, user, area, name])?;
                }
            }
        }
        let sql = "INSERT INTO data (host, user, area, name, value) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (host, user, area, name) DO UPDATE SET value = excluded.value";
        let mut statement = self.connection.prepare_cached(sql)?;
        for (name, value) in put {
            statement.execute(params![host, user, area, name, &**value])?;
        }
        // octet_length() of a TEXT needs no conversion; length() would count characters.
        let sql = "SELECT count(*), coalesce(sum(octet_length(name) + length(value)), 0) FROM data
            WHERE host = ?1 AND user = ?2 AND area = ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let (things, bytes): (i64, i64) = statement
            .query_row(params![host, user, area], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        Ok(
            things.unsigned_abs() <= room.things as u64
                && bytes.unsigned_abs() <= room.bytes as u64,
        )
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::backend::embedded::schema;
    use crate::base::data_dir::tests::Scratch;
    use crate::store::conformance;

    #[test]
    fn keeps_the_contract() {
        let scratch = Scratch::new("data-contract");
        let file = scratch.path().join("meerkat.db");
        let mut database = Database {
            connection: schema::open(&file).expect("made"),
        };
        conformance::data(&mut database);
        conformance::blocked(&mut database);
        conformance::opening(&mut database);
        conformance::put(&mut database);
    }

    #[test]
    fn a_statement_is_planned_once() {
        let scratch = Scratch::new("planned-once");
        let mut database = Database {
            connection: schema::open(&scratch.path().join("meerkat.db")).expect("made"),
        };
        for user in ["romeo", "juliet", "tybalt"] {
            let id = conformance::id(user);
            database.things(&id, Area::Roster).expect("read");
            let statement = database
                .connection
                .prepare_cached(THINGS)
                .expect("the same");
            assert!(
                statement.get_status(StatementStatus::Run) > 0,
                "it is that one"
            );
            assert_eq!(
                statement.get_status(StatementStatus::RePrepare),
                0,
                "{user}"
            );
        }
    }
}
