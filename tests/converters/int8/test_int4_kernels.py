"""`quantize --kernel-bits 4`: a network of each kind of layer whose kernels have learned steps, and what others cost."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
import uneven

import el_larq
from el_larq import card
from el_larq.converters.int8.int8_comparison import compare_int8
from el_larq.converters.job import Job
from el_larq.converters.rewrite import pack, unpack
from el_larq.errors import ElLarqError, UsageError
from el_larq.inspection.inspect import inspect
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import Operator, parse
from el_larq.training.int8_aware import Simulation

IMAGES = 8
INNER = ("pointwise", "grouped", "dilated", "depthwise")

Command = Callable[..., CompletedProcess[str]]


def _network() -> Any:
    keras.utils.set_random_seed(3)
    layers = {
        "first": keras.layers.Conv2D(6, 3, use_bias=False),
        "pointwise": keras.layers.Conv2D(4, 1, use_bias=False),
        "grouped": keras.layers.Conv2D(6, 3, groups=2, use_bias=False),
        "dilated": keras.layers.Conv2D(5, 3, dilation_rate=2, padding="same"),
        "depthwise": keras.layers.DepthwiseConv2D(3, strides=2, use_bias=False),
    }
    x = image = keras.Input((10, 10, 3))
    for name, layer in layers.items():
        layer._name = name
        x = layer(x)
        norm = keras.layers.BatchNormalization(name=f"{name}_norm")
        x = keras.layers.ReLU()(norm(x))
        numbers = np.random.default_rng(len(name))
        norm.set_weights(
            [numbers.uniform(0.5, 2, v.shape) * numbers.choice([-1, 1], v.shape) ** (i < 2) for i, v in enumerate(norm.weights)]
        )
    x = keras.layers.Dense(7, activation="relu", name="dense")(keras.layers.Flatten()(x))
    return keras.Model(image, keras.layers.Dense(3, name="last")(x))


def _folded(layer: Any, network: Any) -> np.ndarray:
    """The kernel with its normalization folded into it, the output channels last."""
    kernel, norm = layer.get_weights()[0], network.get_layer(f"{layer.name}_norm")
    gamma, _, _, variance = norm.get_weights()
    factors = gamma.astype(np.float64) / np.sqrt(variance + norm.epsilon)
    return kernel.reshape(*kernel.shape[:2], -1, len(factors)) * factors


def _layers(job: Job) -> list[Operator]:
    assert job.tflite is not None
    return [o for o in parse(job.tflite).operators if o.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")]


def _stored(job: Job, operator: Operator) -> tuple[np.ndarray, np.ndarray]:
    """The kernel's integers, the output channels last, and the step of each."""
    kernel = operator.inputs[1]
    assert kernel is not None
    steps = unpack(job.tflite or b"").subgraphs[0].tensors[kernel.index].quantization.scale.astype(np.float64)
    values = kernel.array()
    return (values[0][:, :, None] if operator.name == "DEPTHWISE_CONV_2D" else np.moveaxis(values, 0, -1)), steps


@pytest.fixture(scope="module")
def calibrate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("calibration") / "images.npy"
    np.save(path, _images())
    return str(path)


def _images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(IMAGES, 10, 10, 3)).astype(np.float32)


def _quantize(model: Any, calibrate: str, **arguments: Any) -> Job:
    return el_larq.quantize(model, calibrate=calibrate, calibration_images=IMAGES, kernel_bits=4, **arguments)


def _details(job: Job) -> dict[str, Any]:
    return next(entry.details for entry in job.report if entry.step == "quantize")


@pytest.fixture(scope="module")
def learned() -> tuple[Any, dict[str, np.ndarray]]:
    """A network with the kernels that a training with 4 bits leaves, and their integers, the output channels last."""
    network = _network()
    simulation = Simulation(network, 4, "learned")
    integers = {}
    with simulation:
        simulation.calibrate(network, [(_images(),)])
        simulation.store_kernels()
    for name in INNER:
        ((_, kernel),) = simulation._kernels[network.get_layer(name)].items()
        steps, values = np.exp(kernel.variables[0].numpy()), network.get_layer(name).get_weights()[0]
        integers[name] = np.round(values / steps).reshape(*values.shape[:2], -1, steps.size)
        assert np.abs(integers[name]).max() == 7
    return network, integers


@pytest.fixture(scope="module")
def job(learned: tuple[Any, dict[str, np.ndarray]], calibrate: str, tmp_path_factory: pytest.TempPathFactory) -> Job:
    trained: Any = {"trained_with": {"qat_bits": 4}}
    return _quantize(learned[0], calibrate, destination=tmp_path_factory.mktemp("int4") / "model.tflite", card=trained)


def test_learned_steps_and_integers_are_those_of_the_file(job: Job, learned: tuple[Any, dict[str, np.ndarray]]) -> None:
    network, integers = learned
    operators = _layers(job)
    assert [o.inputs[1].type for o in operators if o.inputs[1]] == ["int8", *["int4"] * 4, "int8", "int8"]
    for name, operator in zip(INNER, operators[1:5], strict=True):
        stored, steps = _stored(job, operator)
        wanted = _folded(network.get_layer(name), network)
        np.testing.assert_allclose(stored * steps, wanted, rtol=1e-6, atol=1e-9)
        signs = np.sign(stored * integers[name]).sum(axis=(0, 1, 2))  # of channels with a negative gamma, the opposite
        assert (np.abs(stored) == np.abs(integers[name])).mean() > 0.9  # other channels are multiples of a larger step
        assert np.all(np.abs(signs) == (stored != 0).sum(axis=(0, 1, 2)))
    found = _details(job)
    assert found["untrained_int4_kernels"] == []
    assert found["with_int8_kernels"] is None
    assert not {"relu6", "equalize"} & {one["step"] for one in found["effects"]}
    assert "4 kernels as int4" in next(entry.summary for entry in job.report if entry.step == "quantize")


def test_plain_tflite_computes_the_same(job: Job) -> None:
    assert job.tflite is not None
    with pytest.warns(UserWarning, match="deprecated"):
        plain = tf.lite.Interpreter(model_content=job.tflite)
    plain.allocate_tensors()
    (wanted,) = Interpreter(job.tflite).run(_images(1))
    for image, outputs in zip(_images(1), wanted, strict=True):
        plain.set_tensor(plain.get_input_details()[0]["index"], image[None])
        plain.invoke()
        got = plain.get_tensor(plain.get_output_details()[0]["index"])[0]
        np.testing.assert_allclose(got, outputs, atol=0.02 * np.abs(wanted).max())  # a few steps of 1/255 of the range


def test_the_file_says_how_many_bits_it_has(job: Job) -> None:
    assert job.destination is not None
    stated = card.parse(parse(job.destination.read_bytes()).metadata[card.NAME], "the file")
    assert stated["quantized_by"]["kernel_bits"] == 4
    (note,) = card.notes_of_bits(stated)
    assert "the file has its int4 kernels" in note
    assert note in job.report[0].summary
    inspected = inspect(job.destination)
    weights = [o.inputs[1].elements for o in _layers(job)[1:5] if o.inputs[1]]
    assert inspected.predicted["4-bit weights"] == sum(-(-number // 2) for number in weights)
    assert any(f"4 kernels as int4, {sum(weights):,} weights in " in text for text in inspected.notes)


def test_a_changed_int4_kernel_is_noticed(job: Job) -> None:
    assert job.tflite is not None
    assert job.quantized is not None
    kernel = _layers(job)[2].inputs[1]
    assert kernel is not None
    model = unpack(job.tflite)
    buffer = model.buffers[model.subgraphs[0].tensors[kernel.index].buffer]
    buffer.data = np.asarray(buffer.data, np.uint8) ^ np.eye(1, len(buffer.data), dtype=np.uint8)[0]
    with pytest.raises(ElLarqError, match=r"verify: constant c\d+ of operator 2 \(CONV_2D\) is stored wrongly"):
        compare_int8(replace(job.quantized, content=pack(model)), job.quantized.source, [_images()])


def test_kernels_that_were_not_trained_so_are_warned_of_and_compared(calibrate: str) -> None:
    job = _quantize(_network(), calibrate)
    found = _details(job)
    assert len(found["untrained_int4_kernels"]) == len(found["int4_kernels"]) == 4
    assert found["with_int8_kernels"]["sqnr"] > found["sqnr"]
    summary = next(entry.summary for entry in job.report if entry.step == "quantize")
    assert "warning: 4 of them were not trained with 4 bits, so they are rounded; with int8 kernels, top-1 agrees" in summary


def test_a_model_without_such_a_convolution_is_refused(calibrate: str) -> None:
    image = keras.Input((10, 10, 3))
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Dense(5, activation="relu")(x)))
    with pytest.raises(UsageError, match="no kernel of the model can have 4 bits: that takes a convolution"):
        _quantize(model, calibrate)


def test_the_command(el_larq_here: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", uneven.images(16))
    uneven.uneven().save(tmp_path / "model.keras")
    options = ["--calibrate", tmp_path / "images.npy", "--calibration-images", 16, "--recipe", "minmax", "--json"]
    done = el_larq_here("quantize", tmp_path / "model.keras", "-o", tmp_path / "a.tflite", *options, "--kernel-bits", 4)
    assert done.returncode == 0, done.stderr
    predicted = inspect(tmp_path / "a.tflite").predicted
    assert predicted["4-bit weights"] > predicted["8-bit weights"] > 0
    done = el_larq_here("quantize", tmp_path / "model.keras", "-o", tmp_path / "b.tflite", *options, "--kernel-bits", 2)
    assert done.returncode == 2
    assert "'2' is not one of '8', '4'" in done.stderr
