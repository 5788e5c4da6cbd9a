//! `[acl]` and `[access]`: classes of users, and rules that give a class a value.
//!
//! [`Rules::value`] is the whole evaluation: the clauses of a rule in order, the first whose class
//! the user belongs to decides. No rule of that name, or no clause that matches, means no value,
//! which every caller reads as "deny".
//!
//! The parts of an address come in as strings that are prepared already (RFC 6122); names in the
//! file are lower-cased here, except resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

use super::decode::Decode;
use super::decode::integer;
use super::decode::text;
use super::option::Kind;
use super::option::Range;
use super::option::Repeats;
use super::option::Rule;
use super::option::Unwritten;
use super::option::choices;
use super::option::options;
use super::source::Sited;
use super::tree::Node;

/// Largest compiled form of one pattern, in bytes: what an operator writes by hand stays far below.
const PATTERN_BYTES_MAX: usize = 1 << 20;

choices! {
    /// Whose users a pattern may match at all.
    Scope {
        /// Users of the domain the rule is asked for.
        #[default]
        CurrentDomain = "current_domain",
        /// Users of any domain served here.
        AnyHostedDomain = "any_hosted_domain",
        /// Anybody.
        All = "all",
        /// Nobody.
        None = "none",
    }
}

options! {
    /// One pattern of a class; all of its conditions must hold.
    Pattern {
        /// Whose users it may match at all.
        scope "match": Scope = Kind::OneOf(Scope::WORDS), Unwritten::Text("current_domain");
        /// User name.
        user: Option<Lower> = Kind::Text, Unwritten::Unset("any");
        /// Domain.
        server: Option<Lower> = Kind::Text, Unwritten::Unset("any");
        /// Resource.
        resource: Option<String> = Kind::Text, Unwritten::Unset("any");
        /// Regular expression that is found in the user name.
        user_regexp: Option<Expression> = EXPRESSION, Unwritten::Unset("any");
        /// Regular expression that is found in the domain.
        server_regexp: Option<Expression> = EXPRESSION, Unwritten::Unset("any");
        /// Regular expression that is found in the resource.
        resource_regexp: Option<Expression> = EXPRESSION, Unwritten::Unset("any");
        /// Pattern of the whole user name with `*`, `?` and `[...]`.
        user_glob: Option<Glob> = GLOB, Unwritten::Unset("any");
        /// Pattern of the whole domain.
        server_glob: Option<Glob> = GLOB, Unwritten::Unset("any");
        /// Pattern of the whole resource.
        resource_glob: Option<Glob> = GLOB, Unwritten::Unset("any");
    }
}

options! {
    /// One clause of a rule.
    Clause {
        /// Class of `[acl]`, or "all". A class that is not defined matches nobody.
        class "acl": Sited<String> = Kind::Name, Unwritten::Required;
        /// What the rule gives to that class: "allow", "deny", a number, the name of a shaper.
        value: Sited<Granted> = Kind::Either(&[
            Kind::Int(Range { min: 0, max: i64::MAX, unit: "" }),
            Kind::Name,
        ]), Unwritten::Required;
    }
}

/// `[acl]` is a table of arrays of patterns.
pub(crate) const ACL: Kind = Kind::Named(&Kind::List(
    &Kind::Section(&Pattern::SCHEMA),
    Repeats::Allowed,
));

/// `[access]` is a table of arrays of clauses.
pub(crate) const ACCESS: Kind = Kind::Named(&Kind::List(
    &Kind::Section(&Clause::SCHEMA),
    Repeats::Allowed,
));

const EXPRESSION: Kind = Kind::Checked(Rule {
    accepted: "a regular expression",
    check: |text| Expression::parse(text).map(drop),
});

const GLOB: Kind = Kind::Checked(Rule {
    accepted: "a pattern with *, ? and [...]",
    check: |text| Glob::parse(text).map(drop),
});

/// What a rule gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    /// A number, such as of sessions.
    Number(u64),
    /// A word: "allow", "deny", "infinity", the name of a shaper.
    Word(String),
}

impl Default for Granted {
    fn default() -> Self {
        Self::Word("deny".into())
    }
}

impl Granted {
    /// Whether it is the word "allow".
    #[must_use]
    pub fn allows(&self) -> bool {
        *self == Self::Word("allow".into())
    }
}

impl Decode for Granted {
    fn decode(node: &Node) -> Option<Self> {
        match integer(node) {
            Some(number) => u64::try_from(number).ok().map(Self::Number),
            None => text(node).map(|word| Self::Word(word.to_owned())),
        }
    }
}

/// A condition that is compared without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lower(String);

impl Decode for Lower {
    fn decode(node: &Node) -> Option<Self> {
        text(node).map(|text| Self(text.to_lowercase()))
    }
}

/// A regular expression of a pattern.
#[derive(Clone, Debug, Default)]
pub struct Expression(Option<Arc<Regex>>);

impl Expression {
    fn parse(text: &str) -> Result<Self, String> {
        let built = regex::RegexBuilder::new(text)
            .size_limit(PATTERN_BYTES_MAX)
            .build();
        built
            .map(|regex| Self(Some(Arc::new(regex))))
            .map_err(|error| match error {
                regex::Error::Syntax(text) => {
                    let reason = text.lines().last().unwrap_or_default();
                    format!(
                        "no regular expression: {}",
                        reason.trim_start_matches("error: ")
                    )
                }
                other => format!("no usable regular expression: {other}"),
            })
    }

    fn is_found_in(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|regex| regex.is_match(text))
    }
}

impl Decode for Expression {
    fn decode(node: &Node) -> Option<Self> {
        Self::parse(text(node)?).ok()
    }
}

/// A shell pattern, as the regular expression it stands for.
#[derive(Clone, Debug, Default)]
pub struct Glob(Expression);

impl Glob {
    fn parse(text: &str) -> Result<Self, String> {
        let mut expression = String::from("^(?s:");
        let mut rest = text.chars();
        while let Some(next) = rest.next() {
            match next {
                '*' => expression.push_str(".*"),
                '?' => expression.push('.'),
                '[' => Self::class(&mut rest, &mut expression)?,
                other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
            }
        }
        expression.push_str(")$");
        Expression::parse(&expression).map(Self)
    }

    /// The part behind `[`, up to and with its `]`.
    fn class(rest: &mut std::str::Chars<'_>, expression: &mut String) -> Result<(), String> {
        let (inner, behind) = rest
            .as_str()
            .split_once(']')
            .ok_or_else(|| "the bracket [ is not closed".to_owned())?;
        let (not, inner) = match inner.strip_prefix(['!', '^']) {
            Some(inner) => ("^", inner),
            None => ("", inner),
        };
        if inner.is_empty() {
            return Err("the brackets [] hold nothing".into());
        }
        let inner: String = inner
            .chars()
            .flat_map(|c| {
                if c == '-' {
                    vec![c]
                } else {
                    regex::escape(&c.to_string()).chars().collect()
                }
            })
            .collect();
        expression.extend(["[", not, &inner, "]"]);
        *rest = behind.chars();
        Ok(())
    }
}

impl Decode for Glob {
    fn decode(node: &Node) -> Option<Self> {
        Self::parse(text(node)?).ok()
    }
}

/// An address whose parts are prepared; a missing part is empty.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// Local part.
    pub node: &'a str,
    /// Domain.
    pub domain: &'a str,
    /// Resource.
    pub resource: &'a str,
}

impl Pattern {
    /// Whether the pattern matches `who` in a question about `host`.
    fn matches(&self, who: Who<'_>, host: &str, hosted: &dyn Fn(&str) -> bool) -> bool {
        let in_scope = match self.scope {
            Scope::CurrentDomain => who.domain == host,
            Scope::AnyHostedDomain => hosted(who.domain),
            Scope::All => true,
            Scope::None => false,
        };
        let equal =
            |wanted: &Option<Lower>, text: &str| wanted.as_ref().is_none_or(|w| w.0 == text);
        let found = |wanted: &Option<Expression>, text: &str| {
            wanted
                .as_ref()
                .is_none_or(|expression| expression.is_found_in(text))
        };
        let like = |wanted: &Option<Glob>, text: &str| {
            wanted.as_ref().is_none_or(|glob| glob.0.is_found_in(text))
        };
        in_scope
            && equal(&self.user, who.node)
            && equal(&self.server, who.domain)
            && self
                .resource
                .as_ref()
                .is_none_or(|resource| resource == who.resource)
            && found(&self.user_regexp, who.node)
            && found(&self.server_regexp, who.domain)
            && found(&self.resource_regexp, who.resource)
            && like(&self.user_glob, who.node)
            && like(&self.server_glob, who.domain)
            && like(&self.resource_glob, who.resource)
    }
}

/// Classes and rules of the whole server, or what one host adds to them.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `[acl]`.
    pub acl: BTreeMap<String, Vec<Pattern>>,
    /// `[access]`.
    pub access: BTreeMap<String, Vec<Clause>>,
}

impl Rules {
    /// Evaluates `rule` for `who` on `host`. `own` is what `[host_config]` adds for that host,
    /// `hosted` says whether a domain is served here. The rule "all" needs no definition.
    #[must_use]
    pub fn value<'a>(
        &'a self,
        own: Option<&'a Self>,
        rule: &str,
        host: &str,
        who: Who<'_>,
        hosted: &dyn Fn(&str) -> bool,
    ) -> Option<&'a Granted> {
        let clauses = Self::clauses(
            self.access.get(rule),
            own.and_then(|own| own.access.get(rule)),
        );
        let decisive = clauses.into_iter().find(|clause| {
            let class = clause.class.value.as_str();
            class == ALL
                || self.holds(class, host, who, hosted)
                || own.is_some_and(|own| own.holds(class, host, who, hosted))
        })?;
        Some(&decisive.value.value)
    }

    /// The server's clauses, then the host's, but a final `all = allow` of the server stays last.
    fn clauses<'a>(
        general: Option<&'a Vec<Clause>>,
        own: Option<&'a Vec<Clause>>,
    ) -> Vec<&'a Clause> {
        let general = general.map_or(&[][..], Vec::as_slice);
        let own = own.map_or(&[][..], Vec::as_slice);
        match general.split_last() {
            Some((last, first)) if last.class.value == ALL && last.value.value.allows() => {
                first.iter().chain(own).chain([last]).collect()
            }
            Some(_) | None => general.iter().chain(own).collect(),
        }
    }

    fn holds(&self, class: &str, host: &str, who: Who<'_>, hosted: &dyn Fn(&str) -> bool) -> bool {
        let patterns = self.acl.get(class);
        patterns.is_some_and(|patterns| patterns.iter().any(|p| p.matches(who, host, hosted)))
    }
}

/// The class of everybody, and the rule that lets everybody in. Neither needs a definition.
pub const ALL: &str = "all";
