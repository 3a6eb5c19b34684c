//! What a backend makes of a problem.

use batchnorm::{Coefficients, Element, GradientSums, Kernels, Moments, ViewMut};

use super::data::{Data, Unaligned};
use super::problem::{Activation, Work};

/// Everything that a backend computed; what the work does not ask for is empty.
#[derive(Clone, Debug)]
pub(super) struct Computed<E> {
    pub(super) moments: Vec<Moments>,
    pub(super) y: Vec<E>,
    pub(super) sums: Vec<GradientSums>,
    pub(super) dx: Vec<E>,
    pub(super) d_addend: Vec<E>,
}

impl<E: Element> Computed<E> {
    /// Every number's bits, in a fixed order.
    pub(super) fn bits(&self) -> impl Iterator<Item = u64> {
        let moments = self.moments.iter().flat_map(|moments| [moments.mean, moments.m2]);
        let sums = self.sums.iter().flat_map(|sums| [sums.dy, sums.dy_xhat]);
        let tensors = [&self.y, &self.dx, &self.d_addend].into_iter().flatten().map(|value| value.to_f64());
        moments.chain(sums).chain(tensors).map(f64::to_bits)
    }
}

/// Lets `kernels` compute what the problem asks for, on the current thread pool.
///
/// What they are to write is NaN before, so that nothing can be forgotten unseen.
pub(super) fn compute<E: Element>(kernels: &dyn Kernels<E>, data: &Data<E>) -> Computed<E> {
    let (shape, channels) = (data.shape, data.shape.channels());
    let unwritten = || Unaligned::filled(data.offset, shape.len(), || E::from_f64(f64::NAN));
    let mut computed =
        Computed { moments: Vec::new(), y: Vec::new(), sums: Vec::new(), dx: Vec::new(), d_addend: Vec::new() };
    fn whole<'a, E: Element>(data: &Data<E>, tensor: &'a mut Unaligned<E>) -> ViewMut<'a, E> {
        ViewMut::new("output", data.shape, tensor.get_mut()).expect("of the problem's shape")
    }

    let x = data.view("x", &data.x);
    if let Work::Forward | Work::ForwardInPlace = data.work {
        computed.moments = vec![Moments::EMPTY; channels];
    }
    let moments = &mut computed.moments;
    let mut coefficients =
        vec![Coefficients::new(f64::NAN, f64::NAN, data.eps, (f64::NAN, f64::NAN)); channels];
    let (epilogue, parameters) = (data.epilogue(), data.parameters());
    match data.work {
        Work::Forward => {
            let mut y = unwritten();
            let out = whole(data, &mut y);
            kernels.forward_train(data.eps, parameters, x, epilogue, out, moments, &mut coefficients);
            computed.y = y.get().to_vec();
        }
        Work::ForwardInPlace => {
            let mut y = data.x.clone();
            let out = whole(data, &mut y);
            kernels.forward_train_in_place(data.eps, parameters, epilogue, out, moments, &mut coefficients);
            computed.y = y.get().to_vec();
        }
        Work::Eval => {
            let mut y = unwritten();
            kernels.normalize(&data.given, x, epilogue, whole(data, &mut y));
            computed.y = y.get().to_vec();
        }
        Work::EvalInPlace => {
            let mut y = data.x.clone();
            kernels.normalize_in_place(&data.given, epilogue, whole(data, &mut y));
            computed.y = y.get().to_vec();
        }
        Work::Backward | Work::BackwardFixed => {
            let (mut dx, mut d_addend) = (unwritten(), unwritten());
            let added = data.activation == Activation::AddRelu;
            let wanted = added.then(|| whole(data, &mut d_addend));
            let (dy, count) = (data.view("dy", &data.dy), data.count() as u64);
            computed.sums = vec![GradientSums { dy: f64::NAN, dy_xhat: f64::NAN }; channels];
            let sums = &mut computed.sums;
            let (gate, out) = (data.gate(), whole(data, &mut dx));
            if data.work == Work::Backward {
                kernels.backward(&data.given, count, x, dy, gate, out, wanted, sums);
            } else {
                kernels.gradient_sums(&data.given, Some(x), dy, gate, sums);
                kernels.input_gradient(&data.given, None, dy, gate, out, wanted);
            }
            computed.dx = dx.get().to_vec();
            computed.d_addend = if added { d_addend.get().to_vec() } else { Vec::new() };
        }
    }
    computed
}
