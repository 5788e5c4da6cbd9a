//! The server's own certificate chain and private key.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::InconsistentKeys;
use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::certificate::CertificateInfo;
use super::error::TlsConfigError;
use super::error::TlsWarning;
use super::options::TlsKey;
use super::options::TlsOptions;
use super::pem;
use super::pem::KeyFault;
use super::pem::Read;

/// Days before expiry from which a start says so. Certificates of 90 days are commonly renewed
/// with 30 left, so fewer than this means that renewal does not work.
pub(super) const EXPIRY_WARNING_DAYS: i64 = 14;

/// Certificate chain and key, known to belong together.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    /// One for each certificate of the chain, in its order.
    pub(super) chain: Vec<CertificateInfo>,
}

impl Identity {
    pub(super) fn load(
        options: &TlsOptions,
        read: Read<'_>,
        provider: &CryptoProvider,
    ) -> Result<Self, Vec<TlsConfigError>> {
        let one = |error| vec![error];
        let pem = pem::contents(&options.certfile, read)
            .map_err(|text| one(TlsConfigError::new(TlsKey::Certfile, text)))?;
        let chain = chain(&options.certfile, &pem);
        let key = key(options, &pem, read);
        // Both are looked at before the first fault is told: they are two options.
        let ((certificates, chain), key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
        };
        let certified = join(options, certificates, key, provider).map_err(one)?;
        Ok(Self {
            certified: Arc::new(certified),
            chain,
        })
    }

    /// The kind of key, which decides what suites of TLS 1.2 can be used.
    pub(super) fn algorithm(&self) -> SignatureAlgorithm {
        self.certified.key.algorithm()
    }

    pub(super) fn warnings(&self, now: SystemTime) -> Vec<TlsWarning> {
        let mut texts = Vec::new();
        for info in &self.chain {
            texts.extend(validity_warning(info, now));
        }
        for pair in self.chain.windows(2) {
            let [issued, issuer] = pair else { continue };
            if issued.issuer != issuer.subject {
                texts.push(format!(
                    "the chain is out of order: \"{}\" was issued by \"{}\", but \"{}\" follows; \
                     clients may refuse it",
                    issued.subject, issued.issuer, issuer.subject
                ));
            }
        }
        let warning = |text| TlsWarning {
            key: TlsKey::Certfile,
            text,
        };
        texts.into_iter().map(warning).collect()
    }
}

fn validity_warning(info: &CertificateInfo, now: SystemTime) -> Option<String> {
    let subject = &info.subject;
    let days = info.days_left(now);
    if !info.has_begun(now) {
        return Some(format!("the certificate of \"{subject}\" is not valid yet"));
    }
    match days {
        ..0 => Some(format!("the certificate of \"{subject}\" has expired")),
        0..EXPIRY_WARNING_DAYS => Some(format!(
            "the certificate of \"{subject}\" expires in {days} days"
        )),
        EXPIRY_WARNING_DAYS.. => None,
    }
}

type Chain = (Vec<CertificateDer<'static>>, Vec<CertificateInfo>);

fn chain(path: &str, pem: &[u8]) -> Result<Chain, TlsConfigError> {
    let fault = |text| TlsConfigError::new(TlsKey::Certfile, text);
    let certificates = pem::certificates(path, pem).map_err(fault)?;
    let mut infos = Vec::with_capacity(certificates.len());
    for (index, der) in certificates.iter().enumerate() {
        let info = CertificateInfo::from_der(der).ok_or_else(|| {
            fault(format!(
                "section {} of \"{path}\" is not an X.509 certificate",
                index + 1
            ))
        })?;
        infos.push(info);
    }
    Ok((certificates, infos))
}

fn key(
    options: &TlsOptions,
    certfile: &[u8],
    read: Read<'_>,
) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    let password = options.password.as_ref();
    let (option, path, found) = match &options.keyfile {
        Some(path) => {
            let pem = pem::contents(path, read)
                .map_err(|text| TlsConfigError::new(TlsKey::Keyfile, text))?;
            (
                TlsKey::Keyfile,
                path,
                pem::private_key(path, &pem, password),
            )
        }
        None => {
            let path = &options.certfile;
            (
                TlsKey::Certfile,
                path,
                pem::private_key(path, certfile, password),
            )
        }
    };
    found.map_err(|fault| match fault {
        KeyFault::Absent if options.keyfile.is_none() => TlsConfigError::new(
            option,
            format!("\"{path}\" holds no private key and keyfile is not set"),
        ),
        KeyFault::Absent => {
            TlsConfigError::new(option, format!("no PEM private key in \"{path}\""))
        }
        KeyFault::PasswordMissing => TlsConfigError::new(
            option,
            format!("the private key in \"{path}\" is encrypted and password is not set"),
        ),
        KeyFault::PasswordWrong => TlsConfigError::new(
            TlsKey::Password,
            format!("does not open the private key in \"{path}\""),
        ),
        KeyFault::Unusable(text) => TlsConfigError::new(option, text),
    })
}

fn join(
    options: &TlsOptions,
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsConfigError> {
    let (option, path) = match &options.keyfile {
        Some(path) => (TlsKey::Keyfile, path),
        None => (TlsKey::Certfile, &options.certfile),
    };
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        TlsConfigError::new(
            option,
            format!(
                "the private key in \"{path}\" is of no supported kind (RSA of 2048 to 8192 bits, \
                 ECDSA on P-256, P-384 or P-521, Ed25519)"
            ),
        )
    })?;
    let certified = CertifiedKey::new(certificates, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsConfigError::new(
            option,
            format!(
                "the private key in \"{path}\" does not belong to the first certificate of \"{}\"",
                options.certfile
            ),
        )),
        Err(error) => Err(TlsConfigError::new(
            TlsKey::Certfile,
            format!(
                "the first certificate of \"{}\" cannot be used: {error}",
                options.certfile
            ),
        )),
    }
}
