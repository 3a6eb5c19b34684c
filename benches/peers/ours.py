"""Our side: the command `batchnorm`, as a user runs it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ARMS = ("plain", "batch_norm")


def default_program():
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return str(target / "release" / "batchnorm")


class Command:
    """The program, and a folder for what it writes."""

    def __init__(self, program, scratch):
        self.program = shutil.which(Path(program).resolve()) or shutil.which(program)
        if self.program is None:
            sys.exit(
                f"error: {program}: no such program; build it with `cargo build --release`, or say where it is with "
                "--batchnorm"
            )
        self.scratch = scratch

    def run(self, *arguments):
        """What the program prints."""
        command = [self.program, *map(str, arguments)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as problem:
            sys.exit(f"error: `{shlex.join(command)}` cannot be run: {problem}")
        if done.returncode != 0:
            sys.exit(f"error: `{shlex.join(command)}` ended with exit code {done.returncode}:\n{done.stderr}")
        return done.stdout

    def version(self):
        said = self.run("--version").strip()
        if not said.startswith("batchnorm "):
            sys.exit(f"error: {self.program}: expected the program `batchnorm`, found another one")
        return said

    def train(self, data, network, threads, steps, batch_size, out):
        """Trains both twins, a step of the one after a step of the other, and returns metrics.json. Nothing is evaluated
        or kept on the way."""
        out = self.scratch / out
        shutil.rmtree(out, ignore_errors=True)
        sizes = {"--threads": threads, "--steps": steps, "--batch-size": batch_size}
        seldom = {"--eval-every": steps, "--eval-images": 1, "--checkpoint-every": steps}
        plain = {"--sgd-momentum": 0}
        options = {"--data": data, "--network": network, **plain, **sizes, **seldom, "--out": out}
        self.run("train", "--compare", "--no-progress", *(word for option in options.items() for word in option))
        metrics = json.loads((out / "metrics.json").read_text())
        for arm in ARMS:
            if metrics["runs"][arm]["diverged_at_step"] is not None:
                sys.exit(f"error: {network}, {arm}: the loss is no longer finite; take fewer --steps or other --data")
        return metrics

    def logits(self, model, images):
        """The logits that a saved model gives to an IDX file of images."""
        document = json.loads(self.run("evaluate", model, "--predict", images, "--json"))
        return [prediction["logits"] for prediction in document["predictions"]]


def milliseconds(command, data, network, threads, warm_up, steps, batch_size):
    """Per training step, by arm: what a run takes beyond one that ends after the warm-up."""
    seconds = []
    for number in (warm_up, warm_up + steps):
        runs = command.train(data, network, threads, number, batch_size, "timed")["runs"]
        seconds.append({arm: runs[arm]["seconds"] for arm in ARMS})
    return {arm: 1e3 * (seconds[1][arm] - seconds[0][arm]) / steps for arm in ARMS}
