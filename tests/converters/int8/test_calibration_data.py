"""Calibration data that do not fit, and conversions from the model to the card."""

import io
import json
from pathlib import Path
from typing import Any

import binary_models as models
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import el_larq
from el_larq import card
from el_larq.converters.int8.calibration_data import _of_file
from el_larq.converters.job import Options
from el_larq.data.dataset_registry import load_dataset
from el_larq.errors import ElLarqError, UsageError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return models.network(models.binary(32, "a"), models.norm("n", fan_in=288), image_channels=1)


def _convert(model: keras.Model, calibrate: Path | str, **options: Any) -> Any:
    arguments: dict[str, Any] = {"int8": "full", "calibration_images": 8, "verify_images": 8} | options
    return el_larq.convert(model, options=Options(calibrate=str(calibrate), **arguments), mean=128.0, std=64.0)


def _saved(tmp_path: Path, images: np.ndarray) -> Path:
    np.save(tmp_path / "images.npy", images)
    return tmp_path / "images.npy"


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (models.images(8, 8, 3), r"has the shape \(8, 8, 8, 3\); the model takes \(N, 8, 8, 1\)"),
        (np.zeros((8, 8, 8, 1), np.uint8), "values of uint8; give preprocessed inputs of the model, as float32"),
        (models.images(8, 8, 1) * 100, r"values of .* go from .*, but the model's inputs from -2 to 1.98; scale them"),
        (models.images(8, 8, 1).clip(0, 1) / 255, "scale them as the model's card says"),
        (models.images(7, 8, 1).clip(-2, 1.9), "has 7 images, fewer than the 8 to calibrate on"),
        (np.full((8, 8, 8, 1), np.nan, np.float32), "contains NaN or Inf"),
    ],
)
def test_data_that_do_not_fit_are_refused(model: keras.Model, tmp_path: Path, images: np.ndarray, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        _convert(model, _saved(tmp_path, images))


def test_an_assumed_preparation_is_a_warning() -> None:
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    options = Options(int8="full", calibrate="digits", calibration_images=8, verify_images=8)
    for stated, warned in (({"range": (0, 1)}, False), ({}, True)):
        job = el_larq.convert(model, options=options, **stated)  # pyright: ignore[reportCallIssue, reportArgumentType]
        said = next(entry.summary for entry in job.report if entry.step == "quantize")
        assert warned == ("warning: nothing says how images are prepared for the model; assumed: (x - " in said)


def test_images_that_are_all_equal_are_refused(model: keras.Model, tmp_path: Path) -> None:
    options = Options(int8="full", calibrate=str(_saved(tmp_path, np.ones((8, 8, 8, 1), np.float32))), calibration_images=8)
    with pytest.raises(UsageError, match="are equal, so they say nothing of ranges"):
        el_larq.convert(model, options=options)


def _archive() -> bytes:
    content = io.BytesIO()
    np.savez(content, images=np.zeros(1))
    return content.getvalue()


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"images",
        _archive(),
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (1"),
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 8, 8, 1), }"),
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 8, 8, 1), }"),
    ],
    ids=["empty", "text", "archive", "cut", "huge", "beyond int64"],
)
def test_a_file_that_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.npy").write_bytes(content)
    with pytest.raises(ElLarqError, match="cannot be read as an array"):
        _of_file(tmp_path / "images.npy", (8, 8, 1), None, 8)


def test_only_the_images_that_are_needed_are_read(tmp_path: Path) -> None:
    images = models.images(16, 8, 1)
    images[1] = np.nan
    np.testing.assert_array_equal(_of_file(_saved(tmp_path, images), (8, 8, 1), None, 4), images[[0, 5, 10, 15]])


def test_int8_ends_that_stay_float_are_refused(tmp_path: Path) -> None:
    image: Any = keras.Input((8, 8, 1), name="image")
    dense = keras.layers.Dense(10)(keras.layers.Flatten()(image))
    options = Options(int8="io", calibrate=str(_saved(tmp_path, models.images(8))), calibration_images=8)
    with pytest.raises(UsageError, match=r"quantize: output .* cannot be int8: SIN computes with it in float; use --int8 full"):
        el_larq.convert(keras.Model(image, tf.sin(dense)), options=options)
    dense = keras.layers.Dense(10)(keras.layers.Flatten()(tf.sin(image)))
    with pytest.raises(UsageError, match=r"quantize: input .* cannot be int8: SIN computes with it in float"):
        el_larq.convert(keras.Model(image, dense), options=options)


@pytest.mark.parametrize("int8", ["full", "io"])
def test_a_data_set_calibrates_and_the_card_says_so(model: keras.Model, tmp_path: Path, int8: str) -> None:
    out = tmp_path / "model.tflite"
    options = Options(int8=int8, calibrate="digits", calibration_images=16, verify_images=8)
    job = el_larq.convert(model, out, options=options)
    assert [entry.step for entry in job.report] == ["load", "fold", "lower", "quantize", "audit", "verify", "write"]
    details = next(entry.details for entry in job.report if entry.step == "quantize")
    json.dumps(details, allow_nan=False)
    assert details["calibration"] == {"dataset": "digits", "split": "train", "images": 16}
    assert details["float"] == []
    finite = [one["sqnr"] for one in details["tensors"] if one["sqnr"] is not None]
    assert finite == sorted(finite)
    graph = parse(out.read_bytes())
    assert json.loads(graph.metadata[card.NAME])["calibrated_on"] == details["calibration"]
    assert graph.inputs[0].type == ("int8" if int8 == "io" else "float32")
    images = load_dataset("digits", 8).test_images(16)[0]
    got, wanted = Interpreter(out.read_bytes()).run_real(images), model(images).numpy()
    assert np.abs(got - wanted).max() < 0.2 * np.abs(wanted).max()


def test_more_images_than_the_training_split_has_are_refused(model: keras.Model) -> None:
    with pytest.raises(UsageError, match=r"digits has [0-9,]+ images, fewer than the 100000 to calibrate on"):
        el_larq.convert(model, options=Options(int8="full", calibrate="digits", calibration_images=100_000))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"int8": "full"}, "--int8 full needs --calibrate"),
        ({"int8": "weights", "calibrate": "digits"}, "--calibrate is for --int8 full and io"),
        ({"calibrate": "digits"}, "--calibrate is for --int8 full and io"),
        ({"int8": "weights", "calibration_images": 8}, "--calibration-images is for --int8 full and io"),
        ({"ranges": "kl"}, "--ranges is for --int8 full and io"),
        ({"int8": "full", "calibrate": "digits", "views": "reshape"}, "--views is for files that compute in float32"),
        ({"int8": "io", "calibrate": "digits", "calibration_images": 0}, "at least 1 image"),
        ({"int8": "io", "calibrate": "digits", "ranges": "max"}, "unknown range estimator 'max'"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Options(**options)
