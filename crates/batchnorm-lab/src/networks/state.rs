//! A network's tensors under PyTorch's names and in PyTorch's layouts.

use batchnorm_burn::pytorch;
use batchnorm_model::checkpoint::{NamedTensor, Values};
use burn::tensor::{DType, TensorData};
use burn_store::{ModuleSnapshot, bridge, burn_pack};

use super::Model;

/// The tensors of a network, as PyTorch's `state_dict` would have them: weights of linear maps are `[out, in]`, gamma is
/// `weight` and beta `bias`, and the batch counter is a scalar.
///
/// ```
/// use batchnorm_lab::networks::{Architecture, Init, Network, Norm, load_state, state};
/// use burn::tensor::Device;
///
/// let architecture = Architecture { norm: Some(Norm::default()), ..Architecture::new(Network::Vgg, [1, 8, 8], 10) };
/// let build = |seed| architecture.build(Init::He, 0.0, seed, &Device::flex());
/// let tensors = state(&build(1)?);
/// assert_eq!(tensors[0].name, "features.0.conv.weight");
/// assert_eq!(tensors[5].name, "features.0.bn.num_batches_tracked");
/// let same = load_state(build(2)?, &tensors)?;
/// assert_eq!(state(&same), tensors);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn state(model: &Model) -> Vec<NamedTensor> {
    let adapter = Box::new(pytorch::to_pytorch());
    model.collect(None, Some(adapter), true).into_iter().map(named).collect()
}

/// The network with the tensors of [`state`]: all of them and no others, bit for bit. Parameters keep their ids.
///
/// # Errors
///
/// The first tensor that is missing, or has another shape or type than the network's, in the network's order; then the
/// first that the network does not have.
pub fn load_state(mut model: Model, tensors: &[NamedTensor]) -> Result<Model, StateError> {
    let expected = state(&model);
    for tensor in &expected {
        let mut found = tensors.iter().filter(|found| found.name == tensor.name);
        let Some(first) = found.next() else {
            return Err(StateError::Missing { tensor: tensor.name.clone(), expected: tensor.shape.clone() });
        };
        check(tensor, first)?;
        if found.next().is_some() {
            return Err(StateError::Twice { tensor: tensor.name.clone() });
        }
    }
    if let Some(other) = tensors.iter().find(|tensor| expected.iter().all(|own| own.name != tensor.name)) {
        return Err(StateError::Unexpected { tensor: other.name.clone(), found: other.shape.clone() });
    }
    let loaded =
        model.apply(tensors.iter().map(packed).collect(), None, Some(Box::new(pytorch::from_pytorch())), true);
    assert!(
        loaded.errors.is_empty() && loaded.missing.is_empty() && loaded.unused.is_empty(),
        "checked tensors load: {loaded:?}"
    );
    Ok(model)
}

fn check(expected: &NamedTensor, found: &NamedTensor) -> Result<(), StateError> {
    let tensor = expected.name.clone();
    if found.shape != expected.shape {
        let (expected, found) = (expected.shape.clone(), found.shape.clone());
        return Err(StateError::Shape { tensor, expected, found });
    }
    let [expected, found] = [&expected.values, &found.values];
    if found.dtype() != expected.dtype() {
        return Err(StateError::Type { tensor, expected: expected.dtype(), found: found.dtype() });
    }
    if found.len() != expected.len() {
        return Err(StateError::Length { tensor, expected: expected.len(), found: found.len() });
    }
    Ok(())
}

fn named(tensor: burn_pack::Tensor) -> NamedTensor {
    let name = tensor.name.clone();
    let data = bridge::into_data(tensor).expect("a tensor in memory can be read");
    let shape: Vec<usize> = data.shape().iter().copied().collect();
    let values = match data.dtype() {
        DType::I64 => Values::I64(data.try_into_vec().expect("as its type says")),
        _ => Values::F32(data.try_into_vec().expect("networks compute in f32")),
    };
    NamedTensor { name, shape, values }
}

fn packed(tensor: &NamedTensor) -> burn_pack::Tensor {
    let shape = tensor.shape.clone();
    let data = match &tensor.values {
        Values::F32(values) => TensorData::new(values.clone(), shape),
        Values::F64(values) => TensorData::new(values.clone(), shape),
        Values::I64(values) => TensorData::new(values.clone(), shape),
        Values::U8(values) => TensorData::new(values.clone(), shape),
    };
    bridge::from_data(data, tensor.name.clone(), None)
}

/// Tensors that are not those of the network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// There is no such tensor.
    #[error("expected a tensor `{tensor}` of shape {expected:?}, found none: {ANOTHER}")]
    Missing {
        /// The tensor's name.
        tensor: String,
        /// The network's shape.
        expected: Vec<usize>,
    },
    /// The network has no such tensor.
    #[error("expected no tensor `{tensor}`, found one of shape {found:?}: {ANOTHER}")]
    Unexpected {
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor of another shape.
    #[error("expected tensor `{tensor}` of shape {expected:?}, found shape {found:?}: {ANOTHER}")]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// The tensor's.
        found: Vec<usize>,
    },
    /// A tensor of another type.
    #[error("expected tensor `{tensor}` of type {expected}, found type {found}; convert it")]
    Type {
        /// The tensor's name.
        tensor: String,
        /// The network's type, by its name in safetensors.
        expected: &'static str,
        /// The tensor's.
        found: &'static str,
    },
    /// A tensor whose shape is not that of its values.
    #[error("expected {expected} values in tensor `{tensor}`, as its shape says, found {found}")]
    Length {
        /// The tensor's name.
        tensor: String,
        /// The number that follows from the shape.
        expected: usize,
        /// The number of values.
        found: usize,
    },
    /// Two tensors of one name.
    #[error("expected one tensor `{tensor}`, found two; leave one out")]
    Twice {
        /// The tensors' name.
        tensor: String,
    },
}

const ANOTHER: &str = "the tensors are of a network of another architecture; load them into one like theirs";
