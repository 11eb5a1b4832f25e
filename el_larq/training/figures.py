"""What a run shows at a glance: metrics.csv, the learning curve, the confusion matrix of the test split."""

import csv
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from el_larq.files import atomic_path, write_bytes
from el_larq.printable import plot_label
from el_larq.training.selection import ACCURACY, MAP_50

CSV, CURVE, CONFUSION = "metrics.csv", "learning_curve.png", "confusion_matrix.png"

_NAMED = 32
"""The largest number of classes whose names and counts fit into the picture."""


def write_csv(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """The records of metrics.jsonl as a table; a column for each name that occurs, empty where a record lacks it."""
    names = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO()
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(records)
    write_bytes(path, text.getvalue().encode())


def draw_curve(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Loss and accuracy (of detectors, mAP@0.5) over the epochs, in training and, if there is one, in validation."""
    from matplotlib.figure import Figure

    figure = Figure((8, 3.4), layout="constrained")
    known = {name.removeprefix("val_") for record in records for name in record}
    drawn = {name: label for name, label in (("loss", "loss"), (ACCURACY, "accuracy"), (MAP_50, "mAP@0.5")) if name in known}
    for axes, (name, title) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        for key, label, style in ((name, "training", "--"), (f"val_{name}", "validation", "-")):
            points = [(record["epoch"], record[key]) for record in records if key in record]
            if points:
                marker = "o" if len(points) < 30 else None
                axes.plot(*zip(*points, strict=True), style, label=label, marker=marker, markersize=3)
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    _save(figure, path)


def draw_confusion(path: Path, confusion: np.ndarray, labels: Sequence[str]) -> None:
    """A confusion matrix: rows are true classes, columns predicted ones; the colour is the fraction of the row's images."""
    from matplotlib.figure import Figure

    classes = len(labels)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    size = 3.5 + 0.32 * min(classes, _NAMED)
    figure = Figure((size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    figure.colorbar(axes.imshow(shares, cmap="Blues", vmin=0, vmax=1), label="fraction of the class")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if classes <= _NAMED:
        names = [plot_label(label) for label in labels]
        axes.set_xticks(range(classes), names, rotation=90, fontsize=8)
        axes.set_yticks(range(classes), names, fontsize=8)
        for row, column in np.argwhere(confusion):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(confusion[row, column]), ha="center", va="center", fontsize=7, color=colour)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # drawn as an empty box
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
