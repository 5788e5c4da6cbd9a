//! Messages for users who are not here as rows of SQLite.

use rusqlite::params;

use super::accounts::Database;
use super::schema::failed;
use crate::store::AccountId;
use crate::store::AccountStore;
use crate::store::StoreError;
use crate::store::offline::OFFLINE_PAGE_BYTES_MAX;
use crate::store::offline::OFFLINE_PAGE_ROWS_MAX;
use crate::store::offline::OfflineResponse;
use crate::store::offline::OfflineRow;
use crate::store::offline::OfflineStore;

/// SQLite's integers are signed.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl OfflineStore for Database {
    fn keep(
        &mut self,
        id: &AccountId,
        came_at: u64,
        stanza: &[u8],
        most: u64,
    ) -> Result<OfflineResponse, StoreError> {
        if !self.exists(id)? {
            return Ok(OfflineResponse::NoSuchAccount);
        }
        let write = || -> rusqlite::Result<bool> {
            // Looks at no more entries of the index than there may be.
            let sql = "SELECT count(*) FROM (SELECT 1 FROM offline
                WHERE host = ?1 AND user = ?2 LIMIT ?3)";
            let mut statement = self.connection.prepare_cached(sql)?;
            let most = signed(most);
            let there: i64 =
                statement.query_row(params![id.host(), id.user(), most], |row| row.get(0))?;
            if there >= most {
                return Ok(false);
            }
            let sql = "INSERT INTO offline (host, user, came_at, stanza) VALUES (?1, ?2, ?3, ?4)";
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.execute(params![id.host(), id.user(), signed(came_at), stanza])?;
            Ok(true)
        };
        match write().map_err(|error| failed("keep a message", &error))? {
            true => Ok(OfflineResponse::Done),
            false => Ok(OfflineResponse::Full),
        }
    }

    fn keeps(&mut self, id: &AccountId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM offline WHERE host = ?1 AND user = ?2";
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.exists([id.host(), id.user()]))
            .map_err(|error| failed("look for kept messages", &error))
    }

    fn page(&mut self, id: &AccountId, after: u64) -> Result<Vec<OfflineRow>, StoreError> {
        let sql = "SELECT number, came_at, stanza FROM offline
            WHERE host = ?1 AND user = ?2 AND number > ?3 ORDER BY number LIMIT ?4";
        let read = || -> rusqlite::Result<Vec<OfflineRow>> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut found = statement.query(params![
                id.host(),
                id.user(),
                signed(after),
                OFFLINE_PAGE_ROWS_MAX
            ])?;
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while bytes < OFFLINE_PAGE_BYTES_MAX
                && let Some(row) = found.next()?
            {
                let stanza: Vec<u8> = row.get(2)?;
                bytes += stanza.len();
                rows.push(OfflineRow {
                    number: row.get::<_, i64>(0)?.unsigned_abs(),
                    came_at: row.get::<_, i64>(1)?.unsigned_abs(),
                    stanza: stanza.into_boxed_slice(),
                });
            }
            Ok(rows)
        };
        read().map_err(|error| failed("read kept messages", &error))
    }

    fn remove(&mut self, id: &AccountId, through: u64) -> Result<(), StoreError> {
        let sql = "DELETE FROM offline WHERE host = ?1 AND user = ?2 AND number <= ?3";
        let mut statement = self
            .connection
            .prepare_cached(sql)
            .map_err(|error| failed("remove kept messages", &error))?;
        let removed = statement.execute(params![id.host(), id.user(), signed(through)]);
        removed
            .map(drop)
            .map_err(|error| failed("remove kept messages", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::embedded::schema;
    use crate::base::data_dir::tests::Scratch;
    use crate::store::conformance;

    #[test]
    fn keeps_the_contract() {
        let scratch = Scratch::new("offline-contract");
        let file = scratch.path().join("meerkat.db");
        conformance::offline(&mut Database {
            connection: schema::open(&file).expect("made"),
        });
    }
}
