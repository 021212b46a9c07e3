//! TLS: what connections by it are made of, and what each of them does to bytes.

use std::io::{BufRead, Write};
use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::Document;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, RootCertStore, ServerConfig, ServerConnection, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use crate::errors::ConfigError;

/// Sessions that clients may go on with, for each worker.
const SESSIONS_KEPT: usize = 20 * 1024;
/// The label of a private key in PEM that needs a password.
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// Certificate, key, versions, ciphers, and who has to have a certificate.
#[pyclass(frozen, module = "yggdrasil._core")]
pub struct TlsContext {
    pub config: Arc<ServerConfig>,
}

#[pymethods]
impl TlsContext {
    /// `certificate`, `key` and `issuers` are texts in PEM; `authenticate` is no, optional or yes.
    #[new]
    #[pyo3(signature = (*, certificate, key, key_password, issuers, authenticate, protocols, ciphers,
        prefers_own_order, keeps_sessions))]
    #[allow(clippy::too_many_arguments, reason = "one for each option")]
    fn new(
        certificate: &[u8],
        key: &[u8],
        key_password: &str,
        issuers: Vec<PyBackedBytes>,
        authenticate: &str,
        protocols: Vec<String>,
        ciphers: Vec<String>,
        prefers_own_order: bool,
        keeps_sessions: bool,
    ) -> PyResult<Self> {
        let refused = |text: String| ConfigError::new_err(text);
        let provider = Arc::new(provider_of(&ciphers).map_err(refused)?);
        let versions = versions_of(&protocols);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder
            .with_protocol_versions(&versions)
            .map_err(|error| refused(format!("tls-protocols and tls-ciphers: {error}")))?;
        let builder = if authenticate == "no" {
            builder.with_no_client_auth()
        } else {
            let roots = roots_of(&issuers).map_err(refused)?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            let verifier = match authenticate {
                "optional" => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier.build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| refused(format!("tls-ca-cert-file: {error}")))?,
            )
        };
        let chain = chain_of(certificate).map_err(refused)?;
        let key = key_of(key, key_password).map_err(refused)?;
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| refused(format!("tls-cert-file and its key: {error}")))?;
        config.ignore_client_order = prefers_own_order;
        if keeps_sessions {
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS_KEPT);
        } else {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

fn versions_of(protocols: &[String]) -> Vec<&'static SupportedProtocolVersion> {
    let all = [("TLSv1.3", &TLS13), ("TLSv1.2", &TLS12)];
    let wanted = |name: &str| protocols.is_empty() || protocols.iter().any(|given| given == name);
    let chosen = all.into_iter().filter(|(name, _)| wanted(name));
    chosen.map(|(_, version)| version).collect()
}

/// The name of a cipher as OpenSSL has it.
fn cipher_name(suite: SupportedCipherSuite) -> &'static str {
    match suite.suite() {
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "",
    }
}

/// The names of all ciphers there are.
#[pyfunction]
pub fn tls_ciphers() -> Vec<&'static str> {
    let all = ring::default_provider().cipher_suites;
    all.into_iter().map(cipher_name).collect()
}

/// The ciphers of these names, in their order; all of them without any.
fn provider_of(ciphers: &[String]) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if ciphers.is_empty() {
        return Ok(provider);
    }
    let known = provider.cipher_suites;
    let named = |name: &String| {
        let mut known = known.iter();
        let suite = known.find(|suite| cipher_name(**suite) == name);
        suite
            .copied()
            .ok_or_else(|| format!("{name} is no cipher that there is"))
    };
    provider.cipher_suites = ciphers.iter().map(named).collect::<Result<_, _>>()?;
    Ok(provider)
}

fn chain_of(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("tls-cert-file cannot be read: {error}"))?;
    if chain.is_empty() {
        return Err("tls-cert-file has no certificate in it".to_owned());
    }
    Ok(chain)
}

fn roots_of(issuers: &[PyBackedBytes]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for text in issuers {
        for certificate in CertificateDer::pem_slice_iter(text) {
            let certificate =
                certificate.map_err(|error| format!("tls-ca-cert-file cannot be read: {error}"))?;
            let added = roots.add(certificate);
            added.map_err(|error| format!("tls-ca-cert-file: {error}"))?;
        }
    }
    if roots.is_empty() {
        return Err("tls-ca-cert-file and tls-ca-cert-dir have no certificate in them".to_owned());
    }
    Ok(roots)
}

fn key_of(text: &[u8], password: &str) -> Result<PrivateKeyDer<'static>, String> {
    let text = String::from_utf8_lossy(text);
    let begin = format!("-----BEGIN {ENCRYPTED_LABEL}-----");
    let Some(start) = text.find(&begin) else {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
        return key.map_err(|error| format!("tls-key-file cannot be read: {error}"));
    };
    let wrong = |what: &str| format!("tls-key-file cannot be decrypted: {what}");
    let (_, sealed) =
        Document::from_pem(pem_block(&text[start..])).map_err(|error| wrong(&error.to_string()))?;
    let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes());
    let sealed = sealed.map_err(|error| wrong(&error.to_string()))?;
    let open = sealed.decrypt(password);
    let open = open.map_err(|_| wrong("tls-key-file-pass is not its password"))?;
    let key = PrivatePkcs8KeyDer::from(open.as_bytes().to_vec());
    Ok(PrivateKeyDer::Pkcs8(key))
}

/// The first block of a text that begins with one.
fn pem_block(text: &str) -> &str {
    let end = format!("-----END {ENCRYPTED_LABEL}-----");
    let end = text.find(&end).map_or(text.len(), |at| at + end.len());
    &text[..end]
}

/// The state of a connection after some bytes have come.
#[derive(Clone, Copy)]
pub struct Came {
    /// The handshake is done, and there may be something to read.
    pub is_open: bool,
    /// The client will send no more.
    pub is_end: bool,
}

/// One connection.
pub struct TlsSession {
    connection: ServerConnection,
}

impl TlsSession {
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let mut connection = ServerConnection::new(config)?;
        // What it is given at once is bounded by who gives it.
        connection.set_buffer_limit(None);
        Ok(Self { connection })
    }

    /// Takes some of the bytes that came from the client. `Err` ends the connection, after what is to be sent.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<Came, ()> {
        self.connection.read_tls(bytes).map_err(drop)?;
        let state = self.connection.process_new_packets().map_err(drop)?;
        Ok(Came {
            is_open: !self.connection.is_handshaking(),
            is_end: state.peer_has_closed(),
        })
    }

    /// Shows what was decrypted, piece by piece, until there is no more.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) {
        let mut reader = self.connection.reader();
        while let Ok(bytes) = reader.fill_buf() {
            let len = bytes.len();
            if len == 0 {
                break;
            }
            each(bytes);
            reader.consume(len);
        }
    }

    /// Encrypts what is to be sent.
    pub fn write(&mut self, bytes: &[u8]) {
        // Without a limit everything is taken.
        let _ = self.connection.writer().write_all(bytes);
    }

    /// Says that nothing more will be sent.
    pub fn say_goodbye(&mut self) {
        self.connection.send_close_notify();
    }

    /// Moves what is encrypted to the end of `into`.
    pub fn take_encrypted(&mut self, into: &mut Vec<u8>) {
        while self.connection.wants_write() && self.connection.write_tls(into).is_ok() {}
    }
}
