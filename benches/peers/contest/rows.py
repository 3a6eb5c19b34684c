"""The rows: which operation on which shape, in which layout and type, on how many threads."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

# Batch, channels, spatial sizes, whatever the layout.
SETS = {
    "resnet50": [
        "32x64x112x112", "32x64x56x56", "32x256x56x56", "32x128x28x28", "32x512x28x28", "32x256x14x14",
        "32x1024x14x14", "32x512x7x7", "32x2048x7x7",
    ],
    "small": ["8x64x32x32", "128x16x32x32", "4x32x8x8"],
    "volume": ["2x32x16x64x64"],
    "dense": ["60x100", "256x1024", "4096x512"],
    "odd": ["2x251x28x28", "1x257x28x28", "2x64x224x224", "8x322x16x16", "12x4x4x4", "9x128x1", "32x27x7"],
}  # fmt: skip
SETS["default"] = SETS["resnet50"] + SETS["small"] + SETS["volume"] + SETS["dense"]

OPS = ("forward", "backward", "eval")
LAYOUTS = ("channels_first", "channels_last")
BYTES = {"f32": 4, "bf16": 2}


@dataclass(frozen=True)
class Row:
    shape: str
    op: str
    layout: str
    dtype: str
    threads: int

    @property
    def dims(self):
        return tuple(map(int, self.shape.split("x")))

    @property
    def bytes(self):
        """Of x."""
        return math.prod(self.dims) * BYTES[self.dtype]

    @property
    def key(self):
        return tuple(asdict(self).values())

    def __str__(self):
        layout = self.layout.replace("_", " ")
        return f"{self.shape} {self.op}, {layout}, {self.dtype}, {self.threads} thread{'s'[: self.threads > 1]}"


def of(shapes, ops, layouts, dtypes, threads):
    """All of them; the threads change seldom, for that takes new processes."""
    rows = []
    for count in threads:
        for layout in layouts:
            for dtype in dtypes:
                for shape in shapes:
                    # Without positions between batch and channels both layouts are the same.
                    if layout == "channels_last" and shape.count("x") < 2:
                        continue
                    rows += [Row(shape, op, layout, dtype, count) for op in ops]
    return rows


def shapes(words):
    """Of names of sets, files with a shape a line, and shapes."""
    found = []
    for word in words:
        if word in SETS:
            found += SETS[word]
        elif Path(word).is_file():
            lines = (line.split("#")[0].strip() for line in Path(word).read_text().splitlines())
            found += [line for line in lines if line]
        else:
            found.append(word)
    for shape in found:
        sizes = shape.split("x")
        if not (2 <= len(sizes) <= 5 and all(size.isdecimal() and int(size) > 0 for size in sizes)):
            raise ValueError(
                f"{shape}: expected a shape like 32x64x56x56, a file of shapes, or one of {', '.join(SETS)}"
            )
    return list(dict.fromkeys(found))
