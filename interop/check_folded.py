"""Runs a model and what `batchnorm fold` made of it in ONNX Runtime: do they give the same, and in what time?

    python interop/check_folded.py batch_norm.onnx folded.onnx IMAGES...     a model of `batchnorm train`
    python interop/check_folded.py model.onnx folded.onnx                    any model of one input, on random numbers

Once as the graphs are, and once as ONNX Runtime rewrites them: it folds layers itself while it loads.
"""

import argparse
import statistics
import sys
import time

import numpy
import onnx
import onnxruntime

import comparison

ROUNDS = 15


def main():
    options = arguments()
    for path in (options.model, options.folded):
        try:
            onnx.checker.check_model(path, full_check=True)
        except (OSError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            sys.exit(f"error: expected an ONNX model in {path}, found none: {error}")
    layers = [layers_of(path) for path in (options.model, options.folded)]
    print(f"batch-norm layers: {layers[0]}, folded {layers[1]}")
    good = True
    levels = onnxruntime.GraphOptimizationLevel
    for name, level in (("as they are", levels.ORT_DISABLE_ALL), ("rewritten by ONNX Runtime", levels.ORT_ENABLE_ALL)):
        settings = onnxruntime.SessionOptions()
        settings.graph_optimization_level = level
        settings.intra_op_num_threads = 1
        original, folded = (
            onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
            for path in (options.model, options.folded)
        )
        x = images(options, original)
        logits = [run(session, x)[0] for session in (original, folded)]
        difference = numpy.abs(logits[0] - logits[1]).max() / numpy.abs(logits[0]).max()
        same = (logits[0].argmax(1) == logits[1].argmax(1)).all()
        times = clock(original, folded, x)
        print(
            f"{name}: largest difference {difference:.1e} of the largest logit, "
            f"{'the same classes' if same else 'OTHER CLASSES'}; "
            f"{times[0] * 1e3:.2f} ms, folded {times[1] * 1e3:.2f} ms ({times[0] / times[1]:.2f}x) for {len(x)} images"
        )
        # Of f32, with some thousand roundings on the way: sqrt(1000) 2^-24 = 2e-6.
        good &= bool(difference < 1e-5)
    sys.exit(0 if good else 1)


def layers_of(path):
    return sum(node.op_type == "BatchNormalization" for node in onnx.load(path).graph.node)


def images(options, session):
    if not options.images:
        dims = [dim if isinstance(dim, int) else 1 for dim in session.get_inputs()[0].shape]
        return numpy.random.default_rng(0).standard_normal(dims, numpy.float32)
    description = comparison.described(session.get_modelmeta().custom_metadata_map)
    return comparison.preprocessed(options.images, description)[1][: options.count]


def run(session, x):
    return session.run(None, {session.get_inputs()[0].name: x})


def clock(original, folded, x):
    """Medians of both, measured in turns."""
    times = ([], [])
    for _ in range(ROUNDS):
        for session, taken in zip((original, folded), times):
            start = time.perf_counter()
            run(session, x)
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folded")
    parser.add_argument("images", nargs="*")
    parser.add_argument("--count", type=int, default=256, help="images at once (default: 256)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
