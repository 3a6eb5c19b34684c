"""What the checks have in common: their arguments, what `batchnorm evaluate --predict` says, and how far off another
program is."""

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy

import images

REPOSITORY = Path(__file__).resolve().parent.parent
COMMAND = f"cargo run --release --quiet --manifest-path {shlex.quote(str(REPOSITORY / 'Cargo.toml'))} --"
PREFIX = "batchnorm."


def arguments(description, ending):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", help=f"a file that `batchnorm train` wrote: ...{ending}")
    parser.add_argument("images", nargs="+", help="image files, or IDX files of images (raw or gz)")
    parser.add_argument("--batchnorm", default=COMMAND, help="the command to compare with (default: %(default)s)")
    parser.add_argument(
        "--tolerance", type=float, default=1e-5, help="of an image's largest logit (default: %(default)s)"
    )
    return parser.parse_args()


def described(metadata):
    """What a saved model says of itself: architecture, preprocessing, classes and training."""
    version = metadata.get(PREFIX + "version")
    if version != "1":
        sys.exit(f"error: expected a model that `batchnorm train` wrote, with metadata of version 1, found {version}")
    return {key: json.loads(metadata[PREFIX + key]) for key in ("architecture", "preprocessing", "classes", "training")}


def preprocessed(paths, description):
    """The names of images, and the images as a model takes them."""
    names, pixels = [], []
    for path in paths:
        try:
            of_file = images.read(path, description["architecture"]["dims"])
        except (OSError, ValueError) as error:
            sys.exit(f"error: {error}")
        names += of_file[0]
        pixels.append(of_file[1])
    return names, images.preprocess(numpy.concatenate(pixels), description["preprocessing"])


def check(options, description, programs):
    """Compares the command's logits with those of other programs, and exits with 1 if they differ.

    `programs` maps names to functions from preprocessed images to logits; the first is held to the tolerance, the
    others are told for comparison.
    """
    names, x = preprocessed(options.images, description)
    command = [*shlex.split(options.batchnorm), "evaluate", options.model, "--predict", *options.images, "--json"]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        sys.exit(f"error: `{shlex.join(command)}` ended with exit code {run.returncode}")
    predictions = json.loads(run.stdout)["predictions"]
    if [prediction["image"] for prediction in predictions] != names:
        sys.exit(f"error: expected predictions for {len(names)} images in the order given, found others")
    ours = numpy.array([prediction["logits"] for prediction in predictions], numpy.float64)

    largest = numpy.abs(ours).max(axis=1)
    failed = False
    for place, (name, logits) in enumerate(programs.items()):
        theirs = logits(x).astype(numpy.float64)
        if theirs.shape != ours.shape:
            sys.exit(f"error: expected logits of shape {ours.shape} from {name}, found {theirs.shape}")
        off = (numpy.abs(theirs - ours).max(axis=1) / largest).max()
        other_classes = int((theirs.argmax(axis=1) != ours.argmax(axis=1)).sum())
        print(f"{name:<24}  off by at most {off:.1e} of the largest logit; {other_classes} images in another class")
        # Not a number is no agreement either.
        failed |= place == 0 and not off <= options.tolerance
    network = description["architecture"]["network"]
    print(f"{'FAILED' if failed else 'ok'}: {network}, {len(names)} images, tolerance {options.tolerance:.0e}")
    sys.exit(int(failed))
