//! One request for a small document: no redirects, no cookies, no compression, within a size and a time.

use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The body of a 200 answer.
///
/// # Errors
/// What went wrong, for the log.
pub(super) async fn get(address: &Uri, max: usize, within: Duration) -> Result<Bytes, String> {
    let request = Request::get(address).header(header::ACCEPT, "application/json").body(Bytes::new());
    let response = send(request.map_err(|e| e.to_string())?, max, within).await?;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        status => Err(format!("answered {status}")),
    }
}

/// The answer to a request to an `http://` or `https://` address.
///
/// # Errors
/// Why there is none, for the log.
pub(crate) async fn send(request: Request<Bytes>, max: usize, within: Duration) -> Result<Response<Bytes>, String> {
    let answered = tokio::time::timeout(within, connect(request, max)).await;
    answered.map_err(|_| format!("no answer within {} s", within.as_secs()))?
}

async fn connect(request: Request<Bytes>, max: usize) -> Result<Response<Bytes>, String> {
    let address = request.uri().clone();
    let host = address.host().ok_or("an address needs a host")?;
    let secure = address.scheme_str() == Some("https");
    let port = address.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let told = |e: std::io::Error| e.to_string();
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(told)?;
    if secure {
        return over_tls(stream, host, request, max).await;
    }
    exchange(TokioIo::new(stream), request, max).await
}

async fn exchange<I>(io: I, mut request: Request<Bytes>, max: usize) -> Result<Response<Bytes>, String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let told = |e: hyper::Error| e.to_string();
    let (mut sender, connection) = http1::handshake(io).await.map_err(told)?;
    // It ends with the sender.
    tokio::spawn(connection);
    let authority = request.uri().authority().ok_or("an address needs a host")?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|e| e.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = Uri::from(request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    let response = sender.send_request(request.map(Full::new)).await.map_err(told)?;
    let (head, body) = response.into_parts();
    let whole = Limited::new(body, max).collect().await.map_err(|e| e.to_string())?;
    Ok(Response::from_parts(head, whole.to_bytes()))
}

/// The certificates that the system trusts, read once; `SSL_CERT_FILE` names others.
#[cfg(feature = "https")]
async fn over_tls(
    stream: TcpStream,
    host: &str,
    request: Request<Bytes>,
    max: usize,
) -> Result<Response<Bytes>, String> {
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
    exchange(TokioIo::new(stream), request, max).await
}

#[cfg(not(feature = "https"))]
async fn over_tls(_: TcpStream, _: &str, _: Request<Bytes>, _: usize) -> Result<Response<Bytes>, String> {
    Err("this build has no TLS".to_owned())
}
