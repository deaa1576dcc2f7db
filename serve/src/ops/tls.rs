//! TLS at the service itself, where nothing in front of it ends it. With `clients`, both sides show a certificate.
//!
//! The files are looked at with every connection and read again when they changed, so a certificate is renewed without a
//! restart; files that do not read change nothing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config::Tls;

type Stamp = Vec<(SystemTime, u64)>;

/// Takes TLS connections.
#[derive(Debug)]
pub(super) struct Acceptor {
    files: Tls,
    within: Duration,
    held: Mutex<(Stamp, Arc<ServerConfig>)>,
}

impl Acceptor {
    /// * `within`: for a handshake.
    ///
    /// # Errors
    /// A file that does not read, by its key in the configuration.
    pub(super) fn open(files: &Tls, within: Duration) -> Result<Self, String> {
        let held = Mutex::new((stamp(files), read(files)?));
        Ok(Self { files: files.clone(), within, held })
    }

    /// The stream inside, once the other side has shown what is asked of it.
    ///
    /// # Errors
    /// Why the handshake failed.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let shaken = TlsAcceptor::from(self.current()).accept(stream);
        let shaken = tokio::time::timeout(self.within, shaken).await.map_err(|_| "it took too long".to_owned())?;
        shaken.map_err(|e| e.to_string())
    }

    fn current(&self) -> Arc<ServerConfig> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.files);
        if stamp != held.0 {
            held.0 = stamp;
            match read(&self.files) {
                Ok(config) => {
                    held.1 = config;
                    tracing::info!("TLS certificates read");
                }
                Err(refused) => tracing::error!(refused, "TLS certificates not read: those read before stay"),
            }
        }
        Arc::clone(&held.1)
    }
}

fn read(files: &Tls) -> Result<Arc<ServerConfig>, String> {
    let told = |key: &str, path: &PathBuf, why: String| format!("server.tls.{key}: {}: {why}", path.display());
    let certificates = |key: &str, path: &PathBuf| {
        let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let found = found.map_err(|e| told(key, path, e.to_string()))?;
        if found.is_empty() { Err(told(key, path, "no certificate in it".to_owned())) } else { Ok(found) }
    };
    let chain = certificates("certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| told("key", &files.key, e.to_string()))?;

    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| e.to_string())?;
    let builder = match &files.clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("clients", path)? {
                roots.add(certificate).map_err(|e| told("clients", path, e.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| told("clients", path, e.to_string()))?)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|e| told("key", &files.key, e.to_string()))?;
    Ok(Arc::new(config))
}

/// What tells that a file changed.
fn stamp(files: &Tls) -> Stamp {
    let files = [Some(&files.certificate), Some(&files.key), files.clients.as_ref()];
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok();
        metadata.map_or((SystemTime::UNIX_EPOCH, 0), |m| (m.modified().unwrap_or(SystemTime::UNIX_EPOCH), m.len()))
    };
    files.into_iter().flatten().map(stamp).collect()
}
