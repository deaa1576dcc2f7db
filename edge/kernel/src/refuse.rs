//! Why bytes or nodes are no forest that this kernel walks.

use alloc::string::String;
use core::fmt;

/// Why a file or a forest was refused. Nothing of it was evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Not protobuf, or cut short.
    Protobuf {
        /// Offset of the byte that made no sense.
        at: usize,
    },
    /// A protobuf field that this reader does not know, or met a second time.
    Field {
        /// Of which message.
        message: &'static str,
        /// Its number.
        field: u32,
    },
    /// More than a device should read.
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// Valid ONNX, but not one tree ensemble over one table of numbers.
    Graph {
        /// What is wrong with it.
        why: &'static str,
    },
    /// An attribute that is missing, unknown, or has a value that this kernel does not evaluate.
    Attribute {
        /// Which, as the file spells it.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A node that does not hang in a tree, or says what no tree may say.
    Node {
        /// Position in the file's lists of nodes.
        node: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An output that no leaf adds to.
    Empty {
        /// Which.
        output: usize,
    },
    /// Floats could round.
    Sum {
        /// Which output.
        output: usize,
        /// The largest sum of sizes, in steps.
        sum: u64,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protobuf { at } => write!(f, "not an ONNX file: byte {at} makes no sense"),
            Self::Field { message, field } => write!(f, "{message} has field {field}, unknown or twice"),
            Self::TooLarge { what, max } => write!(f, "more than {max} {what}"),
            Self::Graph { why } => write!(f, "the ONNX graph {why}"),
            Self::Attribute { name, why } => write!(f, "attribute {name} {why}"),
            Self::Node { node, why } => write!(f, "node {node} {why}"),
            Self::Empty { output } => write!(f, "no leaf adds to output {output}"),
            Self::Sum { output, sum } => {
                write!(f, "leaves of output {output} can sum to {sum} steps; from 2^24 on float32 is not exact")
            }
        }
    }
}

impl core::error::Error for Refused {}
