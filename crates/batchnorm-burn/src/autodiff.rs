//! Automatic differentiation: one node, whose backward pass is the engine's.

use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::DType;

/// A tensor with its node in the graph; Burn names the type only so.
type Tracked<B> = FloatTensor<Autodiff<B>>;

use crate::ops::{Affine, Asked, BatchNormGradients, BatchNormOps, Forward, Gradients, Pass};

impl<B, C> BatchNormOps for Autodiff<B, C>
where
    B: BatchNormOps + BatchNormGradients,
    C: CheckpointStrategy,
{
    fn normalize_batch(x: FloatTensor<Self>, affine: Affine<Self>, pass: Pass) -> FloatTensor<Self> {
        let (gamma, beta) = affine.parts();
        let primitive = |tensor: &Tracked<B>| tensor.primitive().clone();
        let inner = Affine::new(gamma.map(primitive), beta.map(primitive));
        let y = B::normalize_batch(primitive(&x), inner, pass.clone());
        let Some(saved) = pass.outcome.saved() else {
            return Tracked::new(y);
        };
        let forward = Forward { saved: Arc::clone(saved), axis: pass.axis, activation: pass.activation };
        let gamma_is_tracked = gamma.is_some_and(Tracked::<B>::is_tracked);
        let kept = forward.needs_input(x.is_tracked(), gamma_is_tracked).then_some(&x);
        match (gamma, beta) {
            (None, None) => record::<B, C, 1>([(Role::X, &x)], forward, kept, y),
            (Some(gamma), None) => record::<B, C, 2>([(Role::X, &x), (Role::Gamma, gamma)], forward, kept, y),
            (None, Some(beta)) => record::<B, C, 2>([(Role::X, &x), (Role::Beta, beta)], forward, kept, y),
            (Some(gamma), Some(beta)) => {
                record::<B, C, 3>([(Role::X, &x), (Role::Gamma, gamma), (Role::Beta, beta)], forward, kept, y)
            }
        }
    }
}

/// What a parent of the node is to it.
#[derive(Clone, Copy, Debug)]
enum Role {
    X,
    Gamma,
    Beta,
}

/// The node: x and the parameters that the layer has, in; y, out.
#[derive(Debug)]
struct BatchNormNode;

#[derive(Clone, Debug)]
struct State<const N: usize> {
    forward: Forward,
    /// Where the checkpointer keeps x, or how it computes it again.
    x: Option<NodeId>,
    parents: [(Role, DType); N],
}

fn record<B, C, const N: usize>(
    parents: [(Role, &Tracked<B>); N],
    forward: Forward,
    kept: Option<&Tracked<B>>,
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
                x: kept.map(|x| node.checkpoint(x)),
                parents: parents.map(|(role, tensor)| (role, tensor.dtype())),
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
    type State = State<N>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Graph, checkpointer: &mut Checkpointer) {
        let State { forward, x, parents } = ops.state;
        let x = x.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        let dy = grads.consume::<B>(&ops.node);
        let mut asked = Asked { x: false, gamma: None, beta: None };
        for ((role, dtype), _) in parents.iter().zip(&ops.parents).filter(|(_, node)| node.is_some()) {
            match role {
                Role::X => asked.x = true,
                Role::Gamma => asked.gamma = Some(*dtype),
                Role::Beta => asked.beta = Some(*dtype),
            }
        }
        let Gradients { x: mut dx, gamma: mut dgamma, beta: mut dbeta } =
            B::batch_gradients(&forward, x, dy, asked)
                .unwrap_or_else(|error| panic!("backward pass of batch normalization: {error}"));
        for ((role, _), node) in parents.iter().zip(ops.parents) {
            let gradient = match role {
                Role::X => dx.take(),
                Role::Gamma => dgamma.take(),
                Role::Beta => dbeta.take(),
            };
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}
