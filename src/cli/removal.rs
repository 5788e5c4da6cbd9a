//! `meerkat account del`.
//!
//! A running server does it, over its local socket: it ends the sessions and tells the contacts, here
//! and on other servers. Where none runs the store is changed directly, and the rosters of those
//! contacts with it whose accounts are in it; nobody is there to tell other servers.

use std::io::ErrorKind;

use serde_json::Value;

use super::Ask;
use super::Failure;
use super::Loaded;
use super::account;
use crate::backend::embedded::Handle;
use crate::cli::failure::hint;
use crate::modules::roster_change;
use crate::session::roster::Item;
use crate::session::roster::Roster;
use crate::store::AccountId;
use crate::store::Request;
use crate::store::Response;
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;
use crate::store::data::Thing;

/// `account del`.
pub(super) fn del(loaded: &Loaded, ask: Ask, jid: &str) -> Result<(), Failure> {
    // Of any host: accounts of a host that is no longer served have to go somehow.
    let id = account::parse(jid)?;
    // A server that runs has a store.
    let store = account::existing_store(loaded)?;
    let file = account::file(loaded);
    let rest = match ask(&loaded.data_folder(), &format!("remove {id}")) {
        Ok(answer) => by_server(loaded, &id, &answer)?,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::ConnectionRefused
            ) =>
        {
            directly(loaded, &store.handle(), &id)?
        }
        Err(error) => {
            return Err(Failure::new(format!(
                "the server that runs here does not say whether {id} is removed: {error}"
            )));
        }
    };
    hint(&format!("{id} removed from {}{rest}", file.display()));
    Ok(())
}

/// What the running server says, for people.
fn by_server(loaded: &Loaded, id: &AccountId, answer: &Value) -> Result<String, Failure> {
    if let Some(error) = answer["error"].as_str() {
        return Err(Failure::new(format!(
            "the server that runs here has not removed {id}: {error}"
        )));
    }
    if answer["removed"] != true {
        return Err(account::no_such(id, loaded));
    }
    let (sessions, contacts) = (&answer["sessions"], &answer["contacts"]);
    Ok(format!(
        "; sessions ended: {sessions}, contacts told: {contacts}"
    ))
}

/// Without a server.
fn directly(loaded: &Loaded, handle: &Handle, id: &AccountId) -> Result<String, Failure> {
    let things = match handle.call(Request::Delete { id: id.clone() })? {
        Response::Deleted(things) => things,
        Response::NoSuchAccount => return Err(account::no_such(id, loaded)),
        _ => return Err(account::unexpected()),
    };
    let Some(roster) = decoded(&things) else {
        return Ok("; its roster was damaged, so that no contact's is changed".to_owned());
    };
    let mut elsewhere = 0;
    for item in roster.items() {
        let contact = item.jid.split_once('@');
        let contact = contact.map(|(user, host)| AccountId::from_prepared(user, host));
        match contact.filter(|contact| is_here(loaded, contact)) {
            Some(contact) => forget(handle, &contact, id, item)?,
            None => elsewhere += 1,
        }
    }
    Ok(match elsewhere {
        0 => String::new(),
        _ => {
            format!("; no server runs here that could tell contacts on other servers: {elsewhere}")
        }
    })
}

fn is_here(loaded: &Loaded, contact: &AccountId) -> bool {
    let mut hosts = loaded.config.general.hosts.iter();
    hosts.any(|host| account::prepared_host(&host.value).is_ok_and(|host| host == contact.host()))
}

fn decoded(things: &[Thing]) -> Option<Roster> {
    Roster::decode(things.iter().map(|(name, value)| (&**name, &**value)))
}

/// The roster of a contact, as if the contact had been told; `item` is what the one who goes knew.
fn forget(
    handle: &Handle,
    contact: &AccountId,
    gone: &AccountId,
    item: &Item,
) -> Result<(), Failure> {
    let all = DataRequest::All {
        id: contact.clone(),
        area: Area::Roster,
    };
    let Response::Data(DataResponse::Things(things)) = handle.call(Request::Data(all))? else {
        return Err(account::unexpected());
    };
    let Some(roster) = decoded(&things) else {
        return Ok(());
    };
    let Some(old) = roster.item(&gone.to_string()) else {
        return Ok(());
    };
    let mut new = old.clone();
    for verb in item.state.farewell() {
        new.state = new.state.received(verb).0;
    }
    if !new.state.wanted {
        new.request = [].into();
    }
    if new == *old {
        return Ok(());
    }
    let version = (new.listed).then(|| roster_change::next_version(&roster, account::now()));
    let change = roster_change::request(contact.clone(), &new, version);
    match handle.call(Request::Data(change))? {
        Response::Data(DataResponse::Done | DataResponse::NoSuchAccount) => Ok(()),
        _ => Err(account::unexpected()),
    }
}
