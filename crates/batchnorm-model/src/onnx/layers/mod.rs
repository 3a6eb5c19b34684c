//! The batch-norm layers of a model, in all forms that the operator has had; and what its constants are.

mod batch_normalization;
mod constant;
mod edit;
mod scope;
mod unused;

pub use batch_normalization::{BatchNormalization, Mode, Parameter, find};
pub use constant::Constant;
pub use edit::{FreshNames, homes};
pub(crate) use scope::Meaning;
pub use scope::{Home, Scope};
pub use unused::remove_unused;
