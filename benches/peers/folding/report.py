"""The table of cases and peers, totals, and what is wrong."""

from folding.verdict import NOT_COVERED, RIGHT, WRONG

CELL = {RIGHT: "right", WRONG: "WRONG", NOT_COVERED: "-"}
LEGEND = (
    "right: folded, or left where it must be, and the outputs are equal; right*: with a remark below; "
    "-: could be folded and was left (the outputs are equal), or the tool does not take the model; "
    "WRONG: other outputs, an invalid model, an error, or a crash."
)


def cell(result):
    return CELL[result["verdict"]] + ("*" if result["verdict"] == RIGHT and result.get("why") else "")


def totals(rows, peers):
    return {
        peer: {verdict: sum(row["peers"][peer]["verdict"] == verdict for row in rows) for verdict in CELL}
        for peer in peers
    }


def table(rows, peers, versions, markdown=False):
    head = ["case", "expected", *peers]
    lines = [
        [row["file"].removesuffix(".onnx"), row["expect"], *(cell(row["peers"][peer]) for peer in peers)] for row in rows
    ]
    sums = totals(rows, peers)
    names = {RIGHT: "right", WRONG: "wrong", NOT_COVERED: "not covered"}
    lines += [[f"all: {names[verdict]}", "", *(str(sums[peer][verdict]) for peer in peers)] for verdict in CELL]
    parts = [
        ", ".join(f"{peer} {version}" for peer, version in versions.items()),
        grid(head, lines, markdown),
        LEGEND,
        remarks(rows, peers, markdown),
    ]
    return "\n\n".join(parts)


def models(rows, peers, versions, markdown=False):
    """Of whole models: layers left, the largest difference, and the seconds that a peer took."""
    lines = []
    for row in rows:
        for peer in peers:
            result = row["peers"][peer]
            name, layers = row["file"].removesuffix(".onnx"), row["batch_norms_before"]
            left = f"{result['left']} of {layers}" if "left" in result else ""
            seconds = f"{result['seconds']:.2f}" if "seconds" in result else ""
            difference = f"{result['difference']:.1e}" if "difference" in result else result.get("why", "")
            lines.append([name, peer, left, seconds, difference])
    head = ["model", "peer", "layers left", "seconds", "largest difference, of the output's largest value"]
    return "\n\n".join([", ".join(f"{peer} {version}" for peer, version in versions.items()), grid(head, lines, markdown)])


def grid(head, lines, markdown):
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    padded = [[text.ljust(width) for text, width in zip(line, widths)] for line in [head, *lines]]
    if not markdown:
        return "\n".join("  ".join(line).rstrip() for line in padded)
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def remarks(rows, peers, markdown):
    """What is wrong, then remarks on what is right, a line for each reason of a peer."""
    lines = []
    for verdict in (WRONG, RIGHT, NOT_COVERED):
        for peer in peers:
            reasons = {}
            for row in rows:
                result = row["peers"][peer]
                if result["verdict"] == verdict and result.get("why"):
                    reasons.setdefault(result["why"], []).append(row["file"].split("_")[0])
            for why, files in reasons.items():
                bullet = "- " if markdown else "  "
                lines.append(f"{bullet}{peer}, {CELL[verdict].strip('-') or 'not covered'}, {' '.join(files)}: {why}")
    return "\n".join(lines)
