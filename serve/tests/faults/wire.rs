//! HTTP from outside: one request a connection, with a patience, and sometimes without waiting for the answer.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Who asks: the replica takes this header's word for it, the border has its own tests.
pub(crate) const WHO: &str = "x-test-identity";

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) who: String,
    pub(crate) key: Option<String>,
    pub(crate) body: Value,
}

/// What came back; nothing when the connection ended before an answer: it was done, or it was not.
pub(crate) fn send(port: u16, ask: &Ask, patience: Duration) -> Option<(u16, Value)> {
    let mut stream = write(port, ask, patience)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    // A body cut off by a kill does not read: no answer.
    Some((status, serde_json::from_str(body).ok()?))
}

/// Sends it and hangs up after a while, whether or not there was an answer.
pub(crate) fn hang_up(port: u16, ask: &Ask, after: Duration) {
    if let Some(stream) = write(port, ask, after) {
        std::thread::sleep(after);
        let _gone_already = stream.shutdown(Shutdown::Both);
    }
}

fn write(port: u16, ask: &Ask, patience: Duration) -> Option<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(1))).ok()?;
    let body = ask.body.to_string();
    let key = ask.key.as_ref().map_or_else(String::new, |key| format!("idempotency-key: {key}\r\n"));
    let head = format!(
        "{} {} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-type: application/json\r\n{WHO}: {}\r\n{key}content-length: {}\r\n\r\n",
        ask.method,
        ask.path,
        ask.who,
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).ok()?;
    Some(stream)
}
