//! An option is one declaration: name, type, default, bounds and documentation.
//!
//! [`options!`] makes of it a field of a plain struct and an [`Opt`]; from the `Opt`s come the
//! strict check of the file ([`super::check`]), the suggestion for a misspelt key, the default and
//! docs/configuration.md ([`super::reference()`]). [`choices!`] does the same for an enum of words.

use super::values::domain;

/// One key of a section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opt {
    pub(crate) key: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unwritten: Unwritten,
    /// Other spellings, with the version of MongooseIM they belong to.
    pub(crate) aliases: &'static [Alias],
    /// No MongooseIM knows this key.
    pub(crate) ours: bool,
}

/// An older or newer name of an option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alias {
    pub(crate) key: &'static str,
    pub(crate) version: &'static str,
}

/// What holds where the key is not written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unwritten {
    /// Its absence is an error.
    Required,
    /// Nothing; the text says what that means.
    Unset(&'static str),
    Int(i64),
    Bool(bool),
    Text(&'static str),
    /// An empty array.
    Empty,
    /// A section that is always there, with its own defaults.
    Section,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    /// The boolean that means "no" where yes has several names.
    False,
    Int(Range),
    /// An integer in the range or the string "infinity".
    IntOrInfinity(Range),
    /// Any string.
    Text,
    /// A string that is not empty.
    Name,
    OneOf(&'static [&'static str]),
    /// One of these integers.
    OneInt(&'static [i64]),
    /// A string with rules of its own.
    Checked(Rule),
    /// The name of a file that can be read.
    Readable,
    List(&'static Self, Repeats),
    /// A table with known keys.
    Section(&'static Schema),
    /// A table whose keys the operator chooses.
    Named(&'static Self),
    /// Any of these kinds.
    Either(&'static [Self]),
    /// A value that is accepted unread.
    Anything,
}

/// Bounds of an integer, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) min: i64,
    pub(crate) max: i64,
    /// "" where a bare number is meant.
    pub(crate) unit: &'static str,
}

/// The rule of a string: what it is called, and the reason why a text breaks it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) accepted: &'static str,
    pub(crate) check: fn(&str) -> Result<(), String>,
}

/// Whether an array may be empty or hold one value twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    Allowed,
    Refused,
    /// Refused, and at least one element.
    RefusedNorEmpty,
}

/// The keys of a table: groups of options, so that sections can share them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    pub(crate) groups: &'static [&'static [Opt]],
}

impl Schema {
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static Opt> {
        self.groups.iter().flat_map(|group| group.iter())
    }
}

impl Opt {
    pub(crate) const fn new(
        key: &'static str,
        doc: &'static str,
        kind: Kind,
        unwritten: Unwritten,
    ) -> Self {
        Self {
            key,
            doc,
            kind,
            unwritten,
            aliases: &[],
            ours: false,
        }
    }

    /// Marks an option that is ours alone.
    pub(crate) const fn ours(mut self) -> Self {
        self.ours = true;
        self
    }

    /// Adds other names under which the option is accepted.
    pub(crate) const fn also(mut self, aliases: &'static [Alias]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Whether `key` is a name of this option.
    pub(crate) fn is_called(&self, key: &str) -> bool {
        self.key == key || self.aliases.iter().any(|alias| alias.key == key)
    }
}

/// A copy of `options` that goes by their canonical names only.
pub(crate) const fn without_aliases<const N: usize>(options: &[Opt]) -> [Opt; N] {
    let mut plain = [options[0]; N];
    let mut n = 0;
    while n < N {
        plain[n] = options[n];
        plain[n].aliases = &[];
        n += 1;
    }
    plain
}

/// Largest number of milliseconds a listener takes (about 24 days), and largest backlog.
pub(crate) const INT31: i64 = 0x7fff_ffff;

impl Kind {
    pub(crate) const PORT: Self = Self::Int(Range {
        min: 0,
        max: 65_535,
        unit: "",
    });
    pub(crate) const POSITIVE: Self = Self::Int(Range {
        min: 1,
        max: i64::MAX,
        unit: "",
    });
    pub(crate) const NATURAL: Self = Self::Int(Range {
        min: 0,
        max: i64::MAX,
        unit: "",
    });
    pub(crate) const COUNT: Self = Self::Int(Range {
        min: 1,
        max: INT31,
        unit: "",
    });
    pub(crate) const MILLIS: Self = Self::Int(Range {
        min: 0,
        max: INT31,
        unit: "ms",
    });
    pub(crate) const MILLIS_FROM_1: Self = Self::Int(Range {
        min: 1,
        max: INT31,
        unit: "ms",
    });
    pub(crate) const SECONDS_FROM_1: Self = Self::Int(Range {
        min: 1,
        max: INT31,
        unit: "s",
    });
    pub(crate) const SECONDS_FROM_1_OR_INFINITY: Self = Self::IntOrInfinity(Range {
        min: 1,
        max: INT31,
        unit: "s",
    });
    pub(crate) const MILLIS_OR_INFINITY: Self = Self::IntOrInfinity(Range {
        min: 0,
        max: INT31,
        unit: "ms",
    });
    pub(crate) const MILLIS_FROM_1_OR_INFINITY: Self = Self::IntOrInfinity(Range {
        min: 1,
        max: INT31,
        unit: "ms",
    });
    pub(crate) const BYTES_OR_INFINITY: Self = Self::IntOrInfinity(Range {
        min: 1,
        max: i64::MAX,
        unit: "bytes",
    });
    pub(crate) const COUNT_OR_INFINITY: Self = Self::IntOrInfinity(Range {
        min: 1,
        max: i64::MAX,
        unit: "",
    });
    /// A table whose keys are not looked at, of a feature that is absent.
    pub(crate) const UNREAD: Self = Self::Named(&Self::Anything);
    pub(crate) const NATURAL_OR_INFINITY: Self = Self::IntOrInfinity(Range {
        min: 0,
        max: i64::MAX,
        unit: "",
    });
    /// A domain; its reader puts it into the prepared form.
    pub(crate) const DOMAIN: Self = Self::Checked(Rule {
        accepted: "a domain such as \"example.org\"",
        check: |text| domain(text).map(drop),
    });
    pub(crate) const DOMAINS: Self = Self::List(&Self::DOMAIN, Repeats::Refused);
    pub(crate) const NAMES: Self = Self::List(&Self::Name, Repeats::Refused);

    /// What is accepted, as the end of the sentence "expected ...".
    pub(crate) fn accepted(&self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::False => "false".into(),
            Self::Int(range) => range.accepted(),
            Self::IntOrInfinity(range) => format!("{} or \"infinity\"", range.accepted()),
            Self::Text => "a string".into(),
            Self::Name => "a string that is not empty".into(),
            Self::OneOf(words) => one_of(words.iter().map(|word| format!("{word:?}"))),
            Self::OneInt(numbers) => one_of(numbers.iter().map(i64::to_string)),
            Self::Checked(rule) => rule.accepted.into(),
            Self::Readable => "the name of a file that can be read".into(),
            Self::List(item, repeats) => {
                let rule = match repeats {
                    Repeats::Allowed => "",
                    Repeats::Refused => ", none twice",
                    Repeats::RefusedNorEmpty => ", at least one, none twice",
                };
                format!("an array{rule}, each element {}", item.accepted())
            }
            Self::Section(_) | Self::Named(_) => "a table".into(),
            Self::Either(kinds) => one_of(kinds.iter().map(Self::accepted)),
            Self::Anything => "any value".into(),
        }
    }
}

impl Range {
    fn accepted(&self) -> String {
        let unit = if self.unit.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.unit)
        };
        if self.max == i64::MAX {
            format!("an integer of at least {}{unit}", self.min)
        } else {
            format!("an integer from {} to {}{unit}", self.min, self.max)
        }
    }
}

/// "a, b or c".
pub(crate) fn one_of(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    match (words.pop(), words.is_empty()) {
        (None, _) => "nothing".into(),
        (Some(only), true) => only,
        (Some(last), false) => format!("{} or {last}", words.join(", ")),
    }
}

/// Declares a section: a struct with one documented field per option, and its [`Schema`].
///
/// `field: Type = KIND, UNWRITTEN;` or, where the TOML key is no Rust name,
/// `field "key": Type = KIND, UNWRITTEN;`, followed by calls such as `, ours()`.
macro_rules! options {
    ($(#[doc = $about:literal])+ $name:ident {}) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        impl $name {
            pub(crate) const SCHEMA: $crate::config::option::Schema =
                $crate::config::option::Schema { groups: &[] };
        }

        impl $crate::config::decode::Decode for $name {
            fn decode(_: &$crate::config::tree::Node) -> Option<Self> {
                Some(Self)
            }
        }
    };
    ($(#[doc = $about:literal])+ $name:ident {
        $(
            $(#[doc = $doc:literal])+
            $field:ident $($key:literal)? : $type:ty = $kind:expr, $unwritten:expr
            $(, $with:ident ( $($argument:expr)? ))* ;
        )*
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
        }

        impl $name {
            pub(crate) const OPTIONS: &'static [$crate::config::option::Opt] = &[
                $(
                    $crate::config::option::Opt::new(
                        $crate::config::option::key_of!($field $($key)?),
                        concat!($($doc, "\n"),+),
                        $kind,
                        $unwritten,
                    ) $( .$with($($argument)?) )*
                ),*
            ];

            #[allow(dead_code, reason = "groups that are only part of a section have no schema")]
            pub(crate) const SCHEMA: $crate::config::option::Schema =
                $crate::config::option::Schema { groups: &[Self::OPTIONS] };
        }

        impl $crate::config::decode::Decode for $name {
            fn decode(node: &$crate::config::tree::Node) -> Option<Self> {
                let mut options = Self::OPTIONS.iter();
                Some(Self {
                    $( $field: $crate::config::decode::read_next(node, &mut options), )*
                })
            }
        }
    };
}

/// The TOML key of a field.
macro_rules! key_of {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// Declares an enum whose variants are words of the file.
macro_rules! choices {
    ($(#[doc = $about:literal])+ $name:ident {
        $( $(#[$attribute:meta])+ $variant:ident = $word:literal, )+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$attribute])+ $variant, )+
        }

        impl $name {
            pub(crate) const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word of the file.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }
        }

        impl $crate::config::decode::Decode for $name {
            fn decode(node: &$crate::config::tree::Node) -> Option<Self> {
                match $crate::config::decode::text(node)? {
                    $( $word => Some(Self::$variant), )+
                    _ => None,
                }
            }
        }
    };
}

/// Declares sections that are checked and have no field: each a key, what it is for, and its keys.
macro_rules! tables {
    ($( $name:literal, $doc:literal { $( $key:literal: $kind:expr ),* $(,)? } )*) => {
        &[$(
            $crate::config::option::Opt {
                key: $name,
                doc: $doc,
                kind: $crate::config::option::Kind::Section(&$crate::config::option::Schema {
                    groups: &[&[$(
                        $crate::config::option::Opt {
                            key: $key,
                            doc: "",
                            kind: $kind,
                            unwritten: $crate::config::option::Unwritten::Unset(""),
                            aliases: &[],
                            ours: false,
                        }
                    ),*]],
                }),
                unwritten: $crate::config::option::Unwritten::Unset(""),
                aliases: &[],
                ours: false,
            }
        ),*]
    };
}

pub(crate) use choices;
pub(crate) use key_of;
pub(crate) use options;
pub(crate) use tables;
