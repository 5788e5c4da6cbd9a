//! What a first start makes, so that a server serves without a file edited: a self-signed
//! certificate for its hosts, and secrets of its own.
//!
//! Nothing that exists is replaced. The key is written before the certificate, and a key without a
//! certificate gets one: an interrupted first start is finished by the next.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::PKCS_ECDSA_P256_SHA256;

use crate::base::data_dir;

/// How long the certificate is valid: nobody renews what made itself, and nobody trusts it by its
/// date.
const VALIDITY: Duration = Duration::from_secs(3650 * 24 * 3600);
/// It starts this much in the past, for clients whose clock is behind.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// The same as text.
const SECRET_CHARACTERS: usize = 43;
/// Always among the names: the tools on this machine connect to it.
const LOCAL_NAME: &str = "localhost";

/// What [`certificate`] found or did, for the text at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateFound {
    /// Both files were there; neither was looked into.
    Existing,
    /// A self-signed certificate was made now.
    Made(MadeCertificate),
}

/// A self-signed certificate made by this start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeCertificate {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The file of its key, 0600.
    pub key: PathBuf,
    /// The names it is valid for, in the form of DNS.
    pub names: Vec<String>,
}

/// Why something could not be made.
#[derive(Debug)]
pub enum FirstStartError {
    /// There is a certificate but not its key.
    KeyMissing {
        /// The certificate's file.
        certificate: PathBuf,
        /// Where the key was expected.
        key: PathBuf,
    },
    /// Writing or reading a file failed.
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// A library refused a name, a key or to give random bytes.
    Refused {
        /// Its reason, with the name or file.
        reason: String,
    },
    /// The file should hold a secret and holds something else.
    SecretDamaged {
        /// Which.
        path: PathBuf,
    },
}

impl fmt::Display for FirstStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyMissing { certificate, key } => write!(
                f,
                "there is a certificate {} but no key {}; put its key there, or move the \
                 certificate away to get a new self-signed pair",
                certificate.display(),
                key.display()
            ),
            Self::File { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Refused { reason } => f.write_str(reason),
            Self::SecretDamaged { path } => write!(
                f,
                "{} does not hold a secret of {SECRET_CHARACTERS} characters; remove it to get a \
                 new one",
                path.display()
            ),
        }
    }
}

impl std::error::Error for FirstStartError {}

/// Makes a self-signed certificate (ECDSA P-256) for `hosts` and `localhost` where its file is
/// missing. The folders of both files are made too, private. `now` is the wall clock.
pub fn certificate(
    certificate: &Path,
    key: &Path,
    hosts: &[&str],
    now: SystemTime,
) -> Result<CertificateFound, FirstStartError> {
    match (exists(certificate)?, exists(key)?) {
        (true, true) => return Ok(CertificateFound::Existing),
        (true, false) => {
            return Err(FirstStartError::KeyMissing {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            });
        }
        (false, _) => {}
    }
    for path in [certificate, key] {
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            data_dir::make_folder(folder).map_err(|reason| file_error(folder, reason))?;
        }
    }
    let pair = key_pair(key)?;
    let (names, pem) = self_signed(&pair, hosts, now)?;
    write_new(certificate, pem.as_bytes())?;
    Ok(CertificateFound::Made(MadeCertificate {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        names,
    }))
}

/// The key of that file, made and written where it is missing. Another process that starts at the
/// same moment may write it first: then that one counts.
fn key_pair(path: &Path) -> Result<KeyPair, FirstStartError> {
    if !exists(path)? {
        let pair =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| not_made(&error))?;
        write_new(path, pair.serialize_pem().as_bytes())?;
    }
    let pem = fs::read_to_string(path).map_err(|reason| file_error(path, reason))?;
    KeyPair::from_pem(&pem).map_err(|error| FirstStartError::Refused {
        reason: format!("the key in {}: {error}", path.display()),
    })
}

/// The random secret in a file of its own, 0600, made where it is missing: 43 characters of base64url
/// (RFC 4648 section 5). Two that start at once get the same.
pub fn secret(path: &Path) -> Result<String, FirstStartError> {
    if !exists(path)? {
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            data_dir::make_folder(folder).map_err(|reason| file_error(folder, reason))?;
        }
        let mut random = [0; SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| FirstStartError::Refused {
            reason: "the system gives no random bytes".to_owned(),
        })?;
        write_new(
            path,
            format!("{}\n", URL_SAFE_NO_PAD.encode(random)).as_bytes(),
        )?;
    }
    let text = fs::read_to_string(path).map_err(|reason| file_error(path, reason))?;
    let secret = text.trim_end();
    if secret.len() != SECRET_CHARACTERS || !secret.is_ascii() {
        return Err(FirstStartError::SecretDamaged {
            path: path.to_owned(),
        });
    }
    Ok(secret.to_owned())
}

/// The names and the certificate as PEM.
fn self_signed(
    pair: &KeyPair,
    hosts: &[&str],
    now: SystemTime,
) -> Result<(Vec<String>, String), FirstStartError> {
    let mut names: Vec<String> = Vec::new();
    for host in hosts.iter().chain(&[LOCAL_NAME]) {
        let name = dns_name(host)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let refused = |error: rcgen::Error| FirstStartError::Refused {
        reason: error.to_string(),
    };
    let mut params = CertificateParams::new(names.clone()).map_err(refused)?;
    let mut subject = DistinguishedName::new();
    // The first host; a common name has room for 64 characters, and only the names above count.
    let common_name: String = names
        .iter()
        .take(1)
        .flat_map(|name| name.chars().take(64))
        .collect();
    subject.push(DnType::CommonName, common_name);
    subject.push(DnType::OrganizationName, "meerkat self-signed");
    params.distinguished_name = subject;
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = rcgen::date_time_ymd(1970, 1, 1) + since_1970;
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + VALIDITY;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let certificate = params.self_signed(pair).map_err(refused)?;
    Ok((names, certificate.pem()))
}

/// A host as a certificate holds it: ASCII, with A-labels (RFC 6125 6.4.2).
fn dns_name(host: &str) -> Result<String, FirstStartError> {
    idna::domain_to_ascii(host).map_err(|_| FirstStartError::Refused {
        reason: format!(
            "no self-signed certificate can be made: the host '{host}' has no form that DNS and \
             certificates know"
        ),
    })
}

fn not_made(error: &rcgen::Error) -> FirstStartError {
    FirstStartError::Refused {
        reason: format!("no self-signed certificate can be made: {error}"),
    }
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), FirstStartError> {
    match data_dir::write_private_file(path, content) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(reason) => Err(file_error(path, reason)),
    }
}

fn exists(path: &Path) -> Result<bool, FirstStartError> {
    path.try_exists().map_err(|reason| file_error(path, reason))
}

fn file_error(path: &Path, reason: std::io::Error) -> FirstStartError {
    FirstStartError::File {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use x509_parser::prelude::FromDer;
    use x509_parser::prelude::GeneralName;
    use x509_parser::prelude::X509Certificate;

    use super::*;
    use crate::base::data_dir::tests::Scratch;

    /// 2026-11-23.
    fn today() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_392_000)
    }

    fn pair(scratch: &Scratch) -> (PathBuf, PathBuf) {
        let folder = scratch.path().join("data/tls");
        (folder.join("cert.pem"), folder.join("key.pem"))
    }

    #[test]
    fn the_certificate_names_the_hosts() {
        let scratch = Scratch::new("certificate");
        let (cert, key) = pair(&scratch);
        let hosts = ["example.org", "b\u{fc}cher.example", "localhost"];
        let found = certificate(&cert, &key, &hosts, today()).expect("made");
        let CertificateFound::Made(made) = found else {
            panic!("nothing was there")
        };
        assert_eq!(
            made.names,
            ["example.org", "xn--bcher-kva.example", "localhost"]
        );
        for path in [&cert, &key] {
            assert_eq!(fs::metadata(path).expect("there").mode() & 0o777, 0o600);
        }
        let pem = fs::read(&cert).expect("there");
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).expect("PEM");
        let (_, parsed) = X509Certificate::from_der(&pem.contents).expect("X.509");
        let names = parsed
            .subject_alternative_name()
            .expect("valid")
            .expect("present");
        let names: Vec<_> = names.value.general_names.iter().collect();
        assert_eq!(
            names,
            [
                &GeneralName::DNSName("example.org"),
                &GeneralName::DNSName("xn--bcher-kva.example"),
                &GeneralName::DNSName("localhost")
            ]
        );
        let validity = parsed.validity();
        assert_eq!(validity.not_before.timestamp(), 1_795_392_000 - 86_400);
        assert_eq!(
            validity.not_after.timestamp(),
            1_795_392_000 + 3650 * 86_400
        );
    }

    #[test]
    fn nothing_is_replaced_and_an_interrupted_start_is_finished() {
        let scratch = Scratch::new("again");
        let (cert, key) = pair(&scratch);
        certificate(&cert, &key, &["example.org"], today()).expect("made");
        let before = (
            fs::read(&cert).expect("there"),
            fs::read(&key).expect("there"),
        );
        let again = certificate(&cert, &key, &["other.org"], today()).expect("found");
        assert_eq!(again, CertificateFound::Existing);
        let after = (
            fs::read(&cert).expect("there"),
            fs::read(&key).expect("there"),
        );
        assert_eq!(after, before);

        fs::remove_file(&cert).expect("removed");
        let finished = certificate(&cert, &key, &["example.org"], today()).expect("made");
        assert!(matches!(finished, CertificateFound::Made(_)));
        assert_eq!(fs::read(&key).expect("there"), before.1, "the key is kept");

        fs::remove_file(&key).expect("removed");
        let error = certificate(&cert, &key, &["example.org"], today()).expect_err("no key");
        assert!(matches!(error, FirstStartError::KeyMissing { .. }));
        assert!(!key.exists());
    }

    #[test]
    fn a_secret_is_made_once_and_a_damaged_one_is_said() {
        let scratch = Scratch::new("secret");
        let file = scratch.path().join("data/secret");
        let made = secret(&file).expect("made");
        assert_eq!(made.len(), SECRET_CHARACTERS);
        assert_eq!(secret(&file).expect("found"), made);
        assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o600);
        let other = secret(&scratch.path().join("data/other")).expect("made");
        assert_ne!(made, other);
        fs::write(&file, "short").expect("written");
        assert!(matches!(
            secret(&file),
            Err(FirstStartError::SecretDamaged { .. })
        ));
    }
}
