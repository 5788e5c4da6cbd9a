//! A store in a map: for tests, and the reference that the real backends are compared with.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::proto::sasl::keys::Credentials;
use crate::store::AccountId;
use crate::store::AccountRow;
use crate::store::AccountStore;
use crate::store::StoreError;

/// Accounts in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    accounts: BTreeMap<AccountId, (Credentials, u64)>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    #[test]
    fn keeps_the_contract() {
        conformance::accounts(&mut MemoryStore::new());
    }
}
