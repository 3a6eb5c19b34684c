"""The plot: how much longer than ours the fastest peer takes, row by row."""

COLORS = ["#1b6ca8", "#e08214", "#4d9221", "#7b3294"]


def draw(results, folder):
    """A file for each layout and type, if matplotlib is installed."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return None
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "ratios", "svg.fonttype": "none", "font.size": 9}
    written = []
    for (layout, dtype), rows in results.groups().items():
        figure = picture(results, rows, f"{layout.replace('_', ' ')}, {dtype}")
        several = len(results.groups()) > 1
        path = folder / (f"ratios-{layout.replace('_', '-')}-{dtype}.svg" if several else "ratios.svg")
        figure.savefig(path, metadata={"Date": None})
        written.append(path)
    return written


def picture(results, rows, name):
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    shapes = list(dict.fromkeys(row.shape for row in rows))
    ops = list(dict.fromkeys(row.op for row in rows))
    threads = list(dict.fromkeys(row.threads for row in rows))
    ratios = [ratio for row in rows if (ratio := results.fastest(row)[1]) is not None]
    low, high = min([0.8, *ratios]) / 1.1, max([1.25, *ratios]) * 1.1
    # 900 pixels wide at 100 dots an inch.
    figure = Figure(figsize=(9, 1.3 + 0.27 * len(shapes)), layout="constrained")
    panels = figure.subplots(1, len(ops), sharey=True, squeeze=False)[0]
    for panel, op in zip(panels, ops):
        panel.axvspan(low, 1, color="#c0392b", alpha=0.08, linewidth=0)
        panel.axvline(1, color="#c0392b", linewidth=1)
        for place, count in enumerate(threads):
            # Side by side, not over each other.
            offset = (place - (len(threads) - 1) / 2) * 0.3
            points = [
                (ratio, shapes.index(row.shape) + offset)
                for row in rows
                if (row.op, row.threads) == (op, count) and (ratio := results.fastest(row)[1]) is not None
            ]
            if not points:
                continue
            across, down = zip(*points)
            color = COLORS[place % len(COLORS)]
            panel.hlines(down, 1, across, color=color, linewidth=1, alpha=0.5)
            label = f"{count} thread{'s'[: count > 1]}"
            panel.plot(across, down, "o", color=color, markersize=4.5, label=label)
        panel.set_title(op)
        panel.set_xscale("log")
        panel.set_xlim(low, high)
        steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
        panel.xaxis.set_major_locator(FixedLocator([step for step in steps if low <= step <= high]))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.grid(axis="x", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    panels[0].set_yticks(range(len(shapes)), shapes)
    panels[0].set_ylim(len(shapes) - 0.4, -0.6)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=len(threads), frameon=False)
    figure.suptitle(f"Time of the fastest peer / ours ({name}); right of 1, ours is faster", fontsize=10)
    return figure
