//! The same bits for any number of threads.

use batchnorm::{Kernels, Shape};

use super::accuracy::Input;

pub fn one_to_eight_threads_compute_the_same_bits(kernels: &impl Kernels<f32>) {
    for (outer, channels, inner) in
        [(64, 3, 1000), (2, 130, 300), (1, 1, 200_000), (3000, 37, 1), (70_000, 2, 1)]
    {
        let shape = Shape::new(outer, channels, inner).unwrap();
        let input = Input::<f32>::normal(shape, 10.0, 1.0, 6);
        let results = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| input.through(kernels, 1e-5))
        };
        let one = results(1);
        for threads in 2..=8 {
            let many = results(threads);
            assert_eq!(many.moments, one.moments, "{shape} on {threads} threads");
            assert_eq!(many.sums, one.sums, "{shape} on {threads} threads");
            assert_eq!(many.y, one.y, "{shape} on {threads} threads");
            assert_eq!(many.dx, one.dx, "{shape} on {threads} threads");
            assert_eq!(many.dx_fixed, one.dx_fixed, "{shape} on {threads} threads");
        }
    }
}
