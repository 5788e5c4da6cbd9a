//! PEM files: certificates, revocation lists and private keys, with a plain word on what is wrong.

use std::io;

use pkcs8::EncryptedPrivateKeyInfo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::Error as PemError;
use rustls::pki_types::pem::PemObject;

use super::options::KeyPassword;

/// How the caller reads files.
pub(super) type Read<'a> = &'a dyn Fn(&str) -> io::Result<Vec<u8>>;

/// A file's bytes, or the text that says why there are none.
pub(super) fn contents(path: &str, read: Read<'_>) -> Result<Vec<u8>, String> {
    read(path).map_err(|error| format!("cannot read \"{path}\": {error}"))
}

/// Every certificate of a PEM file, in its order; at least one.
pub(super) fn certificates(path: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = sections::<CertificateDer<'static>>(path, pem)?;
    if found.is_empty() {
        let remedy = "openssl x509 -inform DER -in FILE -out FILE.pem";
        return Err(nothing_found(path, pem, "certificate", remedy));
    }
    Ok(found)
}

/// Every revocation list of a PEM file; at least one.
pub(super) fn revocation_lists(
    path: &str,
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let found = sections::<CertificateRevocationListDer<'static>>(path, pem)?;
    if found.is_empty() {
        let remedy = "openssl crl -inform DER -in FILE -out FILE.pem";
        return Err(nothing_found(
            path,
            pem,
            "certificate revocation list",
            remedy,
        ));
    }
    Ok(found)
}

/// Why a private key could not be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyFault {
    /// The file holds none.
    Absent,
    /// It is encrypted and there is no password.
    PasswordMissing,
    /// The password does not open it.
    PasswordWrong,
    /// Anything else, in words.
    Unusable(String),
}

/// The private key of a PEM file, decrypted where it is encrypted.
pub(super) fn private_key(
    path: &str,
    pem: &[u8],
    password: Option<&KeyPassword>,
) -> Result<PrivateKeyDer<'static>, KeyFault> {
    if contains(pem, b"Proc-Type: 4,ENCRYPTED") {
        return Err(KeyFault::Unusable(format!(
            "the private key in \"{path}\" has OpenSSL's legacy encryption; convert it with: \
             openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.new"
        )));
    }
    if contains(pem, ENCRYPTED_BEGIN) {
        let password = password.ok_or(KeyFault::PasswordMissing)?;
        return decrypt(path, pem, password);
    }
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) => Err(KeyFault::Absent),
        Err(error) => Err(KeyFault::Unusable(damaged(path, &error))),
    }
}

const ENCRYPTED_BEGIN: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &[u8] = b"-----END ENCRYPTED PRIVATE KEY-----";

fn decrypt(
    path: &str,
    pem: &[u8],
    password: &KeyPassword,
) -> Result<PrivateKeyDer<'static>, KeyFault> {
    let unusable = |text: &str| {
        KeyFault::Unusable(format!(
            "the encrypted private key in \"{path}\" {text}; convert it with: \
             openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.new"
        ))
    };
    let der = encrypted_section(pem).ok_or_else(|| unusable("is damaged"))?;
    let Ok(info) = EncryptedPrivateKeyInfo::try_from(der.secret_pkcs8_der()) else {
        return Err(unusable(
            "is damaged, or encrypted with neither PBKDF2 nor scrypt and AES",
        ));
    };
    match info.decrypt(password.as_str()) {
        Ok(key) => Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into()),
        // What a wrong password leaves has bad padding, which the library names by either word; in
        // one case of 256 the padding looks right, and the noise before it is no key.
        Err(pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::DecryptFailed | pkcs8::pkcs5::Error::EncryptFailed,
        ))
        | Err(pkcs8::Error::Asn1(_)) => Err(KeyFault::PasswordWrong),
        Err(error) => Err(unusable(&format!("cannot be decrypted ({error})"))),
    }
}

/// The first encrypted section. The reader of sections does not know its label, so the section is
/// given the one of a plain key; the bytes between are decoded the same way.
fn encrypted_section(pem: &[u8]) -> Option<PrivatePkcs8KeyDer<'static>> {
    let start = position(pem, ENCRYPTED_BEGIN)? + ENCRYPTED_BEGIN.len();
    let body = pem.get(start..)?;
    let body = body.get(..position(body, ENCRYPTED_END)?)?;
    let mut plain = b"-----BEGIN PRIVATE KEY-----".to_vec();
    plain.extend_from_slice(body);
    plain.extend_from_slice(b"-----END PRIVATE KEY-----\n");
    PrivatePkcs8KeyDer::from_pem_slice(&plain).ok()
}

fn sections<T: PemObject>(path: &str, pem: &[u8]) -> Result<Vec<T>, String> {
    T::pem_slice_iter(pem)
        .collect::<Result<Vec<T>, PemError>>()
        .map_err(|error| damaged(path, &error))
}

fn nothing_found(path: &str, pem: &[u8], what: &str, remedy: &str) -> String {
    // A DER file is one ASN.1 SEQUENCE with a two-byte length.
    if pem.starts_with(&[0x30, 0x82]) {
        return format!("\"{path}\" is DER, not PEM; convert it with: {remedy}");
    }
    if pem.iter().all(u8::is_ascii_whitespace) {
        return format!("\"{path}\" is empty; a PEM {what} is needed");
    }
    format!("no PEM {what} in \"{path}\"")
}

fn damaged(path: &str, error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { end_marker } => format!(
            "\"{path}\" is cut short: no \"-----END {}-----\"",
            String::from_utf8_lossy(end_marker)
        ),
        PemError::IllegalSectionStart { line } => format!(
            "\"{path}\" is not PEM at the line \"{}\"",
            String::from_utf8_lossy(line)
        ),
        error => format!("\"{path}\" is not PEM: {error}"),
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    position(haystack, needle).is_some()
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
