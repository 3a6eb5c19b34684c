//! Which output and which input of a linear map each element of its weight belongs to.

use std::ops::Range;

use super::FoldError;

/// Which axis of a weight comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightOrder {
    /// `[outputs, inputs / groups, kernel..]`: Conv, Gemm with transB = 1, PyTorch's Linear.
    OutputsFirst,
    /// `[inputs, outputs / groups, kernel..]`: ConvTranspose, Gemm with transB = 0, MatMul.
    InputsFirst,
}

/// How a weight's elements, in the order in which they are stored, belong to the outputs and inputs of its map.
///
/// Output o and input i of one group share `taps` elements, side by side; those of different groups share none. The groups
/// cut both outputs and inputs into runs: with I inputs and O outputs in each,
///
/// ```text
/// outputs first:  element ((o I + i) taps + k)   output o            input  (o / O) I + i
/// inputs first:   element ((i O + o) taps + k)   input  i            output (i / I) O + o
/// ```
///
/// ```
/// use batchnorm::fold::{WeightLayout, WeightOrder};
///
/// // A transposed convolution of 2 groups from 4 channels to 6, 3 x 3: its weight is [4, 3, 3, 3].
/// let layout = WeightLayout::new(WeightOrder::InputsFirst, 2, 6, 4, 9)?;
/// assert_eq!(layout.elements(), 108);
/// // [2, 1, 0, 0]: input 2 is the first of group 1, whose second output is 4.
/// let element = (2 * 3 + 1) * 9;
/// assert_eq!((layout.input_of(element), layout.output_of(element)), (2, 4));
/// # Ok::<(), batchnorm::fold::FoldError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightLayout {
    order: WeightOrder,
    groups: usize,
    outputs: usize,
    inputs: usize,
    taps: usize,
}

impl WeightLayout {
    /// A map from `inputs` to `outputs`, those of all groups, with `taps` elements (the product of the kernel's extents; 1 for
    /// a matrix) between an output and an input.
    ///
    /// # Errors
    ///
    /// [`FoldError::InvalidLayout`] where the groups do not divide inputs and outputs or a number is 0,
    /// [`FoldError::TooLarge`].
    pub fn new(
        order: WeightOrder,
        groups: usize,
        outputs: usize,
        inputs: usize,
        taps: usize,
    ) -> Result<Self, FoldError> {
        let divides = |whole: usize| whole.checked_rem(groups) == Some(0);
        if outputs == 0 || inputs == 0 || taps == 0 || !divides(outputs) || !divides(inputs) {
            return Err(FoldError::InvalidLayout { groups, outputs, inputs, taps });
        }
        let fits = outputs.checked_mul(inputs / groups).and_then(|pairs| pairs.checked_mul(taps));
        match fits {
            Some(_) => Ok(Self { order, groups, outputs, inputs, taps }),
            None => Err(FoldError::TooLarge { outputs, inputs, taps }),
        }
    }

    /// Which axis comes first.
    pub fn order(&self) -> WeightOrder {
        self.order
    }

    /// The number of groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The outputs of all groups.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The inputs of all groups.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The elements between one output and one input.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// The weight's elements.
    pub fn elements(&self) -> usize {
        self.outputs * (self.inputs / self.groups) * self.taps
    }

    /// The products that an output of the map is the sum of, at most: inputs of a group times taps.
    pub fn terms(&self) -> usize {
        self.inputs / self.groups * self.taps
    }

    /// The output that the element at `index` belongs to.
    pub fn output_of(&self, index: usize) -> usize {
        match self.order {
            WeightOrder::OutputsFirst => index / self.row(),
            WeightOrder::InputsFirst => {
                self.seconds_of(index / self.row()).start + index % self.row() / self.taps
            }
        }
    }

    /// The input that the element at `index` belongs to.
    pub fn input_of(&self, index: usize) -> usize {
        match self.order {
            WeightOrder::InputsFirst => index / self.row(),
            WeightOrder::OutputsFirst => {
                self.seconds_of(index / self.row()).start + index % self.row() / self.taps
            }
        }
    }

    /// Channels of the first axis, and channels of the second in one group.
    fn axes(&self) -> (usize, usize) {
        match self.order {
            WeightOrder::OutputsFirst => (self.outputs, self.inputs / self.groups),
            WeightOrder::InputsFirst => (self.inputs, self.outputs / self.groups),
        }
    }

    /// The elements of one channel of the first axis.
    fn row(&self) -> usize {
        self.axes().1 * self.taps
    }

    /// The channels of the second axis that channel `first` of the first one is connected with.
    fn seconds_of(&self, first: usize) -> Range<usize> {
        let (firsts, seconds) = self.axes();
        let group = first / (firsts / self.groups);
        group * seconds..(group + 1) * seconds
    }

    /// The rows that a chunk of `length` elements from element `first` on lies in, in order.
    ///
    /// # Errors
    ///
    /// [`FoldError::ChunkPastEnd`].
    pub(super) fn rows(
        &self,
        first: usize,
        length: usize,
    ) -> Result<impl Iterator<Item = Row> + use<>, FoldError> {
        let elements = self.elements();
        if first.checked_add(length).is_none_or(|end| end > elements) {
            return Err(FoldError::ChunkPastEnd { first, length, elements });
        }
        let (layout, row) = (*self, self.row());
        let (mut channel, mut column, mut start) = (first / row, first % row, 0);
        Ok(std::iter::from_fn(move || {
            if start == length {
                return None;
            }
            let chunk = start..length.min(start + row - column);
            let of = Row { channel, seconds: layout.seconds_of(channel), column, chunk: chunk.clone() };
            (channel, column, start) = (channel + 1, 0, chunk.end);
            Some(of)
        }))
    }
}

/// The part of a chunk that belongs to one channel of the weight's first axis.
pub(super) struct Row {
    /// The channel of the first axis.
    pub channel: usize,
    /// The channels of the second axis that lie in the whole row.
    pub seconds: Range<usize>,
    /// Where in the row the part begins, in elements.
    pub column: usize,
    /// Where in the chunk the part lies.
    pub chunk: Range<usize>,
}

impl Row {
    /// The part's elements by the channel of the second axis, counted from the row's first one, each with its range of the
    /// part. For `taps` elements a channel.
    pub(super) fn runs(&self, taps: usize) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let length = self.chunk.len();
        let (mut second, mut start) = (self.column / taps, 0);
        let mut end = length.min(taps - self.column % taps);
        std::iter::from_fn(move || {
            if start == length {
                return None;
            }
            let run = (second, start..end);
            (second, start, end) = (second + 1, end, length.min(end + taps));
            Some(run)
        })
    }
}
