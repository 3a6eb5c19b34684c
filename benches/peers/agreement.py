"""Whether both sides train the same network in the same way: a comparison of anything else would say nothing."""

import sys

import numpy
import torch

import idx
import ours
import pytorch

# One step apart: a value that rounding moves across a kink of ReLU, or makes the larger one of a pool, gets or loses a
# gradient, and each further step multiplies what is off by then by about ten. That happens to either side against f64.
BEFORE, AFTER = 1, 2

# Of an image's largest logit. Sums of some hundred products in f32, in another order through five layers, are off by less
# than the first, and one such value in the step between by less than the second.
SAME_NETWORK, SAME_TRAINING = 1e-5, 1e-3


def check(command, pixels, labels, network, batch_size):
    """Trains two steps with ours, and the second one with PyTorch too; ends the program where logits differ.

    There are as many training images as a batch has, so that every batch holds them all whatever its order. Returns the
    settings of our runs, where the first one's models are, by arm, and how far off PyTorch is.
    """
    folder = idx.write(command.scratch / f"check-{network}", pixels, labels, batch_size)
    test_images = folder / idx.NAMES["test"].format("images-idx3")
    for steps in (BEFORE, AFTER):
        metrics = command.train(folder, network, 1, steps, batch_size, f"{network}-{steps}")
    settings = metrics["settings"]

    def model(arm, steps):
        return command.scratch / f"{network}-{steps}" / f"{arm}.safetensors"

    seen = pytorch.images(torch.from_numpy(pixels[-idx.TEST_IMAGES :]))
    batch = pytorch.Batches(pixels[:batch_size], labels[:batch_size], batch_size).draw()
    off = {}
    for arm in ours.ARMS:
        theirs = numpy.array(command.logits(model(arm, AFTER), test_images))
        loaded = pytorch.Trainee(model(arm, AFTER), settings["learning_rate"])
        trained = pytorch.Trainee(model(arm, BEFORE), settings["learning_rate"])
        trained.step(*batch)
        off[arm] = {
            "network": distance(loaded.logits(seen), theirs),
            "training": distance(trained.logits(seen), theirs),
        }
        for what, tolerance in (("network", SAME_NETWORK), ("training", SAME_TRAINING)):
            # Not a number is no agreement either.
            if not off[arm][what] <= tolerance:
                sys.exit(
                    f"error: {network}, {arm}: not the same {what}: expected PyTorch's logits to be off by at most "
                    f"{tolerance:.0e} of an image's largest, found {off[arm][what]:.1e}"
                )
    return settings, {arm: model(arm, BEFORE) for arm in ours.ARMS}, off


def distance(logits, reference):
    off = numpy.abs(logits.numpy().astype(numpy.float64) - reference)
    return float((off.max(axis=1) / numpy.abs(reference).max(axis=1)).max())
