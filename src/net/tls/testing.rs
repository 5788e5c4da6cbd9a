//! Certificates, files and clients for the tests of this folder, all made in memory.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::sync::Arc;

use pkcs8::LineEnding;
use pkcs8::PrivateKeyInfo;
use pkcs8::der::pem::encode_string;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertificateRevocationListParams;
use rcgen::CertifiedIssuer;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::KeyIdMethod;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::RevokedCertParams;
use rcgen::SerialNumber;
use rcgen::date_time_ymd;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::RootCertStore;
use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::ServerName;

use super::config::TlsServer;
use super::error::TlsConfigError;
use super::error::TlsError;
use super::options::TlsOptions;
use super::options::VerifyMode;
use super::stream::Progress;
use super::stream::TlsStream;

/// A certificate authority.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    issued: Cell<u64>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            issued: Cell::new(0),
        }
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub(super) fn issue(&self, name: &str) -> Leaf {
        self.issue_from(params(name, &[name]))
    }

    pub(super) fn issue_until(&self, name: &str, year: i32) -> Leaf {
        let mut params = params(name, &[name]);
        params.not_after = date_time_ymd(year, 1, 1);
        self.issue_from(params)
    }

    fn issue_from(&self, mut params: CertificateParams) -> Leaf {
        self.issued.set(self.issued.get() + 1);
        params.serial_number = Some(SerialNumber::from(self.issued.get()));
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            serial: params.serial_number,
            key,
        }
    }

    /// A revocation list, due to be replaced at the beginning of `year`.
    pub(super) fn revoke(&self, leaves: &[&Leaf], year: i32) -> String {
        let revoked = |leaf: &&Leaf| RevokedCertParams {
            serial_number: leaf.serial.clone().unwrap(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: leaves.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// A certificate that is no authority, with its key.
pub(super) struct Leaf {
    pub(super) pem: String,
    pub(super) der: CertificateDer<'static>,
    pub(super) key: KeyPair,
    serial: Option<SerialNumber>,
}

impl Leaf {
    pub(super) fn self_signed(name: &str) -> Self {
        Self::self_signed_with(name, KeyPair::generate().unwrap())
    }

    pub(super) fn self_signed_with(name: &str, key: KeyPair) -> Self {
        let certificate = params(name, &[name]).self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            serial: None,
            key,
        }
    }

    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The key in the form of its own kind: SEC1 or PKCS#1, by `label`.
    pub(super) fn bare_key_pem(&self, label: &str) -> String {
        let der = self.key.serialize_der();
        let info = PrivateKeyInfo::try_from(der.as_slice()).unwrap();
        encode_string(label, LineEnding::LF, info.private_key).unwrap()
    }

    /// The key encrypted as PKCS#8, with few rounds.
    pub(super) fn encrypted_key_pem(&self, password: &str) -> String {
        let der = self.key.serialize_der();
        let info = PrivateKeyInfo::try_from(der.as_slice()).unwrap();
        let parameters =
            pkcs8::pkcs5::pbes2::Parameters::pbkdf2_sha256_aes256cbc(16, &[1; 16], &[2; 16])
                .unwrap();
        let encrypted = info.encrypt_with_params(parameters, password).unwrap();
        encode_string(
            "ENCRYPTED PRIVATE KEY",
            LineEnding::LF,
            encrypted.as_bytes(),
        )
        .unwrap()
    }
}

fn params(name: &str, dns: &[&str]) -> CertificateParams {
    let dns: Vec<String> = dns.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(dns).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Files by path.
#[derive(Default)]
pub(super) struct Files(HashMap<String, Vec<u8>>);

impl Files {
    pub(super) fn add(&mut self, path: &str, content: impl Into<Vec<u8>>) -> String {
        self.0.insert(path.to_owned(), content.into());
        path.to_owned()
    }

    pub(super) fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let found = self.0.get(path).cloned();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    pub(super) fn build(&self, options: &TlsOptions) -> Result<TlsServer, Vec<TlsConfigError>> {
        TlsServer::build(options, &|path| self.read(path))
    }
}

/// A server for "example.com" whose certificate `authority` issued, with its options to change.
pub(super) struct Site {
    pub(super) authority: Authority,
    pub(super) files: Files,
    pub(super) options: TlsOptions,
}

impl Site {
    pub(super) fn new() -> Self {
        let authority = Authority::new("Test CA");
        let leaf = authority.issue("example.com");
        let mut files = Files::default();
        let options = TlsOptions {
            certfile: files.add("cert.pem", leaf.pem.clone()),
            keyfile: Some(files.add("key.pem", leaf.key_pem())),
            verify_mode: VerifyMode::None,
            ..TlsOptions::default()
        };
        Self {
            authority,
            files,
            options,
        }
    }

    pub(super) fn server(&self) -> TlsServer {
        self.files.build(&self.options).unwrap()
    }

    /// A client's configuration that trusts the site.
    pub(super) fn client_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Leaf>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let key = PrivatePkcs8KeyDer::from(leaf.key.serialize_der());
                builder
                    .with_client_auth_cert(vec![leaf.der.clone()], key.into())
                    .unwrap()
            }
        }
    }
}

/// A client and a server stream, joined by nothing but the test.
pub(super) struct Pair {
    pub(super) client: ClientConnection,
    pub(super) server: TlsStream,
    /// Plaintext the server has received.
    pub(super) plain: Vec<u8>,
    /// How many bytes the server is given at a time.
    pub(super) piece: usize,
}

impl Pair {
    pub(super) fn new(server: &TlsServer, client: ClientConfig) -> Self {
        let name = ServerName::try_from("example.com").unwrap();
        Self {
            client: ClientConnection::new(Arc::new(client), name).unwrap(),
            server: TlsStream::new(server).unwrap(),
            plain: Vec::new(),
            piece: usize::MAX,
        }
    }

    /// What the client has to send.
    pub(super) fn client_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Gives the server `bytes` in pieces, and the client what it answers.
    pub(super) fn give_server(&mut self, bytes: &[u8]) -> Result<Progress, TlsError> {
        let mut progress = self.server.progress();
        for piece in bytes.chunks(self.piece) {
            let mut send = Vec::new();
            let mut piece = piece.to_vec();
            let result = self.server.receive(&mut piece, &mut self.plain, &mut send);
            // A client that dislikes the answer has an alert to send: not the matter here.
            let _ = self.give_client(&send);
            progress = result?;
        }
        Ok(progress)
    }

    pub(super) fn give_client(&mut self, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    /// Carries bytes between the two until neither has any.
    pub(super) fn run(&mut self) -> Result<Progress, TlsError> {
        let mut progress = self.server.progress();
        loop {
            let bytes = self.client_bytes();
            if bytes.is_empty() {
                return Ok(progress);
            }
            progress = self.give_server(&bytes)?;
        }
    }

    pub(super) fn client_says(&mut self, plain: &[u8]) -> Result<Progress, TlsError> {
        self.client.writer().write_all(plain).unwrap();
        self.run()
    }

    pub(super) fn server_says(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut send = Vec::new();
        self.server.encrypt(plain, &mut send).unwrap();
        self.give_client(&send).unwrap();
        self.client_heard()
    }

    /// Plaintext the client has received.
    pub(super) fn client_heard(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        match self.client.reader().read_to_end(&mut heard) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        heard
    }
}
