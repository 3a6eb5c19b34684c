//! What goes along with a forward pass.

use burn::tensor::Tensor;

use super::Dropout;

/// Goes along with a forward pass: looks at the input of every activation, in their order, if asked to, or drops what
/// hidden linear layers put out.
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
    dropout: Option<Dropout>,
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
        Self { seen: None, dropout: None }
    }

    /// Looks at the inputs of activations.
    pub const fn activations() -> Self {
        Self { seen: Some(Vec::new()), dropout: None }
    }

    /// Looks at nothing, and drops values behind hidden linear layers: for the forward pass of one training step.
    pub const fn dropping(dropout: Dropout) -> Self {
        Self { seen: None, dropout: Some(dropout) }
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

    /// What is left of the output of a hidden linear layer: all of it, but for [`dropping`](Self::dropping).
    pub fn dropped<const D: usize>(&mut self, y: Tensor<D>) -> Tensor<D> {
        match &mut self.dropout {
            Some(dropout) => dropout.forward(y),
            None => y,
        }
    }

    /// What it has seen.
    pub fn into_seen(self) -> Vec<Seen> {
        self.seen.unwrap_or_default()
    }
}
