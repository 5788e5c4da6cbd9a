//! What a service listener asks of components, in the form in which connections need it.

use std::sync::Arc;

use crate::config::Secret;
use crate::config::Sited;
use crate::config::access::ALL;
use crate::config::listen::Conflict;
use crate::config::listen::Service;
use crate::listeners::settings::Settings;
use crate::proto::service::Rules;
use crate::route::hosts::Hosts;

/// Options of a service listener alone. Lives on: every shard (in the settings).
pub struct Components {
    /// Secret of the handshake.
    pub password: Secret,
    /// What may register, prepared; None: whatever is free.
    pub domains: Option<Vec<String>>,
    /// Rule that decides who may send to the components; None: everybody.
    pub access: Option<Arc<str>>,
    /// `from` must be of a domain that the stream registered.
    pub check_from: bool,
    /// Left out of disco#items.
    pub hidden: bool,
    /// A second component for a domain replaces the first.
    pub kicks_old: bool,
}

impl Components {
    /// From the listener's table.
    pub fn new(service: &Service) -> Self {
        let prepared = |domain: &Sited<String>| {
            // What is no domain cannot be asked for either.
            crate::jid::domain_prep(&domain.value)
                .map_or_else(|_| domain.value.clone(), std::borrow::Cow::into_owned)
        };
        let domains = service.domains.as_ref();
        let everybody = service.access.value == ALL;
        Self {
            password: service.password.clone().unwrap_or_default(),
            domains: domains.map(|domains| domains.iter().map(prepared).collect()),
            access: (!everybody).then(|| service.access.value.as_str().into()),
            check_from: service.check_from,
            hidden: service.hidden_components,
            kicks_old: service.conflict_behaviour == Conflict::KickOld,
        }
    }

    /// The names that these listeners keep for components, whoever is connected: those of their
    /// `domains` that are not served; what has no dot stands for itself below each host too.
    pub fn kept<'a>(all: impl Iterator<Item = &'a Self>, hosts: &Hosts) -> Vec<String> {
        let domains = all.filter_map(|own| own.domains.as_ref()).flatten();
        let named = domains.flat_map(|domain| {
            let below = hosts.names().filter(|_| !domain.contains('.'));
            let below = below.map(move |host| format!("{domain}.{host}"));
            std::iter::once(domain.clone()).chain(below)
        });
        named.filter(|name| !hosts.serves(name)).collect()
    }

    /// The same for the stream's machine.
    pub fn rules<'a>(&'a self, settings: &'a Settings) -> Rules<'a> {
        Rules {
            password: self.password.expose(),
            hosts: settings.hosts.as_slice(),
            domains: self.domains.as_deref(),
            kept: &settings.kept_domains,
            language: &settings.config.general.language,
        }
    }
}
