"""int8-aware training: what is rounded, ranges, exact resume, and a plain model at the end, which convert takes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from conftest import BATCH, lines
from watched import kill_at

import el_larq
from el_larq.compression.affine import Affine
from el_larq.compression.symmetric import channel_scales, dequantize, quantize
from el_larq.converters.job import Options
from el_larq.converters.pipeline import convert
from el_larq.data.in_memory import InMemory
from el_larq.errors import UsageError
from el_larq.tflite.reader import parse
from el_larq.training.int8_aware import RATE, Simulation, rounded_outputs
from el_larq.training.recipe import Recipe
from el_larq.training.recipes import RECIPES
from el_larq.training.train import Trained, resume
from el_larq.training.training_plan import make_plan

RECIPE = Recipe("int8", "", epochs=3, batch_size=BATCH, learning_rate=1e-2, qat_bits=8)


@pytest.fixture(scope="module")
def notes() -> list[str]:
    """What the user is told at the start of `trained`."""
    return []


@pytest.fixture(scope="module")
def trained(start: Any, tmp_path_factory: pytest.TempPathFactory, notes: list[str]) -> Trained:
    return start(tmp_path_factory.mktemp("int8") / "run", recipe=RECIPE, notify=notes.append)


def _network(name: str, method: str) -> keras.Model:
    return el_larq.build(name, method, input_shape=(16, 16, 1), num_classes=4, width=0.0625)


def _layer(network: keras.Model, name: str) -> Any:
    return network.get_layer(name)


def _names(network: keras.Model) -> dict[str, bool]:
    return {layer.name: signs for layer, signs in rounded_outputs(network).items()}


def test_outputs_are_rounded_where_a_file_has_int8_tensors() -> None:
    """Behind folded normalizations, links and shortcuts, pools and the classifier. What feeds a sign has the offset."""
    found = _names(_network("resnet26", "el"))
    block = {name.removeprefix("stage1_block1_"): signs for name, signs in found.items() if name.startswith("stage1_block1_")}
    assert block == {
        "conv1_norm": False,
        "conv1_link": True,
        "conv2_norm": False,
        "conv2_link": True,
        "conv3_norm": False,
        "conv3_link": False,
        "conv3_shortcut": True,
        "downsample_norm": False,
    }
    assert found["stem_conv_norm"]
    assert not found["pool"]
    assert not found["logits"]
    assert "stem_conv" not in found


def test_a_relu_is_fused_and_pools_pass_values_on() -> None:
    found = _names(_network("quicknet", "binary"))
    assert "transition1_relu" in found
    assert not {"stage1_block4_shortcut", "transition1_pool", "transition1_conv", "stage4_block4_shortcut"} & set(found)
    assert "transition1_norm" in found


def test_no_offset_where_a_file_cannot_have_it() -> None:
    found = _names(_network("resnet18", "reactnet"))
    assert {found[f"stage1_block1_conv1_{name}"] for name in ("shift", "link", "rprelu", "norm")} == {False}
    assert not any(found.values())


@pytest.mark.parametrize(
    ("name", "method"),
    [
        pytest.param("quicknet", "binary", marks=pytest.mark.slow),  # an addition in front of a ReLU cannot take an offset
        ("mobilenet", "el"),  # nor a convolution with zeros around its input
        pytest.param("resnet26", "el", marks=pytest.mark.slow),
        pytest.param("resnet18", "bireal", marks=pytest.mark.slow),
        pytest.param("densenet28", "el", marks=pytest.mark.slow),  # nor a normalization behind a concatenation
    ],
)
def test_as_many_tensors_have_the_offset_as_in_the_file(name: str, method: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    network = el_larq.build(name, method, input_shape=(16, 16, 1), num_classes=10, width=0.125)
    for variable in (variable for layer in network.layers for variable in layer.weights):
        if "gamma" in variable.name:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        if "beta" in variable.name:
            variable.assign(generator.normal(0, 0.3, variable.shape))
    np.save(tmp_path / "images.npy", generator.random((16, 16, 16, 1), np.float32))
    options = Options(int8="full", calibrate=str(tmp_path / "images.npy"), calibration_images=16, verify_images=2)
    quantized = convert(network, options=options).quantized
    assert quantized is not None
    assert len(quantized.offsets.tensors) + len(quantized.offsets.without) >= 13
    assert sum(rounded_outputs(network).values()) == len(quantized.offsets.tensors)


def _signs_of(x: Any, name: str) -> Any:
    return larq.layers.QuantConv2D(4, 3, padding="same", pad_values=1, input_quantizer="ste_sign", name=name)(x)


def test_where_an_offset_can_come_from_and_go() -> None:
    """By hand, for each rule: whether the output of "norm" has the offset if a sign is taken of it."""
    layers = keras.layers

    def found(read: Callable[[Any], Any], convolve: Any = None) -> bool:
        image = keras.Input((8, 8, 4))
        norm = layers.BatchNormalization(name="norm")((convolve or layers.Conv2D(4, 3))(image))
        others = [_signs_of(norm, "signs"), *([other] if (other := read(norm)) is not None else [])]
        return _names(keras.Model(image, others)).get("norm", False)

    def classifier(x: Any) -> Any:
        return layers.Dense(2)(layers.Flatten()(x))

    assert found(lambda x: None)
    assert found(classifier)
    assert found(lambda x: classifier(layers.GlobalAveragePooling2D()(layers.Concatenate()([x, x]))))
    assert found(layers.Conv2D(2, 3))
    assert found(layers.Conv2D(2, 1, padding="same"))
    assert not found(layers.Conv2D(2, 3, padding="same"))  # zeros around the map
    assert not found(layers.ReLU())
    assert not found(lambda x: classifier(layers.Multiply()([x, x])))
    assert not found(layers.Flatten())  # an output of the network
    assert not found(lambda x: None, layers.Conv2D(4, 3, activation="relu"))  # no bias behind the activation
    assert not found(lambda x: None, layers.MaxPooling2D())
    assert not found(lambda x: _signs_of(layers.MaxPooling2D()(layers.Concatenate()([x, layers.ReLU()(x)])), "more"))


def test_an_offset_is_created_behind_pools_and_additions() -> None:
    layers = keras.layers
    image = keras.Input((8, 8, 4))
    pooled = layers.MaxPooling2D()(layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, padding="same")(image)))
    signs = layers.Flatten()(_signs_of(pooled, "signs"))
    assert _names(keras.Model(image, layers.Dense(2)(signs)))["norm"]
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    x = layers.Add(name="sum")([x, layers.ReLU()(layers.Conv2D(4, 1)(image))])
    found = _names(keras.Model(image, layers.Dense(2)(layers.Flatten()(_signs_of(x, "signs")))))
    assert found["sum"]
    assert not found["conv"]
    x = layers.Add(name="without")([layers.ReLU()(layers.Conv2D(4, 1)(image)), layers.ReLU()(layers.Conv2D(4, 1)(image))])
    assert not _names(keras.Model(image, layers.Dense(2)(layers.Flatten()(_signs_of(x, "signs")))))["without"]


def test_a_quantizer_in_an_activation_takes_signs() -> None:
    image = keras.Input((8, 8, 4))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 3)(image))
    x = keras.layers.Activation(larq.quantizers.SteSign(), name="signs")(x)
    x = larq.layers.QuantConv2D(4, 3, name="conv")(x)
    assert _names(keras.Model(image, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x)))) == {
        "norm": True,
        "conv": False,
        "logits": False,
    }


def test_the_first_range_of_a_layer_called_twice_is_the_mean_of_its_calls() -> None:
    image = keras.Input((4,))
    twice = keras.layers.Dense(4, use_bias=False, name="twice")
    network = keras.Model(image, keras.layers.Dense(2)(twice(twice(image))))
    twice.set_weights([3 * np.eye(4, dtype=np.float32)])
    images = np.random.default_rng(0).uniform(-1, 1, (8, 4)).astype(np.float32)
    simulation = Simulation(network)
    with simulation:
        simulation.calibrate(network, [(images[:4],), (images[4:],)])
    low, high = (float(variable) for variable in simulation.variables[:2])
    assert low == pytest.approx((3 + 9) / 2 * images.min(1).mean(), rel=1e-5)
    assert high == pytest.approx((3 + 9) / 2 * images.max(1).mean(), rel=1e-5)


def test_the_network_computes_with_rounded_kernels_and_outputs() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    network = keras.Model(image, keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(x)))
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype(np.float32)
    expected = network(images).numpy()
    simulation = Simulation(network)
    with simulation:
        simulation.calibrate(network, [(images[:4],), (images[4:],)])
        with simulation.in_float():
            np.testing.assert_array_equal(network(images), expected)
        found = network(images).numpy()
    np.testing.assert_array_equal(network(images), expected)

    # The same in NumPy: ranges are means of the images' extremes.
    normalized = keras.Model(image, x)(images).numpy()
    ranges = [(np.mean(values.reshape(8, -1).min(1)), np.mean(values.reshape(8, -1).max(1))) for values in (normalized, expected)]
    np.testing.assert_allclose(np.reshape([v.numpy() for v in simulation.variables], (2, 2)), ranges, rtol=1e-6)
    kernel, bias = _layer(network, "conv").get_weights()
    norm = _layer(network, "norm")
    y = np.asarray(tf.nn.conv2d(images, _rounded(kernel), 1, "VALID")) + bias
    y = Affine.of_range(*ranges[0]).rounded(y / np.sqrt(1 + norm.epsilon)).reshape(8, -1)
    kernel, bias = _layer(network, "logits").get_weights()
    y = Affine.of_range(*ranges[1]).rounded(y @ _rounded(kernel) + bias)
    np.testing.assert_allclose(found, y, atol=1e-5)
    assert np.abs(found - expected).max() > 1e-4


def _rounded(kernel: np.ndarray) -> np.ndarray:
    scales = channel_scales(kernel, -1)
    return dequantize(quantize(kernel, scales, -1), scales, -1)


def test_ranges_follow_the_steps_and_freeze_with_the_statistics() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 1))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(2, 3, name="conv")(image))
    network = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    images = np.random.default_rng(1).normal(size=(5, 4, 4, 1)).astype(np.float32)
    simulation = Simulation(network)
    conv, norm = _layer(network, "conv"), _layer(network, "norm")
    low, high = simulation.variables[:2]
    with simulation:
        assert not simulation.freezes(5, 9)
        with simulation.training_step():
            network(images, training=True)
        y = keras.layers.Conv2D(2, 3, weights=conv.get_weights())(images).numpy()
        y = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + norm.epsilon)
        np.testing.assert_allclose(float(low), RATE * y.reshape(5, -1).min(1).mean(), rtol=0.02)  # the kernel is rounded
        np.testing.assert_allclose(float(high), RATE * y.reshape(5, -1).max(1).mean(), rtol=0.02)
        network(images, training=True)
        before = [variable.numpy() for variable in (*simulation.variables, *norm.non_trainable_variables)]
        assert simulation.freezes(6, 9)
        assert not simulation.freezes(7, 9)
        with simulation.training_step():
            network(images, training=True)
        after = [variable.numpy() for variable in (*simulation.variables, *norm.non_trainable_variables)]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("step", [5, pytest.param(11, marks=pytest.mark.slow)])
def test_it_resumes_exactly(step: int, trained: Trained, start: Any, digits: InMemory, tmp_path: Path, assert_same: Any) -> None:
    """Before ranges and statistics are frozen, at step 8 of 12, and after."""
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", recipe=RECIPE, checkpoint_steps=2, dataset=kill_at(digits, step, stream=2))
    resumed = resume(tmp_path / "run", dataset=digits)
    assert_same(resumed, trained)
    found, expected = (json.loads((run.folder / "result.json").read_text()) for run in (resumed, trained))
    assert {**found, "seconds": 0} == {**expected, "seconds": 0}


def test_the_model_is_plain_and_validation_is_with_int8(trained: Trained, start: Any, tmp_path: Path) -> None:
    result = json.loads((trained.folder / "result.json").read_text())
    assert 0 < result["simulated_int8_accuracy"] <= 1
    assert [line["epoch"] for line in lines(trained.folder)] == [1, 2, 3]
    plain = start(tmp_path / "plain", recipe=replace(RECIPE, epochs=1, qat_bits=0))
    assert "simulated_int8_accuracy" not in json.loads((plain.folder / "result.json").read_text())
    assert [(type(layer), layer.name) for layer in trained.model.layers] == [
        (type(layer), layer.name) for layer in plain.model.layers
    ]
    assert [v.shape for v in trained.model.variables] == [v.shape for v in plain.model.variables]
    assert not any("call" in vars(layer) for layer in trained.model.layers)
    loaded = keras.models.load_model(trained.h5)
    for one, other in zip(loaded.get_weights(), trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_can_be_the_best_epoch_with_a_teacher_and_frozen_layers(trained: Trained, start: Any, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=2, keep="best", logits=1.0, freeze="backbone", teacher=str(trained.folder))
    notes: list[str] = []
    found = start(tmp_path / "run", recipe=recipe, init_from=trained.folder, notify=notes.append)
    assert any("so the backbone is computed at each step" in line for line in notes)
    assert any("int8 is simulated: 2 layers with int8 kernels" in line for line in notes)
    assert 0 < json.loads((found.folder / "result.json").read_text())["simulated_int8_accuracy"] <= 1
    for layer in trained.model.layers[:-1]:
        for one, other in zip(layer.get_weights(), found.model.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_from_random_weights_there_is_a_note(trained: Trained, notes: list[str]) -> None:
    assert any("int8 is simulated from random weights" in line for line in notes)


def test_the_recipe_is_int8_unless_another_is_given() -> None:
    assert make_plan("resnet18", dataset="digits", qat_bits=8).recipe == RECIPES["int8"]
    assert make_plan("resnet18", dataset="digits", qat_bits=8, recipe="demo").recipe == replace(RECIPES["demo"], qat_bits=8)
    assert make_plan("resnet18", dataset="digits", qat_bits=0).recipe == RECIPES["standard"]
    assert make_plan("resnet18", dataset="digits", recipe="int8", qat_bits=0).recipe.qat_bits == 0
    stages = make_plan("resnet18", dataset="digits", recipe="two-stage", qat_bits=8).recipe.stages
    assert [stage.qat_bits for stage in stages] == [0, 0, 8]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"qat_bits": 3}, "qat_bits must be 8, 6 or 4, or 0 for none; got 3"),
        ({"qat_bits": 8, "precision": "mixed_bfloat16"}, "qat_bits needs precision float32"),
        ({"qat_bits": 8, "strategy": "mirrored", "recipe": "demo"}, "qat_bits averages ranges on one replica only"),
    ],
)
def test_what_does_not_fit_together(settings: dict[str, Any], message: str, one_line: Callable[[BaseException], str]) -> None:
    with pytest.raises(UsageError) as error:
        make_plan("resnet18", dataset="digits", **settings)
    assert message in one_line(error.value)


def test_networks_without_a_place_for_int8() -> None:
    class Own(keras.Model):
        pass

    with pytest.raises(UsageError, match="is not a graph of layers"):
        Simulation(Own(name="own"))
    image = keras.Input((4, 4, 1))
    with pytest.raises(UsageError, match="nothing for qat_bits"):
        Simulation(keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)))


def test_a_compiled_network_keeps_its_own_steps(start: Any, data_folder: Path, tmp_path: Path) -> None:
    source = (data_folder / "run_schema1" / "network.py").read_text()
    own = tmp_path / "compiled.py"
    own.write_text(
        f"{source}\n\ndef compiled(input_shape, num_classes):\n"
        "    model = build(input_shape, num_classes)\n    model.compile('sgd')\n    return model\n"
    )
    with pytest.raises(UsageError, match="is compiled, so qat_bits does not apply"):
        start(tmp_path / "run", network=f"{own}:compiled", recipe=RECIPE)


def test_the_file_has_the_kernels_that_were_trained(trained: Trained) -> None:
    """`convert` verifies the file."""
    job = convert(trained.folder, options=Options(int8="full", calibrate="digits", calibration_images=32))
    assert job.tflite is not None
    graph = parse(job.tflite)
    kernels = {o.name: o.inputs[1].array() for o in graph.operators if o.name in ("CONV_2D", "FULLY_CONNECTED") and o.inputs[1]}
    stem, dense = trained.model.get_layer("stem").get_weights()[0], trained.model.layers[-1].get_weights()[0]
    np.testing.assert_array_equal(kernels["CONV_2D"], np.moveaxis(quantize(stem, channel_scales(stem, -1), -1), -1, 0))
    np.testing.assert_array_equal(kernels["FULLY_CONNECTED"], quantize(dense, channel_scales(dense, -1), -1).T)


def test_the_command_names_the_bits_that_there_are(el_larq_here: Callable[..., Any], tmp_path: Path) -> None:
    done = el_larq_here("train", "resnet18", "--dataset", "digits", "--qat-bits", 3, "-o", tmp_path / "run")
    assert done.returncode != 0
    assert done.stderr.strip().endswith("qat_bits must be 8, 6 or 4, or 0 for none; got 3")
    assert not (tmp_path / "run").exists()
