"""The images that both sides train on: a folder of IDX files, the format of MNIST."""

import gzip
import sys
from pathlib import Path

import numpy

CLASSES = 10
TRAIN_IMAGES = 2000
TEST_IMAGES = 100
NAMES = {"train": "train-{}-ubyte", "test": "t10k-{}-ubyte"}


def uniform(size, seed=1):
    """Images of that height and width, of uniformly distributed pixels, and labels that mean nothing: what a step costs
    does not depend on them."""
    random = numpy.random.default_rng(seed)
    number = TRAIN_IMAGES + TEST_IMAGES
    pixels = random.integers(0, 256, (number, size, size), numpy.uint8)
    return pixels, (numpy.arange(number) % CLASSES).astype(numpy.uint8)


def read(folder):
    """The first training images and labels of a folder, as many as `uniform` makes."""
    number = TRAIN_IMAGES + TEST_IMAGES
    pixels, labels = (values(folder, NAMES["train"].format(kind))[:number] for kind in ("images-idx3", "labels-idx1"))
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1] or len(labels) < number:
        sys.exit(
            f"error: {folder}: expected {number} training images or more, each with a label, found images of shape "
            f"{list(pixels.shape)} and labels of shape {list(labels.shape)}"
        )
    return pixels, labels


def values(folder, name):
    for path in (Path(folder) / name, Path(folder) / f"{name}.gz"):
        if path.exists():
            break
    else:
        sys.exit(f"error: {folder}: expected {name} or {name}.gz, found neither; leave --data out for synthetic images")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        rank = data[3]
        shape = numpy.frombuffer(data, ">u4", rank, 4)
        if data[:3] != b"\x00\x00\x08":
            raise ValueError("it does not begin as an IDX file of bytes does")
        return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * rank).reshape(shape).copy()
    except (OSError, EOFError, IndexError, ValueError) as problem:
        sys.exit(f"error: {path}: expected an IDX file, raw or gz: {problem}")


def write(folder, pixels, labels, train_images):
    """A folder for `batchnorm train --data`: the first images to train on, the last ones as the test images that it asks
    for."""
    folder.mkdir()
    parts = {"train": slice(train_images), "test": slice(-TEST_IMAGES, None)}
    for part, images in parts.items():
        for kind, array in (("images-idx3", pixels[images]), ("labels-idx1", labels[images])):
            header = bytes([0, 0, 8, array.ndim]) + numpy.array(array.shape, ">u4").tobytes()
            (folder / NAMES[part].format(kind)).write_bytes(header + array.tobytes())
    return folder
