//! What a conversion did, node by node, and what it refused to do.

use std::fmt;

use batchnorm::fold::FoldError;

use crate::onnx::document::{Document, ElementType, Node};
use crate::onnx::layers::Home;

/// A node of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The graph it is in, in words; empty for the model's own.
    pub graph: String,
    /// Its name, or that of its output.
    pub node: String,
    /// Its operator, as it was.
    pub op: String,
}

impl Place {
    pub(super) fn of(document: &Document, home: &Home, node: &Node) -> Self {
        Self { graph: home.title(document), node: node.title().to_owned(), op: node.op().to_owned() }
    }
}

/// What became of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// The layer takes the stored statistics now.
    Inference {
        /// Its outputs beyond the first, which are gone.
        dropped: Vec<String>,
    },
    /// A Dropout is gone: who took its output takes its input.
    DropoutRemoved,
    /// A Dropout became an Identity, since its output's name is needed: it is an output of the graph.
    DropoutReplaced,
    /// The layer became a multiplication and an addition.
    Frozen {
        /// The numbers of each.
        channels: u64,
        /// How many of them became 0, because the type has no normal number that small.
        flushed: u64,
    },
}

impl What {
    /// A name that stays the same from version to version, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Inference { .. } => "inference",
            Self::DropoutRemoved => "dropout-removed",
            Self::DropoutReplaced => "dropout-replaced",
            Self::Frozen { .. } => "frozen",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inference { dropped } if dropped.is_empty() => f.write_str("takes the stored statistics now"),
            Self::Inference { dropped } => {
                write!(f, "takes the stored statistics now; without {}", dropped.join(", "))
            }
            Self::DropoutRemoved => f.write_str("removed"),
            Self::DropoutReplaced => f.write_str("became an Identity: its output is one of the graph's"),
            Self::Frozen { channels, flushed: 0 } => write!(f, "became Mul and Add of {channels} channels"),
            Self::Frozen { channels, flushed } => {
                write!(f, "became Mul and Add of {channels} channels; {flushed} numbers became 0")
            }
        }
    }
}

/// A node that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The node, as it was.
    pub place: Place,
    /// What became of it.
    pub what: What,
}

/// Who uses a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// A node of this name, or with an output of this name.
    Node(String),
    /// Whoever runs the graph: the value is an output of it.
    Output,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "`{name}` takes it"),
            Self::Output => f.write_str("it is an output of the graph"),
        }
    }
}

/// Why a node stays as it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// At inference the node does not have an output that is used.
    ExtraOutputsUsed {
        /// The output.
        output: String,
        /// Who uses it.
        user: User,
    },
    /// The layer takes the statistics of the batch.
    Training,
    /// A position has statistics of its own, as `spatial = 0` has it.
    NotSpatial,
    /// A parameter or statistic is computed, given by a caller, or left out.
    NotConstant {
        /// Which.
        what: &'static str,
    },
    /// A caller may give another value for a parameter.
    Overridable {
        /// Its name.
        tensor: String,
    },
    /// How many axes the layer's input has is not said.
    UnknownRank,
    /// The type of the layer's input is not said, or not one to compute with.
    UnknownType {
        /// The type, if it is said.
        found: Option<ElementType>,
    },
    /// The layer's numbers make no scale and shift, or none that the type holds.
    Numbers(FoldError),
}

impl Refusal {
    /// A name that stays the same from version to version, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ExtraOutputsUsed { .. } => "extra-outputs-used",
            Self::Training => "training-mode",
            Self::NotSpatial => "not-spatial",
            Self::NotConstant { .. } => "not-constant",
            Self::Overridable { .. } => "overridable",
            Self::UnknownRank => "unknown-rank",
            Self::UnknownType { .. } => "unknown-type",
            Self::Numbers(FoldError::Overflow { .. }) => "overflow",
            Self::Numbers(_) => "bad-numbers",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExtraOutputsUsed { output, user } => {
                write!(f, "there is no `{output}` at inference, and {user}; ")?;
                f.write_str(match user {
                    User::Node(_) => "remove what is computed from it before",
                    User::Output => "drop such outputs (`--drop-outputs`), or export the model without them",
                })
            }
            Self::Training => {
                f.write_str("it takes the statistics of the batch; make it one for inference before (`--to-inference`)")
            }
            Self::NotSpatial => f.write_str(
                "every position has statistics of its own (`spatial = 0`), so there is no scale for a whole channel",
            ),
            Self::NotConstant { what } => write!(
                f,
                "its {what} is not stored with the model, one number a channel; export the model with its parameters"
            ),
            Self::Overridable { tensor } => write!(
                f,
                "whoever runs the model may give another `{tensor}`: it is an input as well; take it out of the inputs before"
            ),
            Self::UnknownRank => f.write_str(
                "how many axes its input has is not said; run shape inference before (`onnx.shape_inference`)",
            ),
            Self::UnknownType { found: None } => {
                f.write_str("the type of its input is not said; run shape inference before (`onnx.shape_inference`)")
            }
            Self::UnknownType { found: Some(found) } => {
                write!(f, "its input has elements of {found}, expected floating-point numbers")
            }
            Self::Numbers(error) => error.fmt(f),
        }
    }
}

/// A node that stays as it is although it should change.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The node.
    pub place: Place,
    /// Why.
    pub refusal: Refusal,
}

/// What a conversion did and what it refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The nodes that were changed, in the model's order.
    pub changes: Vec<Change>,
    /// The nodes that should have been, in the model's order.
    pub refused: Vec<Refused>,
    /// Constants that nobody uses any more, and that are gone.
    pub removed: Vec<String>,
}

impl Report {
    /// Puts another conversion's behind this one.
    pub fn extend(&mut self, later: Self) {
        self.changes.extend(later.changes);
        self.refused.extend(later.refused);
        self.removed.extend(later.removed);
    }
}
