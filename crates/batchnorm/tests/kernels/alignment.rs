//! Slices that begin anywhere in a line, each by itself, with elements beside them that nobody may touch.

use batchnorm::{CpuOn, Element, Kernels};

use crate::tensors::{Offsets, Tensors, Then, best, sets};

/// One tensor after the other at every place in a line, then all at different ones.
fn every_offset() -> Vec<Offsets> {
    type Field = fn(&mut Offsets) -> &mut usize;
    let fields: [Field; 6] =
        [|o| &mut o.x, |o| &mut o.dy, |o| &mut o.addend, |o| &mut o.y, |o| &mut o.dx, |o| &mut o.d_addend];
    let mut all = vec![Offsets::default()];
    for offset in 1..=16 {
        for field in fields {
            let mut offsets = Offsets::default();
            *field(&mut offsets) = offset;
            all.push(offsets);
        }
        all.push(different(offset));
    }
    all
}

fn different(offset: usize) -> Offsets {
    let at = |step| offset * step % 17;
    Offsets { x: at(1), dy: at(3), addend: at(5), y: at(7), dx: at(11), d_addend: at(13) }
}

fn check<E: Element>(extents: (usize, usize, usize), then: Then, kernels: &CpuOn, offsets: &[Offsets])
where
    CpuOn: Kernels<E>,
{
    let tensors = Tensors::<E>::normal(extents, 17);
    let expected = tensors.through(kernels, then);
    for &offsets in offsets {
        let found = tensors.placed(kernels, then, Some(offsets));
        found.assert_same(&expected, &|| {
            format!("{}, {then:?}, {}, {offsets:?}", tensors.shape, kernels.instruction_set())
        });
    }
}

#[test]
fn slices_that_begin_anywhere_compute_the_same_bits() {
    let offsets = every_offset();
    for extents in [
        (3, 5, 67),
        (2, 40, 49),
        (1, 3, 300),
        (1, 50, 5),
        (3, 4, 16),
        (5, 20, 13),
        (6, 90, 1),
        (4, 9, 33),
        (5, 3, 100),
    ] {
        for kernels in sets() {
            for then in [Then::Nothing, Then::AddRelu] {
                check::<f32>(extents, then, &kernels, &offsets);
                check::<f64>(extents, then, &kernels, &offsets);
            }
        }
    }
}

/// Streams begin where lines do: the first elements of a run, of a row of a group or of a part of a map are written apart.
#[test]
fn streamed_slices_that_begin_anywhere_compute_the_same_bits() {
    // What is read does not matter to where streams begin: the outputs go through all places of a line.
    let offsets: Vec<_> = (0..=16).map(different).collect();
    check::<f32>((6, 40, 9001), Then::AddRelu, &best(), &offsets);
    check::<f32>((1100, 80, 49), Then::AddRelu, &best(), &offsets);
    check::<f64>((3, 40, 9001), Then::Nothing, &best(), &offsets[..8]);
    for kernels in sets() {
        check::<f32>((6, 40, 9001), Then::Nothing, &kernels, &offsets[5..7]);
        check::<f32>((1300, 33, 100), Then::Nothing, &kernels, &offsets[9..11]);
    }
}
