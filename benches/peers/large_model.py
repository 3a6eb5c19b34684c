"""A large ONNX model, for what a tool takes of memory and time: a chain of Conv -> BatchNormalization -> Relu with random
weights.

    python benches/peers/large_model.py -o large.onnx
    python benches/peers/large_model.py -o large.onnx --megabytes 3000 --external

Weights are written as they are drawn, so that making it needs little memory with --external.
"""

import argparse
import sys
from pathlib import Path

try:
    import numpy
    import onnx
    from onnx import TensorProto, helper
except ModuleNotFoundError as problem:
    sys.exit(f"error: {problem}; install what benches/peers/fold-requirements.txt lists")

KERNEL = 3
BYTES = 4
# Where a tensor may begin in an external file: a page, so that it can be mapped.
ALIGNMENT = 4096
# A protobuf message ends there.
LARGEST_MESSAGE = 2**31 - 1


def main():
    options = arguments()
    channels = channels_for(options.megabytes * 1_000_000, options.layers)
    total = options.layers * KERNEL**2 * channels**2 * BYTES
    if total > LARGEST_MESSAGE and not options.external:
        sys.exit(f"error: {total / 1e6:.0f} MB of weights do not fit a protobuf message of 2147 MB; add --external")
    data = options.out.with_name(options.out.name + ".data")
    if options.external:
        with open(data, "wb") as file:
            store = External(file, data.name)
            model = chain(options, channels, store)
    else:
        model = chain(options, channels, Inside())
    onnx.save(model, options.out)
    size = options.out.stat().st_size + (data.stat().st_size if options.external else 0)
    print(f"{options.layers} layers of {channels} channels, {size / 1e6:.0f} MB")
    if options.check:
        check(options, channels)


def arguments():
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=500, help="of weights, about (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=60, help="(default: %(default)s)")
    parser.add_argument("--external", action="store_true", help="weights in a file beside it, OUT.data")
    parser.add_argument("--size", type=int, default=8, help="height and width of the input (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="run it once in ONNX Runtime")
    return parser.parse_args()


def channels_for(size, layers):
    """As many as make weights [C, C, 3, 3] of all layers that large, in multiples of eight."""
    return max(8, round((size / layers / BYTES) ** 0.5 / KERNEL / 8) * 8)


class Inside:
    """Tensors hold their values."""

    def tensor(self, name, values):
        return TensorProto(name=name, data_type=TensorProto.FLOAT, dims=values.shape, raw_data=values.tobytes())


class External:
    """Tensors say where in the file beside the model their values are."""

    def __init__(self, file, location):
        self.file, self.location = file, location

    def tensor(self, name, values):
        self.file.write(bytes(-self.file.tell() % ALIGNMENT))
        where = {"location": self.location, "offset": self.file.tell(), "length": values.nbytes}
        self.file.write(values.data)
        tensor = TensorProto(
            name=name, data_type=TensorProto.FLOAT, dims=values.shape, data_location=TensorProto.EXTERNAL
        )
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def chain(options, channels, store):
    random = numpy.random.default_rng(options.seed)
    nodes, tensors = [], []
    deviation = numpy.float32((2 / (KERNEL**2 * channels)) ** 0.5)
    x = "x"
    for layer in range(1, options.layers + 1):
        weight = random.standard_normal((channels, channels, KERNEL, KERNEL), numpy.float32)
        weight *= deviation
        tensors.append(store.tensor(f"conv{layer}.weight", weight))
        parameters = {
            "gamma": random.uniform(0.5, 1.5, channels),
            "beta": random.normal(0, 0.1, channels),
            "mean": random.normal(0, 0.1, channels),
            "variance": random.uniform(0.5, 1.5, channels),
        }
        names = [f"bn{layer}.{name}" for name in parameters]
        tensors += [
            store.tensor(name, values.astype(numpy.float32)) for name, values in zip(names, parameters.values())
        ]
        conv, normalized, out = f"conv{layer}", f"bn{layer}", "y" if layer == options.layers else f"relu{layer}"
        nodes += [
            helper.make_node("Conv", [x, f"conv{layer}.weight"], [conv], name=conv, pads=[KERNEL // 2] * 4),
            helper.make_node("BatchNormalization", [conv, *names], [normalized], name=normalized),
            helper.make_node("Relu", [normalized], [out], name=f"relu{layer}"),
        ]
        x = out
    shape = ["N", channels, options.size, options.size]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", *ends, tensors)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="batchnorm large model"
    )


def check(options, channels):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(options.out), providers=["CPUExecutionProvider"])
    x = numpy.random.default_rng(0).standard_normal((1, channels, options.size, options.size), numpy.float32)
    (y,) = session.run(None, {"x": x})
    if not numpy.isfinite(y).all() or not y.any():
        sys.exit("error: expected finite outputs that are not all zero")
    print(f"ONNX Runtime: outputs from {y.min():.3g} to {y.max():.3g}")


if __name__ == "__main__":
    main()
