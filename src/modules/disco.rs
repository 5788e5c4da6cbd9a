//! XEP-0030: Service Discovery. What a host and an account are and can do; XEP-0157 addresses of
//! the operators, and the XEP-0115 hash of what the host answers.
//!
//! What is announced is what the modules that are on have: there is no second list.

use std::fmt::Write as _;

use crate::config::Modules;
use crate::modules::Answer;
use crate::modules::Call;
use crate::modules::Facts;
use crate::modules::MODULES;
use crate::modules::Module;
use crate::modules::Route;
use crate::modules::To;
use crate::modules::caps;
use crate::modules::contact::About;
use crate::proto::ns;
use crate::proto::stanza::IqType;
use crate::proto::stanza::error::StanzaCondition;
use crate::proto::stanza::reply::attribute;
use crate::route::hosts::Hosts;
use crate::xml::write::escape_text;

/// The feature.
pub const MODULE: Module = Module {
    is_on: |modules| modules.mod_disco.is_some(),
    features: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
    routes: &[
        Route {
            kind: IqType::Get,
            namespace: ns::DISCO_INFO,
            name: "query",
            to: &[To::Host, To::OwnAccount, To::Account],
            handler: info,
        },
        Route {
            kind: IqType::Get,
            namespace: ns::DISCO_ITEMS,
            name: "query",
            to: &[To::Host, To::OwnAccount, To::Account],
            handler: items,
        },
    ],
};

/// Who an entity is and what it can do, before it is written.
#[derive(Debug)]
pub struct Info {
    /// Category, type and name.
    pub identity: (&'static str, &'static str, &'static str),
    /// Features, sorted, each once.
    pub features: Vec<&'static str>,
    /// XEP-0157: fields of the form `http://jabber.org/network/serverinfo`, sorted.
    pub contacts: Vec<(String, Vec<String>)>,
}

impl Info {
    /// Of a host with these modules.
    pub fn of_host(modules: &Modules) -> Self {
        let disco = modules.mod_disco.as_ref();
        let fields = disco.into_iter().flat_map(|disco| &disco.server_info);
        // A field that names other modules belongs to the answers of their services.
        let own =
            fields.filter(|f| f.modules.is_empty() || f.modules.iter().any(|m| m == "mod_disco"));
        let mut contacts: Vec<(String, Vec<String>)> = own
            .map(|field| (field.name.clone(), field.urls.clone()))
            .collect();
        contacts.iter_mut().for_each(|(_, urls)| urls.sort());
        contacts.sort();
        contacts.dedup_by(|next, before| {
            let same = next.0 == before.0;
            if same {
                before.1.append(&mut next.1);
            }
            same
        });
        Self {
            identity: ("server", "im", "meerkat"),
            features: features(To::Host, modules),
            contacts,
        }
    }

    fn of_account(modules: &Modules) -> Self {
        Self {
            identity: ("account", "registered", ""),
            features: features(To::OwnAccount, modules),
            contacts: Vec::new(),
        }
    }

    /// As the payload of an answer; `node` may stand between apostrophes.
    pub fn write(&self, node: Option<&str>) -> String {
        let mut answer = format!("<query xmlns='{}'", ns::DISCO_INFO);
        if let Some(node) = node {
            let _ = write!(answer, " node='{node}'");
        }
        let (category, kind, name) = self.identity;
        let _ = write!(answer, "><identity category='{category}' type='{kind}'");
        if !name.is_empty() {
            let _ = write!(answer, " name='{name}'");
        }
        answer.push_str("/>");
        for feature in &self.features {
            let _ = write!(answer, "<feature var='{feature}'/>");
        }
        if !self.contacts.is_empty() {
            self.write_contacts(&mut answer);
        }
        answer.push_str("</query>");
        answer
    }

    /// XEP-0004: a form of type result.
    fn write_contacts(&self, answer: &mut String) {
        let _ = write!(
            answer,
            "<x xmlns='{}' type='result'><field var='FORM_TYPE' type='hidden'><value>{}</value>\
             </field>",
            ns::DATA_FORM,
            ns::SERVER_INFO
        );
        for (name, urls) in &self.contacts {
            let _ = write!(
                answer,
                "<field var='{}' type='list-multi'>",
                attribute(name)
            );
            for url in urls {
                let mut text = Vec::new();
                escape_text(url, &mut text);
                let _ = write!(answer, "<value>{}</value>", String::from_utf8_lossy(&text));
            }
            answer.push_str("</field>");
        }
        answer.push_str("</x>");
    }
}

fn info(call: &Call<'_>, facts: &Facts, _: &Hosts) -> Answer {
    let node = call.payload.attr("node").filter(|node| !node.is_empty());
    let Some(modules) = facts.modules_of(call.host()) else {
        return Answer::Error(StanzaCondition::ItemNotFound, "");
    };
    let info = match call.to {
        To::Host => Info::of_host(modules),
        To::OwnAccount | To::Account => {
            return match node {
                None => Answer::Contact(About::Info),
                Some(_) => Answer::Error(StanzaCondition::ItemNotFound, ""),
            };
        }
    };
    match node {
        None => Answer::Result(info.write(None).into_bytes()),
        // XEP-0115 section 6.2: the node that the server's capabilities name.
        Some(node) if caps::is_node(node, &info, modules) => {
            Answer::Result(info.write(Some(&attribute(node))).into_bytes())
        }
        Some(_) => Answer::Error(StanzaCondition::ItemNotFound, ""),
    }
}

/// What an account is.
pub fn of_account(modules: Option<&Modules>) -> Answer {
    match modules {
        Some(modules) => Answer::Result(Info::of_account(modules).write(None).into_bytes()),
        None => Answer::Error(StanzaCondition::ItemNotFound, ""),
    }
}

/// Through what an account is reached.
pub fn resources<'a>(bare: &str, resources: impl Iterator<Item = &'a str>) -> Answer {
    let mut answer = format!("<query xmlns='{}'>", ns::DISCO_ITEMS);
    for resource in resources {
        let full = format!("{bare}/{resource}");
        let _ = write!(answer, "<item jid='{}'/>", attribute(&full));
    }
    answer.push_str("</query>");
    Answer::Result(answer.into_bytes())
}

/// Of an account what its routes answer. Of a host all that is on: clients ask the server whether it
/// has blocking or carbons (XEP-0191 section 3.1, XEP-0280 section 3), and turn to their account.
fn features(to: To, modules: &Modules) -> Vec<&'static str> {
    let on = MODULES.iter().filter(|module| (module.is_on)(modules));
    let answering = on.filter(|module| {
        to == To::Host || module.routes.iter().any(|route| route.to.contains(&to))
    });
    let mut features: Vec<&'static str> = answering
        .flat_map(|module| module.features.iter().copied())
        .collect();
    features.sort_unstable();
    features.dedup();
    features
}

/// Of a host: `extra_domains`, the components whose nearest host it is, and those below none.
/// Whoever is hidden is not among them. Of an account its resources.
fn items(call: &Call<'_>, facts: &Facts, hosts: &Hosts) -> Answer {
    if call
        .payload
        .attr("node")
        .is_some_and(|node| !node.is_empty())
    {
        return Answer::Error(StanzaCondition::ItemNotFound, "");
    }
    if call.to != To::Host {
        return Answer::Contact(About::Items);
    }
    let mut answer = format!("<query xmlns='{}'>", ns::DISCO_ITEMS);
    let disco = facts
        .modules_of(call.host())
        .and_then(|modules| modules.mod_disco.as_ref());
    let further = disco.into_iter().flat_map(|disco| &disco.extra_domains);
    let mut domains: Vec<&str> = further.map(|domain| &**domain).collect();
    let listed = call
        .services
        .iter()
        .filter(|(name, service)| !service.hidden && is_listed(name, call.target, hosts))
        .map(|(name, _)| name);
    let mut listed: Vec<&str> = listed.filter(|name| !domains.contains(name)).collect();
    listed.sort_unstable();
    domains.extend(listed);
    for domain in domains {
        let _ = write!(answer, "<item jid='{}'/>", attribute(domain));
    }
    answer.push_str("</query>");
    Answer::Result(answer.into_bytes())
}

fn is_listed(name: &str, host: &str, hosts: &Hosts) -> bool {
    let above = |host: &&str| {
        name.strip_suffix(*host)
            .is_some_and(|rest| rest.ends_with('.'))
    };
    let nearest = hosts.names().filter(above).max_by_key(|host| host.len());
    nearest.is_none_or(|nearest| nearest == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_listed_at_its_nearest_host() {
        let hosts = Hosts::new(["x.org".to_owned(), "a.x.org".to_owned()], 1);
        let listed = |name, host| is_listed(name, host, &hosts);
        assert!(listed("irc.x.org", "x.org") && !listed("irc.x.org", "a.x.org"));
        assert!(listed("irc.a.x.org", "a.x.org") && !listed("irc.a.x.org", "x.org"));
        assert!(listed("irc.net", "x.org") && listed("irc.net", "a.x.org"));
        assert!(listed("ircx.org", "x.org"), "no subdomain");
    }
}
