//! Shapes of any rank and axis, and what they refuse.

use batchnorm::{Cpu, Error, Kernels, Moments, Shape, View, ViewMut};

#[test]
fn any_rank_and_axis_is_outer_channels_inner() {
    type Case = (&'static [usize], isize, (usize, usize, usize));
    let cases: [Case; 8] = [
        (&[4], 0, (1, 4, 1)),
        (&[2, 3], 1, (2, 3, 1)),
        (&[2, 3], -1, (2, 3, 1)),
        (&[2, 3], -2, (1, 2, 3)),
        (&[2, 3, 4, 5], 1, (2, 3, 20)),
        (&[2, 3, 4, 5], 3, (24, 5, 1)),
        (&[2, 3, 4, 5, 6], 2, (6, 4, 30)),
        (&[0, 5, 9], 1, (0, 5, 9)),
    ];
    for (dims, axis, (outer, channels, inner)) in cases {
        let shape = Shape::of(dims, axis).unwrap();
        assert_eq!((shape.outer(), shape.channels(), shape.inner()), (outer, channels, inner), "{dims:?}");
        assert_eq!(shape.len(), dims.iter().product());
        assert_eq!(shape.positions(), outer * inner);
    }
}

#[test]
fn an_axis_that_does_not_exist_is_an_error_that_names_the_range() {
    for axis in [2, -3, isize::MAX, isize::MIN] {
        let error = Shape::of(&[2, 3], axis).unwrap_err();
        assert_eq!(error, Error::InvalidAxis { axis, rank: 2, dims: vec![2, 3] });
        assert!(error.to_string().contains("expected -2 <= axis < 2"), "{error}");
    }
    assert!(matches!(Shape::of(&[], 0), Err(Error::InvalidAxis { .. })));
    assert!(matches!(Shape::channels_first(&[3]), Err(Error::InvalidAxis { .. })));
}

#[test]
fn shapes_beyond_memory_are_an_error_even_behind_a_zero() {
    let huge = usize::MAX / 2;
    assert!(matches!(Shape::new(huge, 3, 1), Err(Error::TooLarge { .. })));
    assert!(matches!(Shape::new(huge, huge, 0), Err(Error::TooLarge { .. })));
    assert!(matches!(Shape::of(&[huge, huge, 3], 2), Err(Error::TooLarge { .. })));
    assert!(matches!(Shape::of(&[2, 3, huge, huge], 1), Err(Error::TooLarge { .. })));
    // Over 2^31 elements is nothing special: 3072 x 64 x 112 x 112.
    assert_eq!(Shape::channels_first(&[3072, 64, 112, 112]).unwrap().len(), 2_466_250_752);
}

#[test]
fn a_slice_of_another_length_is_an_error_that_names_it() {
    let shape = Shape::new(2, 3, 4).unwrap();
    let error = View::new("x", shape, &[0.0f32; 23]).unwrap_err();
    assert_eq!(error, Error::LengthMismatch { what: "x", expected: 24, found: 23, shape });
    assert!(error.to_string().starts_with("`x` must have 24 elements"), "{error}");
    assert!(ViewMut::new("y", shape, &mut [0.0f32; 25]).is_err());
}

/// More than 2^31 elements, where others' 32-bit indices overflow. The tensor is zeros that the system never
/// has to hold (they are mapped on reading), but for a few values at the very end.
#[test]
fn statistics_of_more_than_two_to_the_31_elements_are_right() {
    if cfg!(not(target_os = "linux")) {
        eprintln!("skipped: only Linux is known to map untouched zeros without memory");
        return;
    }
    for (channels, inner) in [(1, (1 << 31) + 8), (2, 1)] {
        let outer = ((1usize << 31) + 8) / (channels * inner);
        let shape = Shape::new(outer, channels, inner).unwrap();
        let mut x = vec![0.0f32; shape.len()];
        for value in x.iter_mut().rev().take(4) {
            *value = 1024.0;
        }
        let mut moments = vec![Moments::EMPTY; channels];
        Cpu.moments(View::new("x", shape, &x).unwrap(), &mut moments);
        let count = shape.positions() as f64;
        for moments in moments {
            let sum = 4.0 * 1024.0 / channels as f64;
            assert_eq!(moments.count, shape.positions() as u64);
            assert!((moments.mean * count / sum - 1.0).abs() < 1e-12, "{moments:?}");
            let m2 = sum * 1024.0 - sum * sum / count;
            assert!((moments.m2 / m2 - 1.0).abs() < 1e-12, "{moments:?}");
        }
    }
}
