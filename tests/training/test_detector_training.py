"""Trainings of detectors: what they write, that they learn, that they resume exactly, and what they refuse."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
import tiny_detector

from el_larq import card
from el_larq.conv import Conv
from el_larq.data.dataset_registry import load_dataset
from el_larq.detection.average_precision import score_detections
from el_larq.detection.non_maximum_suppression import detect
from el_larq.errors import ElLarqError, UsageError
from el_larq.layers import normalize
from el_larq.loading.load import load_model
from el_larq.methods.method_registry import get_method
from el_larq.models.build import build
from el_larq.models.detector_anchors import model_anchors
from el_larq.models.network_registry import DETECTORS
from el_larq.training.initialize import initialize
from el_larq.training.recipe import Recipe
from el_larq.training.train import Trained, resume, train
from el_larq.training.training_plan import make_plan

RECIPE = Recipe("tiny", "", epochs=30, batch_size=4, learning_rate=2e-2, label_smoothing=0.0)


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DETECTORS, "tiny_detector", tiny_detector.NETWORK)
        yield


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_detector.write_squares(tmp_path_factory.mktemp("squares") / "data")


def run(folder: Path, dataset: str, **changes: Any) -> Trained:
    settings: dict[str, Any] = {"dataset": dataset, "image_size": 32, "recipe": RECIPE, "method": "bireal", "validation": 0.2}
    return train("tiny_detector", out=folder, **(settings | changes))


@pytest.fixture(scope="module")
def trained(squares: str, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return run(tmp_path_factory.mktemp("trained") / "run", squares, method="float")


def test_it_learns(trained: Trained) -> None:
    rows = list(csv.DictReader((trained.folder / "metrics.csv").read_text().splitlines()))
    assert float(rows[-1]["loss"]) < 0.2 * float(rows[0]["loss"])
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    assert trained.figures["map_50"] > 0.8


def test_its_files_say_how_good_it_is_and_that_it_is_a_detector(trained: Trained, squares: str) -> None:
    result = json.loads((trained.folder / "result.json").read_text())
    assert {name: result[name] for name in trained.figures} == trained.figures
    assert result["kept_epoch"] == 30
    assert result["best_validation_map_50"] >= result["validation_map_50"]
    for name in ("model.h5", "model.keras"):
        found = card.read(trained.folder / name)
        assert (found["task"], found["labels"], found["dataset"]["name"]) == ("detection", ["dark", "bright"], squares)
        assert found["preprocessing"]["stretch"] is True
        assert found["accuracy"]["map_50"] == pytest.approx(trained.figures["map_50"], abs=1e-5)
    assert (trained.folder / "learning_curve.png").stat().st_size > 1000
    assert not (trained.folder / "confusion_matrix.png").exists()


def test_the_figures_are_those_of_the_saved_model(trained: Trained, squares: str) -> None:
    model: Any = load_model(trained.folder / "model.keras")
    how = card.preprocessing(card.read(trained.folder / "model.keras"), "")
    data: Any = load_dataset(squares, 32, preprocessing=how, task="detection")
    last = json.loads((trained.folder / "metrics.jsonl").read_text().splitlines()[-1])
    for split, found in ((data.hold_out(0.2).validation, {"map_50": last["val_map_50"]}), (data.test, trained.figures)):
        images = np.stack([data.preprocessing.scale(data.preprocessing.pixels(split.image(i))) for i in range(len(split))])
        detections = [detect(predictions, model_anchors(model)) for predictions in model.predict(images, verbose=0)]
        for item in detections:
            np.clip(item.boxes, 0, 1, out=item.boxes)
        scores = score_detections([split.objects(index) for index in range(len(split))], detections, 2).summary()
        assert found["map_50"] == pytest.approx(scores["voc_all"], abs=1e-6)
        assert found.get("map_50_95", scores["coco"]) == pytest.approx(scores["coco"], abs=1e-6)


def test_a_finished_run_is_opened_with_its_figures(trained: Trained) -> None:
    assert resume(trained.folder).figures == trained.figures
    assert f"test mAP@0.5 {trained.figures['map_50']:.4f}" in repr(trained)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_killed_and_resumed_it_ends_with_the_same_weights(squares: str, tmp_path: Path) -> None:
    changes: Any = {"recipe": Recipe("tiny", "", epochs=3, batch_size=4, learning_rate=2e-2, label_smoothing=0.0)}

    def die(line: str) -> None:
        if line.startswith("epoch 2/3"):
            raise Killed

    augmented = squares.removesuffix(",augment=none")
    whole = run(tmp_path / "whole", augmented, **changes)
    with pytest.raises(Killed):
        run(tmp_path / "run", augmented, notify=die, checkpoint_steps=2, **changes)
    notices: list[str] = []
    again = resume(tmp_path / "run", notify=notices.append)
    assert f"continuing {tmp_path / 'run'} at step 4 of 9" in notices
    for one, other in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    metrics = [(tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("whole", "run")]
    assert [line.rsplit(",", 1)[0] for line in metrics[0]] == [line.rsplit(",", 1)[0] for line in metrics[1]]  # without seconds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "standard"}, "label_smoothing of recipe standard does not apply to a detector"),
        ({"recipe": "two-stage"}, "does not apply to a detector"),
        ({"teacher": "resnet18"}, "no teacher"),
        ({"qat_bits": 8}, "qat_bits of recipe detector does not apply"),
        ({"precision": "mixed_float16"}, "precision of recipe detector does not apply"),
        ({"strategy": "mirrored"}, "omit --strategy mirrored"),
        ({"freeze": "backbone"}, "by names of layers"),
        ({"dataset": "digits"}, "has a class per image, and no boxes"),
        ({"network_options": {"stem": "small"}}, "has no option 'stem'"),
        *(
            ({"recipe": Recipe("own", "", 1, 4, 1e-2, **{"label_smoothing": 0.0, field: value})}, f"{field} of recipe own")
            for field, value in (("mixup", 0.2), ("cutmix", 1.0), ("random_augment", 2), ("class_weights", "balanced"))
        ),
    ],
)
def test_what_does_not_apply_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan("tiny_detector", **changes)


def test_boxes_are_for_detectors_only() -> None:
    with pytest.raises(UsageError, match="data set with a class per image"):
        make_plan("resnet18", dataset="shapes")
    assert make_plan("ssd_mobilenet").dataset == "shapes"
    assert make_plan("ssd_mobilenet").recipe.name == "detector"


def _detector(method: str = "bireal") -> Any:
    return build("tiny_detector", method, input_shape=(32, 32, 3), num_classes=2)


def _classifier(extra: bool = False) -> keras.Model:
    method, x = get_method("bireal"), keras.Input((32, 32, 3))
    y = normalize(keras.layers.Conv2D(16, 3, 4, "same", use_bias=False, name="stem_conv")(x), "stem_norm", 0.9)
    y = method.unit(y, Conv("block1", 16, 3))
    y = method.unit(y, Conv("block2", 16, 3, 2))
    if extra:
        y = method.unit(y, Conv("block3", 16, 3))
    return keras.Model(x, keras.layers.Dense(10, name="logits")(keras.layers.GlobalAveragePooling2D()(y)))


def test_a_detector_starts_from_a_classifiers_backbone(tmp_path: Path) -> None:
    _classifier().save(tmp_path / "classifier.keras")
    start: Any = load_model(tmp_path / "classifier.keras")
    model = _detector()
    heads = [model.get_layer(f"head{number}_{kind}_conv").get_weights() for number in (1, 2) for kind in ("classes", "boxes")]
    done = initialize(model, tmp_path / "classifier.keras")
    assert done.left == ("logits",)
    assert done.summary.endswith("; not taken: logits")
    assert {name for name, _ in done.fresh} == {f"head{number}_{kind}_conv" for number in (1, 2) for kind in ("classes", "boxes")}
    for name in done.taken:
        for one, other in zip(model.get_layer(name).get_weights(), start.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    again = [model.get_layer(f"head{number}_{kind}_conv").get_weights() for number in (1, 2) for kind in ("classes", "boxes")]
    for one, other in zip(heads, again, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_a_layer_of_the_backbone_that_would_be_left_behind_is_an_error(tmp_path: Path) -> None:
    _classifier(extra=True).save(tmp_path / "classifier.keras")
    model = _detector()
    with pytest.raises(
        ElLarqError, match=r"2 layers of its backbone would be left behind, the first of them block3_\w+ \(it has no"
    ):
        initialize(model, tmp_path / "classifier.keras")
    assert len(initialize(model, tmp_path / "classifier.keras", partial=True).left) == 3


def test_of_other_classes_only_the_boxes_are_taken(trained: Trained) -> None:
    model = _detector("float")
    done = initialize(model, trained.folder, labels=("cat", "dog"))
    assert done.left == ()
    assert dict(done.fresh) == {f"head{number}_classes_conv": "for other classes" for number in (1, 2)}
    assert initialize(_detector("float"), trained.folder, labels=("dark", "bright")).fresh == ()
