//! Real sockets: clients that are slow, silent or rude, too many at once, and a stop in the middle of the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use plimsoll_serve::border::{Border, layered};
use plimsoll_serve::clock::Clock;
use plimsoll_serve::config::Config;
use plimsoll_serve::ops::metrics::Metrics;
use plimsoll_serve::ops::server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Running {
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<std::io::Result<usize>>,
    metrics: Arc<Metrics>,
    done: Arc<AtomicUsize>,
}

/// A service whose `/slow` takes 200 ms and counts what it finished.
async fn start(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::default();
    config.limits.peer_per_minute = 0;
    change(&mut config);
    let metrics = Arc::new(Metrics::default());
    let border = Arc::new(Border::new(&config, Clock::system(), Arc::clone(&metrics), None).expect("no keys"));
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let slow = move || {
        let counted = Arc::clone(&counted);
        async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            counted.fetch_add(1, Ordering::SeqCst);
            "done"
        }
    };
    let public = Router::new()
        .route("/slow", get(slow))
        .route("/quick", get(|| async { "quick" }))
        .route("/echo", post(|body: String| async move { body }));
    let router = layered(public, Router::new(), &border);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let shown = Arc::clone(&metrics);
    let served = tokio::spawn(async move {
        let stop = async move { drop(stopped.await) };
        server::serve(listener, router, &config.server, &shown, stop).await
    });
    Running { address, stop: Some(stop), served, metrics, done }
}

impl Running {
    /// Sends bytes, and reads until the connection ends.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connects");
        stream.write_all(bytes).await.expect("sends");
        read_all(&mut stream).await
    }

    async fn stopped(mut self) -> (usize, Duration) {
        let began = Instant::now();
        drop(self.stop.take());
        let cut = self.served.await.expect("ends").expect("no socket error");
        (cut, began.elapsed())
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is an end, too.
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.expect("an end");
    String::from_utf8_lossy(&bytes).into_owned()
}

const CLOSE: &str = "host: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection_and_nobody_else_waits() {
    let running = start(|config| config.server.head_s = 1).await;
    let began = Instant::now();
    let mut silent: Vec<TcpStream> = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(running.address).await.expect("connects"));
    }
    let mut dripping = TcpStream::connect(running.address).await.expect("connects");
    dripping.write_all(b"GET /quick HTTP/1.1\r\nhost: x\r\nx-slow: ").await.expect("sends");
    let drip = tokio::spawn(async move {
        // A byte at a time keeps a naive server waiting for ever.
        while dripping.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        began.elapsed()
    });
    assert!(running.exchange(format!("GET /quick HTTP/1.1\r\n{CLOSE}").as_bytes()).await.ends_with("quick"));
    assert!(began.elapsed() < Duration::from_millis(900), "answered meanwhile");
    for mut stream in silent {
        assert_eq!(read_all(&mut stream).await, "", "ended without a word");
    }
    let took = drip.await.expect("ends");
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "{took:?}");
    let connections = running.metrics.http.connections.get();
    assert!(connections <= 1, "{connections} are still open");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_told_so() {
    let running = start(|config| config.server.body_s = 1).await;
    let began = Instant::now();
    let answer = running.exchange(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("TOO_SLOW"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_refused_before_it_is_sent() {
    let running = start(|_| {}).await;
    let head = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n";
    let mut stream = TcpStream::connect(running.address).await.expect("connects");
    stream.write_all(head).await.expect("sends");
    let mut answer = vec![0; 1_024];
    let n = stream.read(&mut answer).await.expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..n]);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("TOO_LARGE"), "{answer}");
}

#[tokio::test]
async fn heads_that_are_no_http_are_refused_and_the_next_request_is_served() {
    let running = start(|_| {}).await;
    let long = format!("GET /quick HTTP/1.1\r\nx-long: {}\r\n{CLOSE}", "a".repeat(64 * 1024));
    let many = format!("GET /quick HTTP/1.1\r\n{}{CLOSE}", "x-many: 1\r\n".repeat(100));
    let uri = format!("GET /{} HTTP/1.1\r\n{CLOSE}", "a".repeat(100_000));
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /quick HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"GET /quick HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\nab",
        b"GET /quick HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET /quick HTTP/1.1\r\n\0: x\r\n\r\n",
        b"G\r\n\r\n",
        b"\r\n\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
        uri.as_bytes(),
    ] {
        let mut stream = TcpStream::connect(running.address).await.expect("connects");
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let answer = read_all(&mut stream).await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{shown:?}: {answer}");
        let good = running.exchange(format!("GET /quick HTTP/1.1\r\n{CLOSE}").as_bytes()).await;
        assert!(good.ends_with("quick"), "after {shown:?}: {good}");
    }
}

#[tokio::test]
async fn smuggled_requests_are_one_request_or_none() {
    let running = start(|_| {}).await;
    // Both lengths: a proxy and we could read different requests out of it.
    let both = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut stream = TcpStream::connect(running.address).await.expect("connects");
    stream.write_all(both).await.expect("sends");
    stream.shutdown().await.expect("half closes");
    let answer = read_all(&mut stream).await;
    assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{answer}");
    assert_eq!(running.done.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn more_than_can_be_worked_on_is_turned_away_at_once_and_says_when_to_come_back() {
    let running = start(|config| config.server.in_flight_max = 4).await;
    let request = format!("GET /slow HTTP/1.1\r\n{CLOSE}");
    let began = Instant::now();
    let all = (0..40).map(|_| running.exchange(request.as_bytes()));
    let answers = join(all.collect()).await;
    let served = answers.iter().filter(|a| a.starts_with("HTTP/1.1 200 ")).count();
    let shed: Vec<_> = answers.iter().filter(|a| a.starts_with("HTTP/1.1 503 ")).collect();
    assert_eq!(served + shed.len(), 40);
    assert!((4..20).contains(&served), "{served}");
    assert!(shed.iter().all(|a| a.contains("retry-after: 1") && a.contains("UNAVAILABLE")), "{}", shed[0]);
    assert_eq!(running.metrics.http.shed.get() as usize, shed.len());
    assert_eq!(running.metrics.http.in_flight.get(), 0);
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// Polls all of them together.
async fn join<F: Future<Output = String>>(all: Vec<F>) -> Vec<String> {
    let mut all: Vec<_> = all.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(move |cx| {
        let mut pending = false;
        for (one, told) in &mut all {
            if told.is_none() {
                match one.as_mut().poll(cx) {
                    std::task::Poll::Ready(answer) => *told = Some(answer),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(all.iter_mut().map(|(_, told)| told.take().expect("ready")).collect())
    })
    .await
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_all_the_same() {
    let running = start(|config| {
        config.server.request_s = 1;
        config.server.body_s = 10;
    })
    .await;
    let answer = running.exchange(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
}

#[tokio::test]
async fn a_stop_under_load_answers_everything_that_was_accepted_and_takes_nothing_new() {
    let running = start(|_| {}).await;
    let (address, done) = (running.address, Arc::clone(&running.done));
    let clients: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn(async move {
                // Keeps its connection and asks again and again, until it is told that this is the end.
                let mut stream = TcpStream::connect(address).await.expect("connects");
                let (mut answered, mut lost) = (0_usize, 0_usize);
                loop {
                    if stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.is_err() {
                        break;
                    }
                    let mut answer = Vec::new();
                    let mut piece = [0; 1_024];
                    loop {
                        match stream.read(&mut piece).await {
                            Ok(n) if n > 0 => answer.extend_from_slice(&piece[..n]),
                            _ => break,
                        }
                        if answer.ends_with(b"done") {
                            break;
                        }
                    }
                    match (answer.ends_with(b"done"), answer.is_empty()) {
                        (true, _) => answered += 1,
                        // Never read by the service: the client may send it elsewhere.
                        (false, true) => break,
                        (false, false) => lost += 1,
                    }
                    let text = String::from_utf8_lossy(&answer).to_lowercase();
                    if text.contains("connection: close") {
                        break;
                    }
                }
                (answered, lost)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let metrics = Arc::clone(&running.metrics);
    let (cut, took) = running.stopped().await;
    let left = (metrics.http.in_flight.get(), metrics.http.connections.get());
    assert_eq!((cut, left), (0, (0, 0)), "when it says that it has stopped, nothing is being worked on");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let (mut answered, mut lost) = (0, 0);
    for client in clients {
        let (a, l) = client.await.expect("ends");
        answered += a;
        lost += l;
    }
    assert_eq!(lost, 0, "no answer was cut in half");
    assert_eq!(answered, done.load(Ordering::SeqCst), "everything that was worked on was answered");
    assert!(answered >= 40, "{answered}");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let running = start(|config| {
        config.server.shutdown_s = 1;
        config.server.body_s = 60;
        config.server.request_s = 60;
    })
    .await;
    let mut stuck = TcpStream::connect(running.address).await.expect("connects");
    stuck.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await.expect("sends");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (cut, took) = running.stopped().await;
    assert_eq!(cut, 1);
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&took), "{took:?}");
}
