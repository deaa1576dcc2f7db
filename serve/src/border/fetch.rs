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

#[cfg(not(feature = "https"))]
async fn over_tls(_: TcpStream, _: &str, _: &Uri, _: usize) -> Result<Bytes, String> {
    Err("this build has no TLS".to_owned())
}
