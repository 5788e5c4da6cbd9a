//! Questions to a finished configuration: what holds for a host, and what a rule gives to a user.

use std::sync::Arc;

use super::Config;
use super::HostConfig;
use super::access::ALL;
use super::access::Granted;
use super::access::Who;
use super::auth::Auth;
use super::listen::ShaperChoice;
use super::modules::Bosh;
use super::modules::Modules;
use super::s2s::S2s;
use super::values::Bound;

/// Messages that are kept for one user where the rule of `mod_offline` gives no number.
pub(super) const MESSAGES_UNWRITTEN: u64 = 100;

/// Sessions of one user where the rule `max_user_sessions` gives no number.
pub const SESSIONS_UNWRITTEN: u64 = 10;

impl Config {
    /// What `[[host_config]]` says about a host alone.
    #[must_use]
    pub fn own(&self, host: &str) -> Option<&HostConfig> {
        self.host_config.iter().find(|own| own.name.value == host)
    }

    /// The `[auth]` that holds for a host.
    #[must_use]
    pub fn auth_of(&self, host: &str) -> &Auth {
        self.own(host)
            .and_then(|own| own.auth.as_ref())
            .unwrap_or(&self.auth)
    }

    /// The `[modules]` that hold for a host.
    #[must_use]
    pub fn modules_of(&self, host: &str) -> &Modules {
        self.own(host)
            .and_then(|own| own.modules.as_ref())
            .unwrap_or(&self.modules)
    }

    /// The modules of every host, in the order of `general.hosts`.
    #[must_use]
    pub fn modules_by_host(&self) -> Arc<[(Box<str>, Modules)]> {
        let hosts = self.general.hosts.iter();
        hosts
            .map(|host| {
                let name = host.value.as_str();
                (name.into(), self.modules_of(name).clone())
            })
            .collect()
    }

    /// The times of BOSH sessions that hold for a host, or for a name that is none.
    #[must_use]
    pub fn bosh_of(&self, host: &str) -> &Bosh {
        let service = self.services.service_bosh.as_ref();
        service.unwrap_or_else(|| &self.modules_of(host).mod_bosh)
    }

    /// The `[s2s]` that holds for a host.
    #[must_use]
    pub fn s2s_of(&self, host: &str) -> &S2s {
        self.own(host)
            .and_then(|own| own.s2s.as_ref())
            .unwrap_or(&self.s2s)
    }

    /// Whether any host may talk with any other server.
    #[must_use]
    pub fn federates(&self) -> bool {
        let own = self.host_config.iter().filter_map(|own| own.s2s.as_ref());
        [&self.s2s].into_iter().chain(own).any(S2s::allows_any)
    }

    /// Whether a domain is one of `general.hosts`.
    #[must_use]
    pub fn serves(&self, domain: &str) -> bool {
        self.general.hosts.iter().any(|host| host.value == domain)
    }

    /// What `rule` of `[access]` gives to `who` on `host`; nothing means "deny". The name "all"
    /// is no rule: [`Config::allows`] knows it.
    #[must_use]
    pub fn grant(&self, rule: &str, host: &str, who: Who<'_>) -> Option<&Granted> {
        let own = self.own(host).map(|own| &own.rules);
        self.rules
            .value(own, rule, host, who, &|domain| self.serves(domain))
    }

    /// Whether `rule` lets `who` in on `host`. "all" lets everybody in.
    #[must_use]
    pub fn allows(&self, rule: &str, host: &str, who: Who<'_>) -> bool {
        rule == ALL || self.grant(rule, host, who).is_some_and(Granted::allows)
    }

    /// Bytes a second that a listener's shaper lets `who` send; `None`: no limit. A rule without
    /// a clause for `who` sets none either.
    #[must_use]
    pub fn rate(&self, shaper: &ShaperChoice, host: &str, who: Who<'_>) -> Option<u64> {
        let name = match shaper {
            ShaperChoice::Unlimited => return None,
            ShaperChoice::Named(name) => name,
            ShaperChoice::ByRule(rule) => match self.grant(rule, host, who)? {
                Granted::Word(name) => name,
                Granted::Number(_) => return None,
            },
        };
        self.shapers.get(name).map(|shaper| shaper.max_rate)
    }

    /// How many messages may wait for `who`: the rule that `mod_offline` names.
    #[must_use]
    pub fn kept_most(&self, rule: &str, host: &str, who: Who<'_>) -> u64 {
        match self.grant(rule, host, who) {
            Some(Granted::Number(number)) => *number,
            Some(Granted::Word(word)) if word == "infinity" => u64::MAX,
            Some(Granted::Word(_)) | None => MESSAGES_UNWRITTEN,
        }
    }

    /// How many sessions `who` may have at once: the rule `max_user_sessions`.
    #[must_use]
    pub fn sessions_max(&self, host: &str, who: Who<'_>) -> Bound<u64> {
        match self.grant("max_user_sessions", host, who) {
            Some(Granted::Number(number)) => Bound::At(*number),
            Some(Granted::Word(word)) if word == "infinity" => Bound::Infinity,
            Some(Granted::Word(_)) | None => Bound::At(SESSIONS_UNWRITTEN),
        }
    }
}
