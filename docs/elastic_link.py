"""Draws docs/elastic_link.svg: python docs/elastic_link.py. The feature maps are numbers that `align_channels` computes."""

import el_larq  # isort: skip  (first: it selects Keras 2)

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from el_larq.layers.align import align_channels

OUT = Path(__file__).with_suffix(".svg")
INK, PATH, LINK = "#22303c", "#7a8794", "#d1495b"
CASES = (("as it is", 4, 4), ("squeeze: groups summed", 4, 2), ("expand: copied in order", 2, 4))


def channels(axes: Any, x: float, y: float, values: np.ndarray, label: str) -> None:
    """A column of channels around the height y, shaded by value, each with its number."""
    top = y + 0.17 * (len(values) - 2)
    for index, value in enumerate(values):
        low = top - 0.34 * index
        shade = mpl.colormaps["GnBu"](0.15 + 0.5 * value / 8)
        axes.add_patch(Rectangle((x, low), 0.5, 0.3, facecolor=shade, edgecolor=INK, linewidth=0.8))
        axes.text(x + 0.25, low + 0.14, f"{value:g}", ha="center", va="center", fontsize=8, color=INK)
    axes.text(x + 0.25, top + 0.42, label, ha="center", va="bottom", fontsize=8.5, color=INK)


def box(axes: Any, x: float, y: float, text: str, color: str, width: float = 1.3) -> None:
    patch = FancyBboxPatch((x, y - 0.22), width, 0.44, boxstyle="round,pad=0.02,rounding_size=0.08", fc="white", ec=color, lw=1.2)
    axes.add_patch(patch)
    axes.text(x + width / 2, y, text, ha="center", va="center", fontsize=8.5, color=INK)


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=color, lw=1.3, shrinkA=0, shrinkB=0))


def draw(axes: Any, title: str, c_in: int, c_out: int) -> None:
    x = np.arange(1.0, c_in + 1, dtype=np.float32)
    aligned = np.asarray(align_channels(x.reshape(1, 1, 1, c_in), c_out)).ravel()
    axes.set_xlim(-0.2, 8.6)
    axes.set_ylim(-2.9, 1.7)
    axes.set_axis_off()
    axes.text(-0.1, 1.45, f"{c_in} to {c_out} channels, {title}", fontsize=10, color=INK, weight="bold")
    top, bottom = 0.3, -1.9
    channels(axes, 0.0, top, x, "x")
    box(axes, 1.15, top, "sign", PATH, 0.75)
    box(axes, 2.3, top, "binary conv", PATH, 1.75)
    box(axes, 4.45, top, "batch norm", PATH, 1.7)
    box(axes, 1.15, bottom, "align", LINK, 0.9)
    channels(axes, 2.9, bottom, aligned, "align(x)")
    box(axes, 4.45, bottom, "× γ", LINK, 0.8)
    axes.text(6.95, top, "+", fontsize=13, color=INK, ha="center", va="center_baseline")
    axes.plot(6.95, top, "o", ms=16, mfc="none", mec=INK, mew=1.2)
    for start, end in ((0.55, 1.1), (1.95, 2.25), (4.1, 4.4), (6.2, 6.68)):
        arrow(axes, (start, top), (end, top), PATH)
    axes.plot([0.8, 0.8], [top, bottom], color=LINK, lw=1.3)
    for start, end in ((0.8, 1.1), (2.1, 2.85), (3.45, 4.4)):
        arrow(axes, (start, bottom), (end, bottom), LINK)
    axes.plot([5.3, 6.95], [bottom, bottom], color=LINK, lw=1.3)
    arrow(axes, (6.95, bottom), (6.95, 0.0), LINK)
    arrow(axes, (7.22, top), (7.75, top), INK)
    axes.text(7.85, top, "y", fontsize=11, color=INK, va="center", style="italic")


def main() -> None:
    print(f"el-larq {el_larq.__version__}")
    plt.rcParams |= {"svg.hashsalt": "el-larq", "svg.fonttype": "none", "font.family": "DejaVu Sans"}
    figure, grid = plt.subplots(1, 3, figsize=(13, 3.2))
    for axes, case in zip(grid, CASES, strict=True):
        draw(axes, *case)
    figure.subplots_adjust(0.005, 0.01, 0.995, 0.99, 0.03)
    figure.savefig(OUT, metadata={"Date": None})
    print(OUT)


if __name__ == "__main__":
    main()
