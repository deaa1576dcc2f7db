//! A file in memory, as HTTP serves it: in several codings, in parts, or not at all when the client has it already.
//!
//! Source: RFC 9110, sections 8.8.3 (entity tags), 12.5.3 (accept-encoding), 13 (conditions), 14 (ranges).

use std::io::Write as _;
use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use headers::{ETag, HeaderMapExt as _, IfMatch, IfNoneMatch};
use sha2::{Digest as _, Sha256};

/// Bytes below which a coding saves nothing worth a second representation.
const CODED_BYTES_MIN: usize = 1_024;

/// A file that never changes: named by its hash or its version.
pub(super) const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// A file that has to be asked for again: the answer is short when it is the same.
pub(super) const REVALIDATE: &str = "no-cache";

/// A file, ready to be served.
#[derive(Debug)]
pub(super) struct Stored {
    content_type: &'static str,
    cache: &'static str,
    /// Plain first.
    forms: Vec<Form>,
}

/// One representation. A strong tag names its very bytes, so parts of one are never joined with parts of another.
#[derive(Debug)]
struct Form {
    coding: &'static str,
    tag: String,
    bytes: Bytes,
}

impl Form {
    fn new(coding: &'static str, bytes: Bytes) -> Self {
        let hash = Sha256::digest(&bytes);
        Self { coding, tag: format!("\"{}\"", Base64UrlUnpadded::encode_string(&hash[..18])), bytes }
    }
}

impl Stored {
    /// A file as it is.
    pub(super) fn plain(content_type: &'static str, cache: &'static str, bytes: Bytes) -> Self {
        Self { content_type, cache, forms: vec![Form::new("identity", bytes)] }
    }

    /// The same in every coding that makes it at least a tenth shorter: worth it once for a file that many fetch.
    pub(super) fn coded(content_type: &'static str, cache: &'static str, bytes: Bytes) -> Self {
        let mut stored = Self::plain(content_type, cache, bytes.clone());
        if bytes.len() >= CODED_BYTES_MIN {
            for (coding, code) in [("br", brotli as fn(&[u8]) -> Option<Vec<u8>>), ("zstd", zstd), ("gzip", gzip)] {
                let shorter = code(&bytes).filter(|coded| coded.len() <= bytes.len() / 10 * 9);
                stored.forms.extend(shorter.map(|coded| Form::new(coding, coded.into())));
            }
        }
        stored
    }

    /// The plain bytes.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.forms[0].bytes
    }

    /// Whether it is served in other codings too.
    pub(super) fn is_coded(&self) -> bool {
        self.forms.len() > 1
    }

    /// Answers a GET or a HEAD.
    ///
    /// * `varies`: a header besides `Accept-Encoding` that chose this file.
    pub(super) fn answer(&self, method: &Method, asked: &HeaderMap, varies: Option<&'static str>) -> Response {
        let form = self.chosen(asked);
        let mut response = Response::new(Body::empty());
        let head = response.headers_mut();
        head.insert(header::CACHE_CONTROL, HeaderValue::from_static(self.cache));
        head.insert(header::ETAG, HeaderValue::from_str(&form.tag).expect("base64url in quotes is a header value"));
        let coded = self.is_coded().then_some("accept-encoding");
        let varies: Vec<&str> = [coded, varies].into_iter().flatten().collect();
        if !varies.is_empty() {
            head.insert(header::VARY, HeaderValue::from_str(&varies.join(", ")).expect("names are header values"));
        }
        let tag: ETag = form.tag.parse().expect("a quoted base64url text is a tag");
        // A condition that does not read is one that was not made, but for `If-Match`, where that would go too far.
        if asked.contains_key(header::IF_MATCH)
            && !asked.typed_get::<IfMatch>().is_some_and(|wanted| wanted.precondition_passes(&tag))
        {
            *response.status_mut() = StatusCode::PRECONDITION_FAILED;
            return response;
        }
        if asked.typed_get::<IfNoneMatch>().is_some_and(|known| !known.precondition_passes(&tag)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }

        head.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if form.coding != "identity" {
            head.insert(header::CONTENT_ENCODING, HeaderValue::from_static(form.coding));
        }
        let length = form.bytes.len() as u64;
        // Only for GET, and only of the representation that the client has the other part of.
        let wanted = asked.get(header::RANGE).filter(|_| method == Method::GET);
        let same = asked.get(header::IF_RANGE).is_none_or(|part| part.as_bytes() == form.tag.as_bytes());
        let part = wanted.filter(|_| same).and_then(|range| parse(range.to_str().ok()?, length));
        let body = match part {
            None => form.bytes.clone(),
            Some(Part::Unsatisfiable) => {
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                let head = response.headers_mut();
                head.remove(header::CONTENT_ENCODING);
                head.remove(header::CONTENT_TYPE);
                head.insert(header::CONTENT_RANGE, value(format!("bytes */{length}")));
                return response;
            }
            Some(Part::Of(range)) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let shown = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                response.headers_mut().insert(header::CONTENT_RANGE, value(shown));
                // Within the bytes, so within the address space.
                form.bytes.slice(range.start as usize..range.end as usize)
            }
        };
        response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
        if method != Method::HEAD {
            *response.body_mut() = Body::from(body);
        }
        response
    }

    /// The shortest of the representations that the client likes best; the plain one when it says nothing, or wants none.
    fn chosen(&self, asked: &HeaderMap) -> &Form {
        let plain = &self.forms[0];
        let wishes: Vec<(&str, u32)> = asked
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(wish)
            .collect();
        let weight = |coding: &str| {
            let named = wishes.iter().find(|(name, _)| name.eq_ignore_ascii_case(coding));
            let any = || wishes.iter().find(|(name, _)| *name == "*");
            // Plain bytes need no mention, and are the last wish then.
            named.or_else(any).map_or(u32::from(coding == "identity"), |(_, weight)| *weight)
        };
        let best = self.forms.iter().max_by_key(|f| (weight(f.coding), std::cmp::Reverse(f.bytes.len())));
        best.filter(|form| weight(form.coding) > 0).unwrap_or(plain)
    }
}

fn value(text: String) -> HeaderValue {
    HeaderValue::from_str(&text).expect("digits are a header value")
}

/// `gzip;q=0.5`: a coding and its weight in thousandths.
fn wish(text: &str) -> Option<(&str, u32)> {
    let mut parts = text.split(';').map(str::trim);
    let coding = parts.next().filter(|c| !c.is_empty())?;
    let weight = parts.find_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q=")));
    let weight = weight.map_or(Ok(1.0), str::parse::<f32>).ok().filter(|q| (0.0..=1.0).contains(q))?;
    Some((coding, (weight * 1_000.0) as u32))
}

/// What a range asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Of(Range<u64>),
    Unsatisfiable,
}

/// One range of bytes; `None` for what is no such range and is answered as if it had not been asked: several ranges,
/// other units, and nonsense.
fn parse(text: &str, length: u64) -> Option<Part> {
    let (unit, set) = text.split_once('=')?;
    let (first, last) = set.trim().split_once('-')?;
    // A number of any size: one that does not fit is beyond every end.
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let range = match (first, last) {
        ("", suffix) => length.saturating_sub(number(suffix)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if range.is_empty() { Part::Unsatisfiable } else { Part::Of(range) })
}

fn brotli(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut coded = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams { quality: 9, ..Default::default() };
    brotli::BrotliCompress(&mut &*bytes, &mut coded, &parameters).ok()?;
    Some(coded)
}

fn zstd(bytes: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::compress(bytes, 19).ok()
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    coder.write_all(bytes).ok()?;
    coder.finish().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::LazyLock;

    use axum::http::HeaderName;

    use super::*;

    fn text() -> Vec<u8> {
        (0..10_000_u32).flat_map(|i| (i % 97 * i % 13).to_string().into_bytes()).collect()
    }

    fn stored() -> &'static Stored {
        static STORED: LazyLock<Stored> = LazyLock::new(|| Stored::coded("application/json", IMMUTABLE, text().into()));
        &STORED
    }

    fn ask(stored: &Stored, method: Method, headers: &[(HeaderName, &str)]) -> Response {
        let mut asked = HeaderMap::new();
        for (name, value) in headers {
            asked.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        stored.answer(&method, &asked, None)
    }

    fn get(stored: &Stored, headers: &[(HeaderName, &str)]) -> Response {
        ask(stored, Method::GET, headers)
    }

    fn shown<'a>(response: &'a Response, name: &HeaderName) -> &'a str {
        response.headers().get(name).map_or("", |v| v.to_str().expect("text"))
    }

    fn body(response: Response) -> Vec<u8> {
        let read = axum::body::to_bytes(response.into_body(), usize::MAX);
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(read)
            .expect("reads")
            .to_vec()
    }

    /// Of ten thousand bytes, as in RFC 9110 section 14.1.2.
    #[track_caller]
    fn range(asked: &str, want: Option<(u16, &str)>) {
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i % 251) as u8).collect();
        let plain = Stored::plain("application/octet-stream", IMMUTABLE, bytes.clone().into());
        let response = get(&plain, &[(header::RANGE, asked)]);
        let (status, content_range) = want.unwrap_or((200, ""));
        assert_eq!((response.status().as_u16(), shown(&response, &header::CONTENT_RANGE)), (status, content_range));
        let part = content_range.trim_start_matches("bytes ").split('/').next().and_then(|r| r.split_once('-'));
        let part = part.map(|(a, b)| a.parse().expect("a place")..b.parse::<usize>().expect("a place") + 1);
        let want = match status {
            206 => bytes[part.expect("a part")].to_vec(),
            416 => Vec::new(),
            _ => bytes,
        };
        assert_eq!(body(response), want);
    }

    #[test]
    fn the_examples_of_rfc_9110_for_one_range() {
        range("bytes=0-499", Some((206, "bytes 0-499/10000")));
        range("bytes=500-999", Some((206, "bytes 500-999/10000")));
        range("bytes=-500", Some((206, "bytes 9500-9999/10000")));
        range("bytes=9500-", Some((206, "bytes 9500-9999/10000")));
        range("bytes=0-0", Some((206, "bytes 0-0/10000")));
        range("bytes=-1", Some((206, "bytes 9999-9999/10000")));
    }

    #[test]
    fn a_range_beyond_the_end_is_cut_and_one_behind_it_cannot_be_had() {
        range("bytes=9999-20000", Some((206, "bytes 9999-9999/10000")));
        range("bytes=-20000", Some((206, "bytes 0-9999/10000")));
        range("bytes=0-99999999999999999999999", Some((206, "bytes 0-9999/10000")));
        range("bytes=10000-", Some((416, "bytes */10000")));
        range("bytes=10000-10001", Some((416, "bytes */10000")));
        range("bytes=99999999999999999999999-", Some((416, "bytes */10000")));
        range("bytes=-0", Some((416, "bytes */10000")));
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_answered_whole() {
        for asked in [
            "bytes=0-0,-1",
            "bytes=5-4",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=--5",
            "bytes",
            "lines=0-1",
            "bytes=0x1-2",
            "=0-1",
            "",
        ] {
            range(asked, None);
        }
        range("BYTES=0-1", Some((206, "bytes 0-1/10000")));
    }

    #[test]
    fn every_coding_holds_the_same_bytes_under_a_tag_of_its_own() {
        let stored = stored();
        let mut tags = Vec::new();
        for coding in ["identity", "br", "zstd", "gzip"] {
            let response = get(stored, &[(header::ACCEPT_ENCODING, coding)]);
            let told = shown(&response, &header::CONTENT_ENCODING);
            assert_eq!(told, if coding == "identity" { "" } else { coding });
            assert_eq!(shown(&response, &header::VARY), "accept-encoding");
            tags.push(shown(&response, &header::ETAG).to_owned());
            let coded = body(response);
            let mut plain = Vec::new();
            match coding {
                "br" => brotli::BrotliDecompress(&mut &*coded, &mut plain).expect("decodes"),
                "zstd" => plain = zstd::stream::decode_all(&*coded).expect("decodes"),
                "gzip" => {
                    flate2::read::GzDecoder::new(&*coded).read_to_end(&mut plain).expect("decodes");
                }
                _ => plain.clone_from(&coded),
            }
            assert_eq!(plain, text(), "{coding}");
            assert!(coding == "identity" || coded.len() < plain.len() / 2, "{coding}");
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 4);
    }

    #[test]
    fn the_client_says_which_coding() {
        #[track_caller]
        fn chosen(asked: &str, want: &[&str]) {
            let stored = stored();
            let response = get(stored, &[(header::ACCEPT_ENCODING, asked)]);
            let told = shown(&response, &header::CONTENT_ENCODING);
            assert!(want.contains(&told), "{asked:?}: {told:?}");
        }
        chosen("gzip", &["gzip"]);
        chosen("gzip;q=0.5, br;q=0.4", &["gzip"]);
        chosen("GZIP;q=0.5, identity;q=0.1", &["gzip"]);
        chosen("gzip, deflate, br, zstd", &["br", "zstd"]);
        chosen("*", &["br", "zstd"]);
        chosen("*;q=0.5, zstd;q=0", &["br"]);
        chosen("br;q=0, gzip;q=0, zstd;q=0", &[""]);
        chosen("identity", &[""]);
        chosen("deflate", &[""]);
        chosen("identity;q=0", &[""]);
        chosen("", &[""]);
        chosen("gzip;q=2", &[""]);
        chosen("gzip;q=NaN", &[""]);
        chosen("identity;q=1, gzip;q=0.5", &[""]);
        let stored = stored();
        assert_eq!(shown(&get(stored, &[]), &header::CONTENT_ENCODING), "", "nobody said it can read another");
    }

    #[test]
    fn who_has_it_already_gets_no_body() {
        let stored = stored();
        let tag = shown(&get(stored, &[]), &header::ETAG).to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
            let response = get(stored, &[(header::IF_NONE_MATCH, &known)]);
            assert_eq!(response.status(), 304, "{known}");
            assert_eq!(shown(&response, &header::ETAG), tag);
            assert_eq!(shown(&response, &header::CACHE_CONTROL), IMMUTABLE);
            assert_eq!(shown(&response, &header::VARY), "accept-encoding");
            assert_eq!(body(response), b"");
        }
        for other in ["\"other\"", "nonsense", ""] {
            assert_eq!(get(stored, &[(header::IF_NONE_MATCH, other)]).status(), 200, "{other}");
        }
        // Another coding is another representation.
        let asked = [(header::IF_NONE_MATCH, tag.as_str()), (header::ACCEPT_ENCODING, "br")];
        assert_eq!(get(stored, &asked).status(), 200);
        // The condition comes before the range.
        let asked = [(header::IF_NONE_MATCH, tag.as_str()), (header::RANGE, "bytes=0-1")];
        assert_eq!(get(stored, &asked).status(), 304);
    }

    #[test]
    fn a_part_is_joined_only_with_parts_of_the_same_representation() {
        let stored = stored();
        let asked = |tag: &str, coding: &str| {
            let asked = [(header::RANGE, "bytes=10-19"), (header::IF_RANGE, tag), (header::ACCEPT_ENCODING, coding)];
            get(stored, &asked)
        };
        let plain = shown(&get(stored, &[]), &header::ETAG).to_owned();
        let coded = shown(&get(stored, &[(header::ACCEPT_ENCODING, "br")]), &header::ETAG).to_owned();
        let response = asked(&plain, "identity");
        assert_eq!((response.status().as_u16(), shown(&response, &header::ETAG)), (206, plain.as_str()));
        assert_eq!(body(response), text()[10..20]);
        let response = asked(&coded, "br");
        assert_eq!((response.status().as_u16(), shown(&response, &header::CONTENT_ENCODING)), (206, "br"));
        assert_eq!(asked(&plain, "br").status(), 200);
        assert_eq!(asked("Sat, 29 Oct 1994 19:43:31 GMT", "identity").status(), 200, "there are no dates here");
        assert_eq!(asked(&format!("W/{plain}"), "identity").status(), 200, "a weak tag does not name bytes");
    }

    #[test]
    fn a_condition_to_match_is_kept() {
        let stored = stored();
        let tag = shown(&get(stored, &[]), &header::ETAG).to_owned();
        assert_eq!(get(stored, &[(header::IF_MATCH, &tag)]).status(), 200);
        assert_eq!(get(stored, &[(header::IF_MATCH, "*")]).status(), 200);
        assert_eq!(get(stored, &[(header::IF_MATCH, "\"other\"")]).status(), 412);
        assert_eq!(get(stored, &[(header::IF_MATCH, "nonsense")]).status(), 412);
    }

    #[test]
    fn head_tells_what_get_would_send_and_knows_no_ranges() {
        let stored = stored();
        let whole = get(stored, &[]);
        let response = ask(stored, Method::HEAD, &[(header::RANGE, "bytes=0-1")]);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers(), whole.headers());
        assert_eq!(shown(&response, &header::CONTENT_LENGTH), text().len().to_string());
        assert_eq!(body(response), b"");
    }

    #[test]
    fn short_files_and_noise_have_one_representation() {
        let short = Stored::coded("application/json", IMMUTABLE, vec![b'a'; CODED_BYTES_MIN - 1].into());
        let noise: Vec<u8> = (0..64_u64).flat_map(|i| Sha256::digest(i.to_le_bytes())).collect();
        let noise = Stored::coded("application/octet-stream", IMMUTABLE, noise.into());
        assert!(!short.is_coded() && !noise.is_coded());
        assert_eq!(shown(&get(&noise, &[(header::ACCEPT_ENCODING, "br")]), &header::VARY), "");
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_it_fail(range in ".{0,40}", encoding in ".{0,40}", known in ".{0,40}", part in ".{0,40}") {
            let stored = stored();
            let mut asked = HeaderMap::new();
            let given = [(header::RANGE, format!("bytes={range}")), (header::RANGE, range), (header::ACCEPT_ENCODING, encoding),
                (header::IF_NONE_MATCH, known.clone()), (header::IF_MATCH, known), (header::IF_RANGE, part)];
            for (name, text) in given {
                if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                    asked.append(name, value);
                }
            }
            let status = stored.answer(&Method::GET, &asked, None).status().as_u16();
            proptest::prop_assert!([200, 206, 304, 412, 416].contains(&status));
        }
    }
}
