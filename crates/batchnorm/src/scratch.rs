//! Memory that a thread keeps from one call to the next, so that no call allocates.

use std::cell::Cell;
use std::thread::LocalKey;

use crate::cpu::Narrow;
use crate::{GradientMeans, GradientSums, Moments};

/// What scratch memory there is of.
pub trait Scratch: Copy + 'static {
    /// What is not lent at the moment; the last that came back is the first to go.
    fn shelf() -> &'static LocalKey<Cell<Vec<Vec<Self>>>>;
}

macro_rules! scratch {
    ($($type:ty),*) => {
        $(impl Scratch for $type {
            fn shelf() -> &'static LocalKey<Cell<Vec<Vec<Self>>>> {
                thread_local!(static SHELF: Cell<Vec<Vec<$type>>> = const { Cell::new(Vec::new()) });
                &SHELF
            }
        })*
    };
}

scratch!(f32, f64, Moments, GradientSums, GradientMeans, Narrow<f32>, Narrow<f64>);

/// Calls `job` with `len` values that may be anything, in memory that this thread has from an earlier call: those are
/// `value` which it has not.
pub fn with_any<T: Scratch, R>(len: usize, value: T, job: impl FnOnce(&mut [T]) -> R) -> R {
    lend(|memory| {
        if memory.len() < len {
            memory.resize(len, value);
        }
        job(&mut memory[..len])
    })
}

/// Calls `job` with `len` times `value`, in memory that this thread has from an earlier call.
///
/// Calls within `job`, by itself or by this thread while it waits for others, have their own.
pub fn with<T: Scratch, R>(len: usize, value: T, job: impl FnOnce(&mut [T]) -> R) -> R {
    lend(|memory| {
        memory.clear();
        memory.resize(len, value);
        job(memory)
    })
}

fn lend<T: Scratch, R>(job: impl FnOnce(&mut Vec<T>) -> R) -> R {
    let mut shelf = T::shelf().take();
    let mut memory = shelf.pop().unwrap_or_default();
    T::shelf().set(shelf);
    let result = job(&mut memory);
    let mut shelf = T::shelf().take();
    shelf.push(memory);
    T::shelf().set(shelf);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_lent_again_and_calls_within_calls_have_their_own() {
        let both = || {
            with(3, Moments::EMPTY, |outer| {
                let inner = with(2, Moments::EMPTY, |inner| {
                    inner.fill(Moments::of(&[1.0]));
                    inner.as_ptr()
                });
                assert_eq!(outer, [Moments::EMPTY; 3]);
                outer.fill(Moments::of(&[2.0]));
                (outer.as_ptr(), inner)
            })
        };
        assert_eq!(both(), both());
        // An allocator may give the same address again: look where the memory waits.
        let waiting = |shelf: Vec<Vec<Moments>>| shelf.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(waiting(Moments::shelf().take()), [2, 3]);
    }
}
