import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from PIL import Image

import el_larq
from el_larq import card
from el_larq.converters.rewrite import with_metadata
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError
from el_larq.evaluation.predict import find_images, predict


@pytest.mark.parametrize("form", ["h5", "keras", "tflite"])
def test_probabilities_are_the_softmax_of_the_logits_best_first(small: Any, digit_png: Path, form: str) -> None:
    (prediction,) = predict(getattr(small, form), [digit_png], top=10)
    image = el_larq.load_dataset("digits").preprocessing.load(digit_png)
    logits = np.asarray(small.model(image[None]))[0].astype(np.float64)
    wanted = np.exp(logits) / np.exp(logits).sum()
    labels, probabilities = zip(*prediction.top, strict=True)
    assert list(labels) == [str(index) for index in np.argsort(-wanted, kind="stable")]
    np.testing.assert_allclose(probabilities, np.sort(wanted)[::-1], atol=1e-4)
    assert prediction.image == str(digit_png)


@pytest.fixture(scope="module")
def ends_in_softmax(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same classifier, which puts out probabilities."""
    import tf_keras as keras

    from el_larq.training.models import save_model

    folder = tmp_path_factory.mktemp("softmax")
    model = keras.Model(small.model.inputs, keras.layers.Softmax()(small.model.outputs[0]), name="probabilities")
    save_model(folder, model, small.card)
    return folder / "model.h5"


def test_probabilities_of_a_model_that_ends_in_softmax_stay(small: Any, ends_in_softmax: Path, digit_png: Path) -> None:
    (wanted,), (got,) = (predict(model, [digit_png], top=10) for model in (small.h5, ends_in_softmax))
    assert [label for label, _ in got.top] == [label for label, _ in wanted.top]
    np.testing.assert_allclose([share for _, share in got.top], [share for _, share in wanted.top], atol=1e-5)


def test_an_output_that_is_not_finite_is_refused(small: Any, tmp_path: Path, digit_png: Path) -> None:
    import tf_keras as keras

    from el_larq.training.models import save_model

    save_model(tmp_path, keras.Model(small.model.inputs, small.model.outputs[0] * float("nan")), small.card)
    with pytest.raises(ElLarqError, match=r"model\.h5: its output is NaN or Inf"):
        predict(tmp_path / "model.h5", [digit_png])


def test_keras_and_tflite_agree_on_every_image(small: Any, tmp_path: Path) -> None:
    data = el_larq.load_dataset("digits")
    paths: list[str | Path] = []
    for index in range(0, 400, 40):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(data.test.images[index, ..., 0]).save(paths[-1])
    for one, other in zip(predict(small.h5, paths), predict(small.tflite, paths), strict=True):
        assert one.top[0][0] == other.top[0][0]
        assert one.image == other.image


def test_top_limits_the_classes(small: Any, digit_png: Path) -> None:
    assert len(predict(small.tflite, [digit_png], top=1)[0].top) == 1
    assert len(predict(small.tflite, [digit_png], top=99)[0].top) == 10


def test_images_of_any_size_and_colour_are_prepared(small: Any, tmp_path: Path) -> None:
    modes = ("RGB", "RGBA", "L", "P", "1", "CMYK")
    paths: list[str | Path] = [tmp_path / (f"{mode}.tiff" if mode == "CMYK" else f"{mode}.png") for mode in modes]
    for mode, path in zip(modes, paths, strict=True):
        Image.new(mode, (37, 21)).save(path)
    assert [len(prediction.top) for prediction in predict(small.tflite, paths)] == [5] * len(modes)


def _with_card(small: Any, path: Path, **changes: Any) -> Path:
    content = {**small.card, **changes}
    path.write_bytes(with_metadata(small.tflite.read_bytes(), card.NAME, json.dumps(content).encode()))
    return path


def test_a_model_without_labels_gives_numbers(small: Any, tmp_path: Path, digit_png: Path) -> None:
    path = _with_card(small, tmp_path / "model.tflite", labels=None)
    assert predict(path, [digit_png])[0].top[0][0].isdigit()


@pytest.mark.parametrize("labels", [["only", "two"], "text", 3, [1] * 10], ids=str)
def test_labels_that_do_not_fit_the_model_are_named(small: Any, tmp_path: Path, digit_png: Path, labels: Any) -> None:
    path = _with_card(small, tmp_path / "model.tflite", labels=labels)
    with pytest.raises(ElLarqError, match=r"model\.tflite: .*labels"):
        predict(path, [digit_png], top=10)


def test_preprocessing_of_another_size_than_the_model_is_named(small: Any, tmp_path: Path, digit_png: Path) -> None:
    other = Preprocessing(8, 8, 1).to_dict()
    path = _with_card(small, tmp_path / "model.tflite", preprocessing=other)
    with pytest.raises(ElLarqError, match=r"model\.tflite: takes inputs of shape \(16, 16, 1\); its card says \(8, 8, 1\)"):
        predict(path, [digit_png])
    from el_larq.training.models import save_model

    save_model(tmp_path, small.model, {**small.card, "preprocessing": other})
    with pytest.raises(ElLarqError, match=r"model\.h5: "):
        predict(tmp_path / "model.h5", [digit_png])


def test_a_model_without_a_card_is_refused(data_folder: Path, digit_png: Path) -> None:
    with pytest.raises(ElLarqError, match=r"float\.tflite: does not say how images are prepared"):
        predict(data_folder / "float.tflite", [digit_png])


def test_files_that_are_missing_are_named(small: Any, tmp_path: Path, digit_png: Path) -> None:
    with pytest.raises(ElLarqError, match=r"missing\.tflite"):
        predict(tmp_path / "missing.tflite", [digit_png])
    with pytest.raises(ElLarqError, match=r"missing\.png"):
        predict(small.tflite, [tmp_path / "missing.png"])


def test_a_corrupt_image_does_not_hide_the_results_of_the_others(
    small: Any, digit_png: Path, tmp_path: Path, el_larq_here: Callable[..., CompletedProcess[str]]
) -> None:
    inside = tmp_path / "pictures" / "deeper"
    inside.mkdir(parents=True)
    for name in ("a.png", "deeper/b.png"):
        (tmp_path / "pictures" / name).write_bytes(digit_png.read_bytes())
    (inside / "corrupt.png").write_bytes(digit_png.read_bytes()[:60])
    (inside / "notes.txt").write_text("not an image, and not named as one")
    result = el_larq_here("predict", small.tflite, digit_png, tmp_path / "pictures", "--top", 1)
    assert result.returncode == 1
    shown = [line for line in result.stdout.splitlines() if not line.startswith("  ")]
    assert shown == [str(digit_png), str(tmp_path / "pictures" / "a.png"), str(inside / "b.png")]
    named, failure = result.stderr.splitlines()
    assert named.startswith(f"left out: {inside / 'corrupt.png'}: ")
    assert failure == "el-larq: 1 of 4 images cannot be read; the results are those of the others"

    listed = el_larq_here("predict", small.tflite, tmp_path / "pictures", "--json")
    assert listed.returncode == 1
    assert [sorted(entry) for entry in json.loads(listed.stdout)] == [["image", "top"], ["image", "top"], ["error", "image"]]

    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"nothing")
    nothing = el_larq_here("predict", small.tflite, tmp_path / "pictures")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr.endswith("el-larq: 3 of 3 images cannot be read\n")
    named = el_larq_here("predict", small.tflite, tmp_path / "pictures", "--json")
    assert (named.returncode, json.loads(named.stderr)["error"]) == (1, "3 of 3 images cannot be read")
    assert all(entry["error"].startswith(f"{entry['image']}: ") for entry in json.loads(named.stdout))
    assert len(json.loads(named.stdout)) == 3


def test_a_folder_without_images_is_named(small: Any, tmp_path: Path, el_larq_here: Callable[..., CompletedProcess[str]]) -> None:
    result = el_larq_here("predict", small.tflite, tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"el-larq: {tmp_path}: a folder without images; known suffixes: .jpg")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ElLarqError, match=f"^cannot read the folder {tmp_path}: Permission denied$"):
        find_images([tmp_path])


def test_a_folder_stands_for_its_images(small: Any, digit_png: Path) -> None:
    assert [found.image for found in predict(small.tflite, [digit_png.parent])] == [str(digit_png)]
