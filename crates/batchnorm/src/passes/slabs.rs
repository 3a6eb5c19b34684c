//! Work cut by slabs: views of consecutive rows, several at a time if they are small.

use std::ops::Range;

use rayon::prelude::*;

use crate::{Element, Epilogue, Gate, Partition, View, ViewMut};

/// Elements that are worth a job of their own.
const MIN_ELEMENTS_PER_JOB: usize = 16 * 1024;

/// Calls `job(slab, task)` for every slab, in parallel where there are elements enough. No result depends on the order.
pub fn for_each<T: Send>(partition: &Partition, tasks: Vec<T>, job: impl Fn(usize, T) + Sync) {
    let elements = partition.shape().len() / tasks.len().max(1);
    let per_job = (MIN_ELEMENTS_PER_JOB / elements.max(1)).max(1);
    if tasks.len() <= per_job {
        for (slab, task) in tasks.into_iter().enumerate() {
            job(slab, task);
        }
        return;
    }
    tasks.into_par_iter().with_min_len(per_job).enumerate().for_each(|(slab, task)| job(slab, task));
}

/// A tensor's rows of every slab.
pub fn split<'a, E>(partition: &Partition, mut tensor: ViewMut<'a, E>) -> Vec<ViewMut<'a, E>> {
    let mut slabs = Vec::with_capacity(partition.slabs());
    for slab in 0..partition.slabs() {
        let (head, tail) = tensor.split_at_row(partition.rows(slab).len());
        slabs.push(head);
        tensor = tail;
    }
    slabs
}

/// An epilogue of a slab's rows.
pub fn epilogue<'a, E: Element>(
    partition: &Partition,
    slab: usize,
    epilogue: Epilogue<'a, E>,
) -> Epilogue<'a, E> {
    epilogue_of_rows(partition.rows(slab), epilogue)
}

/// An epilogue of some rows.
pub fn epilogue_of_rows<'a, E: Element>(rows: Range<usize>, epilogue: Epilogue<'a, E>) -> Epilogue<'a, E> {
    match epilogue {
        Epilogue::AddRelu { addend } => Epilogue::AddRelu { addend: addend.rows(rows) },
        other => other,
    }
}

/// A gate of some rows.
pub fn gate_of_rows<'a, E: Element>(rows: Range<usize>, gate: Gate<'a, E>) -> Gate<'a, E> {
    let part = |view: View<'a, E>| view.rows(rows.clone());
    match gate {
        Gate::None => Gate::None,
        Gate::Relu { x } => Gate::Relu { x: part(x) },
        Gate::LeakyRelu { x, slope } => Gate::LeakyRelu { x: part(x), slope },
        Gate::AddRelu { x, addend } => Gate::AddRelu { x: part(x), addend: part(addend) },
        Gate::Output { y, slope } => Gate::Output { y: part(y), slope },
    }
}

/// The mask under which groups of channels are folded: each position once for every channel of a group, in the order
/// of [`Partition::folded`].
pub fn mask_of_groups<E>(partition: &Partition, x: View<'_, E>) -> Option<Vec<bool>> {
    let (mask, groups) = (x.mask()?, partition.groups()?);
    let (inner, together) = (x.shape().inner().max(1), x.shape().channels() / groups);
    Some(mask.counts().chunks(inner).flat_map(|row| row.repeat(together)).collect())
}

/// The tensor as sets are folded over it: groups in the place of channels.
pub fn folded<'a, E>(partition: &Partition, x: View<'a, E>, mask: Option<&'a [bool]>) -> View<'a, E> {
    if partition.groups().is_none() {
        return x;
    }
    let shape = partition.folded();
    let mask = mask.map(|mask| crate::Mask::new(shape, mask).expect("made for this shape"));
    x.regrouped(shape).with_mask(mask).expect("made for this shape")
}
