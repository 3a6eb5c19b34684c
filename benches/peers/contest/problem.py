"""The numbers of a row, and what must come out, computed in f64."""

import numpy

EPS = 1e-5
MOMENTUM = 0.1
# Of the largest value in the answer: enough for rounding, too little for a wrong formula.
TOLERANCE = {"f32": 1e-3, "bf16": 2e-2}
CHANNELS_CHECKED = 16


class Problem:
    """Arrays in the order of the memory: the channels are axis 1, or the last axis in channels-last layout."""

    def __init__(self, dims, layout):
        batch, channels, *spatial = dims
        last = layout == "channels_last"
        self.dims, self.layout, self.channels = dims, layout, channels
        self.axis = len(dims) - 1 if last else 1
        self.memory_shape = (batch, *spatial, channels) if last else dims
        # Off zero, as after a ReLU.
        draw = numpy.random.default_rng(0).random
        self.x = draw(self.memory_shape, dtype=numpy.float32) * numpy.float32(3) - numpy.float32(1)
        self.dy = draw(self.memory_shape, dtype=numpy.float32) * numpy.float32(3) - numpy.float32(1)
        cycle = numpy.arange(channels)
        self.gamma, self.beta, self.running_mean, self.running_variance = (
            (low + cycle % length / length).astype(numpy.float32)
            for low, length in ((0.5, 7), (-0.4, 5), (0.0, 3), (0.5, 4))
        )

    @property
    def other_axes(self):
        return tuple(axis for axis in range(len(self.dims)) if axis != self.axis)

    @property
    def parameter_shape(self):
        """Of a value per channel, for broadcasting."""
        return tuple(self.channels if axis == self.axis else 1 for axis in range(len(self.dims)))

    def check(self, op, answer, dtype):
        """Raises ValueError unless y (dx for the backward pass), ordered like x, is near what it must be."""
        if answer.shape != self.memory_shape:
            raise ValueError(f"wrong answer: expected the shape {self.memory_shape}, found {answer.shape}")
        for channel in numpy.unique(numpy.linspace(0, self.channels - 1, CHANNELS_CHECKED).astype(int)):
            expected = self.expected(op, channel)
            off = numpy.abs(numpy.take(answer, channel, self.axis) - expected).max()
            largest = numpy.abs(expected).max()
            # Not `>`: a NaN must not pass.
            if not off <= TOLERANCE[dtype] * largest:
                raise ValueError(f"wrong answer: off by {off:.1e}, values up to {largest:.1e}")

    def expected(self, op, channel):
        x, dy = (numpy.take(of, channel, self.axis).astype(numpy.float64) for of in (self.x, self.dy))
        if op == "eval":
            mean, variance = float(self.running_mean[channel]), float(self.running_variance[channel])
        else:
            mean, variance = x.mean(), x.var()
        rstd = 1 / numpy.sqrt(variance + EPS)
        xhat = (x - mean) * rstd
        gamma, beta = float(self.gamma[channel]), float(self.beta[channel])
        if op == "backward":
            return gamma * rstd * (dy - dy.mean() - xhat * (dy * xhat).mean())
        return gamma * xhat + beta
