//! XEP-0077: In-Band Registration. Makes accounts before login, changes passwords and removes
//! accounts after it; off unless `[modules.mod_register]` is there.
//!
//! Before login the stream's negotiation calls [`read`] itself; after it requests come by the routes.

use crate::jid;
use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Route;
use crate::modules::To;
use crate::proto::ns;
use crate::proto::sasl::keys::Secret;
use crate::proto::stanza::IqType;
use crate::proto::stanza::error::StanzaCondition;
use crate::route::hosts::Hosts;
use crate::store::AccountId;
use crate::xml::element::Element;

/// Longest password that is taken, in bytes; a bound on the work of a stranger's request.
pub const PASSWORD_BYTES_MAX: usize = 1023;

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_register.is_some(),
    features: &[ns::REGISTER],
    routes: &[
        Route {
            kind: IqType::Get,
            namespace: ns::REGISTER,
            name: "query",
            to: &[To::Host, To::OwnAccount],
            handler: form,
        },
        Route {
            kind: IqType::Set,
            namespace: ns::REGISTER,
            name: "query",
            to: &[To::Host, To::OwnAccount],
            handler: change,
        },
    ],
};

/// What the store is to do.
#[derive(Debug)]
pub enum Ask {
    /// Make an account.
    Create(AccountId, Secret),
    /// Set another password.
    Change(AccountId, Secret),
    /// Remove the account with everything that belongs to it.
    Remove(AccountId),
}

/// What a request before login says (XEP-0077 section 3.1).
///
/// # Errors
/// The condition to answer with.
pub fn read(query: &Element, host: &str) -> Result<Ask, StanzaCondition> {
    let (user, password) = credentials(query)?;
    let id = account(&user, host)?;
    Ok(Ask::Create(id, password))
}

/// The form: what has to be given.
pub fn instructions(registered: Option<&str>) -> Vec<u8> {
    let mut form = format!("<query xmlns='{}'>", ns::REGISTER);
    match registered {
        Some(user) => {
            form.push_str("<registered/><username>");
            let mut escaped = Vec::new();
            crate::xml::write::escape_text(user, &mut escaped);
            form.push_str(&String::from_utf8_lossy(&escaped));
            form.push_str("</username><password/>");
        }
        None => form.push_str(
            "<instructions>Choose a username and password for use with this service.\
             </instructions><username/><password/>",
        ),
    }
    form.push_str("</query>");
    form.into_bytes()
}

fn form(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    let user = jid::parse(call.from)
        .ok()
        .and_then(|from| from.node.map(|node| node.into_owned()));
    Answer::Result(instructions(user.as_deref()))
}

fn change(call: &Call<'_>, _: &Facts, _: &Hosts) -> Answer {
    match own_change(call) {
        Ok(ask) => Answer::Ask(ask),
        Err(condition) => Answer::Error(condition, ""),
    }
}

/// Sections 3.2 and 3.3: of the own account only.
fn own_change(call: &Call<'_>) -> Result<Ask, StanzaCondition> {
    let from = jid::parse(call.from).map_err(|_| StanzaCondition::BadRequest)?;
    let own = AccountId::of(&from.to_jid()).ok_or(StanzaCondition::BadRequest)?;
    let host = if call.to == To::Host {
        call.target
    } else {
        own.host()
    };
    if host != own.host() {
        return Err(StanzaCondition::Forbidden);
    }
    if call.payload.child("remove", ns::REGISTER).is_some() {
        if call.payload.children().count() != 1 {
            return Err(StanzaCondition::BadRequest);
        }
        return Ok(Ask::Remove(own));
    }
    let (user, password) = credentials(call.payload)?;
    if account(&user, host)? != own {
        return Err(StanzaCondition::Forbidden);
    }
    Ok(Ask::Change(own, password))
}

fn credentials(query: &Element) -> Result<(String, Secret), StanzaCondition> {
    let text = |name| {
        query
            .child(name, ns::REGISTER)
            .map(Element::text)
            .unwrap_or_default()
    };
    let (user, password) = (text("username"), text("password"));
    if user.is_empty() || password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Err(StanzaCondition::NotAcceptable);
    }
    Ok((user.into(), Secret::new(&password)))
}

fn account(user: &str, host: &str) -> Result<AccountId, StanzaCondition> {
    let node = jid::node_prep(user).map_err(|_| StanzaCondition::JidMalformed)?;
    Ok(AccountId::from_prepared(&node, host))
}
