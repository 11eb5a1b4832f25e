"""An evaluation's plots: the confusion matrix and the reliability diagram of its probabilities."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from el_larq.evaluation.scores import Scores
from el_larq.figure_file import figure_file
from el_larq.printable import plot_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFUSION = "confusion.svg"
RELIABILITY = "reliability.svg"

# With more classes, names and numbers would overlap.
_NAMED, _NUMBERED = 40, 20


def draw(scores: Scores, folder: Path, title: str) -> None:
    """Write confusion.svg and reliability.svg into ``folder``."""
    with figure_file(folder / CONFUSION, (8, 7)) as figure:
        _confusion(figure, scores, title)
    with figure_file(folder / RELIABILITY, (6, 5)) as figure:
        _reliability(figure, scores, title)


def _confusion(figure: "Figure", scores: Scores, title: str) -> None:
    counts = np.array(scores.confusion)
    rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes = figure.subplots()
    image = axes.imshow(counts / rows, cmap="Blues", vmin=0, vmax=1)
    names = [plot_label(entry.label) for entry in scores.classes]
    if len(names) <= _NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
    if len(names) <= _NUMBERED:
        for row, column in np.argwhere(counts > 0):
            dark = counts[row, column] > rows[row, 0] / 2
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", size=7, color="white" if dark else "black")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(f"{plot_label(title)}: top-1 {scores.top1:.2%} of {scores.images:,}", loc="left")
    figure.colorbar(image, ax=axes, label="share of the row", shrink=0.7)


def _reliability(figure: "Figure", scores: Scores, title: str) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    for entry in scores.bins:
        axes.bar((entry.low + entry.high) / 2, entry.accuracy, width=entry.high - entry.low, color="#56b4e9", edgecolor="white")
    axes.plot([entry.confidence for entry in scores.bins], [entry.accuracy for entry in scores.bins], "o", color="#d55e00")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence: probability of the predicted class")
    axes.set_ylabel("accuracy")
    axes.set_title(f"{plot_label(title)}: calibration error {scores.ece:.3f}", loc="left")
