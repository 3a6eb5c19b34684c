"""The cases: each a function that builds a graph. Its name is the title, its docstring the reason for what is expected."""

import zlib
from dataclasses import dataclass, field
from typing import Callable

from folding.graph import Graph

FOLD, REFUSE = "fold", "refuse"
# Cases that the numbered list has no number for.
ALSO = 0

CASES = []


@dataclass
class Case:
    number: int
    expect: str
    build: Callable
    graph: dict
    # Batch norms left: none when folded, all when refused, unless given.
    after: int | None = None
    # What an option of the command is asked to allow, and batch norms left then.
    on_request: dict | None = None
    # Who computes the expected outputs: ONNX Runtime, or the reference evaluator where it cannot (see judge.py).
    oracle: str = "onnxruntime"
    letter: str = field(default="a")

    @property
    def name(self):
        return self.build.__name__

    @property
    def title(self):
        return self.name.replace("_", " ")

    @property
    def why(self):
        return " ".join(self.build.__doc__.split())

    @property
    def file(self):
        return f"{self.number:02}{self.letter}_{self.name}.onnx"

    def model(self):
        graph = Graph(zlib.crc32(self.name.encode()), **self.graph)
        self.build(graph)
        return graph.model(self.name)


def case(number, expect, opset=17, ir=None, **options):
    def keep(build):
        earlier = sum(other.number == number for other in CASES)
        CASES.append(Case(number, expect, build, {"opset": opset, "ir": ir}, letter=chr(ord("a") + earlier), **options))
        return build

    return keep


def load():
    from folding.cases import after_linear, around, forwards, sharing, structure, values  # noqa: F401

    return sorted(CASES, key=lambda case: (case.number == ALSO, case.number, case.letter))
