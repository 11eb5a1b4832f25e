"""Plots what int8 costs each tensor of a file: its range, its SQNR, and the signs that change."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from el_larq.compression.layer_report import TensorReport, worst_first
from el_larq.figure_file import figure_file
from el_larq.outputs import PDF, PNG, SVG, check_output
from el_larq.printable import plot_label

FORMATS = (SVG, PNG, PDF)
_NAMED = 3
"""The number of worst tensors that are named."""

_LEAST = 1e-6
"""Shares of changed signs below this one, 0 included, are drawn here: the axis is logarithmic."""


def plot_int8(reports: Sequence[TensorReport], title: str, path: Path) -> None:
    """Plot three panels over the tensors, in the order in which they are computed: range, SQNR in dB, share of changed signs.

    Arguments:
        reports: at least one. Where int8 is exact, SQNR is infinite, and the tensor has no bar.
        path: .svg, .png or .pdf.

    Raises:
        UsageError: the extension is not a known image format, or the path is a file that is not an image.
        ElLarqError: the file cannot be written.
    """
    kind = check_output(path, *FORMATS)
    positions = np.arange(len(reports))
    with figure_file(path, (10, 8), check=kind.check_replaceable) as figure:
        ranges, noise, signs = figure.subplots(3, 1, sharex=True)
        lows = np.array([one.low for one in reports])
        ranges.bar(positions, [one.high for one in reports] - lows, bottom=lows, width=0.9, color="#56b4e9")
        ranges.set_yscale("symlog")
        ranges.set_ylabel("range")
        ranges.set_title(plot_label(title), loc="left")
        worst = [one for one in worst_first(reports)[:_NAMED] if np.isfinite(one.sqnr)]
        colours = ["#d55e00" if one in worst else "#009e73" for one in reports]
        noise.bar(positions, [one.sqnr if np.isfinite(one.sqnr) else 0.0 for one in reports], width=0.9, color=colours)
        noise.set_ylabel("SQNR, dB")
        lowest = [f"{reports.index(one)}: {plot_label(one.name)}, {one.sqnr:.1f} dB" for one in worst]
        noise.set_title("\n".join(lowest), loc="left", size=8, color="#d55e00")
        changed = [(i, one.flips, one.flips_with_offset) for i, one in enumerate(reports) if one.flips is not None]
        for column, label, colour, marker in ((1, "rounded", "#d55e00", "o"), (2, "with the file's offset", "#0072b2", "s")):
            rates = [max(each[column] or 0.0, _LEAST) for each in changed]
            signs.plot([each[0] for each in changed], rates, marker, color=colour, label=label, markersize=4)
        signs.set_yscale("log")
        signs.set_ylabel("share of signs changed")
        signs.set_xlabel("tensor, in the order they are computed")
        if changed:
            signs.legend(loc="best", frameon=False)
        for axes in (ranges, noise, signs):
            axes.spines[["top", "right"]].set_visible(False)
