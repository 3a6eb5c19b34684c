//! What an activation gets to see.

use burn::tensor::Tensor;

/// Looks at the input of every activation, in the order of a forward pass, if asked to.
///
/// ```
/// use batchnorm_lab::networks::{Architecture, Classifier, Init, Network, Watch};
/// use burn::tensor::{Device, Tensor};
///
/// let architecture = Architecture { layers: vec![5, 3], ..Architecture::new(Network::Mlp, [1, 8, 8], 10) };
/// let device = Device::flex();
/// let network = architecture.build(Init::Normal, 0.1, 1, &device)?;
/// let mut watch = Watch::activations();
/// network.forward(Tensor::ones([2, 1, 8, 8], &device), &mut watch)?;
/// let seen = watch.into_seen();
/// assert_eq!(seen[1].layer, "hidden.1.linear");
/// assert_eq!(seen[1].values.dims(), [2, 3, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Watch {
    seen: Option<Vec<Seen>>,
}

/// The inputs of one layer's activation.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The name of the layer's linear map or convolution; `{layer}.weight` is in the state.
    pub layer: String,
    /// `[batch, units, positions]`, without a graph; after a linear map there is one position.
    pub values: Tensor<3>,
}

impl Watch {
    /// Looks at nothing, and costs nothing.
    pub const fn nothing() -> Self {
        Self { seen: None }
    }

    /// Looks at the inputs of activations.
    pub const fn activations() -> Self {
        Self { seen: Some(Vec::new()) }
    }

    /// Whether it looks at anything: if not, a network need not compute what nobody asks for.
    pub const fn looks(&self) -> bool {
        self.seen.is_some()
    }

    /// Shows the activation's input `[batch, units, ...]` of the layer of that name.
    pub fn see<const D: usize>(&mut self, layer: &str, z: &Tensor<D>) {
        if let Some(seen) = &mut self.seen {
            let dims = z.dims();
            let shape = [dims[0], dims[1], dims[2..].iter().product()];
            seen.push(Seen { layer: layer.to_owned(), values: z.clone().inner().reshape(shape) });
        }
    }

    /// What it has seen.
    pub fn into_seen(self) -> Vec<Seen> {
        self.seen.unwrap_or_default()
    }
}
