"""Batch normalization's forward pass, backward pass and evaluation, ours and other implementations by turns in one
run: ratios row by row, geometric means, rows lost, and a plot.

    cargo build --release
    python benches/peers/kernels.py --out FOLDER
    python benches/peers/kernels.py --report FOLDER
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

try:
    import ours
    from contest import machine, plot, report, rounds, rows, worker
    from contest.peers import ALL, OURS, RUST, WORKERS, onednn, programs
except ModuleNotFoundError as problem:
    sys.exit(f"error: {problem}; install what benches/peers/kernels-requirements.txt lists")


def main():
    if sys.argv[1:2] == ["--worker"]:
        return worker.main(sys.argv[2:])
    options = arguments()
    if options.report:
        return write_report(options.report)
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    todo = rows.of(options.shapes, options.ops, options.layouts, options.dtypes, options.threads)
    path = out / "results.jsonl"
    if options.resume:
        finished = rounds.done(path)
        todo = [row for row in todo if row.key not in finished]
    taking_part, versions = find_programs(options)
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "machine": machine.describe(),
        "load_average_before": os.getloadavg(),
    }
    with open(path, "a" if options.resume else "w") as results, open(out / "peers.log", "w") as options.log:
        run = rounds.Run(options, taking_part, results)
        try:
            run.rows(todo)
        finally:
            found = earlier(out) | versions | run.versions if options.resume else versions | run.versions
            about["versions"] = {peer: found[peer] for peer in ALL if peer in found}
            about["load_average_after"] = os.getloadavg()
            (out / "machine.json").write_text(json.dumps(about, indent=2) + "\n")
    write_report(out)


def earlier(folder):
    """The versions in the run that is resumed."""
    path = folder / "machine.json"
    return json.loads(path.read_text())["versions"] if path.is_file() else {}


def find_programs(options):
    """Program by peer, or in its place why there is none; and the versions."""
    found, versions = {}, {}

    def take(peer, command, **how):
        versions[peer] = programs.version(command)
        found[peer] = programs.Program(peer, command, **how)

    def miss(peer, why):
        versions[peer], found[peer] = {"error": why}, why

    if OURS in options.peers:
        if not options.batchnorm.is_file():
            sys.exit(
                f"error: {options.batchnorm}: no such program; build it with `cargo build --release`, or say where it "
                "is with --batchnorm"
            )
        take(OURS, [str(options.batchnorm.resolve())], verb=["bench"], tuned=False, checks=False)
    for peer in RUST:
        if peer not in options.peers:
            continue
        if options.rust_peers and options.rust_peers.is_file():
            command = [str(options.rust_peers.resolve()), "--peers", peer]
            take(peer, command, tuned=True, checks=True)
        else:
            miss(peer, "not built: see README.md")
    if "onednn" in options.peers:
        program, why = onednn.build(options.onednn, options.cache)
        if program:
            take("onednn", [str(program)], tuned=False, checks=True)
        else:
            miss("onednn", why)
    return found, versions


def write_report(folder):
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    results = report.Results(lines)
    about = json.loads((folder / "machine.json").read_text())
    (folder / "table.md").write_text(report.markdown(results, about))
    if plot.draw(results, folder) is None:
        rounds.tell("no plot: matplotlib is not installed")
    rounds.tell(f"written: {folder / 'table.md'}")


def arguments():
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    out = Path("runs/kernels")
    parser.add_argument("--out", type=Path, default=out, help="where results go (default: %(default)s)")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="only make the table and the plot of a run again")
    parser.add_argument("--resume", action="store_true", help="leave out the rows that --out holds already")
    parser.add_argument(
        "--batchnorm",
        type=Path,
        default=Path(ours.default_program()),
        help="our program, built for release (default: %(default)s)",
    )
    built = Path(__file__).parent / "rust/target/release/rust-peers"
    parser.add_argument("--rust-peers", type=Path, default=built, help="the program of rust/ (default: %(default)s)")
    parser.add_argument("--onednn", metavar="ROOT", help="a folder with oneDNN's include/ and lib/ (default: searched)")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PEER=PROGRAM",
        help="another Python for a peer, as TensorFlow may want an environment of its own",
    )
    sets = ", ".join(rows.SETS)
    parser.add_argument(
        "--shapes", nargs="+", default=["default"], help=f"shapes, files of shapes, or sets: {sets} (default: default)"
    )
    parser.add_argument("--ops", type=words_of(rows.OPS), default=list(rows.OPS), help="(default: all)")
    layouts = words_of(rows.LAYOUTS)
    parser.add_argument("--layouts", type=layouts, default=["channels_first"], help="(default: channels-first)")
    parser.add_argument("--dtypes", type=words_of(rows.BYTES), default=["f32"], help="f32, bf16 (default: f32)")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="(default: 1,2)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument(
        "--slow-rounds", type=int, default=1, help="rounds of Burn, Candle and ndarray (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn (default: %(default)s)")
    parser.add_argument("--peers", type=words_of(ALL), default=list(ALL), help=f"of {', '.join(ALL)} (default: all)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "batchnorm-peers",
        help="what is compiled for a run, for the next one (default: %(default)s)",
    )
    options = parser.parse_args()
    options.script = __file__
    options.pythons = {None: sys.executable}
    for word in options.python:
        peer, _, program = word.partition("=")
        if peer not in WORKERS or not program:
            parser.error(f"--python: expected PEER=PROGRAM with a peer of {', '.join(WORKERS)}, found {word}")
        options.pythons[peer] = program
    if min(options.rounds, options.slow_rounds, *options.threads) < 1:
        parser.error("rounds and threads: expected at least 1")
    try:
        options.shapes = rows.shapes(options.shapes)
    except ValueError as problem:
        parser.error(str(problem))
    return options


def words_of(known):
    def words(text):
        # `channels-last` and `channels_last` are the same.
        found = [word.replace("-", "_") for word in text.split(",")]
        for word in found:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word}: expected some of {', '.join(known)}")
        return found

    return words


def numbers(text):
    return [int(word) for word in text.split(",")]


if __name__ == "__main__":
    main()
