//! The attributes of a node, taken by name, each once; what is left over was not understood.

use alloc::string::String;
use alloc::vec::Vec;

use super::Once;
use crate::forest::NODES_MAX;
use crate::refuse::Refused;
use crate::wire::Message;

/// Attributes a node may have: the operators know twenty.
const COUNT_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Attributes<'a>(Vec<Attribute<'a>>);

/// An `AttributeProto`. `kind` is its declared type, `held` the fields it has.
#[derive(Default)]
struct Attribute<'a> {
    name: &'a [u8],
    kind: i64,
    held: u32,
    int: i64,
    text: &'a [u8],
    tensor: Option<Message<'a>>,
    floats: Vec<f32>,
    ints: Vec<i64>,
    texts: Vec<&'a [u8]>,
}

/// `AttributeProto.AttributeType`, and the field that holds such a value.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    number: i64,
    field: u32,
}

const INT: Kind = Kind { number: 2, field: 3 };
const STRING: Kind = Kind { number: 3, field: 4 };
const TENSOR: Kind = Kind { number: 4, field: 5 };
const FLOATS: Kind = Kind { number: 6, field: 7 };
const INTS: Kind = Kind { number: 7, field: 8 };
const STRINGS: Kind = Kind { number: 8, field: 9 };

impl<'a> Attributes<'a> {
    pub(super) fn read(&mut self, mut message: Message<'a>) -> Result<(), Refused> {
        if self.0.len() == COUNT_MAX {
            return Err(Refused::TooLarge { what: "attributes", max: COUNT_MAX });
        }
        let mut a = Attribute::default();
        let mut once = Once::new("an attribute");
        while let Some((field, value)) = message.field()? {
            let understood = match field {
                1 => {
                    a.name = once.message(field, value)?.bytes();
                    Some(())
                }
                3 => value.int().map(|v| a.int = v),
                4 => value.message().map(|m| a.text = m.bytes()),
                5 => value.message().map(|m| a.tensor = Some(m)),
                7 => value.floats(&mut a.floats)?,
                8 => value.ints(&mut a.ints)?,
                9 => value.message().map(|m| a.texts.push(m.bytes())),
                20 => {
                    a.kind = once.int(field, value)?;
                    Some(())
                }
                _ => None,
            };
            understood.ok_or(once.refused(field))?;
            match field {
                3..=5 => {
                    once.meets(field)?;
                    a.held |= 1 << field;
                }
                7..=9 => a.held |= 1 << field,
                _ => {}
            }
            let longest = a.floats.len().max(a.ints.len()).max(a.texts.len());
            if longest > NODES_MAX {
                return Err(Refused::TooLarge { what: "nodes", max: NODES_MAX });
            }
        }
        self.0.push(a);
        Ok(())
    }

    /// The attribute of that name; refused when its value is of another kind.
    fn take(&mut self, name: &'static str, kind: Kind) -> Result<Option<Attribute<'a>>, Refused> {
        let Some(ix) = self.0.iter().position(|a| a.name == name.as_bytes()) else { return Ok(None) };
        let a = self.0.swap_remove(ix);
        if a.kind != kind.number || a.held & !(1 << kind.field) != 0 {
            return Err(refused(name, "has a value of another type"));
        }
        Ok(Some(a))
    }

    pub(super) fn int(&mut self, name: &'static str) -> Result<Option<i64>, Refused> {
        Ok(self.take(name, INT)?.map(|a| a.int))
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<&'a [u8]>, Refused> {
        Ok(self.take(name, STRING)?.map(|a| a.text))
    }

    pub(super) fn tensor(&mut self, name: &'static str) -> Result<Option<Message<'a>>, Refused> {
        Ok(self.take(name, TENSOR)?.and_then(|a| a.tensor))
    }

    pub(super) fn ints(&mut self, name: &'static str) -> Result<Option<Vec<i64>>, Refused> {
        Ok(self.take(name, INTS)?.map(|a| a.ints))
    }

    pub(super) fn floats(&mut self, name: &'static str) -> Result<Option<Vec<f32>>, Refused> {
        Ok(self.take(name, FLOATS)?.map(|a| a.floats))
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<&'a [u8]>>, Refused> {
        Ok(self.take(name, STRINGS)?.map(|a| a.texts))
    }

    /// A list of exactly `count` whole numbers.
    pub(super) fn ints_of(&mut self, name: &'static str, count: usize) -> Result<Vec<i64>, Refused> {
        let ints = self.ints(name)?.ok_or_else(|| refused(name, MISSING))?;
        if ints.len() == count { Ok(ints) } else { Err(refused(name, LENGTH)) }
    }

    /// A list of exactly `count` floats.
    pub(super) fn floats_of(&mut self, name: &'static str, count: usize) -> Result<Vec<f32>, Refused> {
        let floats = self.floats(name)?.ok_or_else(|| refused(name, MISSING))?;
        if floats.len() == count { Ok(floats) } else { Err(refused(name, LENGTH)) }
    }

    /// What says for each split where NaN goes: with us always to the false branch.
    pub(super) fn missing_goes_high(&mut self, count: usize) -> Result<(), Refused> {
        let name = "nodes_missing_value_tracks_true";
        match self.ints(name)? {
            Some(flags) if flags.len() != count => Err(refused(name, LENGTH)),
            Some(flags) if flags.iter().any(|f| *f != 0) => Err(refused(name, "sends missing values low")),
            _ => Ok(()),
        }
    }

    /// Refuses what no reader took: an unknown attribute, or one of that name was there already.
    pub(super) fn none_left(&self) -> Result<(), Refused> {
        match self.0.first() {
            None => Ok(()),
            Some(a) => {
                // At most 48 characters of a hostile name reach a log.
                let printed = a.name.iter().take(48).map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '?' });
                Err(Refused::Attribute { name: printed.collect::<String>(), why: "is not evaluated here" })
            }
        }
    }
}

pub(super) const MISSING: &str = "is missing";
pub(super) const LENGTH: &str = "has another length than its list";

pub(super) fn refused(name: &'static str, why: &'static str) -> Refused {
    Refused::Attribute { name: name.into(), why }
}
