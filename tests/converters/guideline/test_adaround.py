"""The step `adaround`: which integers the file has, and what its layers then compute, against TensorFlow's own layers."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
import uneven

import el_larq
from el_larq.compression.noise import sqnr
from el_larq.converters.guideline import trials
from el_larq.converters.guideline.adaround import adaptive_roundings
from el_larq.converters.guideline.guideline_options import Guideline
from el_larq.converters.int8.calibrate import run_tensors
from el_larq.converters.int8.int8_file import Roundings, with_int8
from el_larq.converters.int8.int8_operators import KERNEL_AXES
from el_larq.converters.int8.quantized_file import quantize_file
from el_larq.converters.int8.single_operators import SingleOperators
from el_larq.converters.job import Job
from el_larq.errors import UsageError
from el_larq.tflite.reader import Operator, parse

IMAGES = 16


def _kernels(content: bytes) -> dict[int, np.ndarray]:
    """The integers of kernels, by the tensor of the layer's output."""
    found = {}
    for operator in parse(content).operators:
        if operator.name in KERNEL_AXES:
            assert operator.inputs[1] is not None
            found[operator.outputs[0].index] = operator.inputs[1].array().astype(int)
    return found


def _layers() -> keras.Model:
    keras.utils.set_random_seed(0)
    L, image = keras.layers, keras.Input((uneven.SIZE, uneven.SIZE, 3))
    x = L.Conv2D(6, 3, 2, "same", activation="relu")(image)
    x = L.DepthwiseConv2D(3, dilation_rate=2, padding="same", depth_multiplier=2)(x)
    x = L.ReLU(6.0)(L.Conv2D(8, (3, 2), padding="valid", groups=2)(x))
    return keras.Model(image, L.Dense(4)(L.Flatten()(x)))


def _computed(operator: Operator, x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A layer as TensorFlow computes it."""
    if operator.name == "FULLY_CONNECTED":
        return x @ kernel.T + bias
    options = operator.options
    padding = options["padding"].upper()
    if operator.name == "DEPTHWISE_CONV_2D":
        kernel = kernel.reshape(*kernel.shape[1:3], x.shape[-1], -1)
        y: Any = tf.nn.depthwise_conv2d(x, kernel, (1, *options["strides"], 1), padding, dilations=options["dilations"])
    else:
        y = tf.nn.conv2d(x, kernel.transpose(1, 2, 3, 0), options["strides"], padding, dilations=options["dilations"])
    low, high = {0: (-np.inf, np.inf), 1: (0, np.inf), 3: (0, 6)}[options["activation"]]
    return np.clip(y.numpy() + bias, low, high)


def test_each_layer_is_nearer_to_its_float_output_and_weights_move_by_one_step() -> None:
    content = el_larq.convert(_layers(), skip=("audit", "verify")).need_tflite()
    images = uneven.images(IMAGES)
    made, graph = quantize_file(content, images, "min-max"), parse(content)
    layers = {o.index: o for o in graph.operators if o.name in KERNEL_AXES}
    assert {o.name for o in layers.values()} == set(KERNEL_AXES)

    def write(roundings: Roundings) -> bytes:
        return with_int8(content, made.scales, made.affines, {}, roundings)

    roundings, reports = adaptive_roundings(content, write, layers, images)
    file = write(roundings)
    plain, chosen, single = _kernels(made.content), _kernels(file), SingleOperators(file, content)
    assert sum(one.weights for one in reports) == sum(kernel.size for kernel in chosen.values())
    sources = {o.outputs[0].index: o for o in parse(file).operators}
    for operator, one in zip(layers.values(), reports, strict=True):
        tensor = operator.outputs[0].index
        assert one.layer == operator.outputs[0].name
        assert np.abs(chosen[tensor] - plain[tensor]).max() == 1
        assert one.changed == np.count_nonzero(chosen[tensor] - plain[tensor])
        source, kernel = sources[tensor].inputs[:2]
        assert source is not None
        assert kernel is not None
        (given,) = next(iter(run_tensors(file, [source.index], [images]))).values()
        (exact,) = next(iter(run_tensors(content, [tensor], [images]))).values()
        bias = next((one.array() for one in operator.inputs[2:] if one is not None), np.zeros(exact.shape[-1], np.float32))
        noise = [
            sqnr(
                exact,
                _computed(operator, single.real(source.index, given), (single.steps(kernel) * integers).astype(np.float32), bias),
            )
            for integers in (plain[tensor], chosen[tensor])
        ]
        np.testing.assert_allclose([one.nearest, one.chosen], noise, atol=0.01)
        assert one.chosen > one.nearest


@pytest.fixture(scope="module")
def calibrate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("calibration") / "images.npy"
    np.save(path, uneven.images(IMAGES))
    return str(path)


def _coarse() -> keras.Model:
    """One large weight in each channel of the first layer makes the steps of the others coarse."""
    model = uneven.classifier()
    stem: Any = model.get_layer("stem")
    (kernel,) = stem.get_weights()
    kernel[0, 0, 0] = 16.0
    stem.set_weights([kernel])
    return model


def _quantize(calibrate: str, **arguments: Any) -> tuple[Job, dict[str, Any]]:
    job = el_larq.quantize(
        _coarse(), calibrate=calibrate, calibration_images=IMAGES, skip=("equalize", "absorb", "ranges"), **arguments
    )
    return job, next(entry.details for entry in job.report if entry.step == "quantize")


@pytest.fixture(scope="module")
def plain(calibrate: str) -> tuple[Job, dict[str, Any]]:
    return _quantize(calibrate)


def _changed(job: Job, other: Job) -> list[bool]:
    found = _kernels(job.need_tflite()), _kernels(other.need_tflite())
    return [bool(np.any(a != b)) for a, b in zip(*(kernels.values() for kernels in found), strict=True)]


def test_the_file_has_the_chosen_integers_of_the_chosen_layers_and_is_verified(
    calibrate: str, plain: tuple[Job, dict[str, Any]]
) -> None:
    job, found = _quantize(calibrate, adaround=("first", "last"))
    assert [one["step"] for one in found["effects"]] == ["minmax", "adaround", "bias"]
    assert "adaround" in found["steps"]
    names = list(found["effects"][0]["layers"])
    assert [one["layer"] for one in found["adaround"]] == [names[0], names[-1]]
    assert found["effects"][1]["sqnr"] > found["effects"][0]["sqnr"] + 1
    assert _changed(job, plain[0]) == [True, *[False] * 6, True]
    assert "each int8 operator within" in next(entry.summary for entry in job.report if entry.step == "verify")


def test_what_does_not_help_is_undone(calibrate: str, plain: tuple[Job, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(content: bytes, write: object, layers: Any, images: object) -> Any:
        return Roundings({o.index: np.ones(o.inputs[1].shape, bool) for o in parse(content).operators if o.index in layers}), []  # pyright: ignore[reportOptionalMemberAccess]

    monkeypatch.setattr(trials, "adaptive_roundings", wrong)
    job, found = _quantize(calibrate, adaround=("worst:2",))
    assert [one["kept"] for one in found["effects"] if one["step"] == "adaround"] == [False]
    assert not any(_changed(job, plain[0]))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"adaround": ("frist",)}, "unknown layers for adaround 'frist'; did you mean first"),
        ({"adaround": ("worst:0",)}, "adaround worst:0: N must be 1 or more"),
        ({"adaround": ("worst:many",)}, "adaround worst:many: N must be 1 or more"),
        ({"adaround": ("last",), "recipe": "minmax"}, "recipe minmax has none of the guideline's steps; omit --adaround"),
        ({"adaround": ("last",), "skip": ("adaround",)}, "adaround is asked for and skipped"),
    ],
)
def test_options_are_checked(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Guideline(**arguments)


def test_there_must_be_as_many_layers(calibrate: str) -> None:
    with pytest.raises(UsageError, match="--adaround worst:9: the model has 8 layers"):
        _quantize(calibrate, adaround=("worst:9",))
