"""Runs an ONNX file of `batchnorm train` in ONNX Runtime and compares the logits.

    python interop/check_onnxruntime.py runs/X/batch_norm.onnx IMAGES...
"""

import sys

import onnx
import onnxruntime

import comparison


def main():
    options = comparison.arguments(__doc__.splitlines()[0], ".onnx")
    # By ONNX's own rules, with the shape of every value worked out.
    try:
        onnx.checker.check_model(options.model, full_check=True)
    except (OSError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        sys.exit(f"error: expected an ONNX model in {options.model}, found none: {error}")
    session = onnxruntime.InferenceSession(options.model, providers=["CPUExecutionProvider"])
    description = comparison.described(session.get_modelmeta().custom_metadata_map)

    def logits(x):
        together = session.run(["logits"], {"x": x})[0]
        # The number of images is free: one alone gets what it gets among others.
        alone = session.run(["logits"], {"x": x[:1]})[0]
        assert alone.shape == (1, together.shape[1]), alone.shape
        return together

    comparison.check(options, description, {f"ONNX Runtime {onnxruntime.__version__}": logits})


if __name__ == "__main__":
    main()
