//! Listening, and stopping: connections with limits in time, size and number; what was accepted is finished.
//!
//! `axum::serve` has no limit on how long a head may take, so a few hundred silent connections would be all it serves.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::{Service as _, ServiceExt as _};

use super::metrics::Metrics;
use crate::config::Server;

/// Bytes of a request's head, and headers in it.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 64;

/// The address a connection comes from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Who to count a request for: the connection's address, or what a trusted proxy said last. An IPv6 network of 64 bits
/// is one subscriber.
pub fn peer_of(request: &Request, trusted: &[IpAddr]) -> IpAddr {
    let direct = request.extensions().get::<Peer>().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.0.ip());
    let mut address = direct.to_canonical();
    if trusted.contains(&address) {
        let forwarded = request.headers().get_all("x-forwarded-for").iter();
        let hops: Vec<&str> =
            forwarded.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
        // From the nearest outwards, up to the first that is not ours: what is beyond it, anybody can write. One that
        // does not read ends it too, since what is beyond that one is no better.
        for hop in hops.into_iter().rev() {
            let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
            address = hop.to_canonical();
            if !trusted.contains(&address) {
                break;
            }
        }
    }
    match address {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// Serves until `stop` comes, then finishes what it accepted, for `server.shutdown_s` at most. Answers how many
/// connections it had to cut.
///
/// # Errors
/// When the socket cannot accept any more.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    server: &Server,
    metrics: &Arc<Metrics>,
    stop: impl Future<Output = ()> + Send,
) -> std::io::Result<usize> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(server.head_s))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false);
    let secure = Secure::open(server).map_err(std::io::Error::other)?;
    let places = Arc::new(Semaphore::new(server.connections_max));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        // A place first: more connections wait in the kernel's queue, and cost us nothing.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, or a connection that went before it was accepted: neither ends the service.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are small and written at once; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = tower::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Peer(peer));
            let mut router = router.clone();
            async move { router.as_service().ready().await?.call(request).await }
        });
        let service = TowerToHyperService::new(service);
        let connections = metrics.http.connections.clone();
        connections.inc();
        let (http, watcher, secure) = (http.clone(), graceful.watcher(), secure.clone());
        tokio::spawn(async move {
            let ended = match secure {
                Secure::Elsewhere => {
                    watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await.map_err(|e| e.to_string())
                }
                #[cfg(feature = "https")]
                Secure::Here(acceptor) => match acceptor.accept(stream).await {
                    Err(refused) => Err(format!("TLS: {refused}")),
                    Ok(stream) => {
                        let connection = http.serve_connection(TokioIo::new(stream), service);
                        watcher.watch(connection).await.map_err(|e| e.to_string())
                    }
                },
            };
            if let Err(error) = ended {
                tracing::debug!(error, "a connection ended early");
            }
            connections.dec();
            drop(place);
        });
    }
    drop(listener);
    let open = graceful.count();
    tracing::info!(open, "stopping: finishing what was accepted");
    match tokio::time::timeout(Duration::from_secs(server.shutdown_s), graceful.shutdown()).await {
        Ok(()) => Ok(0),
        Err(_) => {
            let cut = usize::try_from(metrics.http.connections.get()).unwrap_or(0);
            tracing::warn!(cut, "time is up: connections are cut");
            Ok(cut)
        }
    }
}

/// Where TLS ends.
#[derive(Clone)]
enum Secure {
    /// In front of the service, or nowhere.
    Elsewhere,
    #[cfg(feature = "https")]
    Here(Arc<super::tls::Acceptor>),
}

impl Secure {
    fn open(server: &Server) -> Result<Self, String> {
        match &server.tls {
            None => Ok(Self::Elsewhere),
            #[cfg(feature = "https")]
            Some(files) => {
                let acceptor = super::tls::Acceptor::open(files, Duration::from_secs(server.head_s))?;
                Ok(Self::Here(Arc::new(acceptor)))
            }
            #[cfg(not(feature = "https"))]
            Some(_) => Err("server.tls: this build has no TLS: build it with the feature `https`".to_owned()),
        }
    }
}

/// SIGTERM or SIGINT.
///
/// # Errors
/// When the process cannot listen for signals.
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    let stopped = stop_signals()?;
    Ok(async move {
        let which = stopped.await;
        tracing::info!(signal = which, "asked to stop");
    })
}

#[cfg(unix)]
fn stop_signals() -> std::io::Result<impl Future<Output = &'static str> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        }
    })
}

#[cfg(not(unix))]
fn stop_signals() -> std::io::Result<impl Future<Output = &'static str> + Send> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
        "ctrl-c"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, forwarded: &[&str], want: &str) {
        let mut request = Request::builder();
        for value in forwarded {
            request = request.header("x-forwarded-for", *value);
        }
        let mut request = request.body(axum::body::Body::empty()).expect("a request");
        request.extensions_mut().insert(Peer(SocketAddr::new(from.parse().expect("an address"), 1)));
        let trusted = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().expect("an address"));
        assert_eq!(peer_of(&request, &trusted), want.parse::<IpAddr>().expect("an address"));
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_proxy_and_only_the_last_that_is_not_one() {
        check("192.0.2.7", &["203.0.113.9"], "192.0.2.7");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9");
        check("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        // What does not read is not jumped over to what a client wrote.
        check("10.0.0.1", &["1.1.1.1, 203.0.113.9:4711"], "10.0.0.1");
        check("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2");
    }

    #[test]
    fn an_ipv6_network_is_one_subscriber() {
        check("2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::");
        check("10.0.0.1", &["2001:db8:1:2:aaaa::1"], "2001:db8:1:2::");
    }
}
