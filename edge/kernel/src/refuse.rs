//! Why bytes or nodes are no forest that this kernel walks.

use core::fmt;

use crate::onnx::NAMES;

/// Why a file or a forest was refused. Nothing of it was evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        /// Which; `"(not in the standard)"` when no tree ensemble has one of its name.
        name: &'static str,
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
            Self::Sum { output } => {
                write!(f, "leaves of output {output} can sum to 2^24 steps or more; float32 is then not exact")
            }
        }
    }
}

impl core::error::Error for Refused {}

/// [`Refused`] on its way out: two words, copied, never dropped. As the enum it would cost kilobytes of code, for each
/// `?` moves it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    why: &'static Why,
    at: u32,
}

/// What is wrong; the number beside it says where.
#[derive(Debug)]
pub(crate) enum Why {
    /// At a byte.
    Protobuf,
    /// At a field of this message.
    Field(&'static str),
    /// There may be so many of these.
    TooLarge(&'static str),
    /// Nowhere.
    Graph(&'static str),
    /// At an attribute, by its place in [`NAMES`].
    Attribute(&'static str),
    /// At a node.
    Node(&'static str),
    /// At an output.
    Empty,
    /// At an output.
    Sum,
}

impl Fault {
    #[cold]
    pub(crate) const fn at(at: usize, why: &'static Why) -> Self {
        Self { why, at: at as u32 }
    }
}

impl From<Fault> for Refused {
    fn from(Fault { why, at }: Fault) -> Self {
        let place = at as usize;
        match *why {
            Why::Protobuf => Self::Protobuf { at: place },
            Why::Field(message) => Self::Field { message, field: at },
            Why::TooLarge(what) => Self::TooLarge { what, max: place },
            Why::Graph(why) => Self::Graph { why },
            Why::Attribute(why) => {
                Self::Attribute { name: NAMES.get(place).copied().unwrap_or("(not in the standard)"), why }
            }
            Why::Node(why) => Self::Node { node: place, why },
            Why::Empty => Self::Empty { output: place },
            Why::Sum => Self::Sum { output: place },
        }
    }
}
