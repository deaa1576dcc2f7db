//! One GET of a small document: no redirects, no cookies, no compression, within a size and a time.

use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The body of a 200 answer.
///
/// # Errors
/// What went wrong, for the log.
pub(super) async fn get(address: &Uri, max: usize, within: Duration) -> Result<Bytes, String> {
    let fetched = tokio::time::timeout(within, fetch(address, max)).await;
    fetched.map_err(|_| format!("no answer within {} s", within.as_secs()))?
}

async fn fetch(address: &Uri, max: usize) -> Result<Bytes, String> {
    let host = address.host().ok_or("an address needs a host")?;
    let secure = address.scheme_str() == Some("https");
    let port = address.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let told = |e: std::io::Error| e.to_string();
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(told)?;
    if secure {
        return over_tls(stream, host, address, max).await;
    }
    exchange(TokioIo::new(stream), address, max).await
}

async fn exchange<I>(io: I, address: &Uri, max: usize) -> Result<Bytes, String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let told = |e: hyper::Error| e.to_string();
    let (mut sender, connection) = http1::handshake(io).await.map_err(told)?;
    // It ends with the sender.
    tokio::spawn(connection);
    let authority = address.authority().ok_or("an address needs a host")?;
    let request = Request::get(address.path_and_query().map_or("/", |p| p.as_str()))
        .header(hyper::header::HOST, authority.as_str())
        .header(hyper::header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(told)?;
    if response.status() != StatusCode::OK {
        return Err(format!("answered {}", response.status()));
    }
    let whole = Limited::new(response.into_body(), max).collect().await;
    Ok(whole.map_err(|e| e.to_string())?.to_bytes())
}

/// The certificates that the system trusts, read once; `SSL_CERT_FILE` names others.
#[cfg(feature = "https")]
async fn over_tls(stream: TcpStream, host: &str, address: &Uri, max: usize) -> Result<Bytes, String> {
    use std::sync::{Arc, OnceLock};

    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    static CONNECTOR: OnceLock<Result<TlsConnector, String>> = OnceLock::new();
    let connector = CONNECTOR.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let (trusted, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if trusted == 0 {
            return Err("this system trusts no certificate: install ca-certificates, or set SSL_CERT_FILE".to_owned());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    });
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|e| e.to_string())?;
    let stream = connector.as_ref().map_err(Clone::clone)?.connect(name, stream).await.map_err(|e| e.to_string())?;
    exchange(TokioIo::new(stream), address, max).await
}

#[cfg(not(feature = "https"))]
async fn over_tls(_: TcpStream, _: &str, _: &Uri, _: usize) -> Result<Bytes, String> {
    Err("this build has no TLS".to_owned())
}
