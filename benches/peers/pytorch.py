"""PyTorch's side: the same networks, trained as a user writes it, in eager mode on the CPU."""

import json
import sys
from time import perf_counter

import torch
from safetensors import safe_open
from safetensors.torch import load_file

import ours

# The networks are defined once, where saved models are compared.
sys.path.insert(0, str(ours.REPOSITORY / "interop"))
import networks

WHITE = 255


def load(path):
    """The network of a safetensors file, with its weights."""
    with safe_open(path, framework="pt") as file:
        architecture = json.loads(file.metadata()["batchnorm.architecture"])
    network = networks.build(architecture)
    network.load_state_dict(load_file(path), strict=True)
    return network


def images(pixels):
    """What a network sees of pixels [batch, height, width]."""
    return pixels.unsqueeze(1).to(torch.float32).div_(WHITE)


class Batches:
    """The training images in random order, a batch at a time, epoch after epoch."""

    def __init__(self, pixels, labels, size):
        self.pixels, self.labels, self.size = torch.from_numpy(pixels), torch.from_numpy(labels), size
        self.places = []

    def draw(self):
        if len(self.places) < self.size:
            self.places = torch.randperm(len(self.labels))
        batch, self.places = self.places[: self.size], self.places[self.size :]
        return images(self.pixels[batch]), self.labels[batch].to(torch.int64)


class Trainee:
    """A network and its optimizer."""

    def __init__(self, path, learning_rate):
        self.network = load(path).train()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=learning_rate)

    def step(self, images, labels):
        loss = torch.nn.functional.cross_entropy(self.network(images), labels)
        value = loss.item()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return value

    def logits(self, images):
        self.network.eval()
        with torch.no_grad():
            return self.network(images)


def milliseconds(models, learning_rate, batches, threads, warm_up, steps):
    """Per training step, by arm: the twins by turns on the same batches, drawn outside the clock as ours are."""
    torch.set_num_threads(threads)
    trainees = {arm: Trainee(models[arm], learning_rate) for arm in ours.ARMS}
    seconds = dict.fromkeys(ours.ARMS, 0.0)
    for step in range(warm_up + steps):
        batch = batches.draw()
        for arm, trainee in trainees.items():
            started = perf_counter()
            trainee.step(*batch)
            if step >= warm_up:
                seconds[arm] += perf_counter() - started
    return {arm: 1e3 * seconds[arm] / steps for arm in ours.ARMS}
