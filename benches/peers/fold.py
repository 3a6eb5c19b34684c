"""What tools that fold batch normalization make of the cases of fold_cases.py: right, wrong, or not covered.

    python benches/peers/fold.py
    python benches/peers/fold.py --batchnorm target/release/batchnorm --markdown
    python benches/peers/fold.py --models densenet121.onnx resnet50.onnx
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

try:
    import onnx

    from folding import nodes, peers, report, verdict, worker
    from folding.cases import FOLD
except ModuleNotFoundError as problem:
    sys.exit(f"error: {problem}; install what benches/peers/fold-requirements.txt lists")

DEFAULT = [peer for peer in peers.TOOLS if peer != "onnxruntime-basic"]


def main():
    if sys.argv[1:2] == ["--worker"]:
        return worker.main(sys.argv[2:])
    options = arguments()
    command = [options.batchnorm, *shlex.split(options.batchnorm_options)] if options.batchnorm else []
    taking_part = [*options.peers, *([peers.OURS] if command else [])]
    try:
        versions = {peer: peers.version(peer, command) for peer in taking_part}
    except (OSError, subprocess.CalledProcessError, metadata.PackageNotFoundError) as problem:
        sys.exit(f"error: a peer is not there: {problem}; leave it out with --peers, or install it")
    versions["onnx"] = metadata.version("onnx")
    with tempfile.TemporaryDirectory() as scratch:
        if options.models:
            cases = [whole(path) for path in options.models]
        else:
            cases = listed(options.cases or make_cases(Path(scratch) / "cases"), options.only)
        out = options.out or Path(scratch) / "out"
        rows = [dict(case) | {"peers": {}} for case in cases]
        for peer in taking_part:
            run(peer, rows, out / peer, options.timeout, command)
    for row in rows:
        del row["path"]
    if options.json:
        document = {"schema": 1, "versions": versions, "totals": report.totals(rows, taking_part), "rows": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    print((report.models if options.models else report.table)(rows, taking_part, versions, options.markdown))
    if command and report.totals(rows, [peers.OURS])[peers.OURS][verdict.WRONG]:
        sys.exit(1)


def arguments():
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("--cases", type=Path, help="a folder that fold_cases.py made (default: made for this run)")
    parser.add_argument("--only", help="cases whose file begins so, as in 07 or 07b")
    parser.add_argument(
        "--models", type=Path, nargs="+", help="these models in the place of the cases: layers left, difference, time"
    )
    parser.add_argument("--peers", nargs="*", choices=peers.TOOLS, default=DEFAULT, help="(default: %(default)s)")
    parser.add_argument("--batchnorm", help="our program; exit code 1 if it gets a case wrong (default: peers only)")
    parser.add_argument(
        "--batchnorm-options", default="", help="options for its `fold`, as in --batchnorm-options=--no-verify"
    )
    parser.add_argument(
        "--timeout", type=float, default=peers.TIMEOUT, help="seconds a case may take (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="keep the peers' models in this folder")
    parser.add_argument("--json", type=Path, help="write every result to this file")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def make_cases(folder):
    maker = Path(__file__).with_name("fold_cases.py")
    subprocess.run([sys.executable, str(maker), "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder


def listed(folder, only):
    try:
        cases = json.loads((folder / "cases.json").read_text())
    except OSError as problem:
        sys.exit(f"error: {problem}; make the folder with fold_cases.py --out")
    cases = [case for case in cases if not only or case["file"].startswith(only)]
    if not cases:
        sys.exit(f"error: expected cases that begin with {only}, found none")
    return [case | {"path": str(folder / case["file"])} for case in cases]


def whole(path):
    """A model that is no case: whatever can be folded should be."""
    try:
        layers = nodes.layers(onnx.load(path, load_external_data=False))
    except Exception as problem:
        sys.exit(f"error: {path}: expected an ONNX model: {problem}")
    case = {"file": path.name, "path": str(path), "expect": FOLD, "oracle": "onnxruntime"}
    return case | {"batch_norms_before": layers, "batch_norms_after": 0}


def run(peer, rows, out, timeout, command):
    """All cases with one peer. It and the judge are processes of their own, which may crash or hang."""
    out.mkdir(parents=True, exist_ok=True)
    tool = worker.Worker(peer, timeout, command if peer == peers.OURS else ())
    judge = worker.Worker("judge", timeout)
    try:
        for place, row in enumerate(rows):
            tell(f"{peer}: {place + 1} of {len(rows)}")
            before, after = Path(row["path"]), out / row["file"]
            after.unlink(missing_ok=True)
            answer = tool.ask(path=str(before), out=str(after))
            row["peers"][peer] = verdict.of(row, before, after, answer, judge.ask)
    finally:
        tool.stop()
        judge.stop()
        tell("")


def tell(what):
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
