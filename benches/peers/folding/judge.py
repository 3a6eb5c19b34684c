"""Whether two models compute the same: both run on the same random inputs, and outputs are compared.

Three oracles. ONNX Runtime without optimizations, on one thread, is the usual one. `widened` is the same after all bf16
became f32, for ONNX Runtime has no bf16 on a CPU. `reference` is onnx's evaluator, for versions and types that ONNX
Runtime does not take, with batch normalization written here: onnx's takes versions 7 to 13 for training always, and ONNX
Runtime's training mode is wrong (its issue 29790).
"""

import tempfile

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from folding.graph import BF16, F16, F32, F64, NUMPY

RUNS = 3
# Of an output's largest value. f32: two ways to add up some hundred products of 24 bits, each way off by less than
# 100 * 2^-24 = 6e-6 of the sum of magnitudes, which is up to ten times the largest value. f16 (11 bits): weights, results
# of the linear map and outputs are rounded to 2^-11 = 5e-4 each, and values before batch normalization are up to a few
# times those after it. bf16 (8 bits): the same with 2^-8 = 4e-3. f64: attributes such as epsilon are f32, and a tool may
# compute its constants in f32.
TOLERANCE = {F32: 1e-4, F64: 1e-6, F16: 1e-2, BF16: 5e-2}


class BatchNormalization(OpRun):
    """All versions. Training: training_mode (from 14), more outputs (7 to 13), no is_test (before 7)."""

    op_domain = ""
    OLD_VALUE_WEIGHS = 0.9

    def _run(
        self, x, scale, bias, mean, variance, epsilon=None, momentum=None, training_mode=None, is_test=None, spatial=None
    ):
        version = self.run_params["opsets"][""]
        outputs = len(self.onnx_node.output)
        wide = [value.astype(numpy.float64) for value in (x, scale, bias, mean, variance)]
        x64, scale, bias, mean, variance = wide
        momentum = self.OLD_VALUE_WEIGHS if momentum is None else momentum
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        running = []
        if training_mode or (7 <= version < 14 and outputs > 1) or (version < 7 and not is_test):
            of_batch = x64.mean(axis=axes), x64.var(axis=axes)
            running = [old * momentum + new * (1 - momentum) for old, new in zip((mean, variance), of_batch)]
            mean, variance = of_batch
            if version < 14:
                running += of_batch
        if scale.ndim == 1:
            scale, bias, mean, variance = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in (scale, bias, mean, variance))
        epsilon = numpy.float32(1e-5) if epsilon is None else epsilon
        with numpy.errstate(invalid="ignore", divide="ignore"):
            y = scale * (x64 - mean) / numpy.sqrt(variance + epsilon) + bias
        results = [y.astype(x.dtype), *(value.astype(wide_type.dtype) for value, wide_type in zip(running, [x] * 4))]
        return tuple(results[:outputs])


def runner(model, oracle):
    """A function from inputs by name to the list of outputs."""
    if oracle == "reference":
        evaluator = ReferenceEvaluator(model, new_ops=[BatchNormalization])
        return lambda feeds: evaluator.run(None, feeds)
    if oracle == "widened":
        model = widened(model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, feeds)


def widened(model):
    """The model with f32 wherever there is bf16. Only the main graph: that is where the cases have it."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                tensors.append(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == BF16:
                attribute.i = F32
    for tensor in tensors:
        if tensor.data_type == BF16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(numpy.float32), tensor.name))
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.type.tensor_type.elem_type == BF16:
            value.type.tensor_type.elem_type = F32
    return model


def feeds(model, run):
    """Random inputs. From IR 4, the last run also gives other values for what a caller may override."""
    random = numpy.random.default_rng(run)
    defaults = {value.name: value for value in model.graph.initializer}
    values = {}
    for value in model.graph.input:
        if value.name not in defaults:
            values[value.name] = random_input(value.type.tensor_type, run, random)
        elif model.ir_version > 3 and run == RUNS - 1:
            default = numpy_helper.to_array(defaults[value.name])
            values[value.name] = (default * random.uniform(0.5, 1.5, default.shape)).astype(default.dtype)
    return values


# What a dimension with a name is: large enough for kernels, and another in each run.
SIZE = {"N": 2, "S": 7}


def random_input(tensor, run, random):
    shape = [dim.dim_value if dim.HasField("dim_value") else SIZE[dim.dim_param] + run for dim in tensor.shape.dim]
    if tensor.elem_type == TensorProto.BOOL:
        return numpy.full(shape, run % 2 == 0)
    return random.normal(size=shape).astype(NUMPY[tensor.elem_type])


def run_with(run, oracle, values):
    if oracle == "widened":
        values = {name: v.astype(numpy.float32) if v.dtype == NUMPY[BF16] else v for name, v in values.items()}
    return run(values)


def check_runs(model, oracle):
    """Raises where the model cannot run, or its outputs are not of the shapes that it names."""
    outputs = run_with(runner(model, oracle), oracle, feeds(model, 0))
    for output, value in zip(outputs, model.graph.output, strict=True):
        dims = value.type.tensor_type.shape.dim
        found = list(output.shape)
        expected = [dim.dim_value if dim.HasField("dim_value") else size for dim, size in zip(dims, found)]
        if len(dims) != len(found) or expected != found:
            raise ValueError(f"{value.name} is of shape {expected} by inference and {found} when run")


class Wrong(Exception):
    """Says what is wrong with a model that a peer made."""


def compare(before, after, oracle):
    """The largest difference, of the output's largest value; raises Wrong beyond the tolerance."""
    for kind, names in (("inputs", required), ("outputs", output_names)):
        old, new = names(before), names(after)
        if old != new:
            raise Wrong(f"{kind} were {', '.join(old)}, are {', '.join(new)}")
    lost = overridable(before) - overridable(after)
    if lost:
        raise Wrong(f"{', '.join(sorted(lost))} can no longer be overridden")
    try:
        onnx.checker.check_model(after, full_check=True)
    except Exception as problem:
        raise Wrong(f"invalid: {short(problem)}{runs_all_the_same(before, after, oracle)}") from None
    return outputs_differ(before, after, oracle)


def runs_all_the_same(before, after, oracle):
    """A remark on a model that is not valid. Types that do not fit may fit after widening, which says nothing."""
    if oracle == "widened":
        return ""
    try:
        outputs_differ(before, after, oracle)
    except Wrong:
        return ""
    return " (it runs all the same, with equal outputs)"


def outputs_differ(before, after, oracle):
    try:
        new = runner(after, oracle)
    except Exception as problem:
        raise Wrong(f"cannot be loaded: {short(problem)}") from None
    old = runner(before, oracle)
    elements = [value.type.tensor_type.elem_type for value in before.graph.output]
    tolerance = max(TOLERANCE[element] for element in elements if element in TOLERANCE)
    worst = 0.0
    for run in range(RUNS):
        values = feeds(before, run)
        expected = run_with(old, oracle, values)
        try:
            found = run_with(new, oracle, values)
        except Exception as problem:
            raise Wrong(f"cannot be run: {short(problem)}") from None
        for name, one, other in zip(output_names(before), expected, found, strict=True):
            worst = max(worst, difference(name, numpy.asarray(one), numpy.asarray(other)))
    if worst > tolerance:
        raise Wrong(f"outputs differ by {worst:.1g} of the largest value")
    return worst


def required(model):
    given = {value.name for value in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in given]


def overridable(model):
    if model.ir_version <= 3:
        return set()
    return {value.name for value in model.graph.input} & {value.name for value in model.graph.initializer}


def output_names(model):
    return [value.name for value in model.graph.output]


def difference(name, expected, found):
    if expected.shape != found.shape or expected.dtype != found.dtype:
        raise Wrong(
            f"{name} was {expected.dtype} {list(expected.shape)}, is {found.dtype} {list(found.shape)}"
        )
    expected, found = expected.astype(numpy.float64), found.astype(numpy.float64)
    finite = numpy.isfinite(expected)
    if not numpy.array_equal(expected[~finite], found[~finite], equal_nan=True) or not numpy.isfinite(found[finite]).all():
        raise Wrong(f"{name} is finite in other places")
    if not finite.any():
        return 0.0
    largest = numpy.abs(expected[finite]).max()
    off = numpy.abs(expected[finite] - found[finite]).max()
    return float(off / largest) if largest > 0 else float(off > 0)


def short(problem, length=160):
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text if len(text) <= length else text[: length - 3] + "..."
