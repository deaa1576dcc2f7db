//! UBJSON, as XGBoost writes it, into the JSON it stands for.
//!
//! Counts come from the file, so nothing is allocated for them: lists grow as their items are read, and each takes a byte
//! at least. Containers of a type that takes none (null, true, false) could be of any size; they are refused, and XGBoost
//! writes none.
//!
//! Source: the UBJSON specification, draft 12 (ubjson.org), with typed and counted containers.

use serde_json::{Map, Number, Value};

/// Containers in containers: what `serde_json` allows.
const DEPTH_MAX: usize = 128;

/// Reads one document.
///
/// # Errors
/// The byte and what is wrong there.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader { bytes, at: 0 };
    let read = reader.tag().and_then(|tag| reader.value(tag, 0));
    match read {
        Some(value) if reader.bytes[reader.at..].iter().all(|b| *b == b'N') => Ok(value),
        Some(_) => Err(format!("UBJSON, byte {}: something follows the document", reader.at)),
        None => Err(format!("UBJSON, byte {}: cut, or not what XGBoost writes", reader.at)),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(taken)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next tag that says something.
    fn tag(&mut self) -> Option<u8> {
        loop {
            match self.take()? {
                [b'N'] => {}
                [tag] => return Some(tag),
            }
        }
    }

    fn value(&mut self, tag: u8, depth: usize) -> Option<Value> {
        Some(match tag {
            b'Z' => Value::Null,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            b'd' => Value::Number(Number::from_f64(f32::from_be_bytes(self.take()?).into())?),
            b'D' => Value::Number(Number::from_f64(f64::from_be_bytes(self.take()?))?),
            b'S' => Value::String(self.text()?),
            b'C' => Value::String(char::from(self.take::<1>()?[0]).to_string()),
            b'[' => self.list(depth)?,
            b'{' => self.map(depth)?,
            _ => Value::Number(self.integer(tag)?.into()),
        })
    }

    fn integer(&mut self, tag: u8) -> Option<i64> {
        Some(match tag {
            b'i' => i8::from_be_bytes(self.take()?).into(),
            b'U' => u8::from_be_bytes(self.take()?).into(),
            b'I' => i16::from_be_bytes(self.take()?).into(),
            b'l' => i32::from_be_bytes(self.take()?).into(),
            b'L' => i64::from_be_bytes(self.take()?),
            _ => return None,
        })
    }

    fn count(&mut self) -> Option<usize> {
        let tag = self.tag()?;
        usize::try_from(self.integer(tag)?).ok()
    }

    fn text(&mut self) -> Option<String> {
        let n = self.count()?;
        let end = self.at.checked_add(n)?;
        let text = std::str::from_utf8(self.bytes.get(self.at..end)?).ok()?;
        self.at = end;
        Some(text.to_owned())
    }

    /// What stands before the items of a container: their type, and how many they are.
    fn shape(&mut self) -> Option<(Option<u8>, Option<usize>)> {
        let mut item = None;
        if self.peek() == Some(b'$') {
            self.at += 1;
            item = Some(self.take::<1>()?[0]).filter(|tag| !b"ZTFN".contains(tag));
            if item.is_none() || self.peek() != Some(b'#') {
                return None;
            }
        }
        if self.peek() != Some(b'#') {
            return Some((item, None));
        }
        self.at += 1;
        Some((item, Some(self.count()?)))
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        if depth == DEPTH_MAX {
            return None;
        }
        let (item, count) = self.shape()?;
        let mut list = Vec::new();
        while self.goes_on(list.len(), count, b']')? {
            let tag = item.map_or_else(|| self.tag(), Some)?;
            list.push(self.value(tag, depth + 1)?);
        }
        Some(Value::Array(list))
    }

    fn map(&mut self, depth: usize) -> Option<Value> {
        if depth == DEPTH_MAX {
            return None;
        }
        let (item, count) = self.shape()?;
        let mut map = Map::new();
        let mut read = 0;
        while self.goes_on(read, count, b'}')? {
            let key = self.text()?;
            let tag = item.map_or_else(|| self.tag(), Some)?;
            let value = self.value(tag, depth + 1)?;
            map.insert(key, value);
            read += 1;
        }
        Some(Value::Object(map))
    }

    /// Whether another item follows; takes the end where there is no count.
    fn goes_on(&mut self, read: usize, count: Option<usize>, end: u8) -> Option<bool> {
        match count {
            Some(n) => Some(read < n),
            None if self.peek()? == end => {
                self.at += 1;
                Some(false)
            }
            None => Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_counted_and_open_containers_are_read() {
        let bytes = b"{U\x01a[$d#U\x02\x3f\x80\x00\x00\xbf\x00\x00\x00U\x01b[#i\x02i\xffTU\x01c[ZSU\x02xy]}";
        assert_eq!(read(bytes), Ok(serde_json::json!({ "a": [1.0, -0.5], "b": [-1, true], "c": [null, "xy"] })));
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused_before_anything_is_allocated() {
        for tag in [b'Z', b'T', b'F', b'N', b'd', b'U', b'['] {
            let mut bytes = b"[$?#L\x0f\xff\xff\xff\xff\xff\xff\xff".to_vec();
            bytes[2] = tag;
            assert!(read(&bytes).is_err(), "{tag}");
        }
        assert!(read(&b"[".repeat(1_000_000)).is_err(), "nesting");
        assert!(read(&b"[$[#U\xff".repeat(1_000)).is_err(), "nesting of typed lists");
    }
}
