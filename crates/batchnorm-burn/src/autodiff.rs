//! Automatic differentiation: one node, whose backward pass is the engine's.

use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};
use burn::tensor::{DType, Shape};

/// A tensor with its node in the graph; Burn names the type only so.
type Tracked<B> = FloatTensor<Autodiff<B>>;

use crate::Keep;
use crate::ops::{Affine, Asked, BatchNormGradients, BatchNormOps, Forward, Gradients, Pass};

impl<B, C> BatchNormOps for Autodiff<B, C>
where
    B: BatchNormOps + BatchNormGradients,
    C: CheckpointStrategy,
{
    fn normalize_batch(x: FloatTensor<Self>, affine: Affine<Self>, pass: Pass) -> FloatTensor<Self> {
        let y = B::normalize_batch(primitive::<B>(&x), primitives(&affine), pass.clone());
        connect::<B, C>(&x, None, &affine, &pass, y)
    }

    fn normalize_add_relu(
        x: FloatTensor<Self>,
        addend: FloatTensor<Self>,
        affine: Affine<Self>,
        pass: Pass,
    ) -> FloatTensor<Self> {
        let (inner, inner_addend) = (primitive::<B>(&x), primitive::<B>(&addend));
        let y = B::normalize_add_relu(inner, inner_addend, primitives(&affine), pass.clone());
        connect::<B, C>(&x, Some(&addend), &affine, &pass, y)
    }
}

fn primitive<B: Backend>(tensor: &Tracked<B>) -> FloatTensor<B> {
    tensor.primitive().clone()
}

fn primitives<B: Backend, C: CheckpointStrategy>(affine: &Affine<Autodiff<B, C>>) -> Affine<B> {
    let (gamma, beta) = affine.parts();
    Affine::new(gamma.map(primitive::<B>), beta.map(primitive::<B>))
}

/// y as the output of a node whose parents are the tensors that there are.
fn connect<B, C>(
    x: &Tracked<B>,
    addend: Option<&Tracked<B>>,
    affine: &Affine<Autodiff<B, C>>,
    pass: &Pass,
    y: FloatTensor<B>,
) -> Tracked<B>
where
    B: BatchNormOps + BatchNormGradients,
    C: CheckpointStrategy,
{
    let Some(saved) = pass.outcome.saved() else {
        return Tracked::new(y);
    };
    let (gamma, beta) = affine.parts();
    let forward = Forward {
        saved: Arc::clone(saved),
        axis: pass.axis,
        activation: pass.activation,
        adds: addend.is_some(),
        // The sum's ReLU has no inverse.
        keeps_output: pass.keep == Keep::Output && addend.is_none(),
        mask: pass.mask.clone(),
        exchange: pass.exchange.clone(),
    };
    let gamma_is_tracked = gamma.is_some_and(Tracked::<B>::is_tracked);
    let needs_input = forward.needs_input(x.is_tracked(), gamma_is_tracked);
    let kept = match forward.keeps_output {
        false => Kept { x: needs_input.then_some(x), y: None, addend },
        // The same memory as y's: the tensor is counted, not copied.
        true => Kept { x: None, y: needs_input.then(|| y.clone()), addend },
    };
    let parents: Vec<(Role, &Tracked<B>)> = [
        Some((Role::X, x)),
        gamma.map(|gamma| (Role::Gamma, gamma)),
        beta.map(|beta| (Role::Beta, beta)),
        addend.map(|addend| (Role::Addend, addend)),
    ]
    .into_iter()
    .flatten()
    .collect();
    match *parents {
        [] => unreachable!("x is always there"),
        [x] => record::<B, C, 1>([x], forward, kept, y),
        [x, a] => record::<B, C, 2>([x, a], forward, kept, y),
        [x, a, b] => record::<B, C, 3>([x, a, b], forward, kept, y),
        [x, a, b, c, ..] => record::<B, C, 4>([x, a, b, c], forward, kept, y),
    }
}

/// The tensors that the backward pass reads.
struct Kept<'a, T, Y> {
    x: Option<&'a T>,
    y: Option<Y>,
    addend: Option<&'a T>,
}

/// What a parent of the node is to it.
#[derive(Clone, Copy, Debug)]
enum Role {
    X,
    Addend,
    Gamma,
    Beta,
}

/// The node: x, the parameters that the layer has and what is added, in; y, out.
#[derive(Debug)]
struct BatchNormNode;

#[derive(Clone, Debug)]
struct State<Y, const N: usize> {
    forward: Forward,
    /// In the place of x.
    y: Option<Y>,
    /// Where the checkpointer keeps x, or how it computes it again.
    x: Option<NodeId>,
    addend: Option<NodeId>,
    parents: [(Role, DType, Shape); N],
}

fn record<B, C, const N: usize>(
    parents: [(Role, &Tracked<B>); N],
    forward: Forward,
    kept: Kept<'_, Tracked<B>, FloatTensor<B>>,
    y: FloatTensor<B>,
) -> Tracked<B>
where
    B: BatchNormOps + BatchNormGradients,
    C: CheckpointStrategy,
{
    // The guards keep the parents' nodes alive until the new node is registered.
    let guards: [NodeGuard; N] = parents.map(|(_, tensor)| tensor.node());
    // "Compute bound": never run again in a backward pass, so gradient checkpointing cannot count a batch twice.
    match BatchNormNode.prepare::<C>(guards).compute_bound().stateful() {
        OpsKind::Tracked(mut node) => {
            let state = State {
                forward,
                y: kept.y,
                x: kept.x.map(|x| node.checkpoint(x)),
                addend: kept.addend.map(|addend| node.checkpoint(addend)),
                parents: parents.map(|(role, tensor)| (role, tensor.dtype(), tensor.shape())),
            };
            node.finish(state, y)
        }
        OpsKind::UnTracked(node) => node.finish(y),
    }
}

impl<B, const N: usize> Backward<B, N> for BatchNormNode
where
    B: BatchNormOps + BatchNormGradients,
{
    type State = State<FloatTensor<B>, N>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Graph, checkpointer: &mut Checkpointer) {
        let State { forward, y, x, addend, parents } = ops.state;
        let mut retrieve = |id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id);
        let (x, addend) = (x.map(&mut retrieve).or(y), addend.map(&mut retrieve));
        let dy = grads.consume::<B>(&ops.node);
        let mut asked = Asked { x: false, addend: false, gamma: None, beta: None };
        for ((role, dtype, shape), _) in parents.iter().zip(&ops.parents).filter(|(_, node)| node.is_some()) {
            match role {
                Role::X => asked.x = true,
                Role::Addend => asked.addend = true,
                Role::Gamma => asked.gamma = Some((*dtype, shape.clone())),
                Role::Beta => asked.beta = Some((*dtype, shape.clone())),
            }
        }
        let Gradients { x: mut dx, addend: mut d_addend, gamma: mut dgamma, beta: mut dbeta } =
            B::batch_gradients(&forward, x, addend, dy, asked)
                .unwrap_or_else(|error| panic!("backward pass of batch normalization: {error}"));
        for ((role, ..), node) in parents.iter().zip(ops.parents) {
            let gradient = match role {
                Role::X => dx.take(),
                Role::Addend => d_addend.take(),
                Role::Gamma => dgamma.take(),
                Role::Beta => dbeta.take(),
            };
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}
