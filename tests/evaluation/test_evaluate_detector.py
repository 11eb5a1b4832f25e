"""`evaluate` with detectors: figures against a computation of their own, files, resuming, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
import tiny_detector
from PIL import Image

import el_larq
from el_larq import card
from el_larq.data.dataset_registry import load_dataset
from el_larq.detection.average_precision import Detections, score_detections
from el_larq.detection.non_maximum_suppression import Selection, detect
from el_larq.errors import ElLarqError, UsageError
from el_larq.evaluation import evaluate_detector
from el_larq.evaluation.evaluate_detector import DetectionEvaluation
from el_larq.models.detector_anchors import model_anchors
from el_larq.models.network_registry import DETECTORS


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DETECTORS, "tiny_detector", tiny_detector.NETWORK)
        yield


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_detector.write_squares(tmp_path_factory.mktemp("squares") / "data", 40)


@pytest.fixture(scope="module")
def model(squares: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with random weights, with a card as a training writes it."""
    data = load_dataset(squares, 32, task="detection")
    keras.utils.set_random_seed(1)
    built: Any = el_larq.build("tiny_detector", "float", input_shape=(32, 32, 3), num_classes=2)
    path = tmp_path_factory.mktemp("model") / "model.h5"
    about = {"task": "detection", "labels": list(data.labels), "preprocessing": data.preprocessing.to_dict()}
    card.save_with(about, built, path)
    return path


def evaluated(model: Path, squares: str, out: Path, **changes: Any) -> DetectionEvaluation:
    result = el_larq.evaluate(model, squares, out=out, **changes)
    assert isinstance(result, DetectionEvaluation)
    return result


def test_the_figures_are_those_of_its_predictions(model: Path, squares: str, tmp_path: Path) -> None:
    result = evaluated(model, squares, tmp_path / "out")
    data: Any = load_dataset(squares, 32, task="detection")
    keras_model: Any = keras.models.load_model(model, compile=False)
    images = np.stack([data.preprocessing.scale(data.preprocessing.pixels(data.test.image(i))) for i in range(data.test_size)])
    detections = [detect(own, model_anchors(keras_model)) for own in keras_model.predict(images, verbose=0)]
    for one in detections:
        np.clip(one.boxes, 0, 1, out=one.boxes)
    truths = [data.test.objects(index) for index in range(data.test_size)]
    wanted = score_detections(truths, detections, 2)
    assert result.scores.summary() == pytest.approx(wanted.summary(), abs=1e-6)
    assert sum(result.objects) == data.test_size == 8
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert content["task"] == "detection"
    assert content["mean"] == pytest.approx(wanted.summary(), abs=1e-6)
    assert [one["label"] for one in content["by_class"]] == ["dark", "bright"]
    assert [one["coco"] for one in content["by_class"]] == pytest.approx(wanted.coco.mean(axis=0).tolist(), abs=1e-6)
    assert (tmp_path / "out" / "precision_recall.svg").read_text().count("<svg") == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["evaluation.json", "precision_recall.svg"]


def test_an_interrupted_evaluation_continues(model: Path, squares: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_detector, "CHUNK", 3)

    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluated(model, squares, tmp_path / "out", notify=stop)
    again = evaluated(model, squares, tmp_path / "out")
    assert (again.images, again.images_now) == (8, 2)
    whole = evaluated(model, squares, tmp_path / "whole")
    assert whole.images_now == 8
    assert again.scores.summary() == pytest.approx(whole.scores.summary(), abs=1e-9)


def test_a_state_that_is_damaged_is_not_used(model: Path, squares: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((3, 7))
    unknown, broken, outside = rows.copy(), rows.copy(), rows.copy()
    unknown[:, 5], broken[:, 5], outside[:, 3] = 2, 0.5, 1.5
    for damaged in (
        unknown,
        broken,
        outside,
        rows.astype(str),
        rows[:, :5],
        np.where(rows == 0, np.nan, 0),
        rows + 100,
        np.arange(21.0).reshape(3, 7),
    ):
        monkeypatch.setattr(evaluate_detector.PartialOutputs, "load", lambda self, damaged=damaged: damaged)
        assert evaluated(model, squares, tmp_path / "out").images_now == 8


def test_classes_in_another_order_are_assigned_by_name(model: Path, squares: str, tmp_path: Path) -> None:
    notes: list[str] = []
    (tmp_path / "labels.txt").write_text("bright\ndark\n")
    one = evaluated(model, squares, tmp_path / "one")
    other = evaluated(model, squares, tmp_path / "other", labels=tmp_path / "labels.txt", note=notes.append)
    assert any("another order" in note for note in notes)
    assert one.scores.summary() != other.scores.summary()


def test_three_classes_in_another_order_are_assigned_by_name() -> None:
    data: Any = SimpleNamespace(labels=("a", "b", "c"), num_classes=3, name="data")
    assert evaluate_detector._classes(["b", "c", "a"], 3, data, Path("m.h5"), []).tolist() == [1, 2, 0]


def test_a_class_without_detections_has_a_curve(model: Path, squares: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    monkeypatch.setattr(evaluate_detector, "_compute", lambda detect, view, *others: [nothing] * len(view))
    assert evaluated(model, squares, tmp_path / "out").scores.summary()["voc_all"] == 0
    assert (tmp_path / "out" / "precision_recall.svg").is_file()


def test_stated_preprocessing_is_for_whole_images(model: Path, squares: str, tmp_path: Path) -> None:
    """Otherwise the centre of an image that is not square would be compared with the boxes of all of it."""
    path = tmp_path / "photos"
    for name in ("images", "labels"):
        (path / name).mkdir(parents=True)
    for number in range(8):
        Image.fromarray(np.arange(40 * 90 * 3, dtype=np.uint8).reshape(40, 90, 3)).save(path / "images" / f"{number}.png")
        (path / "labels" / f"{number}.txt").write_text(f"{number % 2} 0.1 0.5 0.2 0.9\n")
    (path / "classes.txt").write_text("dark\nbright\n")
    keras_model: Any = keras.models.load_model(model, compile=False)
    about = card.read(model)
    wide = f"yolo:{path},augment=none"
    card.save_with({"task": "detection", "labels": about["labels"]}, keras_model, tmp_path / "bare.h5")
    result = evaluated(tmp_path / "bare.h5", wide, tmp_path / "bare", range=(-1, 1))
    assert result.preprocessing.stretch
    cropped = {**about["preprocessing"], "stretch": False}
    card.save_with({**about, "preprocessing": cropped}, keras_model, tmp_path / "cropped.h5")
    with pytest.raises(UsageError, match="it takes a part of each image"):
        evaluated(tmp_path / "cropped.h5", wide, tmp_path / "cropped")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "digits"}, "has a class per image, and no boxes"),
        ({"dataset": "shapes"}, "detects 2 classes, and shapes has 5"),
        ({"output": 0}, "--output does not apply"),
        ({"workers": 2}, "--workers does not apply"),
        ({"calibrated_on": "shapes"}, "does not compute with int8"),
        ({"dataset": None}, "does not say what it was trained on"),
    ],
)
def test_what_does_not_fit_is_refused(model: Path, squares: str, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        el_larq.evaluate(model, **({"dataset": squares, "out": tmp_path / "out"} | changes))


def test_a_detector_without_a_card_is_named(squares: str, tmp_path: Path) -> None:
    built: Any = el_larq.build("tiny_detector", "float", input_shape=(32, 32, 3), num_classes=2)
    built.save(tmp_path / "plain.keras")
    with pytest.raises(UsageError, match="is a detector, but its file has no el-larq card"):
        el_larq.evaluate(tmp_path / "plain.keras", "digits")
    card.save_with({"task": "detection"}, keras.Sequential([keras.layers.Dense(2, input_shape=(3,))]), tmp_path / "other.keras")
    with pytest.raises(ElLarqError, match="its card says that it is a detector, but it is not"):
        el_larq.evaluate(tmp_path / "other.keras", squares)


@pytest.mark.slow
def test_a_tflite_has_the_same_average_precision(model: Path, squares: str, tmp_path: Path) -> None:
    from el_larq.converters.pipeline import convert

    convert(model, tmp_path / "model.tflite")
    one, other = evaluated(model, squares, tmp_path / "one"), evaluated(tmp_path / "model.tflite", squares, tmp_path / "other")
    assert other.scores.summary() == pytest.approx(one.scores.summary(), abs=0.01)


def test_an_int8_detector_that_was_calibrated_on_the_test_split_is_noted(model: Path, squares: str, tmp_path: Path) -> None:
    from el_larq.converters.job import Options
    from el_larq.converters.pipeline import convert

    data: Any = load_dataset(squares, 32, task="detection")
    inputs = data.preprocessing.scale(data.test_view(np.arange(data.test_size))[:])
    np.save(tmp_path / "test.npy", inputs)
    options = Options(int8="full", calibrate=str(tmp_path / "test.npy"), calibration_images=len(inputs), verify_images=4)
    convert(model, tmp_path / "model.tflite", options=options)
    noted = evaluated(tmp_path / "model.tflite", squares, tmp_path / "one").notes
    assert not any("selects boxes by" in line for line in noted)
    assert any("calibrated on test.npy; the score means little if" in line for line in noted)
    noted = evaluated(tmp_path / "model.tflite", squares, tmp_path / "two", calibrated_on=str(tmp_path / "test.npy")).notes
    assert any(f"calibrated on {len(inputs)} of the {len(inputs)} images that it is scored on" in line for line in noted)


def test_a_tflite_with_other_limits_is_noted_and_one_without_selection_refused(model: Path, squares: str, tmp_path: Path) -> None:
    from el_larq.converters.job import Options
    from el_larq.converters.pipeline import convert

    convert(model, tmp_path / "few.tflite", options=Options(verify_images=4, selection=Selection(score=0.5, most=3)))
    notes = evaluated(tmp_path / "few.tflite", squares, tmp_path / "few").notes
    assert any("selects boxes by score 0.5, iou 0.45, most 3, other models are scored with score 0.01" in line for line in notes)
    convert(model, tmp_path / "all.tflite", options=Options(verify_images=4), skip=("select",))
    Image.new("RGB", (32, 32)).save(tmp_path / "black.png")
    for use in (
        lambda path: evaluated(path, squares, tmp_path / "all"),
        lambda path: el_larq.detect(path, [tmp_path / "black.png"]),
    ):
        with pytest.raises(ElLarqError, match="convert it without --skip select"):
            use(tmp_path / "all.tflite")
