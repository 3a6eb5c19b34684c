"""PyTorch: its own kernels called with and without preallocated outputs, and what torch.compile makes of them."""

import torch
import torch.nn.functional as functional

from contest.problem import EPS, MOMENTUM
from contest.worker import Call, fastest

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
aten = torch.ops.aten


class Framework:
    def __init__(self, threads):
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def version(self):
        return torch.__version__

    def prepare(self, peer, problem, row):
        tensors = Tensors(problem, row)
        if peer == "torch.compile":
            return compiled(tensors, row.op)
        return fastest(EAGER[row.op](tensors))


class Tensors:
    """A row's arrays as tensors [batch, channels, ...], whose strides tell the layout."""

    def __init__(self, problem, row):
        self.problem = problem
        self.x, self.dy = (self.tensor(array).to(DTYPES[row.dtype]) for array in (problem.x, problem.dy))
        self.gamma, self.beta, self.mean, self.variance = (
            torch.from_numpy(array.copy())
            for array in (problem.gamma, problem.beta, problem.running_mean, problem.running_variance)
        )
        # As the training forward pass saves them.
        _, self.saved_mean, self.saved_rstd = torch.native_batch_norm(
            self.x, self.gamma, self.beta, None, None, True, MOMENTUM, EPS
        )
        # Strides and all.
        self.out = torch.empty_like(self.x)
        self.per_channel = [torch.empty_like(self.saved_mean) for _ in range(2)]

    def tensor(self, array):
        tensor = torch.from_numpy(array)
        return tensor.movedim(-1, 1) if self.problem.layout == "channels_last" else tensor

    def array(self, tensor):
        """Ordered as the problem's x."""
        last = self.problem.layout == "channels_last"
        return (tensor.movedim(1, -1) if last else tensor).float().numpy()

    def call(self, variant, run):
        """Of a function that returns y or dx, alone or first of several."""

        def answer():
            result = run()
            return self.array(result if isinstance(result, torch.Tensor) else result[0])

        return Call(run, answer, variant)


def forward(t):
    arguments = (t.x, t.gamma, t.beta, t.mean, t.variance, True, MOMENTUM, EPS)
    saved_mean, saved_rstd = t.per_channel
    out = dict(out=t.out, save_mean=saved_mean, save_invstd=saved_rstd)
    return [
        t.call("plain", lambda: torch.native_batch_norm(*arguments)),
        t.call("out", lambda: aten.native_batch_norm.out(*arguments, **out)),
    ]


def backward(t):
    saved = (t.saved_mean, t.saved_rstd)
    arguments = (t.dy, t.x, t.gamma, t.mean, t.variance, *saved, True, EPS, [True, True, True])
    dgamma, dbeta = t.per_channel
    return [
        t.call("plain", lambda: aten.native_batch_norm_backward.default(*arguments)),
        t.call("out", lambda: aten.native_batch_norm_backward.out(*arguments, out0=t.out, out1=dgamma, out2=dbeta)),
    ]


def evaluate(t):
    arguments = (t.x, t.gamma, t.beta, t.mean, t.variance)
    nothing = [torch.empty(0), torch.empty(0)]
    return [
        t.call("plain", lambda: torch.batch_norm(*arguments, False, MOMENTUM, EPS, False)),
        t.call(
            "out",
            lambda: aten.native_batch_norm.out(
                *arguments, False, MOMENTUM, EPS, out=t.out, save_mean=nothing[0], save_invstd=nothing[1]
            ),
        ),
    ]


EAGER = {"forward": forward, "backward": backward, "eval": evaluate}


def compiled(t, op):
    """The operation compiled for this shape alone."""
    torch._dynamo.reset()

    def training(x, gamma, beta, mean, variance):
        return functional.batch_norm(x, mean, variance, gamma, beta, True, MOMENTUM, EPS)

    def gradients(dy, x, gamma, mean, rstd):
        masks = [True, True, True]
        return aten.native_batch_norm_backward.default(dy, x, gamma, None, None, mean, rstd, True, EPS, masks)

    def evaluation(x, gamma, beta, mean, variance):
        return functional.batch_norm(x, mean, variance, gamma, beta, False, MOMENTUM, EPS)

    forwards = (t.x, t.gamma, t.beta, t.mean, t.variance)
    function, arguments = {
        "forward": (training, forwards),
        "backward": (gradients, (t.dy, t.x, t.gamma, t.saved_mean, t.saved_rstd)),
        "eval": (evaluation, forwards),
    }[op]
    function = torch.compile(function, dynamic=False, fullgraph=True)
    return t.call("inductor", lambda: function(*arguments))
