"""A small ONNX model for every case of folding batch normalization, with what is to come out of it.

    python benches/peers/fold_cases.py --out FOLDER

FOLDER/cases.json lists them: the case's number (0 for those that the list has no number for), what is expected (`fold` or
`refuse`), the layers before and after, and why. `on_request` is what an option may allow, and the layers then.
"""

import argparse
import json
import sys
from pathlib import Path

try:
    import onnx

    from folding import cases, judge, nodes
except ModuleNotFoundError as problem:
    sys.exit(f"error: {problem}; install what benches/peers/fold-requirements.txt lists")


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in cases.load():
        model = case.model()
        row = about(case, model)
        onnx.save(model, options.out / case.file)
        try:
            onnx.checker.check_model(model, full_check=True)
            judge.check_runs(model, case.oracle)
        except Exception as problem:
            sys.exit(f"error: {case.file}: expected a model that is valid and runs, found: {problem}")
        rows.append(row)
    (options.out / "cases.json").write_text(json.dumps(rows, indent=1) + "\n")
    folds = sum(row["expect"] == cases.FOLD for row in rows)
    numbers = {row["case"] for row in rows}
    print(f"{len(rows)} models of {len(numbers)} cases: {folds} to fold, {len(rows) - folds} to refuse")


def about(case, model):
    before = nodes.layers(model)
    after = case.after if case.after is not None else {cases.FOLD: 0, cases.REFUSE: before}[case.expect]
    row = {
        "file": case.file,
        "case": case.number,
        "title": case.title,
        "expect": case.expect,
        "batch_norms_before": before,
        "batch_norms_after": after,
        "why": case.why,
        "opset": case.graph["opset"],
        "ir": model.ir_version,
        "oracle": case.oracle,
    }
    return row | ({"on_request": case.on_request} if case.on_request else {})


def arguments():
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("--out", type=Path, required=True, help="the folder for the models and cases.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
