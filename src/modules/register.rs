//! XEP-0077: In-Band Registration. Makes accounts before login, changes passwords and removes
//! accounts after it; off unless `[modules.mod_register]` is there.
//!
//! Before login the stream's negotiation calls [`read`] itself; after it requests come by the routes.

use std::net::IpAddr;

use crate::config::modules::Register;
use crate::jid;
use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Facts;
use crate::modules::Module;
use crate::modules::Route;
use crate::modules::Scene;
use crate::modules::To;
use crate::modules::bounce;
use crate::modules::pipeline::Outbox;
use crate::proto::ns;
use crate::proto::sasl::keys::Secret;
use crate::proto::stanza::IqType;
use crate::proto::stanza::MessageType;
use crate::proto::stanza::Type;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply::attribute;
use crate::route::hosts::Hosts;
use crate::store::AccountId;
use crate::xml::element::Element;
use crate::xml::write::escape_text;

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

impl Ask {
    /// About which account.
    pub fn id(&self) -> &AccountId {
        let (Self::Create(id, _) | Self::Change(id, _) | Self::Remove(id)) = self;
        id
    }
}

/// Why a request is refused: the condition, and a sentence for the person behind it.
pub type Refusal = (StanzaCondition, &'static str);

/// What a request before login says (XEP-0077 section 3.1).
///
/// # Errors
/// What to answer with.
pub fn read(query: &Element, host: &str, rules: &Register) -> Result<Ask, Refusal> {
    let (user, password) = credentials(query, rules)?;
    let id = account(&user, host)?;
    Ok(Ask::Create(id, password))
}

/// Tells the watchers of `mod_register` of a new account.
pub fn announce<O: Outbox>(
    scene: &mut Scene<'_, O>,
    rules: &Register,
    id: &AccountId,
    address: IpAddr,
) {
    let text = format!("The account {id} was registered from {address}.");
    let mut body = Vec::new();
    escape_text(&text, &mut body);
    let kind = Type::Message(MessageType::Normal);
    for watcher in &rules.registration_watchers {
        let (from, to) = (attribute(id.host()), attribute(watcher));
        bounce::send(scene, id.host(), watcher, kind, |out| {
            out.extend_from_slice(format!("<message from='{from}' to='{to}'><body>").as_bytes());
            out.extend_from_slice(&body);
            out.extend_from_slice(b"</body></message>");
        });
    }
}

/// Welcomes a new user, where `mod_register` has something to say. It waits for the first login like
/// any message.
pub fn welcome<O: Outbox>(scene: &mut Scene<'_, O>, rules: &Register, id: &AccountId) {
    let (subject, body) = (&rules.welcome_message.subject, &rules.welcome_message.body);
    let to = id.to_string();
    let mut message = format!(
        "<message from='{}' to='{}'>",
        attribute(id.host()),
        attribute(&to)
    )
    .into_bytes();
    let bare = message.len();
    for (name, text) in [("subject", subject), ("body", body)] {
        if !text.is_empty() {
            message.extend_from_slice(format!("<{name}>").as_bytes());
            escape_text(text, &mut message);
            message.extend_from_slice(format!("</{name}>").as_bytes());
        }
    }
    if message.len() == bare {
        return;
    }
    message.extend_from_slice(b"</message>");
    let kind = Type::Message(MessageType::Normal);
    bounce::send_sized(scene, (id.host(), &to), kind, message.len(), |out| {
        out.extend_from_slice(&message);
    });
}

/// How many bits a password is worth if each character was chosen at random from those kinds that
/// occur: 26 small letters, 26 capitals, 9 digits, 33 other printable ones, 128 for the rest. The
/// counts are MongooseIM's, so that a configured number means the same.
pub fn entropy_bits(password: &str) -> f64 {
    let kind = |c: char| match c {
        'a'..='z' => (0, 26),
        'A'..='Z' => (1, 26),
        '0'..='9' => (2, 9),
        '\u{21}'..='\u{7e}' => (3, 33),
        _ => (4, 128),
    };
    let mut kinds = [0_u32; 5];
    let mut length = 0_u32;
    for (place, size) in password.chars().map(kind) {
        if let Some(found) = kinds.get_mut(place) {
            *found = size;
        }
        length += 1;
    }
    let alphabet: u32 = kinds.iter().sum();
    match alphabet {
        0 => 0.0,
        alphabet => f64::from(length) * f64::from(alphabet).log2(),
    }
}

/// The form: what has to be given.
pub fn instructions(registered: Option<&str>) -> Vec<u8> {
    let mut form = format!("<query xmlns='{}'>", ns::REGISTER);
    match registered {
        Some(user) => {
            form.push_str("<registered/><username>");
            let mut escaped = Vec::new();
            escape_text(user, &mut escaped);
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

fn change(call: &Call<'_>, facts: &Facts, _: &Hosts) -> Answer {
    let modules = facts.modules_of(call.host());
    let Some(rules) = modules.and_then(|modules| modules.mod_register.as_ref()) else {
        return Answer::Error(StanzaCondition::ServiceUnavailable, "");
    };
    match own_change(call, rules) {
        Ok(ask) => Answer::Ask(ask),
        Err((condition, text)) => Answer::Error(condition, text),
    }
}

/// Sections 3.2 and 3.3: of the own account only.
fn own_change(call: &Call<'_>, rules: &Register) -> Result<Ask, Refusal> {
    let from = jid::parse(call.from).map_err(|_| (StanzaCondition::BadRequest, ""))?;
    let own = AccountId::of(&from.to_jid()).ok_or((StanzaCondition::BadRequest, ""))?;
    let host = if call.to == To::Host {
        call.target
    } else {
        own.host()
    };
    if host != own.host() {
        return Err((StanzaCondition::Forbidden, ""));
    }
    if call.payload.child("remove", ns::REGISTER).is_some() {
        if call.payload.children().count() != 1 {
            return Err((StanzaCondition::BadRequest, ""));
        }
        return Ok(Ask::Remove(own));
    }
    let (user, password) = credentials(call.payload, rules)?;
    if account(&user, host)? != own {
        return Err((StanzaCondition::Forbidden, ""));
    }
    Ok(Ask::Change(own, password))
}

fn credentials(query: &Element, rules: &Register) -> Result<(String, Secret), Refusal> {
    let text = |name| {
        query
            .child(name, ns::REGISTER)
            .map(Element::text)
            .unwrap_or_default()
    };
    let (user, password) = (text("username"), text("password"));
    if user.is_empty() || password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Err((StanzaCondition::NotAcceptable, ""));
    }
    if entropy_bits(&password) < f64::from(rules.password_strength) {
        return Err((StanzaCondition::NotAcceptable, "The password is too weak"));
    }
    Ok((user.into(), Secret::new(&password)))
}

fn account(user: &str, host: &str) -> Result<AccountId, Refusal> {
    let node = jid::node_prep(user).map_err(|_| (StanzaCondition::JidMalformed, ""))?;
    Ok(AccountId::from_prepared(&node, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strength_of_passwords() {
        let table = [
            ("", 0.0),
            ("kotek", 23.5),
            ("abc123", 30.8),
            ("aaaa", 18.8),
            ("A", 4.7),
            ("a b", 21.8),
            ("\u{e9}", 7.0),
        ];
        for (password, bits) in table {
            let found = entropy_bits(password);
            assert!((found - bits).abs() < 0.05, "{password}: {found}");
        }
    }

    #[test]
    fn what_a_registration_has_to_say() {
        let mut rules = Register::default();
        let read = |content: &str, rules: &Register| {
            let text = format!("<query xmlns='jabber:iq:register'>{content}</query>");
            let query = Element::parse(text.as_bytes(), "", &[]).expect("an element");
            read(&query, "x", rules)
                .map(|ask| ask.id().to_string())
                .map_err(|(condition, _)| condition)
        };
        let good = "<username>Alice</username><password>pencil</password>";
        assert_eq!(read(good, &rules), Ok("alice@x".to_owned()));
        for bad in [
            "",
            "<username>alice</username>",
            "<password>pencil</password>",
            "<username/><password>pencil</password>",
            "<username xmlns='other'>alice</username><password>pencil</password>",
        ] {
            assert_eq!(
                read(bad, &rules),
                Err(StanzaCondition::NotAcceptable),
                "{bad}"
            );
        }
        let long = "p".repeat(PASSWORD_BYTES_MAX + 1);
        let long = format!("<username>alice</username><password>{long}</password>");
        assert_eq!(read(&long, &rules), Err(StanzaCondition::NotAcceptable));
        let bad = "<username>a@b</username><password>pencil</password>";
        assert_eq!(read(bad, &rules), Err(StanzaCondition::JidMalformed));
        rules.password_strength = 28;
        assert_eq!(read(good, &rules), Ok("alice@x".to_owned()));
        rules.password_strength = 29;
        assert_eq!(read(good, &rules), Err(StanzaCondition::NotAcceptable));
    }
}
