//! Offers as tables: configuration and connection in, mechanisms out.

use super::*;
use crate::auth::password::HASHES;

fn rules() -> AuthRules {
    AuthRules {
        internal: true,
        anonymous: false,
        any_login: false,
        password: PasswordPolicy {
            format: PasswordFormat::Scram,
            hashes: HASHES.to_vec(),
            iterations: 10_000,
        },
        remembers_verified: true,
        order: Configured::UNWRITTEN
            .iter()
            .filter_map(|name| known(*name))
            .collect(),
        plain_without_tls: None,
    }
}

const TLS: Channel = Channel {
    tls: true,
    socket_peer_is_loopback: false,
    bound_to_loopback: false,
    proxy_protocol: false,
    http: false,
};

const LOCAL: Channel = Channel {
    tls: false,
    socket_peer_is_loopback: true,
    bound_to_loopback: true,
    ..TLS
};

fn names(rules: &AuthRules, channel: &Channel) -> Vec<Mechanism> {
    rules.offer(channel).mechanisms
}

#[test]
fn the_strongest_comes_first_and_accounts_only_where_they_count() {
    use Mechanism::*;
    assert_eq!(
        names(&rules(), &TLS),
        [ScramSha512, ScramSha256, ScramSha1, Plain]
    );
    let anonymous = AuthRules {
        internal: false,
        anonymous: true,
        ..rules()
    };
    assert_eq!(names(&anonymous, &TLS), [Anonymous]);
    let any_login = AuthRules {
        internal: false,
        any_login: true,
        ..rules()
    };
    assert_eq!(names(&any_login, &TLS), [Plain]);
    let nobody = AuthRules {
        internal: false,
        ..rules()
    };
    assert_eq!(names(&nobody, &TLS), []);
    assert_eq!(nobody.offer(&LOCAL).plain_withheld, None);
}

#[test]
fn the_operators_order_and_hashes_hold() {
    use Mechanism::*;
    let ordered = AuthRules {
        order: vec![Plain, ScramSha1],
        ..rules()
    };
    assert_eq!(names(&ordered, &TLS), [Plain, ScramSha1]);
    let mut sha256 = rules();
    sha256.password.hashes = vec![Hash::Sha256];
    assert_eq!(names(&sha256, &TLS), [ScramSha256, Plain]);
    // Every key can be made from a password that is stored as it is.
    sha256.password.format = PasswordFormat::Plain;
    assert_eq!(
        names(&sha256, &TLS),
        [ScramSha512, ScramSha256, ScramSha1, Plain]
    );
}

#[test]
fn plain_without_tls_needs_two_loopback_ends_or_the_operators_word() {
    let off = [
        Channel {
            socket_peer_is_loopback: false,
            ..LOCAL
        },
        Channel {
            bound_to_loopback: false,
            ..LOCAL
        },
        Channel {
            proxy_protocol: true,
            ..LOCAL
        },
        Channel {
            http: true,
            ..LOCAL
        },
    ];
    assert!(names(&rules(), &LOCAL).contains(&Mechanism::Plain));
    let refused = AuthRules {
        plain_without_tls: Some(false),
        ..rules()
    };
    let allowed = AuthRules {
        plain_without_tls: Some(true),
        ..rules()
    };
    for channel in &off {
        let offer = rules().offer(channel);
        assert!(!offer.mechanisms.contains(&Mechanism::Plain));
        assert_eq!(offer.plain_withheld, Some(PlainWithheld::NotLocal));
        assert!(names(&allowed, channel).contains(&Mechanism::Plain));
    }
    assert_eq!(
        refused.offer(&LOCAL).plain_withheld,
        Some(PlainWithheld::Refused)
    );
    assert!(names(&refused, &TLS).contains(&Mechanism::Plain));
    // Nothing to explain where PLAIN was not asked for.
    let without = AuthRules {
        order: vec![Mechanism::ScramSha1],
        ..rules()
    };
    assert_eq!(without.offer(&off[0]).plain_withheld, None);
}
