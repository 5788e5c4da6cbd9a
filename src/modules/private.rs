//! XEP-0049: Private XML Storage. Keeps elements for the account, each under its name and namespace.

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
use crate::store::data::Area;
use crate::store::data::DataRequest;
use crate::store::data::DataResponse;
use crate::store::data::Remove;
use crate::store::data::Room;
use crate::store::data::Thing;
use crate::store::data::fits;
use crate::xml::element::Element;

/// What one account may keep: some dozens of programs each have an element, bookmarks are the
/// largest with tens of kilobytes.
pub const PRIVATE_ROOM: Room = Room {
    things: 128,
    bytes: 256 * 1024,
};

/// COMPAT(slixmpp 1.17): it does not know policy-violation and loses the answer.
const FULL: (StanzaCondition, &str) = (
    StanzaCondition::NotAcceptable,
    "private storage holds 128 elements and 262144 bytes at most",
);

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_private.is_some(),
    features: &[ns::PRIVATE],
    routes: &[
        Route {
            kind: IqType::Get,
            namespace: ns::PRIVATE,
            name: "query",
            to: &[To::OwnAccount, To::Account],
            handler: get,
        },
        Route {
            kind: IqType::Set,
            namespace: ns::PRIVATE,
            name: "query",
            to: &[To::OwnAccount, To::Account],
            handler: set,
        },
    ],
};

fn get(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    let Some(id) = call.own_account() else {
        return Answer::Error(StanzaCondition::Forbidden, "");
    };
    let mut children = call.payload.children();
    let (Some(wanted), None) = (children.next(), children.next()) else {
        return Answer::Error(StanzaCondition::BadRequest, "one element has to be named");
    };
    let name = match name(wanted) {
        Ok(name) => name,
        Err((condition, text)) => return Answer::Error(condition, text),
    };
    let mut unset = Vec::new();
    Element::in_namespace(wanted.name(), wanted.ns()).write(&mut unset, "");
    let request = DataRequest::Value {
        id,
        area: Area::Private,
        name,
        asker: None,
    };
    Answer::Store(Query {
        request,
        topic: Topic::PrivateGet { unset },
    })
}

fn set(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    let Some(id) = call.own_account() else {
        return Answer::Error(StanzaCondition::Forbidden, "");
    };
    match things(call.payload) {
        Ok(put) => Answer::Store(Query {
            request: DataRequest::Change {
                id,
                area: Area::Private,
                remove: Remove::Names(Vec::new()),
                put,
                room: PRIVATE_ROOM,
            },
            topic: Topic::Saved(FULL),
        }),
        Err((condition, text)) => Answer::Error(condition, text),
    }
}

/// The elements of a query, by name.
fn things(query: &Element) -> Result<Vec<Thing>, (StanzaCondition, &'static str)> {
    let thing = |element: &Element| {
        let mut value = Vec::new();
        element.write(&mut value, "");
        Ok((name(element)?, value.into_boxed_slice()))
    };
    let things: Vec<Thing> = query.children().map(thing).collect::<Result<_, _>>()?;
    // What can never fit is not even carried to the store.
    let sizes = things.iter().map(|(name, value)| (&**name, value.len()));
    match (things.is_empty(), fits(sizes, PRIVATE_ROOM)) {
        (true, _) => Err((StanzaCondition::BadRequest, "there is nothing to keep")),
        (false, false) => Err(FULL),
        (false, true) => Ok(things),
    }
}

/// Under which name an element is kept.
fn name(element: &Element) -> Result<Box<str>, (StanzaCondition, &'static str)> {
    let namespace = element.ns();
    // Of a child without one it is the query's own.
    let has_none = namespace.is_empty() || namespace == ns::PRIVATE;
    // SPEC(XEP-0049 2): what belongs to the protocol itself is no private data.
    let is_reserved = namespace.starts_with("jabber:")
        || namespace.starts_with("http://jabber.org/")
        || namespace == ns::VCARD;
    match (has_none, is_reserved) {
        (true, _) => Err((
            StanzaCondition::NotAcceptable,
            "the element needs a namespace of its own",
        )),
        (false, true) => Err((
            StanzaCondition::NotAcceptable,
            "the namespace belongs to the protocol",
        )),
        // A name holds no space, so this is unambiguous.
        (false, false) => Ok(format!("{} {namespace}", element.name()).into()),
    }
}

/// What the store said to a get; `unset` is the answer where there is nothing.
pub fn got(unset: &[u8], response: DataResponse) -> Answer {
    let DataResponse::Value(value) = response else {
        return Answer::Error(StanzaCondition::InternalServerError, "");
    };
    let mut content = format!("<query xmlns='{}'>", ns::PRIVATE).into_bytes();
    content.extend_from_slice(value.as_deref().unwrap_or(unset));
    content.extend_from_slice(b"</query>");
    Answer::Result(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(content: &str) -> Element {
        let text = format!("<query xmlns='{}'>{content}</query>", ns::PRIVATE);
        Element::parse(text.as_bytes(), "", &[]).expect("an element")
    }

    #[test]
    fn what_is_kept_and_what_is_not() {
        let named = |content: &str| {
            let things = things(&query(content)).map_err(|(condition, _)| condition);
            things.map(|things| {
                things
                    .iter()
                    .map(|(n, _)| n.to_string())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(
            named("<e xmlns='exodus:prefs'><a/></e>"),
            Ok(vec!["e exodus:prefs".into()])
        );
        assert_eq!(
            named("<e xmlns='a'/><e xmlns='b'/>"),
            Ok(vec!["e a".into(), "e b".into()])
        );
        assert_eq!(named(""), Err(StanzaCondition::BadRequest));
        assert_eq!(named("text"), Err(StanzaCondition::BadRequest));
        for content in [
            "<e/>",
            "<e xmlns=''/>",
            "<e xmlns='jabber:iq:roster'/>",
            "<e xmlns='http://jabber.org/protocol/muc'/>",
            "<vCard xmlns='vcard-temp'/>",
            "<e xmlns='a'/><e xmlns='jabber:client'/>",
        ] {
            assert_eq!(
                named(content),
                Err(StanzaCondition::NotAcceptable),
                "{content}"
            );
        }
    }
}
