//! Passwords in, verdicts out.

use super::*;

const SALTS: Salts = [[1; SALT_BYTES], [2; SALT_BYTES], [3; SALT_BYTES]];

fn policy(format: PasswordFormat, hashes: &[Hash]) -> PasswordPolicy {
    PasswordPolicy {
        format,
        hashes: hashes.to_vec(),
        iterations: 3,
    }
}

fn scram() -> PasswordPolicy {
    policy(PasswordFormat::Scram, &HASHES)
}

fn decoys() -> Decoys {
    Decoys::new(&[9; 32])
}

fn romeo() -> AccountId {
    AccountId::from_prepared("romeo", "example.org")
}

fn verdict(check: Check) -> bool {
    match check {
        Check::Compute(work) => work.run(),
        Check::Decided(right) => right,
    }
}

#[test]
fn keys_are_made_for_the_configured_hashes_with_their_own_salts() {
    let stored = scram().credentials("pencil", &SALTS).expect("a password");
    let Credentials::Scram {
        sha1: Some(sha1),
        sha256: Some(sha256),
        sha512: Some(sha512),
    } = stored
    else {
        panic!("three hashes were asked for");
    };
    assert_eq!(
        [&*sha1.salt, &*sha256.salt, &*sha512.salt],
        SALTS.each_ref().map(|s| &s[..])
    );
    assert_eq!(
        [sha1.iterations, sha256.iterations, sha512.iterations],
        [3; 3]
    );

    let one = policy(PasswordFormat::Scram, &[Hash::Sha256]);
    let stored = one.credentials("pencil", &SALTS).expect("a password");
    assert!(matches!(
        stored,
        Credentials::Scram {
            sha1: None,
            sha256: Some(_),
            sha512: None
        }
    ));
}

#[test]
fn right_is_right_and_wrong_is_wrong_in_either_format() {
    for policy in [scram(), policy(PasswordFormat::Plain, &HASHES)] {
        let stored = policy.credentials("pencil", &SALTS).expect("a password");
        let check = |password| {
            verdict(check_password(
                &policy,
                &decoys(),
                &romeo(),
                Some(stored.clone()),
                password,
            ))
        };
        assert!(check("pencil"));
        for wrong in ["", "Pencil", "pencil ", "penci", "pencilx"] {
            assert!(!check(wrong), "{wrong:?} in {:?}", policy.format);
        }
        assert!(!check(&"x".repeat(PASSWORD_BYTES_MAX + 1)));
    }
}

#[test]
fn the_cheapest_keys_are_checked() {
    let stored = scram().credentials("pencil", &SALTS).expect("a password");
    let check = check_password(&scram(), &decoys(), &romeo(), Some(stored), "pencil");
    assert_eq!(format!("{check:?}"), "Compute(Work(Sha1, 3 rounds))");
    // Fewer rounds of a dearer hash can be cheaper.
    let sha1 = ScramKeys::derive(Hash::Sha1, "pencil", &SALTS[0], 1000).ok();
    let sha512 = ScramKeys::derive(Hash::Sha512, "pencil", &SALTS[2], 10).ok();
    let stored = Credentials::Scram {
        sha1,
        sha256: None,
        sha512,
    };
    let check = check_password(&scram(), &decoys(), &romeo(), Some(stored), "pencil");
    assert_eq!(format!("{check:?}"), "Compute(Work(Sha512, 10 rounds))");
    assert!(verdict(check));
}

#[test]
fn an_unknown_user_costs_what_a_wrong_password_costs() {
    let stored = scram().credentials("pencil", &SALTS).expect("a password");
    let wrong = check_password(&scram(), &decoys(), &romeo(), Some(stored), "guess");
    let unknown = check_password(&scram(), &decoys(), &romeo(), None, "guess");
    assert_eq!(format!("{wrong:?}"), format!("{unknown:?}"));
    assert!(!verdict(unknown));
    let plain = policy(PasswordFormat::Plain, &HASHES);
    let unknown = check_password(&plain, &decoys(), &romeo(), None, "guess");
    assert!(matches!(unknown, Check::Decided(false)));
    let no_keys = Credentials::Scram {
        sha1: None,
        sha256: None,
        sha512: None,
    };
    let check = check_password(&scram(), &decoys(), &romeo(), Some(no_keys), "guess");
    assert!(!verdict(check));
}

#[test]
fn scram_starts_alike_for_everybody() {
    let stored = scram().credentials("pencil", &SALTS).expect("a password");
    let start = |stored, hash| start_scram(&scram(), &decoys(), &romeo(), stored, hash);
    let ScramStart::Ready(keys) = start(Some(stored), Hash::Sha256) else {
        panic!("stored")
    };
    assert!(keys.verify_password(Hash::Sha256, "pencil"));
    let ScramStart::Ready(decoy) = start(None, Hash::Sha256) else {
        panic!("a decoy")
    };
    assert_eq!(
        (decoy.salt.len(), decoy.iterations),
        (keys.salt.len(), keys.iterations)
    );
    assert!(!decoy.verify_password(Hash::Sha256, "pencil"));
    // Stored as it is: the same salt at each attempt.
    let plain = || Some(Credentials::Plain(Secret::new("pencil")));
    let ScramStart::Derive(work) = start(plain(), Hash::Sha512) else {
        panic!("to be derived")
    };
    let keys = work.run().expect("prepared");
    assert!(keys.verify_password(Hash::Sha512, "pencil"));
    let ScramStart::Derive(again) = start(plain(), Hash::Sha512) else {
        panic!("to be derived")
    };
    assert_eq!(again.run().expect("prepared").salt, keys.salt);
    // No keys of that hash: a decoy, like a name that is unknown.
    let sha1_only = policy(PasswordFormat::Scram, &[Hash::Sha1]).credentials("pencil", &SALTS);
    assert!(matches!(
        start(sha1_only.ok(), Hash::Sha256),
        ScramStart::Ready(_)
    ));
}

#[test]
fn what_cannot_be_a_password_is_refused_in_either_format() {
    for policy in [scram(), policy(PasswordFormat::Plain, &HASHES)] {
        let refused = |password: &str| policy.credentials(password, &SALTS).err();
        assert_eq!(refused(""), Some(PasswordError::Empty));
        assert_eq!(
            refused(&"x".repeat(PASSWORD_BYTES_MAX + 1)),
            Some(PasswordError::TooLong)
        );
        // A soft hyphen is mapped to nothing.
        assert_eq!(refused("\u{ad}"), Some(PasswordError::Empty));
        assert_eq!(refused("bell\u{7}"), Some(PasswordError::Prohibited));
        assert_eq!(refused(&"x".repeat(PASSWORD_BYTES_MAX)), None);
    }
}

#[test]
fn nothing_secret_is_printed() {
    for policy in [scram(), policy(PasswordFormat::Plain, &HASHES)] {
        let stored = policy.credentials("pencil", &SALTS).expect("a password");
        let create = crate::store::Request::Create {
            id: romeo(),
            credentials: stored.clone(),
            created_at: 0,
        };
        let printed = format!("{create:?}");
        assert!(!printed.contains("pencil"), "{printed}");
        let check = check_password(&policy, &decoys(), &romeo(), Some(stored.clone()), "pencil");
        assert!(!format!("{check:?}").contains("pencil"));
        let start = start_scram(&policy, &decoys(), &romeo(), Some(stored), Hash::Sha1);
        assert!(!format!("{start:?}").contains("pencil"));
    }
}
