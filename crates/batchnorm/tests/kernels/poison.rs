//! A value that is no number spoils its channel, and no other one.

use batchnorm::{CpuOn, Element, Kernels, Reference};

use crate::data::elements;
use crate::tensors::{Found, Tensors, Then, pool, sets};

/// One value of one channel replaced, in x or in dy; all other channels keep their bits.
fn check<E: Element>(extents: (usize, usize, usize), channels: &[usize], then: &[Then], threads: usize)
where
    CpuOn: Kernels<E>,
{
    let clean = Tensors::<E>::normal(extents, 13);
    let (shape, last) = (clean.shape, clean.shape.positions() - 1);
    let pool = pool(threads);
    for kernels in sets() {
        for &then in then {
            let expected = pool.install(|| clean.through(&kernels, then));
            for &channel in channels {
                for (number, position) in [0, last / 2, last].into_iter().enumerate() {
                    for (in_x, bad) in [(true, f64::NAN), (true, f64::INFINITY), (false, f64::NAN)]
                        .into_iter()
                        .chain([(false, f64::NEG_INFINITY)])
                    {
                        let mut tensors = clean.clone();
                        let at = elements(shape, channel).nth(position).unwrap();
                        (if in_x { &mut tensors.x } else { &mut tensors.dy })[at] = E::from_f64(bad);
                        let found = pool.install(|| tensors.through(&kernels, then));
                        let tensor = if in_x { "x" } else { "dy" };
                        let what = || {
                            let (set, place) =
                                (kernels.instruction_set(), ["first", "in the middle", "last"][number]);
                            format!("{shape}, {then:?}, {set}, {bad} {place} in channel {channel} of {tensor}")
                        };
                        for range in [0..channel, channel + 1..shape.channels()] {
                            let others = found.channels(shape, range.clone());
                            others.assert_same(&expected.channels(shape, range), &what);
                        }
                        if then == Then::Nothing {
                            spoilt(&found.of_channel(shape, channel), in_x, &what());
                        }
                    }
                }
            }
        }
    }
}

/// What the definition makes of such a channel: nothing in it is finite that depends on the value.
#[track_caller]
fn spoilt<E: Element>(found: &Found<E>, in_x: bool, what: &str) {
    let finite = |values: &[E]| values.iter().any(|value| value.to_f64().is_finite());
    assert_eq!(found.moments[0].is_finite(), !in_x, "moments, {what}");
    assert_eq!(finite(&found.y), !in_x, "y, {what}");
    assert_eq!(found.sums[0].dy.is_finite(), in_x, "sum dy, {what}");
    assert!(!found.sums[0].dy_xhat.is_finite(), "sum dy xhat, {what}");
    assert!(!finite(&found.dx), "dx, {what}");
}

/// Small images: 32 channels share a group, so channels 31 to 33 lie at its end and behind it.
#[test]
fn a_bad_value_stays_in_its_channel_of_many_in_a_group() {
    for threads in [1, 2] {
        check::<f32>((10, 70, 49), &[0, 31, 32, 33, 69], &[Then::Nothing], threads);
    }
    check::<f32>((3, 67, 49), &[30, 31, 32, 33], &[Then::AddRelu], 1);
    check::<f64>((3, 67, 49), &[31, 32, 33], &[Then::Nothing, Then::AddRelu], 1);
}

/// The last lanes of a run are followed by the next channel's, or by zeros.
#[test]
fn a_bad_value_stays_in_its_channel_whatever_the_length_of_a_run() {
    for inner in [16, 17, 31, 33] {
        check::<f32>((3, 5, inner), &[0, 1, 4], &[Then::Nothing, Then::AddRelu], 1);
    }
    check::<f64>((1, 40, 5), &[0, 31, 32, 39], &[Then::Nothing], 1);
}

#[test]
fn a_bad_value_stays_in_its_channel_of_several_blocks() {
    check::<f32>((2, 3, 16_385), &[0, 1, 2], &[Then::Nothing], 3);
    check::<f32>((335, 3, 49), &[1], &[Then::Nothing], 1);
}

/// Streamed, where neighbouring channels' results are put together first.
#[test]
fn a_bad_value_stays_in_its_channel_of_what_is_streamed() {
    let mut tensors = Tensors::<f32>::normal((1000, 90, 49), 14);
    let shape = tensors.shape;
    for kernels in sets() {
        let clean = tensors.through(&kernels, Then::Nothing);
        let at = elements(shape, 32).nth(700).unwrap();
        let value = std::mem::replace(&mut tensors.x[at], f32::NAN);
        let found = tensors.through(&kernels, Then::Nothing);
        for range in [0..32, 33..90] {
            let (others, clean) = (found.channels(shape, range.clone()), clean.channels(shape, range));
            others.assert_same(&clean, &|| format!("{shape}, {}", kernels.instruction_set()));
        }
        spoilt(&found.of_channel(shape, 32), true, "streamed");
        tensors.x[at] = value;
    }
}

/// The reference is of the same opinion about what is spoilt.
#[test]
fn the_reference_spoils_the_same_numbers() {
    let mut tensors = Tensors::<f32>::normal((3, 5, 17), 15);
    tensors.x[elements(tensors.shape, 2).nth(20).unwrap()] = f32::NAN;
    let found = tensors.through(&Reference, Then::Nothing);
    spoilt(&found.of_channel(tensors.shape, 2), true, "the reference");
    assert!(found.channels(tensors.shape, 0..2).y.iter().all(|y| y.is_finite()));
}
