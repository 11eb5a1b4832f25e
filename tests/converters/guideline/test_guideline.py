"""`el_larq.quantize` and `el-larq quantize`: what the guideline rescues, keeps and refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import binary_models
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
import uneven

import el_larq
from el_larq.converters.guideline import guideline
from el_larq.converters.guideline.effects import Figures
from el_larq.converters.guideline.guideline_options import Guideline
from el_larq.converters.int8.int8_operators import KERNEL_AXES
from el_larq.converters.job import Job
from el_larq.errors import UsageError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

IMAGES = 16

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def calibrate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("calibration") / "images.npy"
    np.save(path, uneven.images(IMAGES))
    return str(path)


def _quantize(model: Any, calibrate: str, **arguments: Any) -> Job:
    return el_larq.quantize(model, calibrate=calibrate, calibration_images=IMAGES, **arguments)


def _details(job: Job) -> dict[str, Any]:
    return next(entry.details for entry in job.report if entry.step == "quantize")


@pytest.fixture(scope="module")
def job(calibrate: str) -> Job:
    return _quantize(uneven.uneven(), calibrate)


def test_channels_made_uneven_are_lost_with_extremes_and_rescued_by_the_guideline(job: Job, calibrate: str) -> None:
    found = _details(job)
    plain = _details(_quantize(uneven.uneven(), calibrate, recipe="minmax"))
    assert [one["step"] for one in plain["effects"]] == ["minmax"]
    assert plain["sqnr"] < 25
    assert found["sqnr"] > plain["sqnr"] + 15
    assert found["minmax"]["sqnr"] == pytest.approx(plain["sqnr"])
    assert found["discarded"] is None
    assert "int8 against float, on 16 calibration images: top-1 agrees for 100.0%" in job.report[-2].summary
    assert found["agreement"] == 1
    assert [one["step"] for one in found["effects"]] == ["minmax", "equalize", "absorb", "ranges", "bias"]
    assert found["effects"][0]["sqnr"] == pytest.approx(plain["sqnr"])
    assert found["steps"] == [one["step"] for one in found["effects"][1:] if one["kept"]]
    assert len(found["effects"][0]["layers"]) == 8


def test_all_operators_of_the_file_are_int8_and_plain_tflite_computes_the_same(job: Job) -> None:
    assert job.tflite is not None
    ends = [o.name for o in parse(job.tflite).operators if any(t.type == "float32" for t in o.outputs)]
    assert ends == ["DEQUANTIZE"]
    with pytest.warns(UserWarning, match="deprecated"):
        plain = tf.lite.Interpreter(model_content=job.tflite)
    plain.allocate_tensors()
    x = uneven.images(4, seed=1)
    (wanted,) = Interpreter(job.tflite).run(x)
    for image, outputs in zip(x, wanted, strict=True):
        plain.set_tensor(plain.get_input_details()[0]["index"], image[None])
        plain.invoke()
        np.testing.assert_allclose(plain.get_tensor(plain.get_output_details()[0]["index"])[0], outputs, atol=2 / 256)


def test_what_is_worse_on_all_images_is_undone(calibrate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(content: bytes, *_: object) -> dict[int, np.ndarray]:
        return {o.index: np.full(o.outputs[0].shape[-1], 1e3) for o in parse(content).operators if o.name in KERNEL_AXES}

    monkeypatch.setattr(guideline, "corrections", wrong)
    job = _quantize(uneven.uneven(), calibrate)
    found = _details(job)
    assert found["discarded"]["sqnr"] < found["sqnr"] == found["minmax"]["sqnr"] == pytest.approx(found["effects"][0]["sqnr"])
    assert found["steps"] == []
    assert "and were undone" in next(entry.summary for entry in job.report if entry.step == "quantize")


def test_fewer_equal_decisions_are_worse_beyond_chance() -> None:
    def figures(noise: float, *same: int) -> Figures:
        return Figures(noise, np.array(same, bool))

    assert figures(20, 1, 1).is_worse(figures(21, 0, 0))
    assert not figures(20, 1, 1).is_worse(figures(20, 1, 1))
    four, five = [0] * 4 + [1] * 5, [0] * 5 + [1] * 4
    assert not figures(21, *four).is_worse(figures(20, *[1] * 9))  # 4 of 4 is twice the square root of 4
    assert figures(21, *five).is_worse(figures(20, *[1] * 9))
    assert not figures(21, *five).is_worse(figures(20, *[1] * 8, 0))  # 5 against 1


def test_steps_are_skipped_and_the_worst_layers_stay_float(calibrate: str) -> None:
    job = _quantize(uneven.uneven(), calibrate, skip=("equalize", "absorb", "bias"), keep_float=2)
    found = _details(job)
    assert [one["step"] for one in found["effects"]] == ["minmax", "ranges"]
    assert len(found["kept_float"]) == 2
    assert job.tflite is not None
    kept = [o for o in parse(job.tflite).operators if o.name != "DEQUANTIZE" and o.outputs[0].type == "float32"]
    assert [o.outputs[0].name for o in kept] == found["kept_float"]
    assert found["sqnr"] > found["effects"][-1]["sqnr"]


def test_relu6_is_replaced_and_what_does_not_help_is_undone(calibrate: str) -> None:
    found = _details(_quantize(uneven.classifier(6.0, softmax=False), calibrate, bias="analytic"))
    effects = {one["step"]: one for one in found["effects"]}
    assert effects["relu6"]["note"] == "4 ReLU6 to ReLU"
    kept = [one["sqnr"] for one in found["effects"] if one["kept"] and one["step"] in ("minmax", "absorb", "ranges", "bias")]
    assert kept == sorted(kept)
    assert len({one["kept"] for one in found["effects"] if one["step"] in ("relu6", "equalize", "absorb")}) == 1


@pytest.mark.parametrize("softmax", [True, False])
def test_a_model_with_its_scaling_inside_is_quantized(tmp_path: Path, softmax: bool) -> None:
    image: Any = keras.Input((uneven.SIZE, uneven.SIZE, 3))
    inner = uneven.classifier(softmax=softmax)
    model = keras.Model(image, inner(keras.layers.Rescaling(1 / 64, -2.0)(image)))
    np.save(tmp_path / "bytes.npy", np.random.default_rng(0).integers(0, 256, (IMAGES, *image.shape[1:])).astype(np.float32))
    found = _details(_quantize(model, str(tmp_path / "bytes.npy")))
    assert found["sqnr"] > 15


def test_activations_too_small_for_the_6_of_their_relu6_are_quantized(calibrate: str) -> None:
    """As in an untrained network, whose normalizations do not keep values near 1: 6 is more than 2^31 steps."""
    keras.utils.set_random_seed(0)
    image = keras.Input((uneven.SIZE, uneven.SIZE, 3))
    small: Any = keras.initializers.RandomNormal(stddev=1e-10)
    x = keras.layers.ReLU(6.0)(keras.layers.Conv2D(4, 3, kernel_initializer=small)(image))
    x = keras.layers.ReLU(6.0)(keras.layers.DepthwiseConv2D(3)(x))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
    job = _quantize(model, calibrate, recipe="minmax")
    assert _details(job)["sqnr"] > 20
    assert job.tflite is not None
    assert [o.options["activation"] for o in parse(job.tflite).operators if o.name in KERNEL_AXES] == [1, 1, 0]


def test_images_that_are_scaled_otherwise_than_in_training_are_noticed(tmp_path: Path) -> None:
    image = keras.Input((uneven.SIZE, uneven.SIZE, 3))
    x = keras.layers.BatchNormalization(momentum=0.0, name="norm")(keras.layers.Conv2D(4, 3, use_bias=False)(image))
    model: Any = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))))
    images = uneven.images(IMAGES)
    np.save(tmp_path / "scaled.npy", images)
    np.save(tmp_path / "bytes.npy", 127.5 * (images + 1))
    np.save(tmp_path / "dim.npy", images / 4)
    warnings = {}
    for trained in (False, True):
        for name in ("scaled", "bytes", "dim"):
            job = _quantize(model, str(tmp_path / f"{name}.npy"), recipe="minmax")
            warnings[trained, name] = _details(job)["warning"]
            assert "warning: the calibration images are unlike" in job.report[3].summary or not warnings[trained, name]
        model(images, training=True)
    assert [name for (_, name), text in warnings.items() if text] == ["bytes", "dim"]
    assert "at norm, they have 1.6e+04 times the variance of the training" in warnings[True, "bytes"]


def test_operators_without_an_int8_form_are_named(calibrate: str) -> None:
    image = keras.Input((uneven.SIZE, uneven.SIZE, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(keras.activations.softplus(x))))
    with pytest.raises(UsageError, match=r"quantize: EXP.*has no int8 form.*convert --int8 full keeps such operators float"):
        _quantize(model, calibrate)


def test_a_binary_network_is_sent_to_convert(tmp_path: Path) -> None:
    model = binary_models.network(binary_models.binary(32, "a"), binary_models.norm("n", fan_in=288), image_channels=1)
    np.save(tmp_path / "images.npy", binary_models.images(IMAGES, 8, 1))
    with pytest.raises(UsageError, match="quantize: the model has 1 binary convolution; use el-larq convert --int8 full"):
        _quantize(model, str(tmp_path / "images.npy"))


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (np.full((IMAGES, uneven.SIZE, uneven.SIZE, 3), np.nan, np.float32), "contains NaN or Inf"),
        (np.zeros((IMAGES, 8, 8, 3), np.float32), r"has the shape \(16, 8, 8, 3\); the model takes \(N, 12, 12, 3\)"),
    ],
)
def test_calibration_data_that_do_not_fit_are_refused(tmp_path: Path, images: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "images.npy", images)
    with pytest.raises(UsageError, match=reason):
        _quantize(uneven.uneven(), str(tmp_path / "images.npy"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"recipe": "best"}, "unknown recipe 'best'"),
        ({"skip": ("bais",)}, "unknown step 'bais'; did you mean bias"),
        ({"recipe": "minmax", "skip": ("bias",)}, "recipe minmax has none of the guideline's steps"),
        ({"keep_float": -1}, "must be 0 or more"),
        ({"bias": "exact"}, "unknown kind of bias correction"),
        ({"kernel_bits": 2}, "kernel_bits must be 8 or 4; got 2"),
        ({"kernel_bits": 4, "adaround": ("worst:1",)}, "adaround worst:N rounds to 8 bits"),
    ],
)
def test_options_are_checked(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Guideline(**arguments)


def test_more_layers_than_there_are_cannot_stay_float(calibrate: str) -> None:
    with pytest.raises(UsageError, match="--keep-float 9: the model has 8 layers"):
        _quantize(uneven.uneven(), calibrate, keep_float=9)


def test_the_command_shows_what_each_step_bought(el_larq_here: Command, tmp_path: Path, calibrate: str) -> None:
    uneven.uneven().save(tmp_path / "model.keras")
    options = ["--calibrate", calibrate, "--calibration-images", IMAGES]
    result = el_larq_here("quantize", tmp_path / "model.keras", "-o", tmp_path / "model.tflite", *options, "--adaround", "first")
    assert result.returncode == 0, result.stderr
    for text in ("What each step bought, on 16 calibration images", "equalize", "1 layer, ", "Layers with the most noise"):
        assert text in result.stdout
    shown = el_larq_here("inspect", tmp_path / "model.tflite", "--json")
    assert json.loads(shown.stdout)
    result = el_larq_here("quantize", tmp_path / "model.keras", "-o", tmp_path / "b.tflite", *options, "--skip", "what")
    assert result.returncode == 2
    assert "unknown step 'what'" in result.stderr
    assert not (tmp_path / "b.tflite").exists()


def test_a_model_with_several_outputs_or_with_time_in_the_first_dimension_is_refused(calibrate: str, tmp_path: Path) -> None:
    image = keras.Input((12, 12, 3))
    y = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="relu")(image))
    with pytest.raises(UsageError, match="the model has 2 outputs"):
        _quantize(keras.Model(image, [keras.layers.Dense(3)(y), keras.layers.Dense(2)(y)]), calibrate)
    frames = keras.Input((4, 12, 12, 3))
    y = keras.layers.TimeDistributed(keras.layers.Conv2D(4, 3, activation="relu"))(frames)
    np.save(tmp_path / "frames.npy", np.random.default_rng(0).normal(size=(IMAGES, 4, 12, 12, 3)).astype(np.float32))
    with pytest.raises(UsageError, match="layers inside TimeDistributed are not supported"):
        _quantize(keras.Model(frames, keras.layers.Dense(3)(keras.layers.Flatten()(y))), str(tmp_path / "frames.npy"))


def test_a_single_output_decides_by_its_sign_and_noise_without_a_signal_is_not_exact() -> None:
    from el_larq.converters.guideline.effects import NOISE_ONLY, Effect, decisions

    np.testing.assert_array_equal(decisions(np.array([[-1.0], [2.0]])), [[False], [True]])
    np.testing.assert_array_equal(decisions(np.array([[-1.0, 3.0], [2.0, 1.0]])), [1, 0])
    said = Effect("minmax", "", True, np.inf, 1.0, {"dead": -np.inf, "exact": np.inf, "some": 20.0}).to_dict()
    assert said["sqnr"] is None
    assert said["layers"] == {"dead": NOISE_ONLY, "exact": None, "some": 20.0}
