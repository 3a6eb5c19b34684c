//! The channels-first kernels where their loops change course: at the ends of vectors, runs, groups, blocks and strips, in
//! what is too large for a cache, and with numbers that do not add up well.
//!
//! | file | asks |
//! |---|---|
//! | sameness | are the bits the same for any instruction set and any number of threads? |
//! | halves | are half types widened exactly and rounded once? |
//! | streamed | are outputs that bypass the cache right, and the bits of those that do not? |
//! | in_place | is it the same where y overwrites x? |
//! | cancellation | are moments good to the last digits however far the first value lies? |
//! | scales | does anything overflow, underflow or lose digits that the reference does not? |
//! | poison | does a NaN or an infinity stay in its channel? |
//! | output | are gradients from the output alone right, and the same bits everywhere? |
//! | alignment | may slices begin anywhere, and is nothing beside them written? |

mod alignment;
mod cancellation;
#[path = "../suite/data.rs"]
#[allow(dead_code, reason = "each test binary uses a part")]
mod data;
mod halves;
mod in_place;
mod judge;
mod masks;
mod output;
mod poison;
mod sameness;
mod scales;
mod streamed;
mod tensors;
