"""The tools that fold, each as a function from a model's path to the path of what it makes of it. They do what their users
get by default."""

import shlex
import subprocess
from importlib import metadata

import onnx

OURS = "batchnorm"
TIMEOUT = 60


class NotTaken(Exception):
    """The tool does not take this kind of model at all: it says so before it folds anything."""


def onnxsim(path, out):
    import onnxsim

    model, _ = onnxsim.simplify(onnx.load(path))
    onnx.save(model, out)


def onnxoptimizer(path, out):
    import onnxoptimizer

    passes = onnxoptimizer.get_fuse_and_elimination_passes()
    onnx.save(onnxoptimizer.optimize(onnx.load(path), passes, fixed_point=True), out)


def onnxscript(path, out):
    from onnxscript import optimizer, rewriter

    # The optimizer folds constants, so that the rewriter's rules find parameters that are there as numbers.
    onnx.save(rewriter.rewrite(optimizer.optimize(onnx.load(path))), out)


def onnxslim(path, out):
    import onnxslim

    onnx.save(onnxslim.slim(onnx.load(path)), out)


def onnxruntime(path, out, level="ORT_ENABLE_EXTENDED"):
    """The model as it is after loading. Two of its fusions are of the basic level, the one of MatMul of the extended one."""
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel

    def session(level, optimized=None):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.log_severity_level = 4
        if optimized:
            options.optimized_model_filepath = str(optimized)
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    try:
        session(levels.ORT_DISABLE_ALL)
    except Exception as problem:
        raise NotTaken(f"cannot be loaded without optimizations either: {problem}") from problem
    session(getattr(levels, level), out)


def onnxruntime_basic(path, out):
    onnxruntime(path, out, "ORT_ENABLE_BASIC")


# Which distribution each is part of.
TOOLS = {
    "onnxsim": (onnxsim, "onnxsim"),
    "onnxoptimizer": (onnxoptimizer, "onnxoptimizer"),
    "onnxscript": (onnxscript, "onnxscript"),
    "onnxslim": (onnxslim, "onnxslim"),
    "onnxruntime": (onnxruntime, "onnxruntime"),
    "onnxruntime-basic": (onnxruntime_basic, "onnxruntime"),
}


def ours(command):
    """A tool like the others, from our program and options for its `fold`."""
    program, *options = command

    def fold(path, out):
        words = [program, "fold", str(path), "-o", str(out), *options]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["nothing on the standard error"]
            raise RuntimeError(f"`{shlex.join(words)}`: exit code {done.returncode}: {lines[-1]}")

    return fold


def version(peer, command):
    if peer == OURS:
        done = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=True)
        return done.stdout.strip().removeprefix("batchnorm ")
    return metadata.version(TOOLS[peer][1])
