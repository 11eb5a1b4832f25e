"""A model that others made, whose file says neither how images are prepared for it nor what its classes are."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from PIL import Image

from el_larq import card
from el_larq.converters.pipeline import convert
from el_larq.data.dataset_registry import load_dataset
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import UsageError
from el_larq.evaluation.classes import class_order
from el_larq.evaluation.evaluate import evaluate
from el_larq.evaluation.predict import predict
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

LABELS = [str(digit) for digit in range(10)]


def own(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 25.5


def classifier(order: list[int], *before: keras.layers.Layer) -> keras.Model:
    """The nearest of the digits' mean images, in inputs from 0 to 10; its outputs in an order of classes."""
    data = load_dataset("digits").train
    means = np.stack([own(data.images[data.labels == label]).mean(axis=0).ravel() for label in order])
    model = keras.Sequential([keras.Input((16, 16, 1)), *before, keras.layers.Flatten(), keras.layers.Dense(10)])
    model.layers[-1].set_weights([2 * means.T, -np.square(means).sum(axis=1)])
    return model


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stranger") / "model.keras"
    classifier(list(range(10))).save(path)
    return path


@pytest.fixture(scope="module")
def accuracy(stranger: Path) -> float:
    data = load_dataset("digits").test
    logits = keras.models.load_model(stranger).predict(own(data.images), verbose=0)
    return float(np.mean(logits.argmax(axis=1) == data.labels))


def test_an_evaluation_without_options_names_what_it_assumed(stranger: Path, accuracy: float, tmp_path: Path) -> None:
    said: list[str] = []
    result = evaluate(stranger, "digits", out=tmp_path, note=said.append)
    assert result.scores.top1 < accuracy - 0.2
    assert tuple(said) == result.notes
    (line,) = said
    assert "does not say how images are prepared for it" in line
    assert "assumed: inputs are (x - 78.1) / 81.437 for x from 0 to 255, which is what digits is trained with here" in line
    assert "--range LOW,HIGH" in line
    assert "scales inputs by itself" not in line
    assert json.loads((tmp_path / "evaluation.json").read_text())["notes"] == said


@pytest.mark.parametrize("statements", [{"range": (0, 10)}, {"std": 25.5}], ids=str)
def test_a_stated_preparation_gives_the_models_own_accuracy(
    stranger: Path, accuracy: float, tmp_path: Path, statements: dict[str, Any]
) -> None:
    result = evaluate(stranger, "digits", out=tmp_path, **statements)
    assert result.scores.top1 == accuracy
    assert result.notes == ()


def test_the_order_of_the_outputs_is_that_of_the_labels(accuracy: float, tmp_path: Path) -> None:
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    classifier(order).save(tmp_path / "m.keras")
    result = evaluate(tmp_path / "m.keras", "digits", out=tmp_path, range=(0, 10), labels=[str(digit) for digit in order])
    assert result.scores.top1 == accuracy
    assert result.notes == (f"{tmp_path / 'm.keras'}: its classes are in another order than those of digits",)


def test_labels_are_matched_by_name() -> None:
    assert class_order(["b", "a"], ("a", "b"), "m", "d")[0] == [1, 0]
    assert class_order(None, ("a", "b"), "m", "d") == ([0, 1], ())
    order, (note,) = class_order(["cat", "dog"], ("cat", "dogs"), "m", "d")
    assert order == [0, 1]
    assert "output 1 is 'dog' there and 'dogs' here" in note
    with pytest.raises(UsageError, match="m: has 1 labels for 2 classes of d"):
        class_order(["a"], ("a", "b"), "m", "d")
    with pytest.raises(UsageError, match="m: d has other classes than it, and car is another output there"):
        class_order(["bike", "car", "dog"], ("car", "dog", "person"), "m", "d")


def test_a_layer_that_scales_is_mentioned(tmp_path: Path) -> None:
    classifier(list(range(10)), keras.layers.Rescaling(1 / 127.5, -1, name="scaling")).save(tmp_path / "m.keras")
    (line,) = evaluate(tmp_path / "m.keras", "digits", out=tmp_path, images=10).notes
    assert "its layer scaling scales inputs, so --range 0,255 may be right" in line


def test_a_conversion_keeps_what_is_stated(stranger: Path, digit_png: Path, tmp_path: Path) -> None:
    job = convert(stranger, tmp_path / "m.tflite", range=(0, 10), labels=[f"digit {label}" for label in LABELS])
    metadata = parse((tmp_path / "m.tflite").read_bytes()).metadata[card.NAME]
    written = card.parse(metadata, "m.tflite")
    assert written["preprocessing"] == Preprocessing(16, 16, 1, 0.0, 25.5).to_dict()
    (prediction,) = predict(tmp_path / "m.tflite", [digit_png])
    with Image.open(digit_png) as image:
        logits = keras.models.load_model(stranger).predict(own(np.asarray(image)[None, ..., None]), verbose=0)
    assert prediction.top[0][0] == f"digit {int(np.argmax(logits))}"
    assert job.report[0].details["notes"] == []
    with pytest.raises(UsageError, match="there are 2 labels for its 10 outputs"):
        convert(stranger, labels=["a", "b"])


def test_integers_are_predicted_too(data_folder: Path, digit_png: Path) -> None:
    path = data_folder / "int8.tflite"
    (prediction,) = predict(path, [digit_png], range=(-1, 1), top=10)
    image = Preprocessing(32, 32, 3, 127.5, 127.5).load(digit_png)
    wanted = Interpreter(path.read_bytes()).run_real(image[None])[0]
    assert [share for _, share in prediction.top] == sorted(wanted.astype(float).tolist(), reverse=True)[:10]


def test_the_commands(el_larq_here: Callable[..., CompletedProcess[str]], stranger: Path, digit_png: Path, tmp_path: Path) -> None:
    refused = el_larq_here("predict", stranger, digit_png)
    assert refused.returncode == 2
    assert "does not say how images are prepared for it; give --range LOW,HIGH" in refused.stderr
    (tmp_path / "labels.txt").write_text("\n".join(f"digit {label}" for label in LABELS))
    named = el_larq_here("predict", stranger, digit_png, "--range", "0,10", "--labels", tmp_path / "labels.txt", "--top", 1)
    assert named.returncode == 0, named.stderr
    assert "digit " in named.stdout
    both = el_larq_here("evaluate", stranger, "--range", "0,1", "--mean", "1")
    assert (both.returncode, both.stderr) == (
        2,
        "el-larq: --range replaces --mean and --std; give either --range or those\n",
    )
    assert "'1,2' is not 1 or 3 numbers" in el_larq_here("convert", stranger, "-o", "x.tflite", "--mean", "1,2").stderr
    warned = el_larq_here("evaluate", stranger, "--dataset", "digits", "-o", tmp_path / "e", "--images", 10, "--json")
    assert warned.stderr.startswith("warning: ")
    assert json.loads(warned.stdout)["notes"] == [warned.stderr.removeprefix("warning: ").rstrip("\n")]
