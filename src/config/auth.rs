//! `[auth]`: which methods may authenticate a user, and with what.

use super::check::Check;
use super::error::Level;
use super::option::Kind;
use super::option::Range;
use super::option::Repeats;
use super::option::Unwritten;
use super::option::choices;
use super::option::options;
use super::source::Sited;
use super::values::Bound;
use super::values::Secret;

/// Fewer PBKDF2 rounds load with a warning: RFC 5802 section 5.1 asks for at least this many.
const SCRAM_ITERATIONS_ADVISED: i64 = 4096;

/// Most rounds; a login would take minutes beyond it.
const SCRAM_ITERATIONS_MAX: i64 = 100_000_000;

choices! {
    /// A way to authenticate users.
    Method {
        /// Accounts in the server's own store.
        #[default]
        Internal = "internal",
        /// Accounts in an SQL database.
        Rdbms = "rdbms",
        /// An external program.
        External = "external",
        /// No account at all.
        Anonymous = "anonymous",
        /// A directory.
        Ldap = "ldap",
        /// JSON web tokens.
        Jwt = "jwt",
        /// An HTTP service.
        Http = "http",
        /// The client's certificate alone.
        Pki = "pki",
        /// Everybody, for load tests.
        Dummy = "dummy",
    }
}

choices! {
    /// A SASL mechanism as the file names it.
    Mechanism {
        /// SCRAM-SHA-512-PLUS.
        ScramSha512Plus = "scram_sha512_plus",
        /// SCRAM-SHA-512.
        ScramSha512 = "scram_sha512",
        /// SCRAM-SHA-384-PLUS.
        ScramSha384Plus = "scram_sha384_plus",
        /// SCRAM-SHA-384.
        ScramSha384 = "scram_sha384",
        /// SCRAM-SHA-256-PLUS.
        ScramSha256Plus = "scram_sha256_plus",
        /// SCRAM-SHA-256.
        ScramSha256 = "scram_sha256",
        /// SCRAM-SHA-224-PLUS.
        ScramSha224Plus = "scram_sha224_plus",
        /// SCRAM-SHA-224.
        ScramSha224 = "scram_sha224",
        /// SCRAM-SHA-1-PLUS.
        ScramSha1Plus = "scram_sha1_plus",
        /// SCRAM-SHA-1.
        ScramSha1 = "scram_sha1",
        /// PLAIN.
        #[default]
        Plain = "plain",
        /// ANONYMOUS.
        Anonymous = "anonymous",
        /// X-OAUTH.
        Oauth = "oauth",
        /// EXTERNAL.
        External = "external",
        /// DIGEST-MD5.
        Digest = "digest",
    }
}

impl Mechanism {
    /// What is offered where `sasl_mechanisms` is not written, in the order of offering.
    pub const UNWRITTEN: &'static [Self] = &[
        Self::ScramSha512Plus,
        Self::ScramSha512,
        Self::ScramSha384Plus,
        Self::ScramSha384,
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::ScramSha224Plus,
        Self::ScramSha224,
        Self::ScramSha1Plus,
        Self::ScramSha1,
        Self::Plain,
        Self::Anonymous,
        Self::Oauth,
    ];
}

choices! {
    /// How passwords are stored.
    PasswordFormat {
        /// As SCRAM keys, from which the password cannot be had back.
        #[default]
        Scram = "scram",
        /// As they are.
        Plain = "plain",
    }
}

choices! {
    /// A hash function of SCRAM.
    Hash {
        /// SHA-1.
        #[default]
        Sha1 = "sha",
        /// SHA-224.
        Sha224 = "sha224",
        /// SHA-256.
        Sha256 = "sha256",
        /// SHA-384.
        Sha384 = "sha384",
        /// SHA-512.
        Sha512 = "sha512",
    }
}

choices! {
    /// Who may come in without an account.
    AnonymousProtocol {
        /// The ANONYMOUS mechanism.
        #[default]
        Sasl = "sasl_anon",
        /// Any name with any password.
        Login = "login_anon",
        /// Both.
        Both = "both",
    }
}

options! {
    /// `[auth]`.
    Auth {
        /// Methods in the order in which they are asked; each needs its section.
        methods: Option<Vec<Sited<Method>>> =
            Kind::List(&Kind::OneOf(Method::WORDS), Repeats::Refused),
            Unwritten::Unset("the methods that have a section");
        /// SASL mechanisms that may be offered, in this order; a method offers those it can serve.
        sasl_mechanisms: Option<Vec<Mechanism>> =
            Kind::List(&Kind::OneOf(Mechanism::WORDS), Repeats::Refused),
            Unwritten::Unset("all of them except external and digest, the strongest first");
        /// What EXTERNAL accepts of a client's certificate.
        sasl_external: Vec<String> = Kind::NAMES, Unwritten::Unset("[\"standard\"]");
        /// How a common name becomes a user name.
        sasl_external_common_name: CommonName = Kind::Section(&CommonName::SCHEMA),
            Unwritten::Section;
        /// Most accounts of one domain.
        max_users_per_domain: Bound<u64> = Kind::COUNT_OR_INFINITY, Unwritten::Text("infinity");
        /// How passwords are stored.
        password: Password = Kind::Section(&Password::SCHEMA), Unwritten::Section;
        /// As `password.scram_iterations`, which it may stand for.
        scram_iterations: Option<Sited<u32>> = ITERATIONS,
            Unwritten::Unset("password.scram_iterations holds");
        /// Whether PLAIN may be offered on a connection without TLS. Unset: only where the peer's
        /// own socket address is loopback, the listener is bound to a loopback address, expects no
        /// PROXY header and is not http.
        allow_plain_without_tls: Option<bool> = Kind::Bool,
            Unwritten::Unset("loopback only"), ours();
        /// Accounts in the server's own store.
        internal: Option<Internal> = Kind::Section(&Internal::SCHEMA), Unwritten::Unset("off");
        /// Sessions without account.
        anonymous: Option<Anonymous> = Kind::Section(&Anonymous::SCHEMA), Unwritten::Unset("off");
        /// Accounts in an SQL database.
        rdbms: Option<Rdbms> = Kind::Section(&Rdbms::SCHEMA), Unwritten::Unset("off");
        /// An external program.
        external: Option<External> = Kind::Section(&External::SCHEMA), Unwritten::Unset("off");
        /// A directory.
        ldap: Option<Ldap> = Kind::Section(&Ldap::SCHEMA), Unwritten::Unset("off");
        /// JSON web tokens.
        jwt: Option<Jwt> = Kind::Section(&Jwt::SCHEMA), Unwritten::Unset("off");
        /// An HTTP service.
        http: Option<Http> = Kind::Section(&Http::SCHEMA), Unwritten::Unset("off");
        /// The client's certificate alone.
        pki: Option<Pki> = Kind::Section(&Pki::SCHEMA), Unwritten::Unset("off");
        /// Everybody, after a while.
        dummy: Option<Dummy> = Kind::Section(&Dummy::SCHEMA), Unwritten::Unset("off");
    }
}

const ITERATIONS: Kind = Kind::Int(Range {
    min: 1,
    max: SCRAM_ITERATIONS_MAX,
    unit: "",
});

options! {
    /// `auth.password`.
    Password {
        /// "scram": keys from which no password can be had back. "plain": as they are.
        format: PasswordFormat = Kind::OneOf(PasswordFormat::WORDS), Unwritten::Text("scram");
        /// Hash functions for which SCRAM keys are kept and mechanisms offered; "sha" is SHA-1.
        hash: Option<Vec<Hash>> =
            Kind::List(&Kind::OneOf(Hash::WORDS), Repeats::RefusedNorEmpty),
            Unwritten::Unset("all");
        /// PBKDF2 rounds of new SCRAM keys: more make guessing a stolen password dearer, and a
        /// login slower.
        scram_iterations: Sited<u32> = ITERATIONS, Unwritten::Int(10_000);
        /// Remember in memory which passwords sent by PLAIN were right, under a key that is made
        /// at start, so that whoever comes again costs no PBKDF2. A wrong password always does, and
        /// a changed one is forgotten.
        remember_verified: bool = Kind::Bool, Unwritten::Bool(true), ours();
    }
}

options! {
    /// `auth.sasl_external_common_name`.
    CommonName {
        /// Put before the common name.
        prefix: String = Kind::Text, Unwritten::Text("");
        /// Put behind the common name.
        suffix: String = Kind::Text, Unwritten::Text("");
    }
}

options! {
    /// `[auth.internal]`: it has no options.
    Internal {}
}

options! {
    /// `[auth.anonymous]`.
    Anonymous {
        /// Whether one anonymous name may have several sessions (login_anon only).
        allow_multiple_connections: bool = Kind::Bool, Unwritten::Bool(false);
        /// Who may come in: by ANONYMOUS, by any name and password, or both.
        protocol: AnonymousProtocol = Kind::OneOf(AnonymousProtocol::WORDS),
            Unwritten::Text("sasl_anon");
        /// Where a cluster keeps the list of anonymous users.
        backend: String = Kind::OneOf(&["mnesia", "cets"]), Unwritten::Text("mnesia");
    }
}

options! {
    /// `[auth.rdbms]`.
    Rdbms {
        /// Estimate the number of accounts instead of counting them.
        users_number_estimate: bool = Kind::Bool, Unwritten::Bool(false);
    }
}

options! {
    /// `[auth.external]`.
    External {
        /// How many of the program run.
        instances: u32 = Kind::COUNT, Unwritten::Int(1);
        /// Command line of the program.
        program: String = Kind::Name, Unwritten::Required;
    }
}

options! {
    /// `[auth.ldap]`.
    Ldap {
        /// Tag of the outgoing pool for searches.
        pool_tag: String = Kind::Name, Unwritten::Text("default");
        /// Tag of the outgoing pool for binds.
        bind_pool_tag: String = Kind::Name, Unwritten::Text("bind");
        /// Where the search starts.
        base: String = Kind::Text, Unwritten::Text("");
        /// Whether aliases are followed.
        deref: String = Kind::OneOf(&["never", "always", "finding", "searching"]),
            Unwritten::Text("never");
        /// Attributes that hold the user name.
        uids: () = Kind::List(&Kind::Section(&Uid::SCHEMA), Repeats::Allowed), Unwritten::Empty;
        /// Filter of the search.
        filter: Option<String> = Kind::Name, Unwritten::Unset("none");
        /// Filter by what was found.
        dn_filter: Option<DnFilter> = Kind::Section(&DnFilter::SCHEMA), Unwritten::Unset("none");
        /// Filter by the user's own attributes.
        local_filter: Option<LocalFilter> = Kind::Section(&LocalFilter::SCHEMA),
            Unwritten::Unset("none");
    }
}

options! {
    /// One element of `auth.ldap.uids`.
    Uid {
        /// Attribute.
        attr: String = Kind::Name, Unwritten::Required;
        /// Pattern with %u for the user name.
        format: Option<String> = Kind::Name, Unwritten::Unset("the whole value");
    }
}

options! {
    /// `auth.ldap.dn_filter`.
    DnFilter {
        /// Filter.
        filter: String = Kind::Name, Unwritten::Required;
        /// Attributes.
        attributes: Vec<String> = Kind::List(&Kind::Name, Repeats::Allowed), Unwritten::Empty;
    }
}

options! {
    /// `auth.ldap.local_filter`.
    LocalFilter {
        /// Whether it must or must not match.
        operation: String = Kind::OneOf(&["equal", "notequal"]), Unwritten::Required;
        /// Attribute.
        attribute: String = Kind::Name, Unwritten::Required;
        /// Values.
        values: Vec<String> = Kind::List(&Kind::Name, Repeats::Allowed), Unwritten::Required;
    }
}

options! {
    /// `[auth.jwt]`.
    Jwt {
        /// Where the key comes from: exactly one of the three.
        secret: JwtSecret = Kind::Section(&JwtSecret::SCHEMA), Unwritten::Required;
        /// Signature algorithm.
        algorithm: String = Kind::OneOf(&[
            "HS256", "RS256", "ES256", "HS384", "RS384", "ES384", "HS512", "RS512", "ES512",
        ]), Unwritten::Required;
        /// Claim that holds the user name.
        username_key: String = Kind::Name, Unwritten::Required;
    }
}

options! {
    /// `auth.jwt.secret`.
    JwtSecret {
        /// A file that holds the key.
        file: Option<Sited<String>> = Kind::Readable, Unwritten::Unset("");
        /// An environment variable that holds the key.
        env: Option<String> = Kind::Name, Unwritten::Unset("");
        /// The key itself.
        value: Option<Secret> = Kind::Name, Unwritten::Unset("");
    }
}

options! {
    /// `[auth.http]`.
    Http {
        /// "user:password" for the service.
        basic_auth: Option<Secret> = Kind::Text, Unwritten::Unset("none");
    }
}

options! {
    /// `[auth.pki]`: it has no options.
    Pki {}
}

options! {
    /// `[auth.dummy]`.
    Dummy {
        /// Milliseconds every login takes.
        base_time: u32 = Kind::MILLIS, Unwritten::Int(50);
        /// Milliseconds a login may take beyond that, at random.
        variance: u32 = Kind::MILLIS_FROM_1, Unwritten::Int(450);
    }
}

impl Auth {
    /// The configured methods, in the order in which they are asked.
    #[must_use]
    pub fn enabled(&self) -> Vec<Method> {
        match &self.methods {
            Some(methods) => methods.iter().map(|method| method.value).collect(),
            None => self.sections(),
        }
    }

    /// Whether any method is on that this version has.
    #[must_use]
    pub fn lets_in(&self) -> bool {
        let served = [Method::Internal, Method::Anonymous];
        self.enabled().iter().any(|method| served.contains(method))
    }

    /// Rounds of new SCRAM keys, whichever of the two names was used.
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.scram_iterations
            .as_ref()
            .unwrap_or(&self.password.scram_iterations)
            .value
    }

    /// Mechanisms that may be offered, the preferred first.
    #[must_use]
    pub fn mechanisms(&self) -> &[Mechanism] {
        self.sasl_mechanisms
            .as_deref()
            .unwrap_or(Mechanism::UNWRITTEN)
    }

    /// Methods that have a section, in the alphabetical order in which they are then asked.
    fn sections(&self) -> Vec<Method> {
        let present = [
            (self.anonymous.is_some(), Method::Anonymous),
            (self.dummy.is_some(), Method::Dummy),
            (self.external.is_some(), Method::External),
            (self.http.is_some(), Method::Http),
            (self.internal.is_some(), Method::Internal),
            (self.jwt.is_some(), Method::Jwt),
            (self.ldap.is_some(), Method::Ldap),
            (self.pki.is_some(), Method::Pki),
            (self.rdbms.is_some(), Method::Rdbms),
        ];
        present
            .into_iter()
            .filter_map(|(present, method)| present.then_some(method))
            .collect()
    }

    /// The rules that look at more than one option of the section.
    pub(crate) fn check(&self, check: &mut Check<'_>) {
        let sections = self.sections();
        for method in self.methods.iter().flatten() {
            if !sections.contains(&method.value) {
                let word = method.value.word();
                let accepted = format!("expected a section [auth.{word}] too");
                check.error(&method.place, "this method has no section", &accepted);
            }
        }
        let inner = &self.password.scram_iterations;
        if let Some(outer) = &self.scram_iterations
            && inner.place.is_written()
        {
            let accepted = "only one of the two";
            check.error(
                &outer.place,
                "password.scram_iterations is written too",
                accepted,
            );
        }
        let iterations = self.scram_iterations.as_ref().unwrap_or(inner);
        if i64::from(iterations.value) < SCRAM_ITERATIONS_ADVISED {
            let text = format!(
                "fewer than {SCRAM_ITERATIONS_ADVISED} rounds (RFC 5802 section 5.1) make stolen \
                 keys cheap to guess"
            );
            check.notice(Level::Warning, &iterations.place, text);
        }
    }
}
