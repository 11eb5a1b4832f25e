"""A plot of accuracy over costs, with one row of panels per network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from el_larq.comparison.table import ComparisonRow
from el_larq.figure_file import figure_file

_COSTS = (
    ("binary MACs, millions", "bops", 1e6),
    ("real-valued MACs, millions", "flops", 1e6),
    (".tflite, kB", "tflite_bytes", 1e3),
    ("latency here, ms", "latency_ms", 1.0),
)
# Okabe and Ito's colours without yellow; combined with the markers, they distinguish 49 methods.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def plot(rows: Sequence[ComparisonRow], path: Path) -> None:
    """Plot mean accuracy, with its range over the seeds, over binary MACs, real-valued MACs, size and local latency.

    Arguments:
        rows: a row without an accuracy is left out, and without a cost, it is left out of that cost's panel.
        path: .png or .svg.

    Raises:
        ElLarqError: it cannot be written.
    """
    networks = list(dict.fromkeys(row.network for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    styles = {
        name: (_COLOURS[number % len(_COLOURS)], _MARKERS[number // len(_COLOURS) % len(_MARKERS)])
        for number, name in enumerate(methods)
    }
    height = max(3.2 * len(networks), 0.9 + 0.22 * len(methods))
    with figure_file(path, (14, height), dpi=110) as figure:
        panels = figure.subplots(len(networks), len(_COSTS), sharey="row", squeeze=False)
        handles: dict[str, Any] = {}
        for line, network in zip(panels, networks, strict=True):
            line[0].set_ylabel(f"{network}\ntest accuracy")
            for axes, (label, field, unit) in zip(line, _COSTS, strict=True):
                for row in rows:
                    cost = getattr(row, field)
                    if row.network != network or row.mean is None or cost is None:
                        continue
                    colour, marker = styles[row.method]
                    below, above = row.mean - min(row.done), max(row.done) - row.mean
                    handles[row.method] = axes.errorbar(
                        cost / unit, row.mean, [[below], [above]], color=colour, marker=marker, capsize=2, linestyle="none"
                    )
                axes.set_xlabel(label)
                axes.margins(0.12)
                axes.grid(True, alpha=0.25)
                axes.spines[["top", "right"]].set_visible(False)
        if handles:
            figure.legend(list(handles.values()), list(handles), loc="outside right center", frameon=False)
