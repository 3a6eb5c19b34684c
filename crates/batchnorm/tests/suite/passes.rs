//! The passes with a fused activation against the same in two steps.

use batchnorm::passes::{self, Backward};
use batchnorm::{BatchNormConfig, Epilogue, Gate, Kernels, Parameters, Shape, View, ViewMut, Wanted};

use super::accuracy::Input;

/// In f64, in which the reference too rounds after every operation: fused, y and all gradients are the same bits as with a ReLU (and an addition) of the caller's own.
pub fn relu_after_the_layer_is_the_relu_epilogue(kernels: &impl Kernels<f64>) {
    for ((outer, channels, inner), fixed) in
        [((6, 5, 1), false), ((4, 3, 40), false), ((6, 5, 1), true), ((4, 3, 40), true)]
    {
        let shape = Shape::new(outer, channels, inner).unwrap();
        let input = Input::<f64>::normal(shape, 0.0, 1.0, 1);
        let addend = Input::<f64>::normal(shape, 0.0, 1.0, 2).x;
        let x = View::new("x", shape, &input.x).unwrap();
        let addend_view = View::new("addend", shape, &addend).unwrap();
        let fused = run(
            kernels,
            &input,
            Epilogue::AddRelu { addend: addend_view },
            Gate::AddRelu { x, addend: addend_view },
            &input.dy,
            fixed,
        );
        let plain = run(kernels, &input, Epilogue::None, Gate::None, &input.dy, fixed);
        let z: Vec<f64> = plain.y.iter().zip(&addend).map(|(y, addend)| y + addend).collect();
        let y: Vec<f64> = z.iter().map(|z| z.max(0.0)).collect();
        assert_eq!(fused.y, y);
        let dz: Vec<f64> = z.iter().zip(&input.dy).map(|(z, dy)| if *z > 0.0 { *dy } else { 0.0 }).collect();
        let expected = run(kernels, &input, Epilogue::None, Gate::None, &dz, fixed);
        assert_eq!(fused.d_addend, dz);
        assert_eq!(fused.dx, expected.dx);
        assert_eq!(fused.gradients, expected.gradients);
    }
}

struct Pass {
    y: Vec<f64>,
    dx: Vec<f64>,
    d_addend: Vec<f64>,
    gradients: passes::Gradients,
}

fn run(
    kernels: &impl Kernels<f64>,
    input: &Input<f64>,
    epilogue: Epilogue<'_, f64>,
    gate: Gate<'_, f64>,
    dy: &[f64],
    fixed: bool,
) -> Pass {
    let shape = input.shape;
    let x = View::new("x", shape, &input.x).unwrap();
    let (mut y, mut dx, mut d_addend) =
        (vec![0.0; shape.len()], vec![0.0; shape.len()], vec![0.0; shape.len()]);
    let parameters: Parameters<'_, f64> = input.parameters();
    let config = BatchNormConfig::pytorch();
    let out = ViewMut::new("y", shape, &mut y).unwrap();
    let saved = if fixed {
        let (mean, variance) = (vec![0.1; shape.channels()], vec![2.0; shape.channels()]);
        passes::forward_fixed(kernels, &config, parameters, &mean, &variance, x, epilogue, out)
    } else {
        passes::forward_train(kernels, &config, parameters, x, epilogue, out)
    }
    .unwrap();
    let tensors = Backward {
        x: Some(x),
        dy: View::new("dy", shape, dy).unwrap(),
        gate,
        dx: Some(ViewMut::new("dx", shape, &mut dx).unwrap()),
        d_addend: Some(ViewMut::new("d_addend", shape, &mut d_addend).unwrap()),
    };
    let gradients = passes::backward(kernels, &saved, Wanted::ALL, tensors).unwrap();
    Pass { y, dx, d_addend, gradients }
}

/// The gradient of a ReLU at rest is 0, not 0 times dy: an infinite dy may not become NaN there. At z = 0 it rests
/// too, as in PyTorch.
pub fn a_closed_gate_lets_nothing_through(kernels: &impl Kernels<f64>) {
    for (outer, inner) in [(5, 1), (1, 21)] {
        let shape = Shape::new(outer, 1, inner).unwrap();
        let x: Vec<f64> = (0..shape.len()).map(|i| i as f64).collect();
        let x = View::new("x", shape, &x).unwrap();
        let mut y = vec![0.0; shape.len()];
        let out = ViewMut::new("y", shape, &mut y).unwrap();
        let config = BatchNormConfig::pytorch();
        let saved =
            passes::forward_train(kernels, &config, Parameters::default(), x, Epilogue::Relu, out).unwrap();
        // The first value is the smallest: its gate is closed. The middle one is the mean: z is exactly 0.
        assert_eq!(y[shape.len() / 2], 0.0);
        let mut dy = vec![1.0; shape.len()];
        dy[0] = f64::INFINITY;
        let mut dx = vec![0.0; shape.len()];
        let tensors = Backward {
            gate: Gate::Relu { x },
            ..Backward::new(
                x,
                View::new("dy", shape, &dy).unwrap(),
                ViewMut::new("dx", shape, &mut dx).unwrap(),
            )
        };
        let gradients = passes::backward(kernels, &saved, Wanted::ALL, tensors).unwrap();
        assert_eq!(gradients.beta.unwrap(), [(shape.len() / 2) as f64]);
        assert!(dx.iter().all(|dx| dx.is_finite()));
    }
}
