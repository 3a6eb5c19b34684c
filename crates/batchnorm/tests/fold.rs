//! Folding against the maps' definitions: every order of weights, grouped or not, in one piece and in chunks.

use batchnorm::fold::{Affine, Bias, FoldError, WeightLayout, WeightOrder, fold_after, fold_before};
use batchnorm::health::Numbers;
use proptest::prelude::*;
use proptest::sample::Index;

/// Positions of the inputs that maps with a kernel run over.
const POSITIONS: usize = 4;

/// `[channels][positions]`.
type Signal = Vec<Vec<f64>>;

/// A convolution without padding, or a matrix for one tap: `y[o][p] = b[o] + sum_i sum_k w[o][i][k] x[i][p + k]`.
fn convolution(layout: &WeightLayout, w: &[f64], b: &[f64], x: &Signal) -> Signal {
    let (groups, taps) = (layout.groups(), layout.taps());
    let (outputs, inputs) = (layout.outputs() / groups, layout.inputs() / groups);
    let mut y = Vec::new();
    for group in 0..groups {
        for output in 0..outputs {
            let o = group * outputs + output;
            let at = |position: usize| {
                let mut sum = b[o];
                for input in 0..inputs {
                    for tap in 0..taps {
                        sum += w[(o * inputs + input) * taps + tap] * x[group * inputs + input][position + tap];
                    }
                }
                sum
            };
            y.push((0..=POSITIONS - taps).map(at).collect());
        }
    }
    y
}

/// Its transpose, or a matrix for one tap: each x[i][p] is spread over `y[o][p + k]` by `w[i][o][k]`.
fn transposed(layout: &WeightLayout, w: &[f64], b: &[f64], x: &Signal) -> Signal {
    let (groups, taps) = (layout.groups(), layout.taps());
    let (outputs, inputs) = (layout.outputs() / groups, layout.inputs() / groups);
    let mut y: Signal = b.iter().map(|&bias| vec![bias; POSITIONS + taps - 1]).collect();
    for group in 0..groups {
        for input in 0..inputs {
            let i = group * inputs + input;
            for output in 0..outputs {
                for tap in 0..taps {
                    for position in 0..POSITIONS {
                        y[group * outputs + output][position + tap] +=
                            w[(i * outputs + output) * taps + tap] * x[i][position];
                    }
                }
            }
        }
    }
    y
}

fn map(layout: &WeightLayout, w: &[f64], b: &[f64], x: &Signal) -> Signal {
    match layout.order() {
        WeightOrder::OutputsFirst => convolution(layout, w, b, x),
        WeightOrder::InputsFirst => transposed(layout, w, b, x),
    }
}

fn apply(affine: &Affine, x: &Signal) -> Signal {
    let of = |(channel, values): (usize, &Vec<f64>)| {
        values.iter().map(|value| affine.scale()[channel] * value + affine.shift()[channel]).collect()
    };
    x.iter().enumerate().map(of).collect()
}

/// Small whole numbers, among them negative ones and 0: everything made of them is exact in f64, in any order.
fn numbers(count: usize, seed: &mut u64) -> Vec<f64> {
    let mut next = || {
        *seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (*seed >> 33) % 17
    };
    (0..count).map(|_| next() as f64 - 8.0).collect()
}

fn affine(channels: usize, seed: &mut u64) -> Affine {
    Affine::of(numbers(channels, seed), numbers(channels, seed)).unwrap()
}

fn signal(channels: usize, seed: &mut u64) -> Signal {
    (0..channels).map(|_| numbers(POSITIONS, seed)).collect()
}

fn layouts() -> impl Strategy<Value = WeightLayout> {
    let order = prop::sample::select(vec![WeightOrder::OutputsFirst, WeightOrder::InputsFirst]);
    (order, 1..4usize, 1..4usize, 1..4usize, 1..4usize).prop_map(|(order, groups, outputs, inputs, taps)| {
        WeightLayout::new(order, groups, groups * outputs, groups * inputs, taps).unwrap()
    })
}

/// The chunks that a weight is cut into, each with the index of its first element. Some are empty.
fn chunks(length: usize, cuts: &[Index]) -> Vec<(usize, usize)> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(length + 1)).collect();
    cuts.extend([0, length]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| (cut[0], cut[1])).collect()
}

proptest! {
    #[test]
    fn a_layer_after_a_map_is_in_the_folded_map(layout in layouts(), mut seed in any::<u64>()) {
        let seed = &mut seed;
        let (w, b) = (numbers(layout.elements(), seed), numbers(layout.outputs(), seed));
        let (affine, x) = (affine(layout.outputs(), seed), signal(layout.inputs(), seed));
        let expected = apply(&affine, &map(&layout, &w, &b, &x));
        let folded = fold_after(&layout, &w, Some(&b), &affine).unwrap();
        prop_assert_eq!(map(&layout, &folded.weights, &folded.bias.values, &x), expected);
    }

    #[test]
    fn a_layer_before_a_map_is_in_the_folded_map(layout in layouts(), mut seed in any::<u64>()) {
        let seed = &mut seed;
        let (w, b) = (numbers(layout.elements(), seed), numbers(layout.outputs(), seed));
        let (mut affine, x) = (affine(layout.inputs(), seed), signal(layout.inputs(), seed));
        // At its ends a transposed convolution does not see all taps.
        if layout.order() == WeightOrder::InputsFirst && layout.taps() > 1 {
            affine = Affine::of(affine.scale().to_vec(), vec![0.0; layout.inputs()]).unwrap();
        }
        let expected = map(&layout, &w, &b, &apply(&affine, &x));
        let folded = fold_before(&layout, &w, Some(&b), &affine).unwrap();
        prop_assert_eq!(map(&layout, &folded.weights, &folded.bias.values, &x), expected);
    }

    #[test]
    fn an_output_that_sees_some_taps_has_their_sum(layout in layouts(), mut seed in any::<u64>()) {
        let seed = &mut seed;
        let w = numbers(layout.elements(), seed);
        let (shift, taps) = (numbers(layout.inputs(), seed), layout.taps());
        let mut of_taps = vec![0.0; layout.outputs() * taps];
        layout.shift_through_taps(0, &w, &shift, &mut of_taps).unwrap();
        // A transposed convolution's first position sees its first tap, the second one the first two, ...
        let constant: Signal = shift.iter().map(|&shift| vec![shift; POSITIONS]).collect();
        let y = map(&layout, &w, &vec![0.0; layout.outputs()], &constant);
        for (of_taps, y) in of_taps.chunks(taps).zip(&y) {
            let seen = if layout.order() == WeightOrder::OutputsFirst { taps } else { 1 };
            prop_assert_eq!(of_taps[..seen].iter().sum::<f64>(), y[0]);
        }
        let mut whole = vec![0.0; layout.outputs()];
        layout.shift_through(0, &w, &shift, &mut whole).unwrap();
        let sums: Vec<f64> = of_taps.chunks(taps).map(|taps| taps.iter().sum()).collect();
        prop_assert_eq!(sums, whole);
    }

    #[test]
    fn a_weight_cut_anywhere_gives_the_same_bits(
        layout in layouts(),
        values in prop::collection::vec(-1.0..1.0f64, 200),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let mut values = values.iter().copied().cycle();
        let mut some = |count: usize| -> Vec<f64> { values.by_ref().take(count).collect() };
        let weights = some(layout.elements());
        let (of_inputs, of_outputs) = (some(layout.inputs()), some(layout.outputs()));
        let sums = || vec![0.0; layout.outputs()];

        let run = |pieces: &[(usize, usize)]| {
            let (mut by_output, mut by_input) = (weights.clone(), weights.clone());
            let (mut shifted, mut sizes, mut bounded) = (sums(), sums(), sums());
            let mut of_taps = vec![0.0; layout.outputs() * layout.taps()];
            for &(first, end) in pieces {
                layout.scale_by_output(first, &mut by_output[first..end], &of_outputs).unwrap();
                layout.scale_by_input(first, &mut by_input[first..end], &of_inputs).unwrap();
                let chunk = &weights[first..end];
                layout.shift_through(first, chunk, &of_inputs, &mut shifted).unwrap();
                layout.shift_through_taps(first, chunk, &of_inputs, &mut of_taps).unwrap();
                layout.abs_sums(first, chunk, None, &mut sizes).unwrap();
                layout.abs_sums(first, chunk, Some(&of_inputs), &mut bounded).unwrap();
            }
            [by_output, by_input, shifted, of_taps, sizes, bounded]
        };
        prop_assert_eq!(run(&chunks(layout.elements(), &cuts)), run(&[(0, layout.elements())]));
    }

    #[test]
    fn the_lookups_of_single_elements_are_the_operations(layout in layouts(), mut seed in any::<u64>()) {
        let weights = numbers(layout.elements(), &mut seed);
        let of_inputs = numbers(layout.inputs(), &mut seed);
        let of_outputs = numbers(layout.outputs(), &mut seed);
        let (mut by_output, mut by_input) = (weights.clone(), weights.clone());
        layout.scale_by_output(0, &mut by_output, &of_outputs).unwrap();
        layout.scale_by_input(0, &mut by_input, &of_inputs).unwrap();
        let mut shifted = vec![0.0; layout.outputs()];
        layout.shift_through(0, &weights, &of_inputs, &mut shifted).unwrap();
        let mut bounded = vec![0.0; layout.outputs()];
        layout.abs_sums(0, &weights, Some(&of_inputs), &mut bounded).unwrap();

        let (mut shifts, mut bounds) = (vec![0.0; layout.outputs()], vec![0.0; layout.outputs()]);
        for (index, weight) in weights.iter().enumerate() {
            let (output, input) = (layout.output_of(index), layout.input_of(index));
            prop_assert_eq!(by_output[index], weight * of_outputs[output]);
            prop_assert_eq!(by_input[index], weight * of_inputs[input]);
            shifts[output] += weight * of_inputs[input];
            bounds[output] += weight.abs() * of_inputs[input];
        }
        prop_assert_eq!((shifted, bounded), (shifts, bounds));
    }

    #[test]
    fn layers_compose(mut seed in any::<u64>(), channels in 1..5usize, times in 1..4usize) {
        let seed = &mut seed;
        let (first, second) = (affine(channels, seed), affine(channels, seed));
        let x = signal(channels, seed);
        let both = first.then(&second).unwrap();
        prop_assert_eq!(apply(&both, &x), apply(&second, &apply(&first, &x)));
        prop_assert_eq!(first.then(&Affine::identity(channels)).unwrap(), first.clone());
        prop_assert_eq!(Affine::identity(channels).then(&first).unwrap(), first.clone());
        // A flattened signal has a channel for each position.
        prop_assert_eq!(both.repeat(times).compress(times), Some(both.clone()));
        let repeated = both.repeat(times);
        prop_assert_eq!(repeated.channels(), channels * times);
        prop_assert_eq!(repeated.scale()[times - 1], both.scale()[0]);
        prop_assert_eq!(repeated.slice(times * (channels - 1)..channels * times).unwrap().shift()[0],
            both.shift()[channels - 1]);
        prop_assert_eq!(both.slice(0..channels + 1), None);
    }
}

#[test]
fn a_layer_is_its_equation() {
    let numbers = Numbers {
        gamma: Some(&[3.0f32, -1.0]),
        beta: Some(&[0.5, 2.0]),
        ..Numbers::new(&[1.0, -2.0], &[3.75, 15.75], 0.25)
    };
    let affine = Affine::new(&numbers).unwrap();
    assert_eq!(affine.scale(), [1.5, -0.25]);
    assert_eq!(affine.shift(), [-1.0, 1.5]);
    // |beta| + |mean s|: what t is made of.
    assert_eq!(affine.magnitude(), [2.0, 2.5]);
    assert!(!affine.keeps_order() && !affine.is_pure_scale());
}

#[test]
fn numbers_that_are_no_layer_name_their_channels() {
    let affine = |mean: &[f32], variance: &[f32], gamma: Option<&[f32]>, eps: f64| {
        Affine::new(&Numbers { gamma, ..Numbers::new(mean, variance, eps) }).unwrap_err()
    };
    let three = [0.0; 3];
    assert_eq!(
        affine(&three, &[1.0, -1e-9, -1.0], None, 1.0),
        FoldError::NegativeVariance { channels: vec![1, 2] }
    );
    assert_eq!(affine(&three, &[0.0, 1.0, 0.0], None, 0.0), FoldError::ZeroVariance { channels: vec![0, 2] });
    assert!(Affine::new(&Numbers::new(&[0.0f32], &[0.0], 1.0)).is_ok());
    let error = affine(&three, &[1.0, f32::NAN, f32::INFINITY], None, 1.0);
    assert_eq!(error, FoldError::NonFinite { what: "running variance", channels: vec![1, 2] });
    assert!(error.to_string().starts_with("2 channels (1, 2): the running variance is NaN"), "{error}");
    let error = affine(&three, &[1.0; 3], Some(&[1.0, f32::INFINITY, 1.0]), 1.0);
    assert_eq!(error, FoldError::NonFinite { what: "gamma", channels: vec![1] });
    assert_eq!(
        affine(&three, &[1.0; 2], None, 1.0),
        FoldError::LengthMismatch { what: "variance", expected: 3, found: 2 }
    );
    assert!(matches!(affine(&three, &[1.0; 3], None, f64::NAN), FoldError::InvalidEps { .. }));

    // Finite numbers that make a scale beyond f64.
    let numbers = Numbers { gamma: Some(&[1e300f64]), ..Numbers::new(&[0.0], &[1e-300], 0.0) };
    assert!(matches!(Affine::new(&numbers), Err(FoldError::NonFinite { channels, .. }) if channels == [0]));
}

#[test]
fn a_layout_that_does_not_divide_is_an_error() {
    let new = |groups, outputs, inputs, taps| {
        WeightLayout::new(WeightOrder::OutputsFirst, groups, outputs, inputs, taps)
    };
    for (groups, outputs, inputs, taps) in
        [(2, 3, 2, 1), (2, 2, 3, 1), (0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 1, 0)]
    {
        let error = new(groups, outputs, inputs, taps).unwrap_err();
        assert_eq!(error, FoldError::InvalidLayout { groups, outputs, inputs, taps });
    }
    assert!(matches!(new(1, usize::MAX, 2, 1), Err(FoldError::TooLarge { .. })));
    assert!(matches!(new(1, 1 << 40, 1 << 20, 1 << 20), Err(FoldError::TooLarge { .. })));
}

#[test]
fn what_does_not_belong_together_is_an_error() {
    let layout = WeightLayout::new(WeightOrder::InputsFirst, 1, 2, 3, 1).unwrap();
    let mut chunk = [0.0; 4];
    assert_eq!(
        layout.scale_by_output(3, &mut chunk, &[1.0; 2]),
        Err(FoldError::ChunkPastEnd { first: 3, length: 4, elements: 6 })
    );
    assert!(layout.scale_by_output(usize::MAX, &mut chunk, &[1.0; 2]).is_err());
    assert_eq!(
        layout.scale_by_input(0, &mut chunk, &[1.0; 2]),
        Err(FoldError::LengthMismatch { what: "scale", expected: 3, found: 2 })
    );
    assert!(layout.abs_sums(0, &chunk, Some(&[1.0; 2]), &mut [0.0; 2]).is_err());
    assert!(layout.shift_through(0, &chunk, &[1.0; 3], &mut [0.0; 3]).is_err());
    assert!(Bias::new(Some(&[1.0]), 2).is_err());
    assert!(Bias::new(None, 2).unwrap().then(&Affine::identity(3)).is_err());
    assert!(fold_after(&layout, &[0.0; 5], None, &Affine::identity(2)).is_err());
    assert!(fold_before(&layout, &[0.0; 6], None, &Affine::identity(2)).is_err());
}

#[test]
fn a_bias_knows_what_it_is_made_of_after_its_terms_cancelled() {
    // t = 0 - 1000 * 2, b = 1000: their sum is 0.
    let layer = Affine::new(&Numbers::new(&[1000.0f64], &[0.25], 0.0)).unwrap();
    let after = Bias::new(Some(&[1000.0]), 1).unwrap().then(&layer).unwrap();
    assert_eq!((after.values[0], after.magnitude[0]), (0.0, 4000.0));

    let matrix = WeightLayout::new(WeightOrder::OutputsFirst, 1, 1, 1, 1).unwrap();
    let before = fold_before(&matrix, &[-0.5], Some(&[-1000.0]), &layer).unwrap();
    assert_eq!((before.bias.values[0], before.bias.magnitude[0]), (0.0, 2000.0));

    // A second layer scales both.
    let both = layer.then(&Affine::of(vec![-2.0], vec![-4000.0]).unwrap()).unwrap();
    assert_eq!((both.shift()[0], both.magnitude()[0], both.roundings()), (0.0, 8000.0, 11));
}
