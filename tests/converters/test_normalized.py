"""Models as others make them: several inputs, other types than float32, conditions, one dimension. Each converts and verifies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import binary_models as models
import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import el_larq
from el_larq.converters.duplicates import without_duplicates
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Job, Options
from el_larq.converters.normalized import normalized
from el_larq.converters.random_inputs import random_inputs
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

L = keras.layers
Layers: Any = larq.layers


def _convert(model: keras.Model, binary: int = 1) -> Job:
    """Convert with all steps, and compare the .tflite with Keras' own outputs where Keras runs in single precision."""
    job = el_larq.convert(model, options=Options(verify_images=16))
    details = {entry.step: entry.details for entry in job.report}
    assert (details["audit"]["binary"], details["audit"]["meant_binary"]) == (binary, binary)
    assert not details["fold"]["left_out"]
    return job


def _head(x: Any) -> Any:
    return L.Dense(10, name="logits", bias_initializer="normal")(L.GlobalAveragePooling2D()(x))


def _body(x: Any) -> Any:
    x = models.norm("before")(L.Conv2D(32, 3, padding="same", name="stem")(x))
    return models.norm("after")(models.binary(32, "conv")(x))


def _model(before: Callable[[Any], Any] = lambda x: x, after: Callable[[Any], Any] = lambda x: x, **kind: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), **kind)
    return keras.Model(image, _head(after(_body(before(image)))))


@pytest.mark.parametrize("kind", ["uint8", "int32", "int8"])
def test_integer_images_that_the_model_scales_itself(kind: str) -> None:
    job = _convert(_model(L.Rescaling(1 / 127.5, offset=-1), dtype=kind))
    assert job.tflite is not None
    assert parse(job.tflite).inputs[0].type == kind


def test_several_inputs_keep_their_order_and_names(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    side, image, scale = keras.Input((5,), name="zside"), keras.Input((8, 8, 3), name="image"), keras.Input((1,), name="a")
    x = L.Concatenate()([L.GlobalAveragePooling2D()(_body(image)), L.Dense(4)(side)])
    model = keras.Model([side, image, scale], L.Multiply()([L.Dense(10)(x), scale]))
    job = el_larq.convert(model, tmp_path / "model.tflite", options=Options(verify_images=16))
    assert job.tflite is not None
    assert [tensor.name for tensor in parse(job.tflite).inputs] == ["zside", "image", "a"]
    batches = random_inputs(FrozenModel(model), 4)
    np.testing.assert_allclose(Interpreter(job.tflite).run(batches)[0], model(batches).numpy(), rtol=1e-4, atol=1e-4)


def test_inputs_by_name() -> None:
    keras.utils.set_random_seed(0)
    inputs = {"z": keras.Input((8, 8, 3), name="z"), "b": keras.Input((8, 8, 3), name="b")}
    _convert(keras.Model(inputs, _head(_body(inputs["z"] + 2 * inputs["b"]))))


@pytest.mark.parametrize("kind", ["int32", "float32"])
def test_indices_stay_within_the_rows_that_they_select_from(kind: str) -> None:
    keras.utils.set_random_seed(0)
    words = keras.Input((16,), dtype=kind)
    x = L.Reshape((4, 4, 8))(L.Embedding(5, 8)(words))
    (batch,) = random_inputs(FrozenModel(keras.Model(words, x)), 100)
    assert (batch.min(), batch.max()) == (0, 4)
    _convert(keras.Model(words, _head(_body(x))))


def test_indices_that_may_count_from_the_end_stay_within_the_rows() -> None:
    """What the Embedding of Keras 3 computes."""
    table = tf.reshape(tf.range(40.0), (5, 8))
    words = keras.Input((16,), dtype="int32")
    rows = L.Lambda(lambda i: tf.gather(table, tf.where(i < 0, i + 5, i)))(words)
    (batch,) = random_inputs(FrozenModel(keras.Model(words, rows)), 100)
    assert (batch.min(), batch.max()) == (0, 4)


@contextmanager
def _policy(name: str) -> Iterator[None]:
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_precisions_become_float32(policy: str) -> None:
    keras.utils.set_random_seed(0)
    with _policy(policy):
        image = keras.Input((8, 8, 3))
        # A condition whose branches compute in that precision.
        x = L.CenterCrop(5, 5)(L.BatchNormalization()(L.Conv2D(8, 3, name="stem")(image)))
        x = models.binary(8, "binary", 1)(x)
        model = keras.Model(image, L.Dense(4)(L.GlobalAveragePooling2D()(L.ReLU()(x))))
        job = el_larq.convert(model, options=Options(verify_images=4))
    assert job.tflite is not None
    assert all(tensor.type in ("float32", "int32") for tensor in parse(job.tflite).tensors)
    assert "the .tflite computes in float32" in job.report[0].summary
    images = models.images(4, 8, 3)
    wanted = model(images.astype(np.float64) if policy == "float64" else images).numpy().astype(np.float32)
    tolerance = 1e-4 if policy == "float64" else 3e-2
    np.testing.assert_allclose(Interpreter(job.tflite).run(images)[0], wanted, rtol=tolerance, atol=tolerance)


def test_conditions_on_sizes_are_decided() -> None:
    assert not any(o.type == "If" for o in normalized(FrozenModel(_model(L.CenterCrop(6, 6)))).operations)
    _convert(_model(L.CenterCrop(6, 6)))


def test_targets_of_reshapes_are_constants() -> None:
    def dense(x: Any) -> Any:
        x = L.Reshape((1, 1, -1))(L.Flatten()(L.MaxPool2D(4)(x)))
        return models.norm("n")(models.binary(64, "dense", 1)(x))

    _convert(_model(after=dense), binary=2)


def test_a_reshape_behind_a_binary_dense_layer() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = models.norm("a")(Layers.QuantDense(64, name="dense", **models.SIGNS)(L.GlobalAveragePooling2D()(_body(image))))
    x = models.binary(64, "conv1", 1)(L.Reshape((1, 1, -1))(x))
    _convert(keras.Model(image, L.Dense(10)(L.Flatten()(models.norm("b")(x)))), binary=3)


@pytest.mark.parametrize(
    "padding",
    [
        {"padding": "valid"},
        {"padding": "same", "pad_values": 1.0},
        {"padding": "same"},
        {"padding": "causal"},
        {"dilation_rate": 2},
    ],
)
@pytest.mark.parametrize("stride", [1, 2])
def test_binary_one_dimensional_convolutions(padding: dict[str, Any], stride: int) -> None:
    if "dilation_rate" in padding and stride > 1:
        return
    keras.utils.set_random_seed(0)
    row = keras.Input((16, 3))
    x = models.norm("n")(L.Conv1D(32, 3, padding="same")(row))
    x = Layers.QuantConv1D(32, 3, stride, name="conv", **padding, **models.SIGNS)(x)
    _convert(keras.Model(row, L.Dense(10)(L.GlobalAveragePooling1D()(models.norm("m")(x)))))


def test_a_one_dimensional_convolution_padded_by_what_the_input_says() -> None:
    keras.utils.set_random_seed(0)
    row = keras.Input((16, 3))
    x = models.norm("n")(L.Conv1D(32, 3, padding="same")(row))
    signs = larq.quantizers.SteSign()(x)
    padded = L.Lambda(lambda x: tf.pad(x[0], [[0, 0], [1, 1], [0, 0]], constant_values=tf.reduce_max(x[1])))([signs, row])
    x = Layers.QuantConv1D(32, 3, name="conv", kernel_quantizer="ste_sign")(padded)
    frozen = FrozenModel(keras.Model(row, x))
    images = random_inputs(frozen, 2)
    (wanted,), (got,) = (one.fetch(one.outputs)(images) for one in (frozen, normalized(frozen)))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "softsign", "elu", "sigmoid", "swish"])
@pytest.mark.parametrize("normalized_before", [False, True])
def test_activations(activation: str, normalized_before: bool) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = models.binary(32, "conv")(models.norm("n")(L.Conv2D(32, 3, padding="same")(image)))
    x = L.BatchNormalization()(x) if normalized_before else x
    _convert(keras.Model(image, _head(L.Activation(activation)(x))))


SIGNS: dict[str, Callable[[Any], Any]] = {
    "2 * cast(x >= 0) - 1": lambda x: 2 * tf.cast(x >= 0, tf.float32) - 1,
    "1 - 2 * cast(x < 0)": lambda x: 1 - 2 * tf.cast(x < 0, tf.float32),
    "where(x >= 0, 1, -1)": lambda x: tf.where(x >= 0, 1.0, -1.0),
    "where(0 <= x, ones, -ones)": lambda x: tf.where(x >= 0.0, tf.ones_like(x), -tf.ones_like(x)),
    "where(x < 0, -1, 1)": lambda x: tf.where(x < 0, -1.0, 1.0),
    "switch(x >= 0, ones, -ones)": lambda x: keras.backend.switch(x >= 0, tf.ones_like(x), -tf.ones_like(x)),
    "2 * cast(x > 0) - 1": lambda x: 2 * tf.cast(x > 0, tf.float32) - 1,
    "where(x <= 0, -1, 1)": lambda x: tf.where(x <= 0, -1.0, 1.0),
}
_FAST_SIGNS = ("2 * cast(x >= 0) - 1", "2 * cast(x > 0) - 1")


@pytest.mark.parametrize("spelling", [pytest.param(s, marks=[] if s in _FAST_SIGNS else [pytest.mark.slow]) for s in SIGNS])
def test_signs_spelled_as_comparisons(spelling: str) -> None:
    """Behind a ReLU, so that many values are exactly zero, which is where the spellings differ."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = L.ReLU()(L.Conv2D(32, 3, padding="same", name="stem")(image))
    for name in ("a", "b"):
        x = L.ReLU()(models.binary(32, name, input_quantizer=None)(L.Lambda(SIGNS[spelling])(x)))
    model = keras.Model(image, _head(x))
    job = _convert(model, binary=2)
    at_zero_one = spelling not in ("2 * cast(x > 0) - 1", "where(x <= 0, -1, 1)")
    assert len(job.report[-2].details["layers"]) == 2 * at_zero_one
    images = models.images(4, channels=3)
    np.testing.assert_allclose(Interpreter(job.need_tflite()).run(images)[0], model(images).numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.where(x > 0.5, 1.0, -1.0) * x,
        lambda x: tf.cast(x >= 0, tf.float32) * x,
        lambda x: tf.where(x >= 0, 2.0, -1.0),
    ],
)
@pytest.mark.slow
def test_comparisons_that_are_not_signs(function: Any) -> None:
    _convert(_model(after=L.Lambda(function)))


def test_max_pooling_of_signs_is_packed() -> None:
    """Between a sign and a binary convolution, with padding and twice in a row; other layers read the signs too.

    LCE does not pool packed choices that are -1 at 0.
    """
    keras.utils.set_random_seed(0)
    image = keras.Input((9, 9, 3))
    signs = larq.quantizers.SteSign()(models.norm("n")(L.Conv2D(32, 3, padding="same")(image)))
    x = L.MaxPool2D(3, 2, padding="same")(L.MaxPool2D(2, 1)(signs))
    x = models.norm("m")(models.binary(32, "pooled", input_quantizer=None)(x))
    x = L.MaxPool2D(2)(L.Lambda(SIGNS["2 * cast(x > 0) - 1"])(L.ReLU()(x)))
    x = models.norm("k")(models.binary(32, "choice", input_quantizer=None)(x))
    y = models.norm("o")(models.binary(32, "whole", input_quantizer=None)(signs))
    model = keras.Model(image, [_head(x), L.GlobalMaxPool2D()(y), L.AveragePooling2D(3)(signs)])
    job = _convert(model, binary=3)
    assert [operator.name for operator in parse(job.need_tflite()).operators].count("LceBMaxPool2d") == 2
    images = models.images(4, 9, 3)
    for got, wanted in zip(Interpreter(job.need_tflite()).run(images), model(images), strict=True):
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted.numpy(), rtol=1e-4, atol=1e-4)


def test_max_pooling_of_what_is_not_a_sign_stays() -> None:
    """A choice that falls, and signs padded with zeros before pooling."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    falls = L.MaxPool2D(2)(L.Lambda(lambda x: tf.where(x > 0.5, -1.0, 1.0))(image))
    padded = L.MaxPool2D(2)(L.ZeroPadding2D(1)(larq.quantizers.SteSign()(image)))
    frozen = FrozenModel(keras.Model(image, [falls, padded]))
    images = models.images(4, 8, 3)
    run = [one.fetch(one.outputs)(images) for one in (frozen, normalized(frozen))]
    for wanted, got in zip(*run, strict=True):
        np.testing.assert_array_equal(got, wanted)


class Updates(L.Layer):
    """A layer that counts its calls, as Larq's flip_ratio metric does."""

    def build(self, input_shape: Any) -> None:
        self.calls = self.add_weight("calls", (), trainable=False, initializer="zeros")

    def call(self, x: Any) -> Any:
        self.calls.assign_add(1.0)
        return x


def test_what_a_layer_updates_is_left_out() -> None:
    _convert(_model(after=Updates()))


def _branches(x: Any) -> Any:
    cond: Any = tf.cond
    return cond(tf.reduce_mean(x) > 0, lambda: tf.abs(x), lambda: -x)


UNSUPPORTED = {
    "batch statistics": (
        lambda x: L.BatchNormalization(name="norm")(x, training=True),
        "layer norm normalizes with the statistics",
    ),
    "loops": (
        lambda x: L.Reshape((1, 1, 8))(L.LSTM(8, name="memory")(L.Reshape((8, -1))(x))),
        "layer memory keeps a list in a loop",
    ),
    "loops in both directions": (
        lambda x: L.Reshape((1, 8, 6))(
            L.Bidirectional(L.SimpleRNN(3, return_sequences=True), name="memory")(L.Reshape((8, -1))(x))
        ),
        "layer memory.* keeps a list in a loop",
    ),
    "gelu": (L.Activation("gelu", name="act"), "layer act/Gelu uses Erfc"),
    "conditions": (
        L.Lambda(_branches, name="branch"),
        "layer branch has a condition or loop that depends on the input",
    ),
    "channels first": (
        lambda x: L.Conv2D(8, 3, data_format="channels_first", name="conv1")(L.Permute((3, 1, 2))(x)),
        "layer conv1 has data_format='channels_first'",
    ),
    "dropout": (lambda x: L.Dropout(0.5, name="dropout")(x, training=True), r"layer dropout\S* draws random numbers at inference"),
    "noise": (lambda x: L.GaussianNoise(1.0, name="noise")(x, training=True), "layer noise draws random numbers"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_lce_cannot_run_is_named_with_its_layer(case: str) -> None:
    after, message = UNSUPPORTED[case]
    with pytest.raises(ElLarqError, match=message):
        el_larq.convert(_model(after=after))


def test_a_loop_in_half_precision_is_named_with_its_layer() -> None:
    with _policy("mixed_float16"):
        image = keras.Input((4, 4, 3))
        x = L.LSTM(8, name="memory")(L.Reshape((4, 12))(image))
        model = keras.Model(image, L.Dense(3, dtype="float32")(x))
    with pytest.raises(ElLarqError, match="layer memory keeps a list in a loop"):
        el_larq.convert(model)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [8, 1])
def test_an_unrolled_loop_converts(steps: int) -> None:
    _convert(_model(after=lambda x: L.Reshape((1, 1, 8))(L.LSTM(8, unroll=True)(L.Reshape((steps, -1))(x)))))


@pytest.mark.parametrize("axis", [-1, 1, [2, 3], [1, 2, 3]])
def test_layer_normalization(axis: Any) -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 5, 3))
    x = L.LayerNormalization(axis, beta_initializer="normal", gamma_initializer="normal")(L.Conv2D(32, 3, padding="same")(image))
    _convert(keras.Model(image, _head(models.binary(32, "conv")(x))))


def test_a_layer_that_is_called_twice_on_the_same_tensor() -> None:
    def after(x: Any) -> Any:
        conv = models.binary(32, "shared")
        return L.Concatenate()([conv(x), models.norm("n")(conv(L.ReLU()(conv(x))))])

    _convert(_model(after=after), binary=3)


@pytest.fixture
def _stateless_layers() -> Iterator[None]:
    """Layers that draw random numbers without a state in a variable: trainings in the same process switch that on."""
    random = keras.backend.experimental
    before = random.is_tf_random_generator_enabled()
    random.disable_tf_random_generator()
    yield
    if before:
        random.enable_tf_random_generator()


@pytest.mark.usefixtures("_stateless_layers")
def test_random_operations_are_not_merged() -> None:
    """Two calls of a dropout layer on the same tensor draw two masks."""
    image = keras.Input((4, 4, 3))
    drop, conv = L.Dropout(0.5), L.Conv2D(2, 3)
    model = keras.Model(image, [conv(drop(image, training=True)) for _ in range(2)])
    merged = without_duplicates(FrozenModel(model))
    one, other = merged.fetch(merged.outputs)(np.ones((1, 4, 4, 3), np.float32))
    assert np.abs(one - other).max() > 0


def test_inputs_without_a_size_are_named() -> None:
    image, other = keras.Input((None, None, 3), name="image"), keras.Input((8, 8, 3), name="other")
    model = keras.Model([image, other], [L.Conv2D(1, 3)(image), _head(other)])
    with pytest.raises(ElLarqError, match="the inputs image have no fixed size"):
        el_larq.convert(model)


def test_a_data_set_is_not_for_several_inputs() -> None:
    image, other = keras.Input((8, 8, 3), name="image"), keras.Input((8, 8, 3), name="other")
    with pytest.raises(ElLarqError, match="has 2 inputs; omit --verify-on"):
        el_larq.convert(keras.Model([image, other], _head(_body(image + other))), options=Options(verify_on="digits"))


def test_a_tflite_with_several_inputs_is_benchmarked_and_not_evaluated(tmp_path: Path) -> None:
    from el_larq.devices.local import measure
    from el_larq.evaluation.predict import predict

    image, other = keras.Input((8, 8, 3), name="image"), keras.Input((8, 8, 3), name="other")
    path = tmp_path / "model.tflite"
    el_larq.convert(keras.Model([image, other], _head(_body(image + other))), path, options=Options(verify_images=4))
    assert measure([path], runs=2, warmup=0)
    with pytest.raises(ElLarqError, match="has 2 inputs"):
        predict(path, [tmp_path / "any.png"])
    tf.keras.backend.clear_session()
