//! Short runs of rows that belong to a few banks in turn: domains or classes that change from example to example.
//!
//! ```text
//! gather the rows of each pair of set and bank;  do what is to be done with them;  scatter the results
//! ```
//!
//! A kernel called for every row would spend its time on coefficients. The rows of a pair are brought together instead, in
//! the order of the batch: one read and one write more per tensor, and as many calls as there are pairs.

use std::ops::Range;

use super::{Backward, Gradients, Plan, Saved, Wanted};
use crate::{Element, Epilogue, Error, Exchange, Gate, Kernels, Mask, Partition, View, ViewMut};

/// Values per channel from which on a run is worth a call of its own.
const LONG: usize = 16;

/// A batch's rows in another order.
pub struct Gathered {
    /// The partition of the gathered rows: one slab for each pair.
    partition: Partition,
    /// The runs of the batch, in the new order.
    runs: Vec<Range<usize>>,
}

impl Gathered {
    /// The order for a partition whose runs are short and of pairs that return.
    pub fn of(partition: &Partition) -> Option<Self> {
        let slabs = partition.slabs();
        if slabs == 0 || partition.shape().positions() / slabs >= LONG || slabs < 2 * partition.pairs().len() {
            return None;
        }
        let mut order: Vec<usize> = (0..slabs).collect();
        order.sort_by_key(|&slab| partition.place(slab));
        let runs = order.into_iter().map(|slab| partition.rows(slab)).collect();
        Some(Self { partition: partition.with_slabs_by_pair(), runs })
    }

    fn row(&self) -> usize {
        self.partition.shape().channels() * self.partition.shape().inner()
    }

    /// The elements of a tensor in the new order.
    fn elements<E: Element>(&self, tensor: View<'_, E>) -> Vec<E> {
        let row = self.row();
        self.runs.iter().flat_map(|run| &tensor.data()[run.start * row..run.end * row]).copied().collect()
    }

    /// A mask in the new order.
    fn counts(&self, mask: Option<Mask<'_>>) -> Option<Vec<bool>> {
        let inner = self.partition.shape().inner();
        let counts = mask?.counts();
        Some(self.runs.iter().flat_map(|run| &counts[run.start * inner..run.end * inner]).copied().collect())
    }

    /// Gathered elements as a tensor.
    fn view<'a, E: Element>(&self, elements: &'a [E], counts: Option<&'a [bool]>) -> View<'a, E> {
        let shape = self.partition.shape();
        let mask = counts.map(|counts| Mask::new(shape, counts).expect("as many as before"));
        let view = View::new("gathered rows", shape, elements).and_then(|view| view.with_mask(mask));
        view.expect("as many as before")
    }

    /// Room for results.
    fn room<E: Element>(&self) -> Vec<E> {
        vec![E::default(); self.partition.shape().len()]
    }

    /// Results as a tensor to be written.
    fn view_mut<'a, E: Element>(&self, elements: &'a mut [E]) -> ViewMut<'a, E> {
        ViewMut::new("gathered rows", self.partition.shape(), elements).expect("as many as before")
    }

    /// Puts results back in the order of the batch.
    fn scatter<E: Element>(&self, results: &[E], mut tensor: ViewMut<'_, E>) {
        let (row, mut from) = (self.row(), 0);
        for run in &self.runs {
            let len = run.len() * row;
            tensor.data()[run.start * row..][..len].copy_from_slice(&results[from..from + len]);
            from += len;
        }
    }
}

/// The forward pass of a plan whose rows are brought together, and scattered again.
pub fn forward<E: Element>(
    gathered: Gathered,
    kernels: &impl Kernels<E>,
    plan: &Plan<'_, E::Parameter>,
    x: View<'_, E>,
    epilogue: Epilogue<'_, E>,
    y: ViewMut<'_, E>,
) -> Result<Saved, Error> {
    let x_mask = x.mask();
    let (elements, counts) = (gathered.elements(x), gathered.counts(x_mask));
    let addend = match epilogue {
        Epilogue::AddRelu { addend } => gathered.elements(addend),
        _ => Vec::new(),
    };
    let epilogue = match epilogue {
        Epilogue::AddRelu { .. } => Epilogue::AddRelu { addend: gathered.view(&addend, None) },
        other => other,
    };
    let plan_of_gathered = Plan { partition: gathered.partition.clone(), ..plan.clone() };
    let x = gathered.view(&elements, counts.as_deref());
    let mut results = gathered.room();
    let out = gathered.view_mut(&mut results);
    let saved = super::forward(kernels, &plan_of_gathered, x, epilogue, out)?;
    gathered.scatter(&results, y);
    let mask = x_mask.map(|mask| mask.fingerprint());
    Ok(Saved { partition: plan.partition.clone(), mask, ..saved })
}

/// The backward pass of such a forward pass.
pub fn backward<E: Element>(
    gathered: Gathered,
    kernels: &impl Kernels<E>,
    saved: &Saved,
    wanted: Wanted,
    tensors: Backward<'_, E>,
    exchange: Option<&dyn Exchange>,
) -> Result<Gradients, Error> {
    let Backward { x, dy, gate, dx, d_addend } = tensors;
    let x = x.map(|x| gathered.elements(x));
    let (dy, counts) = (gathered.elements(dy), gathered.counts(dy.mask()));
    let (seen, addend) = match gate {
        Gate::None => (Vec::new(), Vec::new()),
        Gate::Relu { x } | Gate::LeakyRelu { x, .. } | Gate::Output { y: x, .. } => {
            (gathered.elements(x), Vec::new())
        }
        Gate::AddRelu { x, addend } => (gathered.elements(x), gathered.elements(addend)),
    };
    let plain = |elements| gathered.view(elements, None);
    let gate = match gate {
        Gate::None => Gate::None,
        Gate::Relu { .. } => Gate::Relu { x: plain(&seen) },
        Gate::LeakyRelu { slope, .. } => Gate::LeakyRelu { x: plain(&seen), slope },
        Gate::AddRelu { .. } => Gate::AddRelu { x: plain(&seen), addend: plain(&addend) },
        Gate::Output { slope, .. } => Gate::Output { y: plain(&seen), slope },
    };
    let mut results = dx.as_ref().map(|_| gathered.room());
    let mut results_of_addend = d_addend.as_ref().map(|_| gathered.room());
    let tensors = Backward {
        x: x.as_deref().map(plain),
        dy: gathered.view(&dy, counts.as_deref()),
        gate,
        dx: results.as_deref_mut().map(|results| gathered.view_mut(results)),
        d_addend: results_of_addend.as_deref_mut().map(|results| gathered.view_mut(results)),
    };
    // The mask was found to be the same before it was gathered.
    let mask = tensors.dy.mask().map(|mask| mask.fingerprint());
    let saved = Saved { partition: gathered.partition.clone(), mask, ..saved.clone() };
    let gradients = super::backward_across(kernels, &saved, wanted, tensors, exchange)?;
    for (results, tensor) in [(results, dx), (results_of_addend, d_addend)] {
        if let (Some(results), Some(tensor)) = (results, tensor) {
            gathered.scatter(&results, tensor);
        }
    }
    Ok(gradients)
}
