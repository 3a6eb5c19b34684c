"""Right, wrong, or not covered: what a peer made of one case."""

import onnx

from folding import nodes
from folding.cases import FOLD

RIGHT, WRONG, NOT_COVERED = "right", "wrong", "not covered"


def of(case, before, after, folder_answer, ask_judge):
    """`folder_answer` is the peer's worker's, `ask_judge` a function that compares the two files."""
    if "not_taken" in folder_answer:
        return {"verdict": NOT_COVERED, "why": folder_answer["not_taken"]}
    for failed in ("error", "crash"):
        if failed in folder_answer:
            return {"verdict": WRONG, "why": folder_answer[failed]}
    judged = ask_judge(before=str(before), after=str(after), oracle=case["oracle"])
    if "crash" in judged:
        return {"verdict": WRONG, "why": f"running its model: {judged['crash']}"}
    if "wrong" in judged:
        return {"verdict": WRONG, "why": judged["wrong"]} | left_in(before, after)
    result = {"verdict": RIGHT, "difference": judged["worst"], "seconds": folder_answer["seconds"]}
    result |= left_in(before, after)
    why = remark(case, result)
    if case["expect"] == FOLD and (result["left"] > case["batch_norms_after"] or result["written_out"]):
        result["verdict"] = NOT_COVERED
        # That all are left needs no words.
        if result["left"] >= case["batch_norms_before"]:
            why = None
    return result | ({"why": why} if why else {})


def left_in(before, after):
    before, after = onnx.load(before), onnx.load(after)
    return {
        "left": nodes.layers(after),
        "written_out": nodes.written_out(before, after),
        "constants": nodes.constants_left(before, after),
    }


def remark(case, result):
    remarks = []
    if result["left"] < case["batch_norms_before"] and case["expect"] != FOLD:
        remarks.append("folds it all the same, with equal outputs")
    elif result["left"] > case["batch_norms_after"]:
        remarks.append(f"{result['left']} of {case['batch_norms_before']} layers left")
    if result["written_out"] and result["left"] < case["batch_norms_before"]:
        remarks.append(f"the layer is written out as {', '.join(result['written_out'])}")
    if result["constants"]:
        remarks.append(f"{', '.join(result['constants'])} of constants instead of numbers")
    return "; ".join(remarks)
