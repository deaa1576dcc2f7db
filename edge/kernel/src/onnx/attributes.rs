//! The attributes of a node, taken by name, each once; what is left over was not understood.

use alloc::vec::Vec;

use super::bits;
use crate::forest::NODES_MAX;
use crate::refuse::{Fault, Why};
use crate::wire::Message;

/// Attributes a node may have: the operators know twenty.
const COUNT_MAX: usize = 32;

macro_rules! names {
    ($($variant:ident $name:literal)*) => {
        /// An attribute that is read.
        #[derive(Clone, Copy)]
        pub(super) enum Name { $($variant),* }

        /// How attributes are spelled: those that are read, in the order of [`Name`], then those that are refused.
        pub(crate) const NAMES: &[&str] = &[
            $($name,)*
            "base_values_as_tensor",
            "class_weights_as_tensor",
            "classlabels_strings",
            "membership_values",
            "nodes_hitrates_as_tensor",
            "nodes_values_as_tensor",
            "target_weights_as_tensor",
        ];
    };
}

names! {
    AggregateFunction "aggregate_function"
    BaseValues "base_values"
    ClassIds "class_ids"
    ClassNodeids "class_nodeids"
    ClassTreeids "class_treeids"
    ClassWeights "class_weights"
    ClasslabelsInt64s "classlabels_int64s"
    LeafTargetids "leaf_targetids"
    LeafWeights "leaf_weights"
    NTargets "n_targets"
    Falseleafs "nodes_falseleafs"
    Falsenodeids "nodes_falsenodeids"
    Featureids "nodes_featureids"
    Hitrates "nodes_hitrates"
    MissingTracksTrue "nodes_missing_value_tracks_true"
    Modes "nodes_modes"
    Nodeids "nodes_nodeids"
    Splits "nodes_splits"
    Treeids "nodes_treeids"
    Trueleafs "nodes_trueleafs"
    Truenodeids "nodes_truenodeids"
    Values "nodes_values"
    PostTransform "post_transform"
    TargetIds "target_ids"
    TargetNodeids "target_nodeids"
    TargetTreeids "target_treeids"
    TargetWeights "target_weights"
    TreeRoots "tree_roots"
}

#[derive(Default)]
pub(super) struct Attributes<'a>(Vec<Attribute<'a>>);

/// An `AttributeProto`.
#[derive(Default)]
pub(super) struct Attribute<'a> {
    name: &'a [u8],
    /// Its declared type, and the fields it has as bits.
    kind: i64,
    held: u32,
    pub(super) int: i64,
    /// A text or a tensor.
    pub(super) inner: Option<Message<'a>>,
    pub(super) floats: Vec<f32>,
    pub(super) ints: Vec<i64>,
    pub(super) texts: Vec<&'a [u8]>,
}

/// `AttributeProto.AttributeType`; the field of such a value is one further.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
pub(super) enum Kind {
    Int = 2,
    String = 3,
    Tensor = 4,
    Floats = 6,
    Ints = 7,
    Strings = 8,
}

impl<'a> Attributes<'a> {
    pub(super) fn read(&mut self, message: Message<'a>) -> Result<(), Fault> {
        if self.0.len() == COUNT_MAX {
            return Err(Fault::at(COUNT_MAX, &Why::TooLarge("attributes")));
        }
        let mut a = Attribute::default();
        const WHAT: &Why = &Why::Field("an attribute");
        let fields = message.fields(WHAT, bits(&[1, 3, 4, 5, 20]), bits(&[7, 8, 9]), &mut |field, value| {
            a.held |= 1 << field;
            let understood = match field {
                7 => value.floats(&mut a.floats)?,
                8 => value.ints(&mut a.ints)?,
                _ => value.message().map(|m| a.texts.push(m.bytes())),
            };
            if a.floats.len().max(a.ints.len()).max(a.texts.len()) > NODES_MAX {
                return Err(Fault::at(NODES_MAX, &Why::TooLarge("nodes")));
            }
            Ok(understood)
        })?;
        for field in 3..=5 {
            a.held |= u32::from(fields.has(field)) << field;
        }
        (a.name, a.kind, a.int) = (fields.message(1)?.bytes(), fields.int(20)?, fields.int(3)?);
        a.inner = Some(fields.message(if fields.has(4) { 4 } else { 5 })?);
        self.0.push(a);
        Ok(())
    }

    /// The attribute of that name; refused when its value is of another kind.
    pub(super) fn take(&mut self, name: Name, kind: Kind) -> Result<Option<Attribute<'a>>, Fault> {
        let Some(ix) = self.0.iter().position(|a| a.name == NAMES[name as usize].as_bytes()) else { return Ok(None) };
        let a = self.0.swap_remove(ix);
        if a.kind != kind as i64 || a.held & !(2 << kind as u32) != 0 {
            return refused(name, &Why::Attribute("has a value of another type"));
        }
        Ok(Some(a))
    }

    /// The attribute of that name, which must be there.
    pub(super) fn need(&mut self, name: Name, kind: Kind) -> Result<Attribute<'a>, Fault> {
        match self.take(name, kind)? {
            Some(a) => Ok(a),
            None => refused(name, &Why::Attribute("is missing")),
        }
    }

    /// Refuses an attribute that is there and does not hold.
    pub(super) fn hold(
        &mut self,
        name: Name,
        kind: Kind,
        why: &'static Why,
        holds: &dyn Fn(&Attribute<'a>) -> bool,
    ) -> Result<(), Fault> {
        match self.take(name, kind)? {
            Some(a) if !holds(&a) => refused(name, why),
            _ => Ok(()),
        }
    }

    /// A list of exactly `count` whole numbers.
    pub(super) fn ints_of(&mut self, name: Name, count: usize) -> Result<Vec<i64>, Fault> {
        let ints = self.need(name, Kind::Ints)?.ints;
        if ints.len() == count { Ok(ints) } else { refused(name, LENGTH) }
    }

    /// `n_targets`: as many outputs as there may be.
    pub(super) fn outputs(&mut self) -> Result<usize, Fault> {
        let outputs = self.need(Name::NTargets, Kind::Int)?.int;
        // What is negative or too large is more than there may be, and the forest says so.
        Ok(usize::try_from(outputs).unwrap_or(usize::MAX).min(crate::forest::OUTPUTS_MAX + 1))
    }

    /// What says for each split where NaN goes: with us always to the false branch.
    pub(super) fn missing_goes_high(&mut self, count: usize) -> Result<(), Fault> {
        let why = &Why::Attribute("sends missing values low, or has another length than its list");
        let high = |a: &Attribute<'_>| a.ints.len() == count && a.ints.iter().all(|flag| *flag == 0);
        self.hold(Name::MissingTracksTrue, Kind::Ints, why, &high)
    }

    /// Refuses what no reader took: an unknown attribute, or one of that name was there already.
    pub(super) fn none_left(&self) -> Result<(), Fault> {
        let Some(a) = self.0.first() else { return Ok(()) };
        let place = NAMES.iter().position(|n| n.as_bytes() == a.name);
        Err(Fault::at(place.unwrap_or(NAMES.len()), &Why::Attribute("is not evaluated here")))
    }
}

pub(super) const LENGTH: &Why = &Why::Attribute("has another length than its list");

pub(super) const fn refused<T>(name: Name, why: &'static Why) -> Result<T, Fault> {
    Err(Fault::at(name as usize, why))
}
