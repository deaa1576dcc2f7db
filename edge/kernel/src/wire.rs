//! Protobuf's wire format, as much as ONNX needs: a walk over borrowed bytes that copies nothing.
//!
//! Source: protobuf.dev, *Encoding*.

use alloc::vec::Vec;

use crate::refuse::{Fault, Why};

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
    fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Fault> {
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

    fn refused(&self) -> Fault {
        Fault::at(self.start + self.at, &Why::Protobuf)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let rest = &self.bytes[self.at..];
        if length > rest.len() {
            return Err(self.refused());
        }
        self.at += length;
        Ok(&rest[..length])
    }

    fn varint(&mut self) -> Result<u64, Fault> {
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

    fn fixed32(&mut self) -> Result<u32, Fault> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

/// The fields of a message that there may be once, by number.
pub(crate) struct Fields<'a> {
    values: [Option<Value<'a>>; FIELDS],
    what: &'static Why,
}

/// Field numbers that any message of ONNX has with us are below.
const FIELDS: usize = 21;

impl<'a> Message<'a> {
    /// Reads the whole message: fields of `once` at most once each, those of `many` go to `each` as they come, and
    /// there are no others. Both are bits of field numbers. Protobuf lets the last of a repeated scalar win; we let
    /// none.
    pub(crate) fn fields(
        mut self,
        what: &'static Why,
        once: u32,
        many: u32,
        each: &mut dyn FnMut(u32, Value<'a>) -> Result<Option<()>, Fault>,
    ) -> Result<Fields<'a>, Fault> {
        let mut fields = Fields { values: [None; FIELDS], what };
        while let Some((field, value)) = self.field()? {
            let bit = 1u32.checked_shl(field).unwrap_or(0);
            let understood = if many & bit != 0 {
                each(field, value)?
            } else {
                match fields.values.get_mut(field as usize) {
                    Some(place @ None) if once & bit != 0 => {
                        *place = Some(value);
                        Some(())
                    }
                    _ => None,
                }
            };
            understood.ok_or(Fault::at(field as usize, what))?;
        }
        Ok(fields)
    }
}

impl<'a> Fields<'a> {
    /// The number in a field, 0 when it is not there.
    pub(crate) fn int(&self, field: u32) -> Result<i64, Fault> {
        match self.values[field as usize] {
            None => Ok(0),
            Some(Value::Varint(value)) => Ok(value as i64),
            Some(_) => Err(Fault::at(field as usize, self.what)),
        }
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, field: u32) -> bool {
        self.values[field as usize].is_some()
    }

    /// The text, bytes or message in a field, empty when it is not there.
    pub(crate) fn message(&self, field: u32) -> Result<Message<'a>, Fault> {
        match self.values[field as usize] {
            None => Ok(Message::new(&[])),
            Some(Value::Bytes(message)) => Ok(message),
            Some(_) => Err(Fault::at(field as usize, self.what)),
        }
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

    /// One more number of a list, or a packed run of them.
    pub(crate) fn ints(self, into: &mut Vec<i64>) -> Result<Option<()>, Fault> {
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
    pub(crate) fn floats(self, into: &mut Vec<f32>) -> Result<Option<()>, Fault> {
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
