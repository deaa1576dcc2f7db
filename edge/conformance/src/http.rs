//! GET from the suite's server on localhost, never more bytes than were asked for.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{Error, Repository};

pub(crate) struct Http {
    metadata: String,
    targets: String,
}

impl Http {
    pub(crate) fn new(metadata: &str, targets: &str) -> Self {
        let base = |url: &str| url.trim_end_matches('/').to_owned();
        Self { metadata: base(metadata), targets: base(targets) }
    }
}

impl Repository for Http {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(std::future::ready(get(&format!("{}/{name}", self.metadata), max_length)))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(std::future::ready(get(&format!("{}/{path}", self.targets), max_length)))
    }
}

/// `None` for 404; some servers say 403 for what is not there.
fn get(url: &str, max: u64) -> Result<Option<Vec<u8>>, Error> {
    let failed = |what: String| Error::transport(format!("{url}: {what}"));
    let io = |error: std::io::Error| failed(error.to_string());
    let rest = url.strip_prefix("http://").ok_or_else(|| failed("only plain http".to_owned()))?;
    let (host, path) = rest.split_once('/').ok_or_else(|| failed("no path".to_owned()))?;
    let mut stream = TcpStream::connect(host).map_err(io)?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(io)?;
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").map_err(io)?;
    // One byte more than may come, and room for the header.
    let mut answer = BufReader::new(stream.take(max.saturating_add(16 * 1024)));
    let mut line = String::new();
    answer.read_line(&mut line).map_err(io)?;
    match line.split(' ').nth(1) {
        Some("200") => {}
        Some("403" | "404") => return Ok(None),
        _ => return Err(failed(line)),
    }
    while line != "\r\n" {
        line.clear();
        if answer.read_line(&mut line).map_err(io)? == 0 {
            return Err(failed("the header ends too early".to_owned()));
        }
    }
    let mut bytes = Vec::new();
    answer.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > max {
        return Err(failed(format!("more than {max} bytes")));
    }
    Ok(Some(bytes))
}
