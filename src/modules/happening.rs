//! What modules count, by the host whose user it is about.

/// Something that happens now and then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Happening {
    /// A session opened.
    Login,
    /// A session ended.
    Logout,
    /// A login was refused.
    LoginFailed,
    /// A message went back because its recipient is not here.
    MessageBounced,
    /// A stanza for a domain that nobody serves.
    NoRoute,
    /// A roster was asked for.
    RosterRead,
    /// A roster was changed by its owner.
    RosterChanged,
    /// A session was told of a change.
    RosterPushed,
    /// A contact lets its presence be seen.
    Subscribed,
    /// A contact does not, or no longer.
    Unsubscribed,
    /// An account was made.
    Registered,
    /// An account was removed.
    Unregistered,
}

impl Happening {
    /// How many there are.
    pub const COUNT: usize = Self::Unregistered as usize + 1;
}
