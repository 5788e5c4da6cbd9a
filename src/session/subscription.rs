//! RFC 6121, appendix A: the states of a subscription between a user and a contact, as functions of
//! a state and a stanza.
//!
//! A state is what one side knows. The nine states of the appendix are combinations of four facts;
//! pre-approval (section 3.4) is a fifth. Who carries a change out is `modules::subscription`.

/// What is known about the subscriptions between a user and one contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The user sees the contact's presence.
    pub to: bool,
    /// The contact sees the user's presence.
    pub from: bool,
    /// The user has asked to see the contact's presence ("Pending Out").
    pub asked: bool,
    /// The contact has asked to see the user's presence ("Pending In").
    pub wanted: bool,
    /// The user has said yes before being asked.
    pub approved: bool,
}

/// The four stanzas that change subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Asks.
    Subscribe,
    /// Grants.
    Subscribed,
    /// Wants it no longer.
    Unsubscribe,
    /// Denies, or takes back.
    Unsubscribed,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Subscribe,
        Self::Subscribed,
        Self::Unsubscribe,
        Self::Unsubscribed,
    ];

    /// The value of `type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Subscribed => "subscribed",
            Self::Unsubscribe => "unsubscribe",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

impl State {
    /// The value of `subscription` in a roster.
    pub fn name(self) -> &'static str {
        match (self.from, self.to) {
            (false, false) => "none",
            (false, true) => "to",
            (true, false) => "from",
            (true, true) => "both",
        }
    }

    /// What ends all that there is, in the order in which the contact is told.
    pub fn farewell(self) -> impl Iterator<Item = Verb> {
        let unsubscribe = (self.to || self.asked).then_some(Verb::Unsubscribe);
        let unsubscribed = (self.from || self.wanted).then_some(Verb::Unsubscribed);
        unsubscribe.into_iter().chain(unsubscribed)
    }

    /// Section A.2: the user sends; the state after that, and whether the stanza goes on to the
    /// contact.
    pub fn sent(self, verb: Verb) -> (Self, bool) {
        let mut next = self;
        let goes = match verb {
            Verb::Subscribe => {
                next.asked |= !self.to;
                true
            }
            Verb::Unsubscribe => {
                (next.to, next.asked) = (false, false);
                true
            }
            Verb::Subscribed => {
                next.from |= self.wanted;
                next.wanted = false;
                // Section 3.4.2: nobody has asked, so it is for the day when somebody does.
                next.approved |= !self.wanted && !self.from;
                self.wanted
            }
            Verb::Unsubscribed => {
                (next.from, next.wanted, next.approved) = (false, false, false);
                self.from || self.wanted
            }
        };
        (next, goes)
    }

    /// Section A.3: the contact has sent; the state after that, and whether the user is to see the
    /// stanza. That a granted wish is answered at once is the caller's, who sees it in the states.
    pub fn received(self, verb: Verb) -> (Self, bool) {
        let mut next = self;
        let seen = match verb {
            Verb::Subscribe if self.from => false,
            Verb::Subscribe if self.approved => {
                (next.from, next.wanted, next.approved) = (true, false, false);
                false
            }
            Verb::Subscribe => {
                next.wanted = true;
                !self.wanted
            }
            Verb::Unsubscribe => {
                (next.from, next.wanted) = (false, false);
                self.from || self.wanted
            }
            Verb::Subscribed => {
                next.to |= self.asked;
                next.asked = false;
                self.asked
            }
            Verb::Unsubscribed => {
                (next.to, next.asked) = (false, false);
                self.to || self.asked
            }
        };
        (next, seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state in the words of the appendix, shortened: n(one) t(o) f(rom) b(oth), o: pending out,
    /// i: pending in, a: approved.
    fn state(text: &str) -> State {
        let has = |letter| text.contains(letter);
        State {
            to: has('t') || has('b'),
            from: has('f') || has('b'),
            asked: has('o'),
            wanted: has('i'),
            approved: has('a'),
        }
    }

    /// The nine states, in the order of the appendix.
    const STATES: [&str; 9] = ["n", "no", "ni", "noi", "t", "ti", "f", "fo", "b"];

    /// For each state: "y" or "-" for whether it goes on, and the state after it.
    type Row = (Verb, [&'static str; 9]);

    #[test]
    fn appendix_a2_outbound() {
        let rows: [Row; 4] = [
            (
                Verb::Subscribe,
                [
                    "y no", "y no", "y noi", "y noi", "y t", "y ti", "y fo", "y fo", "y b",
                ],
            ),
            (
                Verb::Unsubscribe,
                [
                    "y n", "y n", "y ni", "y ni", "y n", "y ni", "y f", "y f", "y f",
                ],
            ),
            (
                Verb::Subscribed,
                [
                    "- na", "- noa", "y f", "y fo", "- ta", "y b", "- f", "- fo", "- b",
                ],
            ),
            (
                Verb::Unsubscribed,
                [
                    "- n", "- no", "y n", "y no", "- t", "y t", "y n", "y no", "y t",
                ],
            ),
        ];
        for (verb, row) in rows {
            for (before, expected) in STATES.iter().zip(row) {
                let (goes, after) = expected.split_once(' ').expect("two words");
                let got = state(before).sent(verb);
                assert_eq!(got, (state(after), goes == "y"), "{before} {verb:?}");
            }
        }
    }

    #[test]
    fn appendix_a3_inbound() {
        let rows: [Row; 4] = [
            (
                Verb::Subscribe,
                [
                    "y ni", "y noi", "- ni", "- noi", "y ti", "- ti", "- f", "- fo", "- b",
                ],
            ),
            (
                Verb::Unsubscribe,
                [
                    "- n", "- no", "y n", "y no", "- t", "y t", "y n", "y no", "y t",
                ],
            ),
            (
                Verb::Subscribed,
                [
                    "- n", "y t", "- ni", "y ti", "- t", "- ti", "- f", "y b", "- b",
                ],
            ),
            (
                Verb::Unsubscribed,
                [
                    "- n", "y n", "- ni", "y ni", "y n", "y ni", "- f", "y f", "y f",
                ],
            ),
        ];
        for (verb, row) in rows {
            for (before, expected) in STATES.iter().zip(row) {
                let (seen, after) = expected.split_once(' ').expect("two words");
                let got = state(before).received(verb);
                assert_eq!(got, (state(after), seen == "y"), "{before} {verb:?}");
            }
        }
    }

    #[test]
    fn section_3_4_pre_approval() {
        for before in ["na", "noa", "ta"] {
            let (after, seen) = state(before).received(Verb::Subscribe);
            assert!(
                after.from && !after.wanted && !after.approved && !seen,
                "{before}"
            );
            let (after, goes) = state(before).sent(Verb::Unsubscribed);
            assert!(!after.approved && !goes, "{before}");
        }
    }

    #[test]
    fn no_state_contradicts_itself() {
        let consistent = |s: State| {
            !(s.to && s.asked || s.from && s.wanted || s.approved && (s.from || s.wanted))
        };
        let mut reached = vec![State::default()];
        let mut at = 0;
        while let Some(before) = reached.get(at).copied() {
            for verb in Verb::ALL {
                for after in [before.sent(verb).0, before.received(verb).0] {
                    assert!(consistent(after), "{before:?} {verb:?} {after:?}");
                    if !reached.contains(&after) {
                        reached.push(after);
                    }
                }
            }
            at += 1;
        }
        assert_eq!(reached.len(), 12, "nine states, three of them pre-approved");
    }
}
