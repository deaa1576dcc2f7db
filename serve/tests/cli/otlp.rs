//! Spans of requests, as a collector gets them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::Running;

/// What a collector is sent in one request: its head, and its body.
fn taken(mut stream: TcpStream) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream.try_clone().expect("clones"));
    let mut head = String::new();
    while reader.read_line(&mut head).expect("reads") > 2 {}
    let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.expect("a length")];
    reader.read_exact(&mut body).expect("a body");
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").expect("answers");
    (head, body)
}

#[test]
fn a_collector_gets_a_span_of_each_request_in_the_trace_it_came_with_and_of_no_probe() {
    let collector = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = collector.local_addr().expect("bound");
    let taking = std::thread::spawn(move || taken(collector.accept().expect("a batch").0));
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("plimsoll-serve.toml"), format!("[log]\notlp = \"http://{address}\"\n"))
        .expect("writes");
    let running = Running::start(directory.path(), &[]);
    assert!(running.get("/healthz", None).starts_with("HTTP/1.1 200 "));
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let mut stream = TcpStream::connect(running.address).expect("connects");
    let traced = format!("traceparent: 00-{trace}-{parent}-01");
    write!(stream, "GET /v1/accounts/alice HTTP/1.1\r\nhost: x\r\n{traced}\r\nconnection: close\r\n\r\n")
        .expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(running.stop(), Some(0), "what waits is sent before the end");

    let (head, body) = taking.join().expect("collects");
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/x-protobuf"), "{head}");
    let has = |bytes: &[u8]| body.windows(bytes.len()).any(|w| w == bytes);
    let hex = |text: &str| {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect::<Vec<_>>()
    };
    assert!(has(&hex(trace)) && has(&hex(parent)), "it continues the caller's trace");
    for told in ["plimsoll-serve", "GET /v1/accounts/{id}", "http.route", "http.response.status_code"] {
        assert!(has(told.as_bytes()), "{told}");
    }
    assert!(!has(b"/healthz") && !has(b"alice"), "no probes, no account names");
}

#[test]
fn a_collector_that_is_away_costs_spans_and_no_request() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("bound");
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("plimsoll-serve.toml"), format!("[log]\notlp = \"http://{gone}\"\n"))
        .expect("writes");
    let running = Running::start(directory.path(), &[]);
    assert!(running.get("/v1/accounts/alice", None).starts_with("HTTP/1.1 401 "));
    assert_eq!(running.stop(), Some(0));
    crate::refused(directory.path(), &["--set", "log.otlp=nowhere", "run"], 4, "log.otlp: nowhere");
}
