"""The files that show a run at a glance."""

import csv
from pathlib import Path

import numpy as np
from conftest import lines
from PIL import Image

from el_larq.training.figures import draw_confusion, draw_curve, write_csv
from el_larq.training.train import Trained


def test_a_run_has_its_metrics_as_a_table(undisturbed: Trained) -> None:
    with (undisturbed.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    known = lines(undisturbed.folder)
    assert len(rows) == len(known) == 3
    for row, record in zip(rows, known, strict=True):
        assert {name: float(row[name]) for name in record} == record


def test_a_table_has_a_column_for_each_name_that_occurs(tmp_path: Path) -> None:
    write_csv(tmp_path / "m.csv", [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "val_loss": 0.25}])
    assert (tmp_path / "m.csv").read_text() == "epoch,loss,val_loss\n1,0.5,\n2,,0.25\n"


def test_pictures_of_a_run(undisturbed: Trained, tmp_path: Path) -> None:
    for name in ("learning_curve.png", "confusion_matrix.png"):
        with Image.open(undisturbed.folder / name) as image:
            assert min(image.size) > 200
    draw_confusion(tmp_path / "many.png", np.eye(200, dtype=np.int64), [f"class {number}" for number in range(200)])
    draw_confusion(tmp_path / "odd.png", np.zeros((2, 2), np.int64), ["$x", "\u732b"])
    draw_curve(tmp_path / "one.png", [{"epoch": 1, "loss": 0.5, "accuracy": 0.5}])
    assert len(list(tmp_path.glob("*.png"))) == 3
