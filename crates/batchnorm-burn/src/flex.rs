//! The CPU backend Flex: its tensors' memory, lent to the engine.

use std::borrow::Cow;
use std::sync::Arc;

use batchnorm::passes::{self, Backward, Given, Plan, Statistics};
use batchnorm::{Cpu, Epilogue, Gate, Kernels, Mask, Parameters, Saved, Shape, View, ViewMut, Wanted};
use burn::backend::Flex;
use burn::backend::TensorMetadata;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, TensorData};

use crate::Error;
use crate::ops::{Affine, Asked, BatchNormGradients, BatchNormOps, Forward, Gradients, Pass, Source};
use crate::running::Real;

impl BatchNormOps for Flex {
    fn normalize_batch(x: FlexTensor, affine: Affine<Self>, pass: Pass) -> FlexTensor {
        forward_of_any_type(x, None, &affine, &pass)
    }

    fn normalize_add_relu(x: FlexTensor, addend: FlexTensor, affine: Affine<Self>, pass: Pass) -> FlexTensor {
        forward_of_any_type(x, Some(addend), &affine, &pass)
    }
}

impl BatchNormGradients for Flex {
    fn batch_gradients(
        forward: &Forward,
        x: Option<FlexTensor>,
        addend: Option<FlexTensor>,
        dy: FlexTensor,
        asked: Asked,
    ) -> Result<Gradients<Self>, Error> {
        match dy.dtype() {
            DType::F32 => backward::<f32>(forward, x, addend, dy, asked),
            DType::F64 => backward::<f64>(forward, x, addend, dy, asked),
            found => Err(Error::ElementType { found }),
        }
    }
}

fn forward_of_any_type(
    x: FlexTensor,
    addend: Option<FlexTensor>,
    affine: &Affine<Flex>,
    pass: &Pass,
) -> FlexTensor {
    let result = match (x.dtype(), addend.as_ref().map(|addend| addend.dtype())) {
        (found, Some(addend)) if addend != found => Err(Error::AddendType { x: found, addend }.into()),
        (DType::F32, _) => forward::<f32>(&x, addend, affine, pass),
        (DType::F64, _) => forward::<f64>(&x, addend, affine, pass),
        (found, _) => Err(Error::ElementType { found }.into()),
    };
    if let (Err(Refused { told: false, .. }), Some(exchange)) = (&result, &pass.exchange) {
        passes::tell_failure(&**exchange);
    }
    let (y, outcome) = match result.map_err(|refused| refused.error) {
        Ok((y, saved)) => (y, Ok(saved)),
        Err(error) => (x, Err(error)),
    };
    pass.outcome.set(outcome);
    y
}

/// Why a forward pass was not carried out, and whether the other ranks know.
struct Refused {
    error: Error,
    told: bool,
}

impl<T: Into<Error>> From<T> for Refused {
    fn from(error: T) -> Self {
        Self { error: error.into(), told: false }
    }
}

fn forward<E: Real>(
    x: &FlexTensor,
    addend: Option<FlexTensor>,
    affine: &Affine<Flex>,
    pass: &Pass,
) -> Result<(FlexTensor, Saved), Refused>
where
    Cpu: Kernels<E>,
{
    let (x, addend) = (contiguous(x.clone()), addend.map(contiguous));
    let shape = shape_of(&x, pass.axis)?;
    let (gamma, beta) = affine.parts();
    let (gamma, beta) = (gamma.map(per_channel::<E>), beta.map(per_channel::<E>));
    let parameters = Parameters { gamma: gamma.as_deref(), beta: beta.as_deref() };
    let mut y = vec![E::ZERO; shape.len()];
    let view = View::new("x", shape, elements::<E>(&x))?.with_mask(mask_of(shape, &pass.mask)?)?;
    let out = ViewMut::new("y", shape, &mut y)?;
    let epilogue = match &addend {
        Some(addend) => Epilogue::AddRelu { addend: View::new("addend", shape, elements::<E>(addend))? },
        None => pass.activation.epilogue(),
    };
    let given: Vec<_> = match &pass.source {
        Source::Batch => Vec::new(),
        Source::Fixed(all) | Source::Renormalized(_, all) | Source::Blended(_, all) => {
            all.iter().map(|statistics| E::fixed(statistics)).collect()
        }
    };
    let given: Vec<_> = given.iter().map(|(mean, variance)| Given { mean, variance }).collect();
    let plan = Plan {
        config: &pass.config,
        parameters,
        partition: pass.cut.partition(shape, examples(&x))?,
        statistics: match pass.source {
            Source::Batch => Statistics::Batch,
            Source::Fixed(_) => Statistics::Fixed(&given),
            Source::Renormalized(limits, _) => Statistics::Renormalized { limits, towards: &given },
            Source::Blended(blend, _) => Statistics::Blended { blend, with: &given },
        },
        exchange: pass.exchange.as_deref(),
    };
    // From here on the engine tells the other ranks itself.
    let saved = passes::forward(&Cpu, &plan, view, epilogue, out)
        .map_err(|error| Refused { error: error.into(), told: true })?;
    Ok((tensor_like(&x, y), saved))
}

fn backward<E: Real>(
    forward: &Forward,
    x: Option<FlexTensor>,
    addend: Option<FlexTensor>,
    dy: FlexTensor,
    asked: Asked,
) -> Result<Gradients<Flex>, Error>
where
    Cpu: Kernels<E>,
{
    let (x, addend, dy) = (x.map(contiguous), addend.map(contiguous), contiguous(dy));
    let shape = shape_of(&dy, forward.axis)?;
    // The addend's gradient is written on the way to x's.
    let mut dx = (asked.x || asked.addend).then(|| vec![E::ZERO; shape.len()]);
    let mut d_addend = asked.addend.then(|| vec![E::ZERO; shape.len()]);
    let wanted = Wanted { gamma: asked.gamma.is_some(), beta: asked.beta.is_some() };
    let kept = x.as_ref().map(|x| View::new("x", shape, elements::<E>(x))).transpose()?;
    let (x, y) = if forward.keeps_output { (None, kept) } else { (kept, None) };
    let addend = addend.as_ref().map(|addend| View::new("addend", shape, elements::<E>(addend))).transpose()?;
    let dy_view = View::new("dy", shape, elements::<E>(&dy))?.with_mask(mask_of(shape, &forward.mask)?)?;
    let gradients = passes::backward_across(
        &Cpu,
        &forward.saved,
        wanted,
        Backward {
            x,
            dy: dy_view,
            gate: match (x, addend) {
                (Some(x), Some(addend)) => Gate::AddRelu { x, addend },
                _ if forward.keeps_output => forward.activation.gate_of_output(y),
                _ => forward.activation.gate(x),
            },
            dx: dx.as_deref_mut().map(|dx| ViewMut::new("dx", shape, dx)).transpose()?,
            d_addend: d_addend.as_deref_mut().map(|d| ViewMut::new("d_addend", shape, d)).transpose()?,
        },
        forward.exchange.as_deref(),
    )?;
    Ok(Gradients {
        x: dx.filter(|_| asked.x).map(|dx| tensor_like(&dy, dx)),
        addend: d_addend.map(|d_addend| tensor_like(&dy, d_addend)),
        gamma: gradients.gamma.zip(asked.gamma).map(parameter_gradient),
        beta: gradients.beta.zip(asked.beta).map(parameter_gradient),
    })
}

fn shape_of(tensor: &FlexTensor, axis: isize) -> Result<Shape, Error> {
    Ok(Shape::of(tensor.shape().as_slice(), axis)?)
}

/// The tensor itself where its elements lie in row-major order, else a copy of it in that order.
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

fn elements<E: Real>(tensor: &FlexTensor) -> &[E] {
    tensor.as_slice().expect("the tensor was made contiguous and its type looked at")
}

/// A parameter's values in the type that tensors of `E` have theirs in; borrowed where it is that type.
fn per_channel<E: Real>(parameter: &FlexTensor) -> Cow<'_, [E]> {
    match parameter.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(E::from_data(parameter.clone().into_data())),
    }
}

/// A tensor of `tensor`'s shape that owns `values`, without a copy.
fn tensor_like<E: Real>(tensor: &FlexTensor, values: Vec<E>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(tensor.shape()), E::dtype())
}

fn parameter_gradient((gradient, (dtype, shape)): (Vec<f64>, (DType, burn::tensor::Shape))) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(gradient, shape).convert_dtype(dtype))
}

/// The examples of a batch, which lie along its first axis.
fn examples(tensor: &FlexTensor) -> usize {
    tensor.shape().as_slice().first().copied().unwrap_or(0)
}

fn mask_of(shape: Shape, mask: &Option<Arc<[bool]>>) -> Result<Option<Mask<'_>>, Error> {
    Ok(mask.as_deref().map(|counts| Mask::new(shape, counts)).transpose()?)
}
