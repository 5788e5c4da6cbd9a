//! The contract of every store as a test: each implementation calls it with an empty store.

use crate::proto::sasl::keys::Credentials;
use crate::proto::sasl::keys::Hash;
use crate::proto::sasl::keys::ScramKeys;
use crate::store::AccountId;
use crate::store::AccountStore;
use crate::store::Opening;
use crate::store::Request;
use crate::store::Response;
use crate::store::Wanted;
use crate::store::accounts::ACCOUNT_PAGE_ROWS_MAX;
use crate::store::data::Area;
use crate::store::data::DataResponse;
use crate::store::data::Remove;
use crate::store::data::Room;
use crate::store::data::Thing;
use crate::store::offline::OFFLINE_PAGE_BYTES_MAX;
use crate::store::offline::OfflineRequest;
use crate::store::offline::OfflineResponse;

/// Keys of one hash, cheap enough for a test.
pub(crate) fn scram(password: &str) -> Credentials {
    let keys = |hash| ScramKeys::derive(hash, password, b"salt of a test", 1).ok();
    Credentials::Scram {
        sha1: keys(Hash::Sha1),
        sha256: keys(Hash::Sha256),
        sha512: None,
    }
}

/// An account of example.org.
pub(crate) fn id(user: &str) -> AccountId {
    AccountId::from_prepared(user, "example.org")
}

/// Runs the whole contract of [`AccountStore`] on an empty store.
pub(crate) fn accounts(store: &mut dyn AccountStore) {
    life_of_an_account(store);
    assert_eq!(
        store.count(None),
        Ok(0),
        "the contract starts and ends with an empty store"
    );
    pages(store);
    requests(store);
}

fn life_of_an_account(store: &mut dyn AccountStore) {
    let romeo = id("romeo");
    assert_eq!(store.exists(&romeo), Ok(false));
    assert!(store.lookup(&romeo).is_ok_and(|found| found.is_none()));
    assert_eq!(store.set_credentials(&romeo, &scram("x")), Ok(false));
    assert_eq!(store.delete(&romeo), Ok(false));

    assert_eq!(store.create(&romeo, &scram("first"), 17), Ok(true));
    assert_eq!(store.create(&romeo, &scram("second"), 18), Ok(false));
    assert_eq!(store.exists(&romeo), Ok(true));
    assert!(
        same(store.lookup(&romeo).ok().flatten(), "first"),
        "the second create changed it"
    );

    assert_eq!(store.set_credentials(&romeo, &scram("third")), Ok(true));
    assert!(same(store.lookup(&romeo).ok().flatten(), "third"));
    let rows = store.list(None, None, 10).unwrap_or_default();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0].id, rows[0].created_at),
        (&romeo, 17),
        "a new password is no new account"
    );

    assert_eq!(store.delete(&romeo), Ok(true));
    assert_eq!(store.exists(&romeo), Ok(false));
}

fn pages(store: &mut dyn AccountStore) {
    // Made out of order; "b" on another host sorts behind all of example.org.
    for user in ["c", "a", "\u{e9}", "b"] {
        assert_eq!(store.create(&id(user), &scram(user), 1), Ok(true));
    }
    assert_eq!(
        store.create(&AccountId::from_prepared("b", "zzz"), &scram("b"), 1),
        Ok(true)
    );
    let names = |rows: Vec<crate::store::AccountRow>| -> Vec<String> {
        rows.iter().map(|row| row.id.to_string()).collect()
    };
    let all = names(store.list(None, None, 100).unwrap_or_default());
    let in_order = [
        "a@example.org",
        "b@example.org",
        "c@example.org",
        "\u{e9}@example.org",
    ];
    assert_eq!(all[..4], in_order);
    assert_eq!(all[4], "b@zzz");
    let second = names(store.list(None, Some(&id("b")), 2).unwrap_or_default());
    assert_eq!(second, in_order[2..]);
    let other = names(store.list(Some("zzz"), None, 100).unwrap_or_default());
    assert_eq!(other, ["b@zzz"]);
    let other = names(
        store
            .list(Some("zzz"), Some(&id("b")), 100)
            .unwrap_or_default(),
    );
    assert_eq!(
        other,
        ["b@zzz"],
        "'after' may be of a host before the one that is listed"
    );
    let behind = AccountId::from_prepared("a", "zzz");
    let none = names(
        store
            .list(Some("example.org"), Some(&behind), 100)
            .unwrap_or_default(),
    );
    assert!(none.is_empty());
    let past = names(
        store
            .list(Some("example.org"), Some(&id("\u{e9}")), 9)
            .unwrap_or_default(),
    );
    assert!(past.is_empty());
    assert_eq!(store.count(None), Ok(5));
    assert_eq!(store.count(Some("zzz")), Ok(1));
    assert_eq!(store.count(Some("nowhere")), Ok(0));
}

fn requests(store: &mut dyn AccountStore) {
    let id = id("juliet");
    let create = Request::Create {
        id: id.clone(),
        credentials: scram("r"),
        created_at: 5,
    };
    assert!(create.is_write());
    assert!(matches!(store.perform(&create), Ok(Response::Done)));
    assert!(matches!(
        store.perform(&create),
        Ok(Response::AlreadyExists)
    ));
    let lookup = Request::Lookup { id: id.clone() };
    assert!(!lookup.is_write());
    assert!(matches!(
        store.perform(&lookup),
        Ok(Response::Credentials(Some(_)))
    ));
    let exists = Request::Exists { id: id.clone() };
    assert!(matches!(store.perform(&exists), Ok(Response::Exists(true))));
    let count = Request::Count { host: None };
    assert!(matches!(store.perform(&count), Ok(Response::Count(6))));
    let list = Request::List {
        host: None,
        after: None,
        rows: ACCOUNT_PAGE_ROWS_MAX + 1,
    };
    assert!(matches!(store.perform(&list), Ok(Response::Page(rows)) if rows.len() == 6));
    let contact: Thing = ("romeo@localhost".into(), [1].into());
    let room = Room {
        things: 1,
        bytes: 100,
    };
    let none = Remove::Names(Vec::new());
    let change = store.change(
        &id,
        Area::Roster,
        &none,
        std::slice::from_ref(&contact),
        room,
    );
    assert_eq!(change, Ok(DataResponse::Done));
    let delete = Request::Delete { id };
    assert!(matches!(store.perform(&delete), Ok(Response::Deleted(roster)) if roster == [contact]));
    assert!(matches!(
        store.perform(&delete),
        Ok(Response::NoSuchAccount)
    ));
}

/// Runs the whole contract of [`DataStore`] on an empty store.
pub(crate) fn data(store: &mut dyn AccountStore) {
    let (romeo, juliet) = (id("romeo"), id("juliet"));
    let room = Room {
        things: 2,
        bytes: 20,
    };
    let thing = |name: &str, value: &str| -> Thing { (name.into(), value.as_bytes().into()) };
    let none = Remove::Names(Vec::new());
    let put = [thing("b", "1"), thing("a", "22")];
    let change = store.change(&romeo, Area::Private, &none, &put, room);
    assert_eq!(change, Ok(DataResponse::NoSuchAccount));
    for id in [&romeo, &juliet] {
        assert_eq!(store.create(id, &scram("x"), 1), Ok(true));
    }
    let change = store.change(&romeo, Area::Private, &none, &put, room);
    assert_eq!(change, Ok(DataResponse::Done));
    let both = vec![thing("a", "22"), thing("b", "1")];
    assert_eq!(store.things(&romeo, Area::Private), Ok(both.clone()));
    assert_eq!(store.things(&romeo, Area::Vcard), Ok(Vec::new()));
    assert_eq!(store.things(&juliet, Area::Private), Ok(Vec::new()));
    let value = store.value(&romeo, Area::Private, "a");
    assert_eq!(value, Ok(Some(b"22".as_slice().into())));
    assert_eq!(store.value(&romeo, Area::Private, "c"), Ok(None));

    // One too many, or too much: nothing of it is done, also not what it would have removed.
    let third = store.change(&romeo, Area::Private, &none, &[thing("c", "")], room);
    assert_eq!(third, Ok(DataResponse::NoRoom));
    let gone = Remove::Names(vec!["a".into()]);
    let large = [thing("c", "0123456789012345678")];
    let change = store.change(&romeo, Area::Private, &gone, &large, room);
    assert_eq!(change, Ok(DataResponse::NoRoom));
    assert_eq!(store.things(&romeo, Area::Private), Ok(both));

    let large = [thing("c", "012345678901234567")];
    let change = store.change(&romeo, Area::Private, &gone, &large, room);
    assert_eq!(
        change,
        Ok(DataResponse::NoRoom),
        "b is there still: 21 bytes"
    );
    let change = store.change(&romeo, Area::Private, &Remove::All, &large, room);
    assert_eq!(change, Ok(DataResponse::Done));
    assert_eq!(store.things(&romeo, Area::Private), Ok(large.to_vec()));

    assert_eq!(store.delete(&romeo), Ok(true));
    assert_eq!(store.create(&romeo, &scram("x"), 1), Ok(true));
    assert_eq!(
        store.things(&romeo, Area::Private),
        Ok(Vec::new()),
        "whoever takes a name again finds nothing of who had it"
    );
}

/// Runs the whole contract of [`OfflineStore`](crate::store::offline::OfflineStore) on an empty store.
pub(crate) fn offline(store: &mut dyn AccountStore) {
    let (romeo, juliet) = (id("romeo"), id("juliet"));
    let none = store.keep(&romeo, 1, b"<a/>", 9);
    assert_eq!(none, Ok(OfflineResponse::NoSuchAccount));
    for account in [&romeo, &juliet] {
        assert_eq!(store.create(account, &scram("x"), 1), Ok(true));
    }
    for (at, text) in [(5, "<a/>"), (6, "<b/>"), (6, "<c/>")] {
        let kept = store.keep(&romeo, at, text.as_bytes(), 3);
        assert_eq!(kept, Ok(OfflineResponse::Done));
    }
    assert_eq!(store.keeps(&romeo), Ok(true));
    assert_eq!(store.keeps(&juliet), Ok(false));
    let full = store.keep(&romeo, 7, b"<d/>", 3);
    assert_eq!(full, Ok(OfflineResponse::Full));
    assert_eq!(
        store.keep(&juliet, 7, b"<e/>", 0),
        Ok(OfflineResponse::Full)
    );
    assert_eq!(
        store.keep(&juliet, 7, b"<e/>", 1),
        Ok(OfflineResponse::Done)
    );
    let rows = store.page(&romeo, 0).unwrap_or_default();
    let texts: Vec<&[u8]> = rows.iter().map(|row| &*row.stanza).collect();
    assert_eq!(texts, [b"<a/>", b"<b/>", b"<c/>"]);
    assert_eq!((rows[0].came_at, rows[2].came_at), (5, 6));
    assert!(rows[0].number < rows[1].number && rows[1].number < rows[2].number);
    assert_eq!(
        store.page(&romeo, rows[0].number),
        Ok(rows[1..].to_vec()),
        "what comes behind a number"
    );
    assert_eq!(store.remove(&romeo, rows[1].number), Ok(()));
    assert_eq!(store.page(&romeo, 0), Ok(rows[2..].to_vec()));
    assert_eq!(store.page(&juliet, 0).map(|rows| rows.len()), Ok(1));

    // Numbers never come again, and a page ends where it is large enough.
    assert_eq!(store.remove(&romeo, u64::MAX), Ok(()));
    assert_eq!(store.keeps(&romeo), Ok(false));
    let large = vec![b'x'; OFFLINE_PAGE_BYTES_MAX];
    for stanza in [&large, &large, &large] {
        let kept = store.keep(&romeo, 9, stanza, 9);
        assert_eq!(kept, Ok(OfflineResponse::Done));
    }
    let page = store.page(&romeo, 0).unwrap_or_default();
    assert_eq!(page.len(), 1);
    assert!(page[0].number > rows[2].number);

    assert_eq!(store.delete(&romeo), Ok(true));
    assert_eq!(store.create(&romeo, &scram("x"), 1), Ok(true));
    assert_eq!(
        store.page(&romeo, 0),
        Ok(Vec::new()),
        "gone with the account"
    );
}

/// One thing is put in place of what has its name.
pub(crate) fn put(store: &mut dyn AccountStore) {
    let romeo = id("paris");
    let thing = |value: &[u8]| -> Thing { ("".into(), value.into()) };
    assert_eq!(store.put(&romeo, Area::Last, &thing(b"1")), Ok(false));
    assert_eq!(store.create(&romeo, &scram("x"), 1), Ok(true));
    for value in [b"1", b"2"] {
        assert_eq!(store.put(&romeo, Area::Last, &thing(value)), Ok(true));
    }
    assert_eq!(store.things(&romeo, Area::Last), Ok(vec![thing(b"2")]));
    assert_eq!(store.things(&romeo, Area::Vcard), Ok(Vec::new()));
    assert_eq!(store.delete(&romeo), Ok(true));
    assert_eq!(store.things(&romeo, Area::Last), Ok(Vec::new()));
}

/// What a session has to know of its user comes in one answer.
pub(crate) fn opening(store: &mut dyn AccountStore) {
    let romeo = id("mercutio");
    assert_eq!(store.create(&romeo, &scram("x"), 1), Ok(true));
    let room = Room {
        things: 9,
        bytes: 99,
    };
    let none = Remove::Names(Vec::new());
    for (area, name) in [(Area::Roster, "a@x"), (Area::Blocked, "b@x")] {
        let put: Vec<Thing> = vec![(name.into(), [].into())];
        let change = store.change(&romeo, area, &none, &put, room);
        assert_eq!(change, Ok(DataResponse::Done));
    }
    let kept = store.keep(&romeo, 1, b"<message/>", 9);
    assert_eq!(kept, Ok(OfflineResponse::Done));
    let mut ask = |wanted| match store.perform(&Request::Opening {
        id: romeo.clone(),
        wanted,
    }) {
        Ok(Response::Opening(opening)) => opening,
        other => panic!("{other:?}"),
    };
    let all = Wanted {
        roster: true,
        blocked: true,
        kept: true,
    };
    let opening = ask(all);
    let names = |things: &[Thing]| things.iter().map(|(name, _)| name.clone()).collect();
    let roster: Vec<Box<str>> = names(&opening.roster);
    let blocked: Vec<Box<str>> = names(&opening.blocked);
    assert_eq!((roster, blocked), (vec!["a@x".into()], vec!["b@x".into()]));
    assert!(opening.kept);
    assert_eq!(ask(Wanted::default()), Opening::default());
    assert_eq!(store.delete(&romeo), Ok(true));
}

/// Messages of who is blocked are not kept.
pub(crate) fn blocked(store: &mut dyn AccountStore) {
    let romeo = id("benvolio");
    assert_eq!(store.create(&romeo, &scram("x"), 1), Ok(true));
    let put: Vec<Thing> = ["a@x", "b@x/r", "y", "z/r", "example.org"]
        .map(|name| (name.into(), [].into()))
        .into();
    let room = Room {
        things: 9,
        bytes: 99,
    };
    let none = Remove::Names(Vec::new());
    let change = store.change(&romeo, Area::Blocked, &none, &put, room);
    assert_eq!(change, Ok(DataResponse::Done));
    let mut keep = |from: &str| {
        let request = Request::Offline(OfflineRequest::Keep {
            id: romeo.clone(),
            from: Some(from.into()),
            came_at: 1,
            stanza: b"<message/>".as_slice().into(),
            most: 99,
        });
        match store.perform(&request) {
            Ok(Response::Offline(response)) => response,
            other => panic!("{other:?}"),
        }
    };
    for from in [
        "a@x",
        "a@x/r",
        "b@x/r",
        "c@y",
        "y",
        "c@y/r",
        "c@z/r",
        "other@example.org",
    ] {
        assert_eq!(keep(from), OfflineResponse::Blocked, "{from}");
    }
    for from in [
        "b@x",
        "c@x",
        "c@z",
        "",
        "example.org",
        "benvolio@example.org/r",
    ] {
        assert_eq!(keep(from), OfflineResponse::Done, "{from}");
    }
    assert_eq!(store.delete(&romeo), Ok(true));
}

fn same(found: Option<Credentials>, password: &str) -> bool {
    let Some(Credentials::Scram {
        sha1: Some(sha1),
        sha256: Some(sha256),
        sha512: None,
    }) = found
    else {
        return false;
    };
    sha1.verify_password(Hash::Sha1, password) && sha256.verify_password(Hash::Sha256, password)
}
