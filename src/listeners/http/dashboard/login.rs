//! Who may look at a dashboard: its login, and the cookie that remembers it.
//!
//! The cookie holds when it ends, in which round of logins it was made, and a code over both that only
//! this process can make; so every shard can tell a good one without asking another. Signing out
//! begins a new round, which ends all of them. docs/decisions/0075 says why there is no HTTP Basic.

use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use aws_lc_rs::hmac;

use crate::base::address_pauses::AddressPauses;
use crate::listeners::shard::hex;

/// How long a login holds, in seconds: a working day and some.
pub const LOGIN_S: u64 = 12 * 3600;
/// After a wrong password its client address waits so long before the next is looked at, in
/// milliseconds: 28,800 guesses a day.
pub const PAUSE_MS: u64 = 3_000;
/// Name of the cookie.
pub const COOKIE: &str = "meerkat_dashboard";

/// One dashboard's login. Lives on: every shard (in the settings).
#[derive(Debug)]
pub struct Login {
    /// Where the dashboard is, without a slash at its end.
    pub path: Box<str>,
    key: hmac::Key,
    right: hmac::Tag,
    round: AtomicU64,
    pauses: AddressPauses,
}

/// A login that holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pass {
    /// When it ends, in seconds since 1970.
    pub ends: u64,
    round: u64,
}

/// How an attempt ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Attempt {
    /// The cookie's value.
    Right(String),
    /// Name or password is wrong.
    Wrong,
    /// Not looked at: the last wrong one was just now.
    TooSoon,
}

impl Login {
    /// `random` is the key of this process.
    pub fn new(path: &str, (username, password): (&str, &str), random: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, random);
        let right = hmac::sign(&key, &credentials(username, password));
        Self {
            path: path.trim_end_matches('/').into(),
            key,
            right,
            round: AtomicU64::new(0),
            pauses: AddressPauses::new(RandomState::new()),
        }
    }

    /// Somebody tries to log in. What is compared are codes over name and password, in constant time,
    /// so the time taken tells nothing about either.
    pub fn attempt(
        &self,
        (username, password): (&str, &str),
        address: IpAddr,
        (now_ms, unix_s): (u64, u64),
    ) -> Attempt {
        if !self.pauses.begin(address, now_ms, PAUSE_MS) {
            return Attempt::TooSoon;
        }
        let given = credentials(username, password);
        if hmac::verify(&self.key, &given, self.right.as_ref()).is_err() {
            return Attempt::Wrong;
        }
        self.pauses.shorten(address, now_ms);
        Attempt::Right(self.cookie(unix_s + LOGIN_S))
    }

    fn cookie(&self, ends: u64) -> String {
        let claim = format!("{ends}.{}", self.round.load(Ordering::Acquire));
        let code = hmac::sign(&self.key, self.subject("login", &claim).as_bytes());
        format!("{claim}.{}", hex(code.as_ref()))
    }

    /// What a code is over: codes for one use are none for another.
    fn subject(&self, word: &str, claim: &str) -> String {
        format!("{word} {} {claim}", self.path)
    }

    /// The login that a `Cookie` header tells of, if it holds.
    pub fn pass(&self, header: &str, unix_s: u64) -> Option<Pass> {
        let mut pairs = header.split(';').map(str::trim);
        let value = pairs.find_map(|pair| pair.strip_prefix(COOKIE)?.strip_prefix('='))?;
        let (claim, code) = value.rsplit_once('.')?;
        let code = unhex(code)?;
        let subject = self.subject("login", claim);
        hmac::verify(&self.key, subject.as_bytes(), &code).ok()?;
        let (ends, round) = claim.split_once('.')?;
        let pass = Pass {
            ends: ends.parse().ok()?,
            round: round.parse().ok()?,
        };
        self.holds(pass, unix_s).then_some(pass)
    }

    /// The login has not ended meanwhile.
    pub fn holds(&self, pass: Pass, unix_s: u64) -> bool {
        unix_s < pass.ends && pass.round == self.round.load(Ordering::Acquire)
    }

    /// What a page of this login shows with everything that changes something; a page of another
    /// origin cannot read it.
    pub fn token(&self, pass: Pass) -> String {
        let claim = format!("{}.{}", pass.ends, pass.round);
        let code = hmac::sign(&self.key, self.subject("change", &claim).as_bytes());
        hex(code.as_ref())
    }

    /// Whether a page has shown it.
    pub fn is_token(&self, pass: Pass, token: &str) -> bool {
        let claim = format!("{}.{}", pass.ends, pass.round);
        let subject = self.subject("change", &claim);
        unhex(token).is_some_and(|code| hmac::verify(&self.key, subject.as_bytes(), &code).is_ok())
    }

    /// Ends every login of this dashboard.
    pub fn sign_out(&self) {
        self.round.fetch_add(1, Ordering::AcqRel);
    }
}

/// Name and password in a form in which no other pair looks the same.
fn credentials(username: &str, password: &str) -> Vec<u8> {
    let mut bytes = (username.len() as u64).to_be_bytes().to_vec();
    bytes.extend_from_slice(username.as_bytes());
    bytes.extend_from_slice(password.as_bytes());
    bytes
}

/// What `hex` wrote, and no other way of writing the same.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_392_000;

    fn login() -> Login {
        Login::new("/dashboard/", ("admin", "secret"), &[7; 32])
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn cookie(login: &Login) -> String {
        let attempt = login.attempt(("admin", "secret"), address(1), (0, NOW));
        let Attempt::Right(value) = attempt else {
            panic!("{attempt:?}")
        };
        format!("a=b; {COOKIE}={value}")
    }

    #[test]
    fn a_cookie_holds_until_it_ends_or_somebody_signs_out() {
        let login = login();
        let cookie = cookie(&login);
        let pass = login.pass(&cookie, NOW).expect("it holds");
        assert_eq!(login.pass(&cookie, NOW + LOGIN_S), None);
        let token = login.token(pass);
        assert!(login.is_token(pass, &token));
        login.sign_out();
        assert_eq!(login.pass(&cookie, NOW), None);
        assert!(!login.holds(pass, NOW));
    }

    #[test]
    fn nothing_else_is_a_login() {
        let login = login();
        let cookie = cookie(&login);
        let other = Login::new("/other", ("admin", "secret"), &[7; 32]);
        assert_eq!(other.pass(&cookie, NOW), None, "of another dashboard");
        let restarted = Login::new("/dashboard", ("admin", "secret"), &[8; 32]);
        assert_eq!(restarted.pass(&cookie, NOW), None, "of another process");
        let pass = login.pass(&cookie, NOW).expect("it holds");
        // Every bit of name, claim and code counts; what stands before it is another cookie.
        let begins = cookie.find(COOKIE).expect("the name");
        for at in begins..cookie.len() {
            for bit in 0..8 {
                let mut bytes = cookie.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(text) = String::from_utf8(bytes) else {
                    continue;
                };
                assert_eq!(
                    login.pass(&text, NOW),
                    None,
                    "bit {bit} of byte {at}: {text}"
                );
            }
        }
        for cut in begins..cookie.len() {
            assert_eq!(login.pass(&cookie[..cut], NOW), None, "cut at {cut}");
        }
        assert_eq!(login.pass(&format!("{cookie}00"), NOW), None, "longer");
        for bad in ["", "x", "0.0.", "1.0.zz", "1", "9999999999.0.00"] {
            assert_eq!(login.pass(&format!("{COOKIE}={bad}"), NOW), None, "{bad}");
        }
        let value = cookie.rsplit('.').next().expect("a code");
        assert!(!login.is_token(pass, value), "a code for another use");
        assert!(!login.is_token(pass, "") && !login.is_token(pass, "é0"));
    }

    #[test]
    fn wrong_passwords_wait_for_their_address() {
        let login = login();
        let try_it = |user, password, last, now_ms| {
            login.attempt((user, password), address(last), (now_ms, NOW))
        };
        assert_eq!(try_it("admin", "wrong", 1, 1_000), Attempt::Wrong);
        assert_eq!(try_it("admin", "secret", 1, 3_999), Attempt::TooSoon);
        assert!(matches!(
            try_it("admin", "secret", 2, 3_999),
            Attempt::Right(_)
        ));
        assert_eq!(try_it("admins", "ecret", 1, 4_000), Attempt::Wrong);
        assert!(matches!(
            try_it("admin", "secret", 1, 7_000),
            Attempt::Right(_)
        ));
        assert!(matches!(
            try_it("admin", "secret", 1, 7_000),
            Attempt::Right(_)
        ));
    }
}
