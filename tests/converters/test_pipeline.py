from pathlib import Path
from typing import Any

import binary_models as models
import pytest

import el_larq
from el_larq import card
from el_larq.converters.job import Entry, Options
from el_larq.converters.steps import ON_REQUEST, STEPS, check_skip
from el_larq.errors import ElLarqError, UsageError
from el_larq.tflite.reader import parse


def _model() -> Any:
    return models.network(models.binary(32, "conv"), models.norm("norm", fan_in=288))


def test_steps_run_in_order_and_say_what_they_did(small: Any) -> None:
    assert [entry.step for entry in small.job.report] == [step for step in STEPS if step not in ON_REQUEST]
    for entry in small.job.report:
        assert entry.seconds >= 0
        assert entry.summary
        assert "\n" not in entry.summary
        assert entry.details


def test_each_step_is_announced_when_it_is_done() -> None:
    entries: list[Entry] = []
    job = el_larq.convert(_model(), notify=entries.append, options=Options(verify_images=4))
    assert tuple(entries) == job.report


def test_a_model_in_memory_is_converted_with_the_card_it_is_given() -> None:
    job = el_larq.convert(_model(), card={"labels": ["a", "b"]}, options=Options(verify_images=4))
    assert job.destination is None
    assert job.tflite is not None
    written = card.parse(parse(job.tflite).metadata[card.NAME], "memory")
    assert written["labels"] == ["a", "b"]
    assert written["source_sha256"] is None


def test_a_saved_model_folder_is_converted(small: Any, tmp_path: Path) -> None:
    job = el_larq.convert(small.saved_model, tmp_path / "model.tflite", options=Options(verify_images=16, verify_on="digits"))
    assert job.report[5].details["data"] == "digits"
    assert (tmp_path / "model.tflite").read_bytes() == job.tflite


def test_a_keras_file_gives_the_same_flatbuffer_as_the_h5(small: Any) -> None:
    from el_larq.tflite.interpreter import Interpreter

    job = el_larq.convert(small.keras, options=Options(verify_images=8))
    assert job.tflite is not None
    x = models.images(4, 16)
    assert (Interpreter(job.tflite).run(x)[0] == Interpreter(small.tflite.read_bytes()).run(x)[0]).all()


def test_a_model_of_open_size_is_converted_at_the_size_given() -> None:
    import tf_keras as keras

    image = keras.Input((None, None, 1), name="image")
    x = models.norm("n")(models.binary(32, "conv")(keras.layers.Conv2D(32, 3, name="stem")(image)))
    model = keras.Model(image, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)), name="open")
    job = el_larq.convert(model, options=Options(image_size=8, verify_images=4))
    assert parse(job.tflite or b"").inputs[0].shape == (1, 8, 8, 1)
    assert job.report[4].details["binary"] == 1
    with pytest.raises(ElLarqError, match="--image-size"):
        el_larq.convert(model)


@pytest.mark.parametrize("skip", [("audit",), ("verify",), ("audit", "verify")])
def test_checks_can_be_skipped(skip: tuple[str, ...]) -> None:
    job = el_larq.convert(_model(), skip=skip, options=Options(verify_images=4))
    assert [entry.step for entry in job.report] == [step for step in STEPS if step not in (*skip, *ON_REQUEST)]
    written = card.parse(parse(job.tflite or b"").metadata[card.NAME], "memory")
    assert (written["verified"] is None) == ("verify" in skip)


@pytest.mark.parametrize("step", ["load", "lower", "write"])
def test_what_makes_the_file_cannot_be_skipped(step: str) -> None:
    with pytest.raises(UsageError, match=f"{step!r} cannot be skipped; these can: fold, arrange, audit, verify"):
        check_skip((step,))


def test_an_unknown_step_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown step 'verfy'; did you mean verify"):
        el_larq.convert(tmp_path / "no_such_model.h5", skip=("verfy",))


def test_a_failing_audit_stops_the_conversion_and_an_allowed_one_does_not(tmp_path: Path) -> None:
    model = models.network(models.binary(32, "conv", pad_values=0.5), models.norm("n", fan_in=288))
    with pytest.raises(ElLarqError, match=r"\[not-binary\] conv"):
        el_larq.convert(model, tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []
    el_larq.convert(model, tmp_path / "model.tflite", options=Options(allow=("not-binary",), verify_images=4))
    assert (tmp_path / "model.tflite").is_file()


def test_a_model_that_lce_cannot_load_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scale of shape (1, 1, 1, C) behind a binary convolution converts as it is, and then does not load."""
    import numpy as np
    import tf_keras as keras

    @keras.utils.register_keras_serializable("el_larq_tests")
    class WideScale(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * np.linspace(1, 2, 32, dtype=np.float32).reshape(1, 1, 1, 32)

    model = models.network(models.binary(32, "conv"), WideScale(), models.norm("n"))
    el_larq.convert(model, skip=("fold",), options=Options(verify_images=4))
    monkeypatch.setattr("el_larq.converters.lower.with_views", lambda model: model)
    with pytest.raises(ElLarqError, match=r"\[scale-rank\].*refuses to load") as caught:
        el_larq.convert(model, skip=("fold",))
    assert "\n" not in str(caught.value)


def test_each_job_is_a_changed_copy(small: Any) -> None:
    with pytest.raises(AttributeError):
        small.job.tflite = b""
    assert small.job.original is not None
    assert small.job.model is not small.job.original
