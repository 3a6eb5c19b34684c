"""Writes pytorch.json, keras.json and flax.json: what the libraries compute, for `tests/goldens.rs`. See README.md.

A case is one layer, three consecutive training steps (so that running updates compound) and one evaluation.
Everything but the inputs comes out of the library itself: outputs, gradients (its own automatic differentiation),
running statistics, counters, and the names of its state.

Arrays are strings of numbers separated by blanks, each number the shortest text that reads back as the same bits. (As
JSON numbers they would be at the mercy of the JSON reader: serde_json's default one may be a bit off.)

In an `f32` case the inputs are f32 numbers. The expected figures are the library's results *in f64* from these
inputs; next to them, as `own`, stand the results of the library's own f32 run. Its state is the f32 run's, and
`restored` is what a new f64 layer of the library evaluates after loading that.
"""

import argparse
import json
import os
import zlib
from pathlib import Path
from unittest import mock

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import flax
import jax
import jax.numpy as jnp
import keras
import numpy as np
import torch
from flax import linen, nnx

jax.config.update("jax_enable_x64", True)
torch.set_num_threads(1)

STEPS = 3


# --- the libraries: each class is one layer with train(x, dy), evaluate(x, dy), running(), state()
# and load(state) ---


class PyTorch:
    """nn.BatchNorm1d, 2d or 3d, as the rank asks. The option `weight: false` takes the weight out of the layer."""

    def __init__(self, dims, axis, options, gamma, beta, dtype):
        assert axis == 1
        kind = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d, 5: torch.nn.BatchNorm3d}
        options = dict(options)
        weight = options.pop("weight", True)
        self.layer = kind[len(dims)](dims[axis], dtype=getattr(torch, dtype), **options)
        if not weight:
            self.layer.register_parameter("weight", None)
        with torch.no_grad():
            for parameter, values in [(self.layer.weight, gamma), (self.layer.bias, beta)]:
                if parameter is not None:
                    parameter.copy_(torch.tensor(values))
        self.dtype = dtype

    @staticmethod
    def parameters(options):
        affine = options.get("affine", True)
        return affine and options.get("weight", True), affine and options.get("bias", True)

    def train(self, x, dy):
        self.layer.train()
        try:
            return self._run(x, dy)
        except ValueError as refusal:
            return {"raises": str(refusal)}

    def evaluate(self, x, dy):
        self.layer.eval()
        return self._run(x, dy)

    def _run(self, x, dy):
        self.layer.zero_grad()
        x = torch.tensor(x, requires_grad=True)
        y = self.layer(x)
        y.backward(torch.tensor(dy))
        assert y.dtype == x.dtype
        result = {"y": y.detach().numpy(), "dx": x.grad.numpy()}
        for name, parameter in [("dgamma", self.layer.weight), ("dbeta", self.layer.bias)]:
            if parameter is not None:
                result[name] = parameter.grad.numpy().copy()
        return result

    def running(self):
        if self.layer.running_mean is None:
            return {}
        return {
            "mean": self.layer.running_mean.numpy().copy(),
            "variance": self.layer.running_var.numpy().copy(),
            "batches": int(self.layer.num_batches_tracked),
        }

    def state(self):
        return {k: v.item() if v.ndim == 0 else v.numpy().copy() for k, v in self.layer.state_dict().items()}

    def load(self, state):
        self.layer.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})


class Keras:
    """keras.layers.BatchNormalization on the JAX backend.

    Asked for f64, this release computes in f32 all the same (its `result_type("float64", "float32")` is f32 unless the
    backend is TensorFlow) and casts the result. The f64 run therefore patches that one answer; all arithmetic stays
    Keras's. The f32 run (`own`) is not patched.
    """

    def __init__(self, dims, axis, options, gamma, beta, dtype):
        assert keras.src.backend.result_type("float64", "float32") == "float32", "Keras honours f64 now: drop the patch"
        self.compute_type = mock.patch("keras.src.backend.result_type", lambda *_: dtype)
        self.layer = keras.layers.BatchNormalization(axis=axis, dtype=dtype, **options)
        self.layer.build(dims)
        for variable, values in [(self.layer.gamma, gamma), (self.layer.beta, beta)]:
            if variable is not None:
                variable.assign(values)

    @staticmethod
    def parameters(options):
        return options.get("scale", True), options.get("center", True)

    def train(self, x, dy):
        return self._run(x, dy, True)

    def evaluate(self, x, dy):
        return self._run(x, dy, False)

    def _run(self, x, dy, training):
        names = [v.name for v in self.layer.trainable_variables]
        fixed = [v.value for v in self.layer.non_trainable_variables]

        def layer(x, trainable):
            return self.layer.stateless_call(trainable, fixed, x, training=training)

        trainable = [v.value for v in self.layer.trainable_variables]
        with self.compute_type:
            y, back, after = jax.vjp(layer, jnp.asarray(x), trainable, has_aux=True)
        assert y.dtype == x.dtype
        for variable, value in zip(self.layer.non_trainable_variables, after):
            variable.assign(value)
        dx, gradients = back(jnp.asarray(dy))
        return {"y": y, "dx": dx} | {"d" + name: g for name, g in zip(names, gradients)}

    def running(self):
        return {"mean": self.layer.moving_mean.numpy(), "variance": self.layer.moving_variance.numpy()}

    def state(self):
        return {v.name: v.numpy() for v in self.layer.variables}

    def load(self, state):
        for variable in self.layer.variables:
            variable.assign(state[variable.name])


class FlaxLinen:
    """flax.linen.BatchNorm. Its `scale` is everybody's gamma and its `bias` is beta."""

    def __init__(self, dims, axis, options, gamma, beta, dtype):
        self.layer = linen.BatchNorm(axis=axis, param_dtype=dtype, **options)
        has_gamma, has_beta = self.parameters(options)
        self.params = {"scale": jnp.asarray(gamma)} if has_gamma else {}
        if has_beta:
            self.params["bias"] = jnp.asarray(beta)
        # Flax makes the statistics in f32 whatever `param_dtype` says, and 0.99 * 1 in f32 is 1e-8 wrong.
        shape = (dims[axis],)
        self.stats = {"mean": jnp.zeros(shape, dtype), "var": jnp.ones(shape, dtype)}

    @staticmethod
    def parameters(options):
        return options.get("use_scale", True), options.get("use_bias", True)

    def train(self, x, dy):
        return self._run(x, dy, False)

    def evaluate(self, x, dy):
        return self._run(x, dy, True)

    def _run(self, x, dy, use_running_average):
        def layer(x, params):
            variables = {"params": params, "batch_stats": self.stats}
            y, after = self.layer.apply(
                variables, x, use_running_average=use_running_average, mutable=["batch_stats"]
            )
            return y, after.get("batch_stats", self.stats)

        y, back, self.stats = jax.vjp(layer, jnp.asarray(x), self.params, has_aux=True)
        return self._result(x, dy, y, back)

    def _result(self, x, dy, y, back):
        assert y.dtype == x.dtype
        dx, gradients = back(jnp.asarray(dy))
        names = {"scale": "dgamma", "bias": "dbeta"}
        return {"y": y, "dx": dx} | {names[name]: g for name, g in gradients.items()}

    def running(self):
        return {"mean": self.stats["mean"], "variance": self.stats["var"]}

    def state(self):
        return dict(self.params) | dict(self.stats)

    def load(self, state):
        cast = lambda values: {name: state[name].astype(old.dtype) for name, old in values.items()}
        self.params, self.stats = cast(self.params), cast(self.stats)


class FlaxNnx(FlaxLinen):
    """flax.nnx.BatchNorm."""

    def __init__(self, dims, axis, options, gamma, beta, dtype):
        super().__init__(dims, axis, {}, gamma, beta, dtype)
        self.nnx = nnx.BatchNorm(dims[axis], axis=axis, param_dtype=dtype, rngs=nnx.Rngs(0), **options)
        kept = [name for name in self.params if getattr(self.nnx, name) is not None]
        self.params = {name: self.params[name] for name in kept}

    def _run(self, x, dy, use_running_average):
        graph, _ = nnx.split(self.nnx)

        def layer(x, params):
            module = nnx.merge(graph, nnx.State({k: self._variable(k, v) for k, v in (params | self.stats).items()}))
            y = module(x, use_running_average=use_running_average)
            return y, {"mean": module.mean[...], "var": module.var[...]}

        y, back, self.stats = jax.vjp(layer, jnp.asarray(x), self.params, has_aux=True)
        return self._result(x, dy, y, back)

    @staticmethod
    def _variable(name, value):
        return nnx.BatchStat(value) if name in ("mean", "var") else nnx.Param(value)


# --- inputs ---


def rounded(values, dtype):
    """Three decimals keep the files small; as f32 or f64 numbers they still have full mantissas."""
    return np.round(values, 3).astype(dtype)


def batch(rng, case, step):
    """x and dy of one step: every channel with an own mean and spread that drift from step to step."""
    dims, axis, dtype = case["dims"], case["axis"], case["dtype"]
    along = [1] * len(dims)
    along[axis] = dims[axis]
    offset = (case.get("offset", 0.0) + rng.normal(size=along)) * (1.0 if step < STEPS else 0.9)
    spread = rng.uniform(0.5, 2.0, size=along) * case.get("spread", 1.0)
    x = offset + spread * rng.normal(size=dims)
    if case.get("constant_channel"):
        x = np.moveaxis(x, axis, 0)
        x[0] = 0.7
        x = np.moveaxis(x, 0, axis)
    if step == case.get("nan_step"):
        x.flat[0] = np.nan
    return rounded(x, dtype), rounded(rng.normal(size=dims), dtype)


def parameters(rng, case):
    channels = case["dims"][case["axis"]]
    gamma, beta = rng.normal(loc=1.0, size=channels), rng.normal(size=channels)
    if case.get("gamma") == "zeros and negatives":
        gamma[0::3] = 0.0
        gamma[1::3] = -np.abs(gamma[1::3])
    return rounded(gamma, case["dtype"]), rounded(beta, case["dtype"])


# --- a case ---


def record(module, name, dims, axis, options, dtype="float64", **shaping):
    case = {"name": name, "dims": dims, "axis": axis, "dtype": dtype, **shaping}
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    gamma, beta = parameters(rng, case)
    batches = [batch(rng, case, step) for step in range(STEPS + 1)]
    # (x, dy) of three training steps and of the evaluation, through one layer per type.
    runs = {}
    for run in ["float64"] + (["float32"] if dtype == "float32" else []):
        cast = lambda values: values.astype(run)
        layer = module(dims, axis, options, cast(gamma), cast(beta), run)
        steps = [layer.train(cast(x), cast(dy)) | layer.running() for x, dy in batches[:STEPS]]
        steps.append(layer.evaluate(*map(cast, batches[STEPS])))
        runs[run] = steps, layer.state()
    steps, state = runs["float64"]
    if dtype == "float32":
        for step, own in zip(steps, runs["float32"][0]):
            step["own"] = {key: value for key, value in own.items() if key != "batches"}
        state = runs["float32"][1]
        layer = module(dims, axis, options, gamma.astype("float64"), beta.astype("float64"), "float64")
        layer.load(state)
        steps[STEPS]["restored"] = layer.evaluate(*(values.astype("float64") for values in batches[STEPS]))
    steps = [{"x": x, "dy": dy} | step for (x, dy), step in zip(batches, steps)]
    has_gamma, has_beta = module.parameters(options)
    return {
        "name": name,
        "module": module.__name__,
        "dtype": {"float64": "f64", "float32": "f32"}[dtype],
        "dims": list(dims),
        "axis": axis,
        "options": options,
        "gamma": gamma if has_gamma else None,
        "beta": beta if has_beta else None,
        "train": steps[:STEPS],
        "evaluate": steps[STEPS],
        "state": state,
    }


def pytorch():
    case = lambda name, dims, dtype="float64", shaping={}, **options: record(
        PyTorch, name, dims, 1, options, dtype, **shaping
    )
    f32 = "float32"
    return [
        case("rows and columns (3,2)", (3, 2)),
        case("one channel of three rows (3,1)", (3, 1)),
        case("two values per channel (2,1)", (2, 1)),
        case("sequences (5,5,5)", (5, 5, 5)),
        case("sequences (3,2,4)", (3, 2, 4)),
        case("images (3,2,3,4)", (3, 2, 3, 4)),
        case("images with odd sizes (2,3,5,3)", (2, 3, 5, 3)),
        case("volumes (2,3,2,2,2)", (2, 3, 2, 2, 2)),
        case("many channels (7,19)", (7, 19)),
        case("momentum 0.5", (3, 2, 4), momentum=0.5),
        case("momentum 0", (3, 2, 4), momentum=0.0),
        case("momentum 1", (3, 2, 4), momentum=1.0),
        case("momentum -1.2", (3, 2, 4), shaping={"spread": 0.4}, momentum=-1.2),
        case("momentum -1.2 drives a variance below zero", (3, 2, 4), shaping={"spread": 3.0}, momentum=-1.2),
        case("momentum None is the average over batches", (3, 2, 4), momentum=None),
        case("eps 1e-3", (3, 2, 4), eps=1e-3),
        case("eps 0.1", (4, 3), eps=0.1),
        case("eps 1e-20", (4, 3), eps=1e-20),
        case("eps 0 is refused in training", (4, 3), eps=0.0),
        case("not affine", (3, 2, 3, 4), affine=False),
        case("no weight", (3, 2, 4), weight=False),
        case("no bias", (3, 2, 4), bias=False),
        case("no running statistics", (3, 2, 4), track_running_stats=False),
        case("neither parameters nor running statistics", (4, 3), affine=False, track_running_stats=False),
        case("gamma with zeros and negatives", (3, 7), shaping={"gamma": "zeros and negatives"}),
        case("a constant channel", (3, 2, 4), shaping={"constant_channel": True}),
        case("mean 1000", (3, 2, 4), shaping={"offset": 1e3}),
        case("zero batch (0,5,9)", (0, 5, 9)),
        case("one value per channel (1,4)", (1, 4)),
        case("one value per channel (1,4,1)", (1, 4, 1)),
        case("one value per channel counts for the average over batches (1,4)", (1, 4), momentum=None),
        case("a NaN in the second batch", (3, 2, 4), shaping={"nan_step": 1}),
        case("f32 rows and columns (3,2)", (3, 2), f32),
        case("f32 sequences (5,5,5)", (5, 5, 5), f32),
        case("f32 images (3,2,3,4)", (3, 2, 3, 4), f32),
        case("f32 momentum 0.5", (3, 2, 4), f32, momentum=0.5),
        case("f32 momentum None", (3, 2, 4), f32, momentum=None),
        case("f32 no weight", (3, 2, 4), f32, weight=False),
        case("f32 gamma with zeros and negatives", (3, 7), f32, {"gamma": "zeros and negatives"}),
        case("f32 a constant channel", (3, 2, 4), f32, {"constant_channel": True}),
        case("f32 mean 100", (3, 2, 4), f32, {"offset": 1e2}),
        case("f32 mean 1e6 and spread 1", (3, 2, 4), f32, {"offset": 1e6}),
        case("f32 zero batch (0,5,9)", (0, 5, 9), f32),
    ]


def with_axis(module):
    return lambda name, dims, axis=-1, dtype="float64", shaping={}, **options: record(
        module, name, dims, axis, options, dtype, **shaping
    )


def keras_cases():
    case = with_axis(Keras)
    f32 = "float32"
    return [
        case("rows and columns (5,3)", (5, 3)),
        case("images, channels last (2,3,2,4)", (2, 3, 2, 4)),
        case("images, channels first (2,4,3,2)", (2, 4, 3, 2), axis=1),
        case("axis 1 of a matrix (4,3)", (4, 3), axis=1),
        case("many channels, last (3,2,19)", (3, 2, 19)),
        case("momentum 0.9", (5, 3), momentum=0.9),
        case("momentum 0.9, channels first", (2, 3, 2, 2), axis=1, momentum=0.9),
        case("momentum 0", (5, 3), momentum=0.0),
        case("epsilon 1e-5", (5, 3), epsilon=1e-5),
        case("no scale", (5, 3), scale=False),
        case("no center", (5, 3), center=False),
        case("neither scale nor center, channels first", (2, 3, 2, 2), axis=1, scale=False, center=False),
        case("one value per channel is allowed (1,4)", (1, 4)),
        case("gamma with zeros and negatives", (4, 7), shaping={"gamma": "zeros and negatives"}),
        case("a constant channel", (5, 3), shaping={"constant_channel": True}),
        case("mean 100", (2, 3, 2, 3), shaping={"offset": 1e2}),
        case("zero batch (0,3)", (0, 3)),
        case("f32 rows and columns (5,3)", (5, 3), dtype=f32),
        case("f32 images, channels last (2,3,2,4)", (2, 3, 2, 4), dtype=f32),
        case("f32 images, channels first (2,4,3,2)", (2, 4, 3, 2), axis=1, dtype=f32),
        case("f32 mean 1000", (2, 3, 2, 3), dtype=f32, shaping={"offset": 1e3}),
    ]


def flax_cases():
    case, nnx_case = with_axis(FlaxLinen), with_axis(FlaxNnx)
    f32 = "float32"
    return [
        case("rows and columns (5,3)", (5, 3)),
        case("images, channels last (2,3,2,4)", (2, 3, 2, 4)),
        case("images, channels first (2,4,3,2)", (2, 4, 3, 2), axis=1),
        case("many channels, last (3,2,19)", (3, 2, 19)),
        case("momentum 0.9", (5, 3), momentum=0.9),
        case("momentum 0.9, channels last", (2, 3, 2, 4), momentum=0.9),
        case("epsilon 1e-3", (5, 3), epsilon=1e-3),
        case("two-pass variance", (5, 3), use_fast_variance=False),
        case("no scale", (5, 3), use_scale=False),
        case("no bias", (5, 3), use_bias=False),
        case("neither scale nor bias", (2, 3, 2, 4), use_scale=False, use_bias=False),
        case("one value per channel is allowed (1,4)", (1, 4)),
        case("gamma with zeros and negatives", (4, 7), shaping={"gamma": "zeros and negatives"}),
        case("mean 100, two-pass variance", (5, 3), shaping={"offset": 1e2}, use_fast_variance=False),
        case("mean 100, fast variance", (5, 3), shaping={"offset": 1e2}),
        case("zero batch (0,3)", (0, 3)),
        nnx_case("nnx rows and columns (5,3)", (5, 3)),
        nnx_case("nnx momentum 0.9, channels last", (2, 3, 2, 4), momentum=0.9),
        nnx_case("nnx no bias, two-pass variance", (5, 3), use_bias=False, use_fast_variance=False),
        case("f32 rows and columns (5,3)", (5, 3), dtype=f32),
        case("f32 images, channels last (2,3,2,4)", (2, 3, 2, 4), dtype=f32),
        case("f32 momentum 0.9, two-pass variance", (5, 3), dtype=f32, momentum=0.9, use_fast_variance=False),
        case("f32 mean 1000, fast variance", (5, 3), dtype=f32, shaping={"offset": 1e3}),
        nnx_case("f32 nnx images, channels last (2,3,2,4)", (2, 3, 2, 4), dtype=f32),
    ]


# --- files ---


def text(value):
    """Arrays as strings of shortest round-trip numbers, everything else as it is."""
    if isinstance(value, dict):
        return {key: text(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [text(inner) for inner in value] if any(isinstance(i, dict) for i in value) else value
    if isinstance(value, (np.ndarray, jax.Array)):
        array = np.asarray(value)
        assert array.dtype in (np.float32, np.float64), array.dtype
        return " ".join(np.format_float_scientific(v, trim="-") if 0 < abs(v) < 1e-3 else short(v) for v in array.flat)
    return value


def short(v):
    return np.format_float_positional(v, trim="-") if np.isfinite(v) else str(v)


def write(path, library, version, cases):
    names = [case["name"] for case in cases]
    assert len(set(names)) == len(names), "case names must be unique"
    head = json.dumps({"library": library, "version": version, "cases": []}, indent=1)
    body = ",\n".join(json.dumps(text(case), separators=(",", ":")).replace('{"x"', '\n {"x"') for case in cases)
    path.write_text(head.replace("[]", "[\n" + body + "\n]") + "\n")
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    out = arguments.parse_args().out
    write(out / "pytorch.json", "PyTorch", torch.__version__.split("+")[0], pytorch())
    write(out / "keras.json", "Keras (JAX backend)", keras.__version__, keras_cases())
    write(out / "flax.json", "Flax", flax.__version__, flax_cases())


if __name__ == "__main__":
    main()
