"""Steps per second of `batchnorm train` and of the same networks in PyTorch, side by side in one run, and batch
normalization's share of the step on both sides.

    cargo build --release
    python benches/peers/training.py
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

try:
    import numpy

    import agreement
    import idx
    import ours
    import pytorch
    from pytorch import torch
except ModuleNotFoundError as problem:
    sys.exit(f"error: {problem}; install what benches/peers/requirements.txt lists")

STEPS = {"mlp": 1000, "vgg": 60}
BATCH_SIZE = {"mlp": 60, "vgg": 64}


def main():
    options = arguments()
    pixels, labels = idx.read(options.data) if options.data else idx.uniform(options.size)
    with tempfile.TemporaryDirectory() as scratch:
        command = ours.Command(options.batchnorm, Path(scratch))
        about = {
            "ours": command.version(),
            "pytorch": torch.__version__,
            "cores": os.cpu_count(),
            "images": f"{options.data or 'uniformly distributed pixels'}, {pixels.shape[1]}x{pixels.shape[2]}",
            "rounds": options.rounds,
            "warm_up": options.warm_up,
            "load_average_before": os.getloadavg(),
        }
        problems = [Problem(command, pixels, labels, network, options) for network in options.networks]
        rows = measure(problems, options)
    about["load_average_after"] = os.getloadavg()
    if options.json:
        checks = {problem.network: problem.off for problem in problems}
        print(json.dumps({"schema": 1, "about": about, "logits_off": checks, "rows": rows}, indent=2))
    else:
        print(in_words(about, problems))
        print(table(rows))


def arguments():
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument(
        "--batchnorm", default=ours.default_program(), help="our program, built for release (default: %(default)s)"
    )
    parser.add_argument("--data", help="a folder of IDX files, raw or gz (default: uniformly distributed pixels)")
    parser.add_argument("--size", type=at_least(4), default=28, help="height and width of synthetic images (default: %(default)s)")
    parser.add_argument("--networks", nargs="+", choices=STEPS, default=list(STEPS), help="(default: all)")
    parser.add_argument("--threads", nargs="+", type=at_least(1), default=[1, 2], help="(default: 1 2)")
    parser.add_argument("--rounds", type=at_least(1), default=5, help="(default: %(default)s)")
    steps = ", ".join(f"{number} for {network}" for network, number in STEPS.items())
    parser.add_argument("--steps", type=at_least(1), help=f"timed steps of a round (default: {steps})")
    parser.add_argument("--warm-up", type=at_least(1), default=5, help="steps before them (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON document, with the figures of each round")
    return parser.parse_args()


def at_least(smallest):
    def number(text):
        value = int(text)
        if value < smallest:
            raise argparse.ArgumentTypeError(f"expected at least {smallest}, found {value}")
        return value

    return number


class Problem:
    """One network, the same on both sides."""

    def __init__(self, command, pixels, labels, network, options):
        self.command, self.network = command, network
        self.batch_size, self.warm_up = BATCH_SIZE[network], options.warm_up
        self.steps = options.steps or STEPS[network]
        tell(f"{network}: is it the same on both sides?")
        settings, self.models, self.off = agreement.check(command, pixels, labels, network, self.batch_size)
        self.learning_rate = settings["learning_rate"]
        train = idx.TRAIN_IMAGES
        self.data = idx.write(command.scratch / f"data-{network}", pixels, labels, train)
        self.batches = pytorch.Batches(pixels[:train], labels[:train], self.batch_size)

    def ours(self, threads):
        return ours.milliseconds(
            self.command, self.data, self.network, threads, self.warm_up, self.steps, self.batch_size
        )

    def pytorch(self, threads):
        return pytorch.milliseconds(
            self.models, self.learning_rate, self.batches, threads, self.warm_up, self.steps
        )


def measure(problems, options):
    """A row for each network, number of threads and arm."""
    places = [(problem, threads) for problem in problems for threads in options.threads]
    found = {(problem.network, threads): [] for problem, threads in places}
    for turn in range(options.rounds):
        for problem, threads in places:
            tell(f"round {turn + 1} of {options.rounds}: {problem.network}, {threads} thread{'s'[: threads > 1]}")
            sides = {"ours": problem.ours, "pytorch": problem.pytorch}
            # Whoever comes first in one round comes last in the next.
            order = sorted(sides, reverse=turn % 2 == 1)
            found[problem.network, threads].append({side: sides[side](threads) for side in order})
    rows = []
    for (network, threads), rounds in found.items():
        for arm in ours.ARMS:
            of_side = {side: numpy.array([of_round[side][arm] for of_round in rounds]) for side in ("ours", "pytorch")}
            row = {"network": network, "threads": threads, "arm": arm}
            row["milliseconds"] = {side: spread(values) for side, values in of_side.items()}
            row["steps_per_second"] = {side: 1e3 / statistics.median(values) for side, values in of_side.items()}
            row["ratio"] = spread(of_side["ours"] / of_side["pytorch"])
            if arm == "batch_norm":
                row["share"] = {side: spread(numpy.array(shares(rounds, side))) for side in of_side}
            rows.append(row)
    return rows


def shares(rounds, side):
    """Batch normalization's share of the step: of the time with it, what is not spent without it."""
    return [1 - of_round[side]["plain"] / of_round[side]["batch_norm"] for of_round in rounds]


def spread(values):
    low, high = min(values), max(values)
    return {"median": float(statistics.median(values)), "min": float(low), "max": float(high), "rounds": values.tolist()}


def in_words(about, problems):
    loads = (" ".join(f"{load:.1f}" for load in about[f"load_average_{when}"]) for when in ("before", "after"))
    lines = [
        f"{about['ours']} and PyTorch {about['pytorch']}, on {about['cores']} cores; f32, plain SGD",
        f"images         {about['images']}",
        f"load average   {' before, '.join(loads)} after",
        f"rounds         {about['rounds']}: medians (lowest..highest), {about['warm_up']} steps of warm-up aside",
    ]
    for problem in problems:
        off = [f"{max(values.values()):.0e}" for values in problem.off.values()]
        lines.append(
            f"{problem.network:<14} {problem.steps} steps of {problem.batch_size} images a round; logits of the same "
            f"training differ by at most {off[0]} (plain), {off[1]} (batch_norm)"
        )
    return "\n".join(lines) + "\n"


def table(rows):
    lines = [
        ["", "", "", "ms/step", "ms/step", "", "steps/s", "steps/s", "share of BN", "share of BN"],
        ["network", "threads", "arm", "ours", "PyTorch", "ours / PyTorch", "ours", "PyTorch", "ours", "PyTorch"],
    ]
    for row in rows:
        share = row.get("share")
        lines.append(
            [
                row["network"],
                str(row["threads"]),
                row["arm"],
                *(number(row["milliseconds"][side], ".3g") for side in ("ours", "pytorch")),
                number(row["ratio"], ".2f"),
                *(f"{row['steps_per_second'][side]:.0f}" for side in ("ours", "pytorch")),
                *(number(share[side], ".0f", 100, " %") if share else "-" for side in ("ours", "pytorch")),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(2, ["─" * width for width in widths])
    # Words to the left, numbers to the right.
    words = (0, 2)
    align = [str.ljust if column in words else str.rjust for column in range(len(widths))]
    return "\n".join("  ".join(to(cell, width) for to, cell, width in zip(align, line, widths)) for line in lines)


def number(values, form, factor=1, unit=""):
    median, low, high = (f"{factor * values[key]:{form}}" for key in ("median", "min", "max"))
    return f"{median}{unit} ({low}..{high})"


def tell(text):
    """Progress, where somebody looks on."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
