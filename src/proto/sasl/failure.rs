//! Why a login failed, as the client is told.

/// The conditions of RFC 6120 section 6.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// 6.5.1: the client gave up.
    Aborted,
    /// 6.5.2: the account exists and may not be used for now.
    AccountDisabled,
    /// 6.5.3: the password has to be changed first.
    CredentialsExpired,
    /// 6.5.4: this mechanism only over TLS.
    EncryptionRequired,
    /// 6.5.5: not base64.
    IncorrectEncoding,
    /// 6.5.6: logging in as somebody else.
    InvalidAuthzid,
    /// 6.5.7: a mechanism that was not offered.
    InvalidMechanism,
    /// 6.5.8: the data breaks the grammar of the mechanism.
    MalformedRequest,
    /// 6.5.9: the mechanism is too weak for this account.
    MechanismTooWeak,
    /// 6.5.10: wrong password or no such user, which is never told apart.
    NotAuthorized,
    /// 6.5.11: ours, and worth another try.
    TemporaryAuthFailure,
}

impl Failure {
    /// Every condition, in the order of the RFC.
    pub const ALL: [Self; 11] = [
        Self::Aborted,
        Self::AccountDisabled,
        Self::CredentialsExpired,
        Self::EncryptionRequired,
        Self::IncorrectEncoding,
        Self::InvalidAuthzid,
        Self::InvalidMechanism,
        Self::MalformedRequest,
        Self::MechanismTooWeak,
        Self::NotAuthorized,
        Self::TemporaryAuthFailure,
    ];

    /// The name of the element inside `<failure/>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::AccountDisabled => "account-disabled",
            Self::CredentialsExpired => "credentials-expired",
            Self::EncryptionRequired => "encryption-required",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::MechanismTooWeak => "mechanism-too-weak",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}
