//! Which values share statistics, and which share gamma and beta: all that the variants differ in.

use std::ops::Range;

use crate::{Error, Shape};

/// To which of `count` banks each example of a batch belongs: its domain, its class, its part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Banks<'a> {
    /// One bank per example, from 0 on.
    pub of: &'a [usize],
    /// How many banks there are; a batch need not have an example of each.
    pub count: usize,
}

/// How a batch is cut: which examples are normalized together, and which share gamma and beta.
///
/// ```text
/// statistics sets     values that share mean and variance
/// banks               examples that share gamma and beta
/// groups              channels of an example that share mean and variance, too
/// ```
///
/// | | statistics sets | banks |
/// |---|---|---|
/// | [`whole`](Self::whole): batch normalization | one | one |
/// | [`ghost`](Self::ghost) | one per so many examples | one |
/// | [`grouped`](Self::grouped): group, layer, instance normalization | one per example and group of channels | one |
/// | [`banked`](Self::banked): domain-specific, split | one per domain | one per domain |
/// | [`banked`](Self::banked): conditional | one | one per class |
///
/// The examples of a set need not lie together: moments are folded run by run and merged in the order of the batch.
///
/// ```
/// use batchnorm::{Banks, Partition, Shape};
///
/// let shape = Shape::channels_first(&[5, 4, 7, 7])?;
/// assert_eq!(Partition::ghost(shape, 5, 2)?.sets(), 3); // 2, 2 and 1 examples
/// assert_eq!(Partition::grouped(shape, 5, 2)?.sets(), 5);
/// let domains = Banks { of: &[0, 0, 1, 0, 1], count: 3 };
/// let partition = Partition::banked(shape, Some(domains), Some(domains))?;
/// assert_eq!((partition.sets(), partition.banks()), (3, 3));
/// let error = Partition::banked(shape, Some(Banks { of: &[0, 0, 3, 0, 1], count: 3 }), None).unwrap_err();
/// assert!(error.to_string().contains("example 2 asks for bank 3 of statistics, and there are 3"));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    shape: Shape,
    /// `None` where everything is one slab of one pair: batch normalization allocates nothing for it.
    cut: Option<Cut>,
    sets: usize,
    banks: usize,
    groups: Option<usize>,
    /// Whether a set means the same in every batch, so that ranks can share it.
    lasting: bool,
}

/// The slabs of a batch, from its first row to its last.
#[derive(Clone, Debug, PartialEq)]
struct Cut {
    slabs: Vec<Slab>,
    /// The different combinations of a statistics set and a bank, in the order of the batch.
    pairs: Vec<Pair>,
}

/// Consecutive rows of one set and one bank.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Slab {
    end: usize,
    pair: usize,
}

/// What a slab is normalized with: statistics of a set, parameters of a bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) set: usize,
    pub(crate) bank: usize,
}

impl Pair {
    const ONLY: Self = Self { set: 0, bank: 0 };
}

impl Partition {
    /// Everything together: batch normalization.
    pub fn whole(shape: Shape) -> Self {
        Self { shape, cut: None, sets: 1, banks: 1, groups: None, lasting: true }
    }

    /// Ghost batches: every `size` of the `examples` have statistics of their own; the last ones may be fewer.
    ///
    /// # Errors
    ///
    /// [`Error::GhostSize`] for a size of 0, [`Error::SamplesMismatch`] if the rows are not those of so many examples.
    pub fn ghost(shape: Shape, examples: usize, size: usize) -> Result<Self, Error> {
        if size == 0 {
            return Err(Error::GhostSize);
        }
        Self::cut(shape, examples, |example| Pair { set: example / size, bank: 0 })
    }

    /// Group normalization: the channels of each of the `examples` in `groups`. One group is layer normalization, as
    /// many as channels are instance normalization.
    ///
    /// # Errors
    ///
    /// [`Error::GroupsMismatch`] if the groups do not divide the channels, [`Error::SamplesMismatch`] if the rows are
    /// not those of so many examples.
    pub fn grouped(shape: Shape, examples: usize, groups: usize) -> Result<Self, Error> {
        let channels = shape.channels();
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::GroupsMismatch { groups, channels });
        }
        let partition = Self::cut(shape, examples, |example| Pair { set: example, bank: 0 })?;
        Ok(Self { groups: (groups != channels).then_some(groups), ..partition })
    }

    /// Examples by banks: domain-specific (statistics and parameters by domain), split (by part of the batch),
    /// conditional (parameters by class). `None` is one bank for all.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownBank`] for a bank that does not exist, [`Error::BanksMismatch`] if the two are not of as many
    /// examples, [`Error::SamplesMismatch`] if the rows are not those of so many examples.
    pub fn banked(
        shape: Shape,
        statistics: Option<Banks<'_>>,
        parameters: Option<Banks<'_>>,
    ) -> Result<Self, Error> {
        let Some(first) = statistics.or(parameters) else {
            return Ok(Self::whole(shape));
        };
        let examples = first.of.len();
        for (what, banks) in [("statistics", statistics), ("parameters", parameters)] {
            let Some(Banks { of, count: banks }) = banks else { continue };
            if of.len() != examples {
                return Err(Error::BanksMismatch { what, expected: examples, found: of.len() });
            }
            if let Some(example) = of.iter().position(|&bank| bank >= banks) {
                return Err(Error::UnknownBank { what, example, found: of[example], banks });
            }
        }
        let bank = |banks: Option<Banks<'_>>, example: usize| banks.map_or(0, |banks| banks.of[example]);
        let partition = Self::cut(shape, examples, |example| Pair {
            set: bank(statistics, example),
            bank: bank(parameters, example),
        })?;
        let count = |banks: Option<Banks<'_>>| banks.map_or(1, |banks| banks.count);
        Ok(Self { sets: count(statistics), banks: count(parameters), lasting: true, ..partition })
    }

    /// Runs of examples of one pair become slabs.
    fn cut(shape: Shape, examples: usize, pair: impl Fn(usize) -> Pair) -> Result<Self, Error> {
        let rows = shape.outer().checked_div(examples).unwrap_or(0);
        if rows * examples != shape.outer() {
            return Err(Error::SamplesMismatch { samples: examples, shape });
        }
        let mut slabs: Vec<Slab> = Vec::new();
        let mut pairs: Vec<Pair> = Vec::new();
        // By set and bank, where a pair stands in the list: there may be as many as examples.
        let mut places = std::collections::HashMap::new();
        for example in 0..examples {
            let pair = pair(example);
            let place = *places.entry((pair.set, pair.bank)).or_insert_with(|| {
                pairs.push(pair);
                pairs.len() - 1
            });
            let end = (example + 1) * rows;
            match slabs.last_mut() {
                Some(last) if last.pair == place => last.end = end,
                _ => slabs.push(Slab { end, pair: place }),
            }
        }
        let sets = pairs.iter().map(|pair| pair.set + 1).max().unwrap_or(0);
        Ok(Self { shape, cut: Some(Cut { slabs, pairs }), sets, banks: 1, groups: None, lasting: false })
    }

    /// The shape that is cut.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The number of statistics sets along the batch.
    pub fn sets(&self) -> usize {
        self.sets
    }

    /// The number of banks of parameters.
    pub fn banks(&self) -> usize {
        self.banks
    }

    /// In how many groups the channels of a set are normalized; `None` if every channel has its own statistics.
    pub fn groups(&self) -> Option<usize> {
        self.groups
    }

    /// Means and variances of a set: one per channel, or one per group of channels.
    pub fn width(&self) -> usize {
        self.groups.unwrap_or(self.shape.channels())
    }

    /// Whether a set means the same in every batch, and so on every rank.
    pub(crate) fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// The number of slabs.
    pub(crate) fn slabs(&self) -> usize {
        self.cut.as_ref().map_or(1, |cut| cut.slabs.len())
    }

    /// The rows of a slab.
    pub(crate) fn rows(&self, slab: usize) -> Range<usize> {
        let Some(Cut { slabs, .. }) = &self.cut else { return 0..self.shape.outer() };
        let start = if slab == 0 { 0 } else { slabs[slab - 1].end };
        start..slabs[slab].end
    }

    /// The place of a slab's pair among [`pairs`](Self::pairs).
    pub(crate) fn place(&self, slab: usize) -> usize {
        self.cut.as_ref().map_or(0, |cut| cut.slabs[slab].pair)
    }

    /// What a slab is normalized with.
    pub(crate) fn pair(&self, slab: usize) -> Pair {
        self.pairs()[self.place(slab)]
    }

    /// The same rows brought together by pairs: one slab for each, in the order of [`pairs`](Self::pairs).
    pub(crate) fn with_slabs_by_pair(&self) -> Self {
        let mut rows = vec![0; self.pairs().len()];
        for slab in 0..self.slabs() {
            rows[self.place(slab)] += self.rows(slab).len();
        }
        let mut end = 0;
        let slab = |(pair, rows): (usize, usize)| {
            end += rows;
            Slab { end, pair }
        };
        let slabs = rows.into_iter().enumerate().map(slab).collect();
        Self { cut: Some(Cut { slabs, pairs: self.pairs().to_vec() }), ..self.clone() }
    }

    /// All pairs that occur.
    pub(crate) fn pairs(&self) -> &[Pair] {
        self.cut.as_ref().map_or(&[Pair::ONLY], |cut| &cut.pairs)
    }

    /// The group of a channel, or the channel itself.
    pub(crate) fn group_of(&self, channel: usize) -> usize {
        match self.groups {
            None => channel,
            Some(groups) => channel / (self.shape.channels() / groups).max(1),
        }
    }

    /// The shape under which a set's statistics are folded: groups in the place of channels.
    pub(crate) fn folded(&self) -> Shape {
        let Some(groups) = self.groups else { return self.shape };
        let together = self.shape.channels() / groups;
        Shape::new(self.shape.outer(), groups, together * self.shape.inner())
            .expect("as many elements as before")
    }

    /// Whether every set is one run of rows, so that it can be folded and mapped while it is in cache.
    pub(crate) fn is_local(&self) -> bool {
        self.slabs() == self.pairs().len() && self.pairs().iter().enumerate().all(|(i, pair)| pair.set == i)
    }

    /// Whether all values of a set have the same gamma, so that gamma can be taken out of the sums over a set.
    pub(crate) fn has_one_gamma_per_set(&self) -> bool {
        if self.cut.is_none() {
            return true;
        }
        let mut seen = vec![false; self.sets];
        self.groups.is_none() && self.pairs().iter().all(|pair| !std::mem::replace(&mut seen[pair.set], true))
    }
}
