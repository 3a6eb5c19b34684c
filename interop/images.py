"""Images as a saved model takes them: decoded here, independently of the command, and preprocessed as the model's
metadata say."""

import gzip
import struct
from pathlib import Path

import numpy
from PIL import Image

# What a white pixel is in 8 bits, whatever it was in the data set that the model was trained on.
WHITE = 255


def read(path, dims):
    """The names and pixels (images x channels x height x width, uint8) of an image file or an IDX file of images."""
    path = Path(path)
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if data[:4] == b"\x00\x00\x08\x03":
        count, height, width = struct.unpack(">3I", data[4:16])
        pixels = numpy.frombuffer(data, numpy.uint8, offset=16).reshape(count, 1, height, width)
        names = [f"{path.name} #{index}" for index in range(count)]
    else:
        pixels = decoded(path)[numpy.newaxis]
        names = [path.name]
    if pixels.shape[1] == 1:
        pixels = pixels.repeat(dims[0], axis=1)
    if list(pixels.shape[1:]) != list(dims):
        raise ValueError(f"{path}: expected images of {list(dims)} (channels, height, width), found {pixels.shape[1:]}")
    return names, pixels


def decoded(path):
    """channels x height x width; one channel where all pixels are grey."""
    with Image.open(path) as image:
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            raise ValueError(f"{path}: expected 8 bits a channel, found {image.mode}; convert it")
        pixels = numpy.asarray(image.convert("RGBA"))
    if (pixels[..., 3] != 255).any():
        raise ValueError(f"{path}: expected an image without transparent pixels; put it on a background")
    planes = pixels[..., :3].transpose(2, 0, 1)
    return planes[:1] if (planes == planes[0]).all() else planes


def preprocess(pixels, preprocessing):
    """What the network sees of pixels, in f32: scaled to [0, 1], then black and white or standardized if asked for."""
    x = pixels.astype(numpy.float32) / numpy.float32(WHITE)
    if preprocessing.get("binarize") is not None:
        x = (x > numpy.float32(preprocessing["binarize"])).astype(numpy.float32)
    if preprocessing.get("mean"):
        mean, std = (numpy.array(preprocessing[key], numpy.float32).reshape(-1, 1, 1) for key in ("mean", "std"))
        x = (x - mean) / std
    return x
