"""TensorFlow: its fused operation, in a graph. On CPUs it wants channels last and two spatial axes."""

import os

from contest.problem import EPS
from contest.worker import Call


class Framework:
    def __init__(self, threads):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow

        self.tensorflow = tensorflow
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)

    def version(self):
        return self.tensorflow.__version__

    def prepare(self, peer, problem, row):
        if row.layout != "channels_last":
            raise ValueError("no channels-first layout on CPUs")
        if row.dtype != "f32":
            raise ValueError("timed in f32 only")
        if len(problem.dims) != 4:
            raise ValueError("two spatial axes only")
        tensorflow = self.tensorflow
        fused, gradient = tensorflow.raw_ops.FusedBatchNormV3, tensorflow.raw_ops.FusedBatchNormGradV3
        constant = tensorflow.constant
        x, dy, gamma, beta = map(constant, (problem.x, problem.dy, problem.gamma, problem.beta))
        training = row.op != "eval"
        # In training the statistics that come in are not used.
        statistics = () if training else (problem.running_mean, problem.running_variance)
        mean, variance = map(constant, statistics) if statistics else (constant([]), constant([]))
        options = dict(epsilon=EPS, is_training=training)
        # x comes as an argument: what is constant may be computed once and for all.
        forward = tensorflow.function(
            lambda x: fused(x=x, scale=gamma, offset=beta, mean=mean, variance=variance, **options)
        )
        run = lambda: forward(x)
        if row.op == "backward":
            saved = forward(x)
            spaces = {f"reserve_space_{place}": saved[place + 2] for place in (1, 2, 3)}
            backward = tensorflow.function(
                lambda dy, x: gradient(y_backprop=dy, x=x, scale=gamma, epsilon=EPS, is_training=True, **spaces)
            )
            run = lambda: backward(dy, x)
        return Call(run, lambda: run()[0].numpy(), "fused")
