//! A store in a map: for tests, and the reference that the real backends are compared with.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::proto::sasl::keys::Credentials;
use crate::store::AccountId;
use crate::store::AccountRow;
use crate::store::AccountStore;
use crate::store::StoreError;
use crate::store::data::Area;
use crate::store::data::DataResponse;
use crate::store::data::DataStore;
use crate::store::data::Remove;
use crate::store::data::Room;
use crate::store::data::Thing;
use crate::store::data::fits;
use crate::store::offline::OFFLINE_PAGE_BYTES_MAX;
use crate::store::offline::OFFLINE_PAGE_ROWS_MAX;
use crate::store::offline::OfflineResponse;
use crate::store::offline::OfflineRow;
use crate::store::offline::OfflineStore;

/// Accounts in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    accounts: BTreeMap<AccountId, (Credentials, u64)>,
    data: BTreeMap<(AccountId, Area, Box<str>), Box<[u8]>>,
    messages: Vec<(AccountId, OfflineRow)>,
    last_number: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl AccountStore for MemoryStore {
    fn count(&mut self, host: Option<&str>) -> Result<u64, StoreError> {
        let of_host = |id: &&AccountId| host.is_none_or(|host| host == id.host());
        Ok(self.accounts.keys().filter(of_host).count() as u64)
    }

    fn create(
        &mut self,
        id: &AccountId,
        credentials: &Credentials,
        created_at: u64,
    ) -> Result<bool, StoreError> {
        if self.accounts.contains_key(id) {
            return Ok(false);
        }
        self.accounts
            .insert(id.clone(), (credentials.clone(), created_at));
        Ok(true)
    }

    fn delete(&mut self, id: &AccountId) -> Result<bool, StoreError> {
        self.data.retain(|(owner, ..), _| owner != id);
        self.messages.retain(|(owner, _)| owner != id);
        Ok(self.accounts.remove(id).is_some())
    }

    fn exists(&mut self, id: &AccountId) -> Result<bool, StoreError> {
        Ok(self.accounts.contains_key(id))
    }

    fn list(
        &mut self,
        host: Option<&str>,
        after: Option<&AccountId>,
        rows: u32,
    ) -> Result<Vec<AccountRow>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self
            .accounts
            .range::<AccountId, _>((start, Bound::Unbounded))
            .filter(|(id, _)| host.is_none_or(|host| host == id.host()))
            .take(rows as usize)
            .map(|(id, (_, created_at))| AccountRow {
                id: id.clone(),
                created_at: *created_at,
            })
            .collect())
    }

    fn lookup(&mut self, id: &AccountId) -> Result<Option<Credentials>, StoreError> {
        Ok(self
            .accounts
            .get(id)
            .map(|(credentials, _)| credentials.clone()))
    }

    fn set_credentials(
        &mut self,
        id: &AccountId,
        credentials: &Credentials,
    ) -> Result<bool, StoreError> {
        let Some((stored, _)) = self.accounts.get_mut(id) else {
            return Ok(false);
        };
        *stored = credentials.clone();
        Ok(true)
    }
}

impl DataStore for MemoryStore {
    fn things(&mut self, id: &AccountId, area: Area) -> Result<Vec<Thing>, StoreError> {
        let of = |(owner, kind, _): &(AccountId, Area, Box<str>)| owner == id && *kind == area;
        let found = self.data.iter().filter(|(key, _)| of(key));
        Ok(found
            .map(|((.., name), value)| (name.clone(), value.clone()))
            .collect())
    }

    fn value(
        &mut self,
        id: &AccountId,
        area: Area,
        name: &str,
    ) -> Result<Option<Box<[u8]>>, StoreError> {
        Ok(self.data.get(&(id.clone(), area, name.into())).cloned())
    }

    fn put(&mut self, id: &AccountId, area: Area, thing: &Thing) -> Result<bool, StoreError> {
        if !self.accounts.contains_key(id) {
            return Ok(false);
        }
        let (name, value) = thing.clone();
        self.data.insert((id.clone(), area, name), value);
        Ok(true)
    }

    fn change(
        &mut self,
        id: &AccountId,
        area: Area,
        remove: &Remove,
        put: &[Thing],
        room: Room,
    ) -> Result<DataResponse, StoreError> {
        if !self.accounts.contains_key(id) {
            return Ok(DataResponse::NoSuchAccount);
        }
        let mut after: BTreeMap<Box<str>, Box<[u8]>> = self.things(id, area)?.into_iter().collect();
        match remove {
            Remove::All => after.clear(),
            Remove::Names(names) => after.retain(|name, _| !names.contains(name)),
        }
        after.extend(put.iter().cloned());
        if !fits(
            after.iter().map(|(name, value)| (&**name, value.len())),
            room,
        ) {
            return Ok(DataResponse::NoRoom);
        }
        self.data
            .retain(|(owner, kind, _), _| owner != id || *kind != area);
        let after = after.into_iter();
        self.data
            .extend(after.map(|(name, value)| ((id.clone(), area, name), value)));
        Ok(DataResponse::Done)
    }
}

impl OfflineStore for MemoryStore {
    fn keep(
        &mut self,
        id: &AccountId,
        came_at: u64,
        stanza: &[u8],
        most: u64,
    ) -> Result<OfflineResponse, StoreError> {
        if !self.accounts.contains_key(id) {
            return Ok(OfflineResponse::NoSuchAccount);
        }
        let there = self.messages.iter().filter(|(owner, _)| owner == id);
        if there.count() as u64 >= most {
            return Ok(OfflineResponse::Full);
        }
        self.last_number += 1;
        let row = OfflineRow {
            number: self.last_number,
            came_at,
            stanza: stanza.into(),
        };
        self.messages.push((id.clone(), row));
        Ok(OfflineResponse::Done)
    }

    fn keeps(&mut self, id: &AccountId) -> Result<bool, StoreError> {
        Ok(self.messages.iter().any(|(owner, _)| owner == id))
    }

    fn page(&mut self, id: &AccountId, after: u64) -> Result<Vec<OfflineRow>, StoreError> {
        let behind = |(owner, row): &&(AccountId, OfflineRow)| owner == id && row.number > after;
        let mut bytes = 0;
        let found = self.messages.iter().filter(behind);
        Ok(found
            .take(OFFLINE_PAGE_ROWS_MAX as usize)
            .take_while(|(_, row)| {
                let fits = bytes < OFFLINE_PAGE_BYTES_MAX;
                bytes += row.stanza.len();
                fits
            })
            .map(|(_, row)| row.clone())
            .collect())
    }

    fn remove(&mut self, id: &AccountId, through: u64) -> Result<(), StoreError> {
        self.messages
            .retain(|(owner, row)| owner != id || row.number > through);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[test]
    fn keeps_the_contract() {
        conformance::accounts(&mut MemoryStore::new());
        conformance::data(&mut MemoryStore::new());
        conformance::blocked(&mut MemoryStore::new());
        conformance::offline(&mut MemoryStore::new());
        conformance::opening(&mut MemoryStore::new());
        conformance::put(&mut MemoryStore::new());
    }
}
