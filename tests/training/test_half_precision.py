"""Training in half precision: which layers, the same binary kernels, exact resume, and a float32 model at the end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from conftest import BATCH
from watched import kill_at

import el_larq
from el_larq.counting.kernels import QuantizedKernel, quantized_kernels
from el_larq.data.in_memory import InMemory
from el_larq.errors import UsageError
from el_larq.keras_internals import leaf_layers
from el_larq.methods.method_registry import METHODS
from el_larq.training.half_precision import SkippedSteps, lowered, scaling
from el_larq.training.recipe import FLOAT16, Recipe
from el_larq.training.train import Trained, resume

HALF = "mixed_bfloat16"
RECIPE = Recipe("half", "", epochs=2, batch_size=BATCH, learning_rate=1e-2, precision=HALF)


@pytest.fixture(scope="module")
def trained(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return start(tmp_path_factory.mktemp("half") / "run", recipe=RECIPE)


def _network(method: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    return el_larq.build(
        "mobilenet" if method == "mobinet" else "resnet18", method, input_shape=(8, 8, 1), num_classes=4, width=0.0625
    )


def _used(kernel: QuantizedKernel) -> tf.Tensor:
    """The kernel that the layer's convolution computes with."""
    with larq.context.quantized_scope(True):
        return tf.convert_to_tensor(kernel.latent)


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=() if name in ("el", "xnor") else pytest.mark.slow) for name in sorted(METHODS)]
)
def test_the_binary_kernels_are_those_of_the_network_in_float32(method: str) -> None:
    network = _network(method)
    half = lowered(network, HALF)
    assert [v.shape for v in half.variables] == [v.shape for v in network.variables]
    assert all(a is not b for a, b in zip(half.variables, network.variables, strict=True))
    assert {v.dtype for v in half.variables} <= {tf.float32, tf.int32, tf.int64, tf.bool}
    counted = 0
    for layer, copy in zip(leaf_layers(network), leaf_layers(half), strict=True):
        for of_layer, of_copy in zip(quantized_kernels(layer), quantized_kernels(copy), strict=True):
            expected = _used(of_layer)
            found = tf.cast(_used(of_copy), tf.float32)
            np.testing.assert_array_equal(np.sign(found), np.sign(expected))
            np.testing.assert_allclose(found, expected, rtol=2**-8)
            counted += 1
    assert counted > 10 or method == "float"
    assert half.outputs[0].dtype == tf.float32


def test_which_layers_compute_in_half_precision(trained: Trained) -> None:
    """Stem, normalization, binary convolution and normalization; pooling and logits are in float32."""
    network = trained.model
    half = lowered(network, HALF)
    types = {layer.name: layer.compute_dtype for layer in half.layers}
    assert types == {
        "image": "float32",
        "stem": "bfloat16",
        "stem_norm": "bfloat16",
        "binary": "bfloat16",
        "binary_norm": "bfloat16",
        "pool": "float32",
        "logits": "float32",
    }
    x = np.random.default_rng(0).normal(size=(64, *network.input_shape[1:])).astype(np.float32)
    a, b = network(x).numpy().ravel(), half(x).numpy().ravel()
    assert np.corrcoef(a, b)[0, 1] > 0.98
    assert np.any(a != b)


@keras.utils.register_keras_serializable("tests")
def centred(kernel: tf.Tensor) -> tf.Tensor:
    return larq.quantizers.SteSign()(kernel - tf.reduce_mean(kernel))


def test_signs_survive_where_half_precision_has_zeros_and_ties() -> None:
    """Weights below float16's least number, and a difference from a mean that 16 bits round away."""
    image = keras.Input((1, 1, 2))
    layer = larq.layers.QuantConv2D(2, 1, kernel_quantizer=centred, use_bias=False)
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(layer(image))))
    kernel = np.array([[1.0, 1.0 + 2**-20], [1.0 + 2**-20, 1.0]], np.float32)
    for values in (kernel, 1e-9 * np.array([[1, -1], [-1, 1]], np.float32)):
        layer.set_weights([values.reshape(1, 1, 2, 2)])
        half = lowered(model, FLOAT16)
        (of_half,) = quantized_kernels(half.layers[1])
        found = _used(of_half)
        assert found.dtype == tf.float16
        np.testing.assert_array_equal(np.reshape(found, (2, 2)), np.where(values >= values.mean(), 1, -1))


def test_a_run_saves_a_network_in_float32_that_converts(trained: Trained, tmp_path: Path) -> None:
    assert json.loads((trained.folder / "config.json").read_text())["recipe"]["precision"] == HALF
    for file in ("model.h5", "checkpoints/best.weights.h5", "checkpoints/last.weights.h5"):
        with h5py.File(trained.folder / file) as stored:
            assert "bfloat16" not in str(stored.attrs["model_config"])
    loaded = el_larq.load_model(trained.folder / "checkpoints" / "last.weights.h5")
    for found, expected in zip(loaded.get_weights(), trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    job = el_larq.convert(trained.folder, tmp_path / "model.tflite")
    assert job.report


def test_it_resumes_exactly(trained: Trained, start: Any, digits: InMemory, tmp_path: Path, assert_same: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", recipe=RECIPE, checkpoint_steps=2, dataset=kill_at(digits, 5))
    resumed = resume(tmp_path / "run", dataset=digits)
    assert resumed.accuracy == trained.accuracy
    for found, expected in zip(resumed.model.get_weights(), trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_steps_without_finite_gradients_are_skipped_and_counted() -> None:
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(image))
    model.compile(scaling(keras.optimizers.SGD(0.5), FLOAT16), "mse")
    skipped = SkippedSteps(model.optimizer)
    model.train_on_batch(np.zeros((1, 1)), np.zeros((1, 1)))  # creates the optimizer's state
    scale = skipped.epoch()["loss_scale"]
    skipped.begin_epoch()
    for value in (1e30, 0.0, 1e30):  # its gradient exceeds float32
        before = model.get_weights()[0].copy()
        skipped.before_step()
        model.train_on_batch(np.full((1, 1), value, np.float32), np.zeros((1, 1), np.float32))
        skipped.after_step()
        np.testing.assert_array_equal(model.get_weights()[0], before)
    assert skipped.epoch() == {"skipped_steps": 2, "loss_scale": scale / 4}


def test_no_scale_without_float16() -> None:
    optimizer = keras.optimizers.SGD(0.5)
    assert scaling(optimizer, HALF) is optimizer
    assert SkippedSteps(optimizer).epoch() == {}


def test_a_run_in_float16_records_its_scale(start: Any, tmp_path: Path) -> None:
    said: list[str] = []
    run = start(tmp_path / "run", recipe=replace(RECIPE, epochs=1, precision=FLOAT16), notify=said.append)
    (line,) = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert {"skipped_steps", "loss_scale"} <= json.loads(line).keys()
    assert any(line.startswith("float16: 4 of 5 layers with weights compute with 16 bits") for line in said), said


def test_operators_compute_in_float32_from_all_their_inputs() -> None:
    image = keras.Input((4, 4, 2))
    a, b = (keras.layers.Conv2D(3, 3, use_bias=False)(image) for _ in range(2))
    x = tf.where(a > 0, a + b, 1.0 - a) * tf.maximum(b, 0.5)
    network = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x[:, :1])))
    half = lowered(network, HALF)
    x = np.random.default_rng(0).normal(size=(16, 4, 4, 2)).astype(np.float32)
    assert half(x).dtype == tf.float32
    np.testing.assert_allclose(half(x), network(x), atol=0.1)
    assert np.any(half(x) != network(x))


def test_what_a_copy_would_leave_out_is_refused() -> None:
    image = keras.Input((4,))
    layer = keras.layers.Dense(3, use_bias=False)
    network = keras.Model(image, keras.layers.Dense(2)(layer(image)), name="n")
    layer.add_loss(lambda: tf.reduce_sum(layer.kernel))
    with pytest.raises(UsageError, match=r"^n has losses that were added to it after it was made"):
        lowered(network, HALF)

    class Own(keras.Model):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    own = Own(image, keras.layers.Dense(2)(keras.layers.Dense(3, use_bias=False)(image)), name="own")
    with pytest.raises(UsageError, match=r"^own has a training step of its own"):
        lowered(own, FLOAT16)


def test_wrong_uses(start: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown precision 'float16'.*mixed_float16"):
        RECIPE.with_changes(precision="float16")
    image = keras.Input((2,))
    with pytest.raises(UsageError, match=r"^n has no convolution or dense layer .* choose precision float32$"):
        lowered(keras.Model(image, keras.layers.Dense(3)(image), name="n"), HALF)
    compiled = tmp_path / "net.py"
    compiled.write_text(
        "import tf_keras as keras\n\ndef build(input_shape, num_classes):\n    image = keras.Input(input_shape)\n"
        "    model = keras.Model(image, keras.layers.Dense(num_classes)(keras.layers.Flatten()(image)))\n"
        "    model.compile('sgd', keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=['accuracy'])\n"
        "    return model\n"
    )
    with pytest.raises(UsageError, match="is compiled, so precision mixed_bfloat16 does not apply"):
        start(tmp_path / "run", network=f"{compiled}:build", recipe=RECIPE)
    assert not (tmp_path / "run").exists()
