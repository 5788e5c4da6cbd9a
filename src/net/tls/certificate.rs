//! What is told of a certificate: whose it is, for which names, until when.

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::X509Certificate;

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// The facts of one certificate, for logs, warnings and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Subject, as a distinguished name.
    pub subject: String,
    /// Issuer, as a distinguished name.
    pub issuer: String,
    /// The DNS names it is for (subjectAltName).
    pub dns_names: Vec<String>,
    /// First second of its validity, Unix time.
    pub not_before: i64,
    /// Last second of its validity, Unix time.
    pub not_after: i64,
}

impl CertificateInfo {
    /// Reads a DER certificate; `None` where it is not one.
    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(der).ok()?;
        Some(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            dns_names: dns_names(&parsed),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }

    /// Whole days until it expires at `now`; negative once it has.
    pub fn days_left(&self, now: SystemTime) -> i64 {
        (self.not_after - unix_seconds(now)).div_euclid(SECONDS_PER_DAY)
    }

    /// Whether its validity has begun at `now`.
    pub fn has_begun(&self, now: SystemTime) -> bool {
        self.not_before <= unix_seconds(now)
    }
}

/// Seconds since 1970, as certificates count; a clock before that counts as 1970.
pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        // Only DNS names are matched with hosts.
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns).collect()
}
