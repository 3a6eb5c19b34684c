"""JAX: the formulas as Flax writes them, compiled. The process gets as many cores as threads are asked for."""

import os

from contest.problem import EPS, MOMENTUM
from contest.worker import Call


class Framework:
    def __init__(self, threads):
        # Before JAX counts the cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        os.environ["JAX_PLATFORMS"] = "cpu"
        import jax

        self.jax = jax

    def version(self):
        return self.jax.__version__

    def prepare(self, peer, problem, row):
        if row.dtype != "f32":
            raise ValueError("timed in f32 only")
        jax = self.jax
        formulas = Formulas(jax, problem)
        arrays = (problem.x, problem.gamma, problem.beta, problem.running_mean, problem.running_variance)
        x, gamma, beta, mean, variance = map(jax.numpy.asarray, arrays)
        if row.op == "backward":
            dy = jax.numpy.asarray(problem.dy)
            # What the forward pass keeps is computed once; the gradient alone is timed.
            pullback = jax.jit(lambda *of: jax.vjp(formulas.normalize, *of)[1])(x, gamma, beta)
            function, arguments = jax.jit(lambda pullback, dy: pullback(dy)), (pullback, dy)
        else:
            function = jax.jit(formulas.forward if row.op == "forward" else formulas.evaluate)
            arguments = (x, gamma, beta, mean, variance)

        def run():
            return jax.block_until_ready(function(*arguments))

        def answer():
            result = run()
            return jax.numpy.asarray(result[0] if isinstance(result, tuple) else result).__array__()

        return Call(run, answer, "jit")


class Formulas:
    def __init__(self, jax, problem):
        self.numpy, self.lax = jax.numpy, jax.lax
        self.axes, self.broadcast = problem.other_axes, problem.parameter_shape

    def statistics(self, x):
        """Flax's default: the mean of the squares less the square of the mean."""
        mean = self.numpy.mean(x, self.axes)
        return mean, self.numpy.maximum(0.0, self.numpy.mean(self.lax.square(x), self.axes) - self.lax.square(mean))

    def affine(self, x, gamma, beta, mean, variance):
        mean, beta = mean.reshape(self.broadcast), beta.reshape(self.broadcast)
        scale = (self.lax.rsqrt(variance + EPS) * gamma).reshape(self.broadcast)
        return (x - mean) * scale + beta

    def normalize(self, x, gamma, beta):
        return self.affine(x, gamma, beta, *self.statistics(x))

    def forward(self, x, gamma, beta, running_mean, running_variance):
        mean, variance = self.statistics(x)
        y = self.affine(x, gamma, beta, mean, variance)
        keep = 1 - MOMENTUM
        return y, keep * running_mean + MOMENTUM * mean, keep * running_variance + MOMENTUM * variance

    evaluate = affine
