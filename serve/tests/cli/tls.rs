//! A key set over https: from a server whose certificate the system trusts, and from no other.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Running;

const PEM: &[u8] = include_bytes!("localhost.pem");
const JWKS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

async fn provider() -> u16 {
    let certificate = CertificateDer::from_pem_slice(PEM).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(PEM).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("fits");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever does not trust us hangs up in the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 2_048];
            let _ = stream.read(&mut head).await;
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{JWKS}", JWKS.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_is_fetched_over_https_from_a_server_that_is_trusted_and_from_no_other() {
    let port = provider().await;
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let config = format!("[auth.issuers.a]\niss = \"i\"\naud = \"a\"\njwks = \"https://localhost:{port}/jwks\"\n");
    for (trusted, told) in [("localhost.pem", "key set read"), ("main.rs", "key set not read")] {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("plimsoll-serve.toml"), &config).expect("writes");
        let file = beside.join(trusted);
        let directory_of = directory.path().to_owned();
        let line = tokio::task::spawn_blocking(move || {
            let running = Running::start_with(&directory_of, &[], &[("SSL_CERT_FILE", &file)], told);
            let line = running.found.clone();
            assert_eq!(running.stop(), Some(0));
            line
        });
        assert!(line.await.expect("starts").contains("localhost"), "{trusted}");
    }
}

/// Asks for `/healthz` over TLS.
///
/// * returns the status line, or why there is none.
async fn healthz(port: u16, shown: bool) -> Result<String, String> {
    let certificate = CertificateDer::from_pem_slice(PEM).expect("a certificate");
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    roots.add(certificate.clone()).expect("adds");
    let builder = tokio_rustls::rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match shown {
        true => builder
            .with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_slice(PEM).expect("a key"))
            .expect("fits"),
        false => builder.with_no_client_auth(),
    };
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
    let name = "localhost".try_into().expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|e| e.to_string())?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mutual_tls_only_who_shows_a_certificate_is_heard_and_a_broken_file_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("here.pem");
    std::fs::write(&file, PEM).expect("writes");
    let tls = "[server.tls]\ncertificate = \"here.pem\"\nkey = \"here.pem\"\nclients = \"here.pem\"\n";
    std::fs::write(directory.path().join("plimsoll-serve.toml"), tls).expect("writes");
    let started = directory.path().to_owned();
    let running = tokio::task::spawn_blocking(move || Running::start_with(&started, &[], &[], "")).await;
    let running = running.expect("starts");
    let port = running.address.port();

    assert_eq!(healthz(port, true).await.as_deref(), Ok("HTTP/1.1 200 OK"));
    let refused = healthz(port, false).await.expect_err("nothing was shown");
    assert!(refused.contains("CertificateRequired"), "{refused}");
    std::fs::write(&file, "half a certificate").expect("writes");
    assert_eq!(healthz(port, true).await.as_deref(), Ok("HTTP/1.1 200 OK"), "those read before stay");
    tokio::task::spawn_blocking(move || assert_eq!(running.stop(), Some(0))).await.expect("stops");

    let args = ["--set", "server.listen=127.0.0.1:0", "run"];
    let output = crate::plimsoll_serve(directory.path()).args(args).output().expect("runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("server.tls.certificate"), "{told}");
}
