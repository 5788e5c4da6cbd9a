//! RFC 6121, section 2: the roster. Who asks for it, who changes it, and who hears of changes.
//!
//! What is decided here is written, and told when it is on the disk, by `modules::roster_change`.
//! Subscriptions are `modules::subscription`.

use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Effect;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Route;
use crate::modules::Scene;
use crate::modules::To;
use crate::modules::happening::Happening;
use crate::modules::pipeline::Outbox;
use crate::modules::pipeline::Sender;
use crate::modules::pipeline::domain_of;
use crate::modules::roster_change;
use crate::modules::roster_change::After;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply::attribute;
use crate::route::hosts::Hosts;
use crate::session::roster::GROUPS_MAX;
use crate::session::roster::Item;
use crate::session::roster::Roster;
use crate::session::roster::TEXT_BYTES_MAX;
use crate::session::roster::Wanted;
use crate::session::rosters::Own;
use crate::session::subscription::State;
use crate::session::subscription::Verb;
use crate::xml::element::Element;
use crate::xml::write::escape_text;

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_roster.is_some(),
    features: &[],
    routes: &[
        Route {
            kind: IqType::Get,
            namespace: ns::ROSTER,
            name: "query",
            to: &[To::OwnAccount, To::Account],
            handler: ask,
        },
        Route {
            kind: IqType::Set,
            namespace: ns::ROSTER,
            name: "query",
            to: &[To::OwnAccount, To::Account],
            handler: change,
        },
    ],
};

fn ask(call: &Call<'_>, facts: &Facts, _: &Hosts) -> Answer {
    if call.to != To::OwnAccount {
        return Answer::Error(StanzaCondition::Forbidden, "");
    }
    let versions = tells_versions(facts, call.host());
    let known = call.payload.attr("ver").filter(|_| versions);
    Answer::Do(Effect::Roster {
        known: known.map(Box::from),
        versions,
    })
}

/// Whether clients are told versions of rosters.
pub fn tells_versions(facts: &Facts, host: &str) -> bool {
    let modules = facts.modules_of(host);
    let roster = modules.and_then(|modules| modules.mod_roster.as_ref());
    roster.is_some_and(|roster| roster.versioning)
}

fn change(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    if call.to != To::OwnAccount {
        return Answer::Error(StanzaCondition::Forbidden, "");
    }
    match wanted(call.payload) {
        Ok(Wanted::Set { jid, .. } | Wanted::Remove(jid)) if *jid == *call.target => {
            // Nobody is a contact of their own.
            Answer::Error(StanzaCondition::NotAllowed, "")
        }
        Ok(wanted) => Answer::Do(Effect::RosterSet(wanted)),
        Err(condition) => Answer::Error(condition, ""),
    }
}

/// Sections 2.3.3 and 2.5.3.
///
/// # Errors
/// What the request is answered with.
pub fn wanted(query: &Element) -> Result<Wanted, StanzaCondition> {
    let mut items = query.children();
    let (Some(item), None) = (items.next(), items.next()) else {
        return Err(StanzaCondition::BadRequest);
    };
    let jid = item.is("item", ns::ROSTER).then(|| item.attr("jid"));
    let jid = jid.flatten().ok_or(StanzaCondition::BadRequest)?;
    let jid = crate::jid::parse(jid).map_err(|_| StanzaCondition::JidMalformed)?;
    // A subscription is between accounts, so a contact is one.
    let jid = Box::from(&*jid.bare());
    // SPEC(RFC 6121 2.1.2.5): any other value of `subscription` is ignored.
    if item.attr("subscription") == Some("remove") {
        return Ok(Wanted::Remove(jid));
    }
    let name = item.attr("name").unwrap_or_default();
    let mut groups: Vec<Box<str>> = Vec::new();
    for child in item.children() {
        if !child.is("group", ns::ROSTER) {
            continue;
        }
        let group = child.text();
        if group.is_empty() || group.len() > TEXT_BYTES_MAX {
            return Err(StanzaCondition::NotAcceptable);
        }
        if groups.iter().any(|other| **other == *group) {
            return Err(StanzaCondition::BadRequest);
        }
        if groups.len() == GROUPS_MAX {
            return Err(StanzaCondition::NotAcceptable);
        }
        groups.push(Box::from(&*group));
    }
    if name.len() > TEXT_BYTES_MAX {
        return Err(StanzaCondition::NotAcceptable);
    }
    Ok(Wanted::Set {
        jid,
        name: name.into(),
        groups,
    })
}

/// Section 2.1.4: the roster, or nothing where the client has it; the session hears of changes from
/// now on.
pub fn listed<O: Outbox>(
    scene: &mut Scene<'_, O>,
    sender: &Sender<'_>,
    known: Option<&str>,
    versions: bool,
) -> Answer {
    let hash = scene.sessions.hash(sender.bare);
    if let Some(user) = scene.sessions.user_mut(hash, sender.bare)
        && let Some(session) = user.session_mut(sender.resource)
    {
        session.interested = true;
    }
    let host = domain_of(sender.bare);
    scene.outbox.happened(Happening::RosterRead, host);
    let Some(roster) = scene.sessions.roster(sender.bare) else {
        return Answer::Error(StanzaCondition::InternalServerError, "");
    };
    if known.is_some_and(|known| known == roster.version.to_string()) {
        return Answer::Result(Vec::new());
    }
    let mut content = format!("<query xmlns='{}'", ns::ROSTER).into_bytes();
    if versions {
        content.extend_from_slice(format!(" ver='{}'", roster.version).as_bytes());
    }
    content.push(b'>');
    for item in roster.items().iter().filter(|item| item.listed) {
        write_item(item, &mut content);
    }
    content.extend_from_slice(b"</query>");
    Answer::Result(content)
}

/// Section 2.1.2.
pub fn write_item(item: &Item, out: &mut Vec<u8>) {
    let text = |name: &str, value: &str, out: &mut Vec<u8>| {
        out.extend_from_slice(format!(" {name}='{}'", attribute(value)).as_bytes());
    };
    out.extend_from_slice(b"<item");
    text("jid", &item.jid, out);
    if !item.name.is_empty() {
        text("name", &item.name, out);
    }
    text("subscription", item.state.name(), out);
    if item.state.asked {
        text("ask", "subscribe", out);
    }
    if item.state.approved {
        text("approved", "true", out);
    }
    if item.groups.is_empty() {
        return out.extend_from_slice(b"/>");
    }
    out.push(b'>');
    for group in &item.groups {
        out.extend_from_slice(b"<group>");
        escape_text(group, out);
        out.extend_from_slice(b"</group>");
    }
    out.extend_from_slice(b"</item>");
}

/// Sections 2.3, 2.4 and 2.5: the owner changes the roster.
///
/// # Errors
/// What the request is answered with.
pub fn set<O: Outbox>(
    scene: &mut Scene<'_, O>,
    bare: &str,
    own: &Own,
    wanted: &Wanted,
) -> Result<(), (StanzaCondition, &'static str)> {
    let internal = (StanzaCondition::InternalServerError, "");
    let roster = scene.sessions.roster(bare).ok_or(internal)?;
    let mut after = Vec::new();
    let item = match wanted {
        Wanted::Set { jid, name, groups } => {
            let old = roster.item(jid);
            if !old.is_some_and(|item| item.listed) && !roster.has_room(true) {
                return Err((
                    StanzaCondition::PolicyViolation,
                    "a roster has 2000 contacts at most",
                ));
            }
            let mut item = old.cloned().unwrap_or_else(|| Item::new(jid));
            (item.name, item.groups, item.listed) = (name.clone(), groups.clone(), true);
            item
        }
        Wanted::Remove(jid) => {
            let old = roster.item(jid).filter(|item| item.listed);
            let old = old.ok_or((StanzaCondition::ItemNotFound, ""))?;
            farewell(bare, jid, old.state, true, &mut after);
            Item::new(jid)
        }
    };
    after.push(After::Push([].into()));
    after.push(After::Answer);
    let host = domain_of(bare);
    scene.outbox.happened(Happening::RosterChanged, host);
    roster_change::write(scene, bare, item, true, after, Some(own));
    Ok(())
}

/// Section 2.5.2: whoever is removed is told that there is no subscription any more, either way.
fn farewell(bare: &str, jid: &str, state: State, is_here: bool, after: &mut Vec<After>) {
    for word in state.farewell() {
        if word == Verb::Unsubscribed && state.from && is_here {
            after.push(After::Unavailable(jid.into()));
        }
        after.push(verb(word, bare, jid));
    }
}

/// What the contacts of a user are told whose account is gone, once its sessions are.
pub fn farewells(roster: &Roster, bare: &str) -> Vec<After> {
    let mut after = Vec::new();
    for item in roster.items() {
        farewell(bare, &item.jid, item.state, false, &mut after);
    }
    after
}

/// A stanza of the server's own making about a subscription.
pub fn verb(verb: Verb, from: &str, to: &str) -> After {
    use crate::proto::stanza::PresenceType as P;
    let kind = match verb {
        Verb::Subscribe => P::Subscribe,
        Verb::Subscribed => P::Subscribed,
        Verb::Unsubscribe => P::Unsubscribe,
        Verb::Unsubscribed => P::Unsubscribed,
    };
    let stanza = format!(
        "<presence type='{}' from='{}' to='{}'/>",
        verb.name(),
        attribute(from),
        attribute(to)
    );
    After::Route(
        Type::Presence(kind),
        to.into(),
        stanza.into_bytes().into_boxed_slice(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(items: &str) -> Result<Wanted, StanzaCondition> {
        let text = format!("<query xmlns='{}'>{items}</query>", ns::ROSTER);
        wanted(&Element::parse(text.as_bytes(), "", &[]).expect("an element"))
    }

    #[test]
    fn what_a_set_wants() {
        let set = |jid: &str, name: &str, groups: &[&str]| {
            Ok(Wanted::Set {
                jid: jid.into(),
                name: name.into(),
                groups: groups.iter().map(|group| Box::from(*group)).collect(),
            })
        };
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let many: String = (0..=GROUPS_MAX)
            .map(|n| format!("<group>{n}</group>"))
            .collect();
        use StanzaCondition::*;
        let rows = [
            ("<item jid='A@X/r'/>", set("a@x", "", &[])),
            (
                "<item jid='a@x' name='A &amp; B'><group>1</group><group>2</group></item>",
                set("a@x", "A & B", &["1", "2"]),
            ),
            ("<item jid='x' subscription='both'/>", set("x", "", &[])),
            (
                "<item jid='a@x' subscription='remove' name='n'/>",
                Ok(Wanted::Remove("a@x".into())),
            ),
            ("", Err(BadRequest)),
            ("<item jid='a@x'/><item jid='b@x'/>", Err(BadRequest)),
            ("<item/>", Err(BadRequest)),
            ("<other jid='a@x'/>", Err(BadRequest)),
            ("<item xmlns='other' jid='a@x'/>", Err(BadRequest)),
            ("<item jid='@x'/>", Err(JidMalformed)),
            (
                "<item jid='a@x'><group>1</group><group>1</group></item>",
                Err(BadRequest),
            ),
            ("<item jid='a@x'><group/></item>", Err(NotAcceptable)),
            (
                &format!("<item jid='a@x'><group>{long}</group></item>"),
                Err(NotAcceptable),
            ),
            (
                &format!("<item jid='a@x' name='{long}'/>"),
                Err(NotAcceptable),
            ),
            (
                &format!("<item jid='a@x'>{many}</item>"),
                Err(NotAcceptable),
            ),
        ];
        for (items, expected) in rows {
            assert_eq!(read(items), expected, "{items}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_wanted_fits_the_store(
            jid in ".{0,12}", name in ".{0,8}", groups in proptest::collection::vec(".{0,4}", 0..6)
        ) {
            let groups: String = groups
                .iter()
                .map(|group| format!("<group>{}</group>", attribute(group)))
                .collect();
            let items = format!(
                "<item jid='{}' name='{}'>{groups}</item>", attribute(&jid), attribute(&name)
            );
            let text = format!("<query xmlns='{}'>{items}</query>", ns::ROSTER);
            let Ok(query) = Element::parse(text.as_bytes(), "", &[]) else { return Ok(()) };
            if let Ok(Wanted::Set { jid, name, groups }) = wanted(&query) {
                proptest::prop_assert!(crate::jid::parse(&jid).is_ok_and(|j| j.bare() == *jid));
                let item = Item { name, groups, listed: true, ..Item::new(&jid) };
                let bytes = item.encode();
                let read = Roster::decode([(&*jid, &*bytes)].into_iter());
                proptest::prop_assert_eq!(read.and_then(|r| r.item(&jid).cloned()), Some(item));
            }
        }
    }
}
