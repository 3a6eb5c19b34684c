//! PyTorch's names and shapes, for the stores of the crate `burn-store` (feature `store`).
//!
//! Burn's own adapters rename `gamma` and `beta` to `weight` and `bias`; what they leave is the batch counter, which is
//! a scalar in PyTorch, and of shape \[1\] in Burn, whose tensors have at least one axis. These adapters do both, and
//! leave every other layer to Burn's.
//!
//! ```
//! use batchnorm_burn::{BatchNormConfig, pytorch};
//! use burn::tensor::Device;
//! use burn_store::{ModuleSnapshot, SafetensorsStore};
//!
//! let device = Device::flex();
//! let layer = BatchNormConfig::new(3).init(&device);
//! let mut store = SafetensorsStore::from_bytes(None).with_to_adapter(pytorch::to_pytorch());
//! layer.save_into(&mut store)?;
//!
//! let mut store =
//!     SafetensorsStore::from_bytes(Some(store.get_bytes()?)).with_from_adapter(pytorch::from_pytorch());
//! let mut loaded = BatchNormConfig::new(3).init(&device);
//! loaded.load_from(&mut store)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Files of old, and of frozen layers, lack the counter: load them with `.allow_partial(true)`.

use burn::tensor::{Shape, TensorData};
use burn_store::burn_pack::Tensor;
use burn_store::{
    BurnToPyTorchAdapter, ChainAdapter, ModuleAdapter, ModuleContext, PyTorchToBurnAdapter, bridge,
};

use crate::module::CONTAINER;
use crate::running::COUNTER;

/// For saving: `weight`, `bias`, `running_mean`, `running_var`, and the scalar `num_batches_tracked`.
pub fn to_pytorch() -> ChainAdapter {
    BurnToPyTorchAdapter.chain(CounterShape { dims: &[] })
}

/// For loading what PyTorch, or [`to_pytorch`], saved.
pub fn from_pytorch() -> ChainAdapter {
    PyTorchToBurnAdapter.chain(CounterShape { dims: &[1] })
}

/// Gives the counter of every batch-norm layer another shape of one element.
#[derive(Clone, Debug)]
struct CounterShape {
    dims: &'static [usize],
}

impl ModuleAdapter for CounterShape {
    fn adapt(&self, tensor: Tensor, context: ModuleContext<'_>) -> Tensor {
        let is_counter = tensor.name.rsplit('.').next() == Some(COUNTER);
        let count: usize = tensor.shape.iter().product();
        if !is_counter || context.module_type() != Some(CONTAINER) || count != 1 {
            return tensor;
        }
        let (name, dtype) = (tensor.name.clone(), tensor.dtype);
        let dims = self.dims;
        bridge::map_data(tensor, name, dtype, Shape::from(dims), move |data| {
            let (bytes, _, dtype) = data.into_parts();
            TensorData::from_bytes(bytes, Shape::from(dims), dtype)
        })
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}
