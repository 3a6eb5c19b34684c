"""The table: row by row, geometric means, rows lost, versions and machine."""

import math
from dataclasses import fields

from contest.peers import ALL, OURS, ROOF
from contest.rows import Row

OUT_OF_CACHE = 32e6
# A figure whose rounds differ by this factor.
UNSTEADY = 1.5
# A load average, per core, before the run.
BUSY = 0.15


class Results:
    """Microseconds by row and peer, in the order they were measured."""

    def __init__(self, lines):
        self.times, self.errors, self.unsteady = {}, {}, []
        for line in lines:
            row = Row(*(line[field.name] for field in fields(Row)))
            times = self.times.setdefault(row, {})
            if "error" in line:
                self.errors.setdefault((line["peer"], line["error"]), []).append(row)
            else:
                times[line["peer"]] = line["median_us"]
                if max(line["rounds_us"]) > UNSTEADY * min(line["rounds_us"]):
                    self.unsteady.append((row, line["peer"]))
        # Only what can be compared with ours.
        self.rows = [row for row, times in self.times.items() if OURS in times]
        measured = {peer for times in self.times.values() for peer in times}
        self.peers = [peer for peer in ALL if peer in measured and peer != OURS]

    def ratio(self, row, peer):
        """The peer's time over ours: above 1, ours is faster."""
        times = self.times[row]
        return times[peer] / times[OURS] if peer in times else None

    def fastest(self, row):
        """The fastest peer and its ratio."""
        ratios = [(self.ratio(row, peer), peer) for peer in self.peers if peer in self.times[row]]
        return min(ratios)[::-1] if ratios else (None, None)

    def share(self, row):
        """Of the roof: its time over ours."""
        return self.ratio(row, ROOF)

    def groups(self):
        """Rows by layout and type."""
        return grouped(self.rows, lambda row: (row.layout, row.dtype))


def markdown(results, about):
    parts = [heading(about)]
    for (layout, dtype), rows in results.groups().items():
        peers = [peer for peer in results.peers if any(peer in results.times[row] for row in rows)]
        parts += [
            f"## {layout.replace('_', ' ')}, {dtype}\n",
            by_row(results, rows, peers),
            "Geometric means of peer / ours, over the rows that the peer can do (their number, if not all):\n",
            means(results, rows, peers),
            shares(results, rows),
            lost(results, rows),
        ]
    parts += [unsteady(results), failures(results), versions(about)]
    return "\n".join(part for part in parts if part)


def heading(about):
    text = (
        "# Batch normalization next to other implementations\n\n"
        f"Medians over {about['rounds']} rounds of {about['seconds']} s, in which all peers take turns. A peer's column "
        "is its time over ours: above 1, ours is faster. The roof is a copy (backward: two reads and a write) of as "
        "many bytes; the share is the roof's time over ours.\n"
    )
    if about["load_average_before"][0] > BUSY * about["machine"]["cores"]:
        load = f"{about['load_average_before'][0]:.1f}"
        text += (
            f"\n**Somebody else used the machine** (load average {load} before the run): peers whose threads wait for "
            "each other actively look much slower than they are.\n"
        )
    return text


def by_row(results, rows, peers):
    header = ["shape", "op", "threads", "ours µs", "roof µs", "share", *peers, "fastest", "ratio"]
    lines = []
    for row in rows:
        times = results.times[row]
        name, ratio = results.fastest(row)
        lines.append(
            [
                row.shape,
                row.op,
                str(row.threads),
                microseconds(times[OURS]),
                microseconds(times.get(ROOF)),
                number(results.share(row)),
                *(number(results.ratio(row, peer)) for peer in peers),
                name or "-",
                number(ratio) + (" **lost**" if ratio is not None and ratio < 1 else ""),
            ]
        )
    return table(header, lines, words=("shape", "op", "fastest"))


def means(results, rows, peers):
    lines = []
    for (op, threads), of in grouped(rows, lambda row: (row.op, row.threads)).items():
        cells = []
        for peer in peers:
            ratios = [ratio for row in of if (ratio := results.ratio(row, peer)) is not None]
            cells.append(number(geometric_mean(ratios)) + (f" ({len(ratios)})" if 0 < len(ratios) < len(of) else ""))
        fastest = [results.fastest(row)[1] for row in of if results.fastest(row)[1] is not None]
        lines.append([op, str(threads), str(len(of)), *cells, number(geometric_mean(fastest))])
    return table(["op", "threads", "rows", *peers, "fastest"], lines, words=("op",))


def shares(results, rows):
    lines = []
    large = [row for row in rows if row.bytes > OUT_OF_CACHE and results.share(row) is not None]
    for (op, threads), of in grouped(large, lambda row: (row.op, row.threads)).items():
        of_roof = [results.share(row) for row in of]
        lines.append([op, str(threads), str(len(of)), number(geometric_mean(of_roof)), number(min(of_roof))])
    if not lines:
        return ""
    header = ["op", "threads", "rows", "geometric mean", "lowest"]
    return "Our share of the roof, tensors over 32 MB:\n\n" + table(header, lines, words=("op",))


def lost(results, rows):
    found = [(ratio, name, row) for row in rows for name, ratio in [results.fastest(row)] if ratio and ratio < 1]
    if not found:
        return f"Rows lost: none of {len(rows)}.\n"
    listed = [
        f"- {row.shape} {row.op}, {threads_of(row)}: {name} takes {ratio:.2f} of our time"
        for ratio, name, row in sorted(found, key=lambda item: item[0])
    ]
    return f"Rows lost: {len(found)} of {len(rows)}.\n\n" + "\n".join(listed) + "\n"


def unsteady(results):
    if not results.unsteady:
        return ""
    figures = sum(map(len, results.times.values()))
    ours = [row for row, peer in results.unsteady if peer == OURS]
    listed = f" Ours: {'; '.join(map(str, ours))}." if ours else ""
    return (
        f"Unsteady: in {len(results.unsteady)} of {figures} figures the slowest round took more than {UNSTEADY} times "
        f"the fastest.{listed}\n"
    )


def threads_of(row):
    return f"{row.threads} thread{'s'[: row.threads > 1]}"


def failures(results):
    if not results.errors:
        return ""
    lines = []
    for (peer, why), rows in results.errors.items():
        where = str(rows[0]) if len(rows) == 1 else f"{len(rows)} rows"
        lines.append(f"- {peer}: {why} ({where})")
    return "## Not measured\n\n" + "\n".join(lines) + "\n"


def versions(about):
    machine = about["machine"]
    loads = (f"{about[f'load_average_{when}'][0]:.1f} {when}" for when in ("before", "after"))
    lines = [f"- {peer}: {said.get('version', said.get('error'))}" for peer, said in about["versions"].items()]
    lines += [
        f"- {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {'; '.join(machine['caches'])}",
        f"- Linux {machine['kernel']}, {machine['libc']}, Python {machine['python']}",
        f"- huge pages: {machine['huge_pages']}",
        f"- load average: {', '.join(loads)}",
        f"- {about['date']}",
    ]
    return "## Versions and machine\n\n" + "\n".join(lines) + "\n"


def grouped(rows, key):
    groups = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def number(value):
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def microseconds(value):
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def table(header, lines, words):
    """Aligned Markdown: words to the left, numbers to the right."""
    widths = [max(3, *(len(line[column]) for line in [header, *lines])) for column in range(len(header))]
    left = [name in words for name in header]
    rules = ["-" * width if to_left else "-" * (width - 1) + ":" for width, to_left in zip(widths, left)]
    cells = [
        [cell.ljust(width) if to_left else cell.rjust(width) for cell, width, to_left in zip(line, widths, left)]
        for line in [header, rules, *lines]
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"
