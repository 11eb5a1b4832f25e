"""`evaluate` warns of ranges that may be from the images that a model is scored on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from el_larq.converters.job import Options
from el_larq.converters.pipeline import convert
from el_larq.data.dataset_registry import load_dataset
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, UsageError
from el_larq.evaluation.calibration_overlap import calibration_notes, check_calibrated_on
from el_larq.evaluation.evaluate import evaluate

DIGITS = load_dataset("digits")


def _notes(said: str | None = None, card: dict[str, Any] | None = None, preprocessing: Preprocessing | None = None) -> str:
    view = DIGITS.test_view(np.arange(40))
    return "; ".join(calibration_notes(card or {}, said, DIGITS, view, preprocessing or DIGITS.preprocessing))


def _card(**source: str) -> dict[str, Any]:
    return {"calibrated_on": source}


def test_without_information_nothing_is_said() -> None:
    assert _notes() == ""
    assert _notes("digits") == ""  # its training split
    assert _notes(card=_card(dataset="digits")) == ""


def test_other_sources_are_named() -> None:
    assert "calibrated on photos; the score means little if" in _notes("photos")
    assert "calibrated on mine.npy; the score means little if" in _notes(card=_card(file="mine.npy"))
    assert _notes("digits", _card(dataset="photos")) == "its card says that it was calibrated on photos, not on digits"


def test_a_folder_is_the_same_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data: Any = SimpleNamespace(name=f"dir:{tmp_path}/pictures")
    how, view = DIGITS.preprocessing, DIGITS.test_view(np.arange(4))
    for said in ("dir:pictures", "dir:pictures/", "dir:./pictures,augment=shift"):
        assert calibration_notes({}, said, data, view, how) == ()
        assert calibration_notes(_card(dataset=said), None, data, view, how) == ()
        assert calibration_notes(_card(dataset="dir:pictures"), said, data, view, how) == ()
    assert "calibrated on dir:others" in calibration_notes({}, "dir:others", data, view, how)[0]


def test_the_images_of_a_file_are_compared_with_those_scored(tmp_path: Path) -> None:
    file = tmp_path / "calibration.npy"
    images = DIGITS.test_view(np.arange(60))[:]
    np.save(file, DIGITS.preprocessing.scale(images[30:]) * np.float32(1 + 1e-6))  # scaled by another program
    repeated = sum(image.tobytes() in {one.tobytes() for one in images[30:]} for image in images[:40])
    assert repeated >= 10
    assert f"calibrated on {repeated} of the 40 images that it is scored on" in _notes(str(file))
    np.save(file, DIGITS.preprocessing.scale(np.roll(images[40:], 1, axis=1)))
    assert "none of the 40 images was found in" in _notes(str(file), _card(file="calibration.npy"))


def test_images_of_three_channels_in_the_models_order_are_found(tmp_path: Path) -> None:
    view: Any = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    how = Preprocessing(16, 16, 3, mean=(103.9, 116.8, 123.7), std=(1.0, 2.0, 3.0), channel_order="bgr")
    file = tmp_path / "calibration.npy"
    np.save(file, how.scale(view[:5]))
    (note,) = calibration_notes({}, str(file), DIGITS, view, how)
    assert "on 5 of the 12 images" in note


def test_images_scaled_one_by_one_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"")
    how = Preprocessing(16, 16, 1, mean=None, std=None)
    assert "cannot be compared" in _notes(str(tmp_path / "x.npy"), preprocessing=how)


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    check_calibrated_on("shapes")  # of detectors
    with pytest.raises(UsageError, match=r"there is no file none\.npy"):
        check_calibrated_on("none.npy")
    with pytest.raises(UsageError, match="photo"):
        check_calibrated_on("photoz")
    file = tmp_path / "x.npy"
    file.write_bytes(b"no array")
    with pytest.raises(ElLarqError, match="cannot be read as an array"):
        _notes(str(file))
    np.save(file, np.zeros((3, 8, 8, 1), np.float32))
    with pytest.raises(UsageError, match="does not have float32 inputs of shape"):
        _notes(str(file))
    shape = DIGITS.preprocessing.input_shape
    np.save(file, np.zeros((0, *shape), np.float32))
    with pytest.raises(UsageError, match="contains no images"):
        _notes(str(file))
    np.save(file, np.full((2, *shape), np.nan, np.float32))
    with pytest.raises(UsageError, match="contains NaN or Inf"):
        _notes(str(file))


def test_evaluate_states_it(small: Any, tmp_path: Path) -> None:
    file = tmp_path / "calibration.npy"
    np.save(file, DIGITS.preprocessing.scale(DIGITS.test_view(np.arange(DIGITS.test_size))[:]))
    with pytest.raises(UsageError, match="does not compute with int8"):
        evaluate(small.tflite, out=tmp_path / "out", images=20, workers=1, calibrated_on=str(file))
    options = Options(int8="full", calibrate="digits", calibration_images=8, verify_images=8)
    convert(small.h5, tmp_path / "full.tflite", options=options)
    result = evaluate(tmp_path / "full.tflite", out=tmp_path / "out", images=20, workers=1, calibrated_on=str(file))
    assert any("calibrated on 20 of the 20 images" in note for note in result.notes)
    assert any("its card says that it was calibrated on digits" in note for note in result.notes)
