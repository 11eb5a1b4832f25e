"""The files that show a run at a glance."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from conftest import lines
from PIL import Image

from el_larq.training.figures import count_confusions, draw_confusion, draw_curve, write_csv
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


def test_confusions_are_counted_by_true_and_predicted_class() -> None:
    logits = keras.Input((3,))
    model = keras.Model(logits, keras.layers.Activation("linear")(logits))
    predicted, true = [2, 0, 1, 1, 0], [2, 1, 1, 1, 0]
    data: Any = tf.data.Dataset.from_tensor_slices((tf.one_hot(predicted, 3), tf.constant(true, tf.int64))).batch(2)
    assert count_confusions(model, data, 3).tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 1]]


def test_pictures_of_a_run(undisturbed: Trained, tmp_path: Path) -> None:
    for name in ("learning_curve.png", "confusion_matrix.png"):
        with Image.open(undisturbed.folder / name) as image:
            assert min(image.size) > 200
    draw_confusion(tmp_path / "many.png", np.eye(200, dtype=np.int64), [f"class {number}" for number in range(200)])
    draw_confusion(tmp_path / "odd.png", np.zeros((2, 2), np.int64), ["$x", "\u732b"])
    draw_curve(tmp_path / "one.png", [{"epoch": 1, "loss": 0.5, "accuracy": 0.5}])
    assert len(list(tmp_path.glob("*.png"))) == 3
