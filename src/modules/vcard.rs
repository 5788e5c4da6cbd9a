//! XEP-0054: vcard-temp. Keeps one vCard for each account, which everybody may read.
//!
//! It is kept as it comes. That there is no vCard and that there is no account are answered alike, so
//! nobody learns who has an account. Not here: searching (XEP-0055).

use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Query;
use crate::modules::Route;
use crate::modules::To;
use crate::modules::Topic;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::error::StanzaCondition;
use crate::route::hosts::Hosts;
use crate::store::AccountId;
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;
use crate::store::data::Remove;
use crate::store::data::Room;

/// The vCard of an account. XEP-0153 advises 8 KB for a picture; clients send up to a hundred, and
/// base64 adds a third.
pub const VCARD_ROOM: Room = Room {
    things: 1,
    bytes: 256 * 1024,
};

/// COMPAT(slixmpp 1.17): it does not know policy-violation and loses the answer.
const FULL: (StanzaCondition, &str) = (
    StanzaCondition::NotAcceptable,
    "a vCard has 262144 bytes at most",
);

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_vcard.is_some(),
    features: &[ns::VCARD],
    routes: &[
        Route {
            kind: IqType::Get,
            namespace: ns::VCARD,
            name: "vCard",
            to: &[To::OwnAccount, To::Account, To::Host],
            handler: get,
        },
        Route {
            kind: IqType::Set,
            namespace: ns::VCARD,
            name: "vCard",
            to: &[To::OwnAccount, To::Account],
            handler: set,
        },
    ],
};

fn get(call: &Call<'_>, facts: &Facts, _: &Hosts) -> Answer {
    if call.to == To::Host {
        let about = "<FN>meerkat</FN><DESC>XMPP server</DESC>";
        return Answer::Result(format!("<vCard xmlns='{}'>{about}</vCard>", ns::VCARD).into());
    }
    let Some((user, host)) = call.target.split_once('@') else {
        return Answer::Error(StanzaCondition::ItemNotFound, "");
    };
    let request = DataRequest::Value {
        id: AccountId::from_prepared(user, host),
        area: Area::Vcard,
        name: Box::default(),
        asker: match call.to {
            To::OwnAccount | To::Host => None,
            To::Account => facts.blockable(host, call.from),
        },
    };
    Answer::Store(Query {
        request,
        topic: Topic::VcardGet,
    })
}

fn set(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    // SPEC(XEP-0054 3.2): of another user, forbidden.
    let Some(id) = call.own_account() else {
        return Answer::Error(StanzaCondition::Forbidden, "");
    };
    let mut value = Vec::new();
    call.payload.write(&mut value, "");
    if value.len() > VCARD_ROOM.bytes {
        return Answer::Error(FULL.0, FULL.1);
    }
    let request = DataRequest::Change {
        id,
        area: Area::Vcard,
        remove: Remove::All,
        put: vec![(Box::default(), value.into_boxed_slice())],
        room: VCARD_ROOM,
    };
    Answer::Store(Query {
        request,
        topic: Topic::Saved(FULL),
    })
}

/// What the store said to a get.
pub fn got(response: DataResponse) -> Answer {
    match response {
        DataResponse::Value(Some(vcard)) => Answer::Result(vcard.into_vec()),
        DataResponse::Value(None) => Answer::Error(StanzaCondition::ItemNotFound, ""),
        DataResponse::Blocked => Answer::Error(StanzaCondition::ServiceUnavailable, ""),
        DataResponse::Done
        | DataResponse::NoRoom
        | DataResponse::NoSuchAccount
        | DataResponse::Things(_) => Answer::Error(StanzaCondition::InternalServerError, ""),
    }
}
