//! Protobuf's wire format, as much as ONNX needs: a walk over borrowed bytes that copies nothing.
//!
//! Source: protobuf.dev, *Encoding*.

use alloc::vec::Vec;

use crate::refuse::Refused;

/// A message being read. `start` is its offset in the file, for messages to people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    bytes: &'a [u8],
    start: usize,
    at: usize,
}

/// The value of one field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    Bytes(Message<'a>),
}

impl<'a> Message<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, start: 0, at: 0 }
    }

    pub(crate) const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The next field, or `None` at the message's end.
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Refused> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let tag = self.varint()?;
        // Field numbers have 29 bits.
        let Ok(tag) = u32::try_from(tag) else { return Err(self.refused()) };
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| self.refused())?;
                let start = self.start + self.at;
                Value::Bytes(Message { bytes: self.take(length)?, start, at: 0 })
            }
            5 => Value::Fixed32(self.fixed32()?),
            _ => return Err(self.refused()),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn refused(&self) -> Refused {
        Refused::Protobuf { at: self.start + self.at }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Refused> {
        let rest = &self.bytes[self.at..];
        if length > rest.len() {
            return Err(self.refused());
        }
        self.at += length;
        Ok(&rest[..length])
    }

    fn varint(&mut self) -> Result<u64, Refused> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // The tenth byte has room for one bit.
                return if shift == 63 && byte > 1 { Err(self.refused()) } else { Ok(value) };
            }
        }
        Err(self.refused())
    }

    fn fixed32(&mut self) -> Result<u32, Refused> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

impl<'a> Value<'a> {
    /// Text, bytes or a message inside; `None` when it is a number.
    pub(crate) const fn message(self) -> Option<Message<'a>> {
        match self {
            Self::Bytes(message) => Some(message),
            _ => None,
        }
    }

    /// A signed number; `None` when it is something else.
    pub(crate) const fn int(self) -> Option<i64> {
        match self {
            Self::Varint(value) => Some(value as i64),
            _ => None,
        }
    }

    /// One more number of a list, or a packed run of them.
    pub(crate) fn ints(self, into: &mut Vec<i64>) -> Result<Option<()>, Refused> {
        match self {
            Self::Varint(value) => into.push(value as i64),
            Self::Bytes(mut packed) => {
                while packed.at < packed.bytes.len() {
                    into.push(packed.varint()? as i64);
                }
            }
            Self::Fixed32(_) => return Ok(None),
        }
        Ok(Some(()))
    }

    /// One more float of a list, or a packed run of them.
    pub(crate) fn floats(self, into: &mut Vec<f32>) -> Result<Option<()>, Refused> {
        match self {
            Self::Fixed32(bits) => into.push(f32::from_bits(bits)),
            Self::Bytes(mut packed) => {
                into.reserve_exact(packed.bytes.len() / 4);
                while packed.at < packed.bytes.len() {
                    into.push(f32::from_bits(packed.fixed32()?));
                }
            }
            Self::Varint(_) => return Ok(None),
        }
        Ok(Some(()))
    }
}
