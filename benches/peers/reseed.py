"""Gives a model whose weights were taken out (one number by ConstantOfShape, as in onnx's "light" models) random ones
again: a real structure with values that tell layers and channels apart.

    python benches/peers/reseed.py light_densenet121.onnx -o densenet121.onnx

Names, opset, IR version and nodes stay, but for the ConstantOfShape nodes, in whose place the values stand as initializers.
The result runs in ONNX Runtime, or the program ends with exit code 1.
"""

import argparse
import sys
from pathlib import Path

try:
    import numpy
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper
except ModuleNotFoundError as problem:
    sys.exit(f"error: {problem}; install what benches/peers/fold-requirements.txt lists")

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# What only hands a constant on.
HANDS_ON = ("Identity", "Unsqueeze", "Squeeze", "Reshape")


def main():
    options = arguments()
    model = onnx.load(options.model)
    counts = reseed(model, options.seed)
    if not counts:
        sys.exit(f"error: {options.model}: expected weights or parameters by ConstantOfShape or initializers, found none")
    input_of_one = {value.name: random_input(value) for value in runtime_inputs(model)}
    try:
        onnx.checker.check_model(model, full_check=True)
        if options.logit_spread:
            spread_logits(model, input_of_one, options.logit_spread)
        outputs = run(model, input_of_one)
    except Exception as problem:
        sys.exit(f"error: {options.model}: expected a valid model that runs, found: {problem}")
    onnx.save(model, options.out)
    print(", ".join(f"{number} {role}" for role, number in counts.items()))
    for value, output in zip(model.graph.output, outputs, strict=True):
        print(
            f"{value.name} {list(output.shape)}: {output.min():.3g} to {output.max():.3g}, mean {output.mean():.3g}, "
            f"standard deviation {output.std():.3g}"
        )
        if not numpy.isfinite(output).all():
            sys.exit(f"error: {value.name}: expected finite values")


def arguments():
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("model", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument(
        "--logit-spread", type=float, default=2.0,
        help="standard deviation that a last Softmax sees, by scaling the map before it; 0: leave it (default: %(default)s)",
    )
    return parser.parse_args()


def reseed(model, seed):
    """Draws values for every constant that has a role; returns how many of each role."""
    graph, random = model.graph, numpy.random.default_rng(seed)
    shapes = {value.name: list(value.dims) for value in graph.initializer}
    floats = {value.name for value in graph.initializer if value.data_type == onnx.TensorProto.FLOAT}
    values = {value.name: numpy_helper.to_array(value) for value in graph.initializer if value.name not in floats}
    filled = {}
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in values and is_float(node):
            filled[node.output[0]] = node
            shapes[node.output[0]] = values[node.input[0]].tolist()
    handed_on = {}
    drawn, counts = {}, {}
    for node in graph.node:
        if node.op_type in HANDS_ON and origin(node.input[0], handed_on) in floats | filled.keys():
            handed_on[node.output[0]] = node.input[0]
        for place, name in enumerate(node.input):
            name = origin(name, handed_on)
            role = role_of(node, place)
            if role is None or name in drawn or name not in floats | filled.keys():
                continue
            drawn[name] = draw(role, shapes[name], node, random)
            counts[role] = counts.get(role, 0) + 1
    put(model, drawn, filled)
    return counts


def is_float(node):
    tensors = [attribute.t for attribute in node.attribute if attribute.name == "value"]
    return not tensors or tensors[0].data_type == onnx.TensorProto.FLOAT


def origin(name, handed_on):
    while name in handed_on:
        name = handed_on[name]
    return name


def role_of(node, place):
    if node.op_type == "BatchNormalization":
        return (None, "gamma", "beta", "mean", "variance")[place]
    if node.op_type in LINEAR:
        return ("weight", "weight", "bias")[place]
    # Caffe2's scale and shift after batch normalization.
    return {"Mul": "scale", "Add": "shift"}.get(node.op_type)


def draw(role, shape, node, random):
    if role == "weight":
        # He's: 2 / fan-in, so that ReLU keeps the size of what passes.
        values = random.normal(0, (2 / fan_in(shape, node)) ** 0.5, shape)
    elif role in ("gamma", "variance", "scale"):
        values = random.uniform(0.5, 1.5, shape)
    else:
        values = random.normal(0, 0.1, shape)
    return values.astype(numpy.float32)


def fan_in(shape, node):
    """How many products make one output."""
    if node.op_type == "Conv":
        return int(numpy.prod(shape[1:]))
    if node.op_type == "ConvTranspose":
        group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        return shape[0] // group * int(numpy.prod(shape[2:]))
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return shape[-1] if transposed else shape[-2]


def put(model, drawn, filled):
    """Values in the place of old ones and of nodes; shapes that nobody reads any more go."""
    graph = model.graph
    gone = [filled[name] for name in drawn if name in filled]
    for node in gone:
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    unread = {node.input[0] for node in gone} - read
    kept = [value for value in graph.initializer if value.name not in unread and value.name not in drawn]
    inputs = [value for value in graph.input if value.name not in unread]
    listed = {value.name for value in inputs}
    tensors = [numpy_helper.from_array(values, name) for name, values in drawn.items()]
    if model.ir_version <= 3:
        # Up to IR 3 every initializer is an input, too.
        inputs += [
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in tensors
            if tensor.name not in listed
        ]
    del graph.initializer[:], graph.input[:]
    graph.initializer.extend([*kept, *tensors])
    graph.input.extend(inputs)


def runtime_inputs(model):
    given = {value.name for value in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in given]


def random_input(value):
    shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
    return numpy.random.default_rng(0).normal(size=shape).astype(numpy.float32)


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def spread_logits(model, feeds, wanted):
    """Scales the linear map before a last Softmax. In a net of sums that nothing normalizes, what Softmax sees is so large
    that all outputs would be 0 or 1, and no difference would show."""
    graph = model.graph
    ends = {value.name for value in graph.output}
    softmax = next((node for node in graph.node if node.op_type == "Softmax" and node.output[0] in ends), None)
    linear = next((node for node in graph.node if softmax and softmax.input[0] in node.output), None)
    if linear is None or linear.op_type not in LINEAR:
        return
    tapped = onnx.ModelProto.FromString(model.SerializeToString())
    del tapped.graph.output[:]
    tapped.graph.output.append(helper.make_tensor_value_info(softmax.input[0], onnx.TensorProto.FLOAT, None))
    (logits,) = run(tapped, feeds)
    for tensor in graph.initializer:
        if tensor.name == linear.input[1]:
            weight = numpy_helper.to_array(tensor) * numpy.float32(wanted / logits.std())
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))


if __name__ == "__main__":
    main()
