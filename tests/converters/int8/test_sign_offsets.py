"""The half step in front of signs: which biases get it, that nothing else changes, and that signs flip less."""

from collections.abc import Callable
from typing import Any

import binary_models as models
import int8_checks
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.compression.affine import Affine
from el_larq.compression.sign_safe import OFFSET
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.int8.calibrate import affines, observe
from el_larq.converters.int8.int8_file import with_int8
from el_larq.converters.int8.int8_operators import find_scales
from el_larq.converters.int8.quantized_file import quantize_file
from el_larq.converters.int8.sign_offsets import find_offsets
from el_larq.converters.lower import lower_model
from el_larq.converters.stored_comparison import effect
from el_larq.tflite.reader import parse

L = keras.layers


def _block(image: Any, join: Callable[[Any], Any]) -> keras.Model:
    """A stem, two binary convolutions with what joins their sum in between, and a classifier behind a 1x1 convolution."""
    x = models.norm("stem_norm")(L.Conv2D(32, 3, padding="same", name="stem")(image))
    x = join(L.Add()([x, models.norm("a_norm", fan_in=288)(models.binary(32, "a")(x))]))
    x = L.Add()([x, models.norm("b_norm", fan_in=288)(models.binary(32, "b")(x))])
    x = L.ReLU()(L.Conv2D(32, 1, name="head")(x))
    return keras.Model(image, L.Dense(10, name="logits")(L.GlobalAveragePooling2D()(x)))


def _quantized(model: keras.Model) -> tuple[bytes, bytes, bytes, Any]:
    """The float file, the int8 file without offsets and with them, and the offsets."""
    images = models.images(64, 8, 3)
    content = lower_model(FrozenModel(model))
    graph = parse(content)
    scales = find_scales(graph)
    observers = observe(content, graph, scales, [images])
    found = affines(observers, graph, scales, "mse")
    offsets = find_offsets(graph, scales, found, {t for t, first in scales.shares.items() if observers[first].low < 0})
    return content, with_int8(content, scales, found, {}), with_int8(content, scales, found, offsets.shifts), offsets


def test_signs_flip_less_than_half_as_often_and_nothing_moves_at_the_outputs() -> None:
    keras.utils.set_random_seed(0)
    content, plain, safe, offsets = _quantized(_block(keras.Input((8, 8, 3)), lambda x: x))
    assert (len(offsets.tensors), len(offsets.without)) == (2, 0)
    images = [models.images(64, 8, 3)]
    before, after = (effect(file, content, images) for file in (plain, safe))
    assert 0 < after.signs_flipped < before.signs_flipped / 2
    assert after.max_difference <= before.max_difference


def test_an_offset_is_taken_away_by_the_next_bias() -> None:
    """The sum in front of the 1x1 convolution has the stem's and the first block's offset, which the head's bias takes away."""
    keras.utils.set_random_seed(0)
    content, _, _, offsets = _quantized(_block(keras.Input((8, 8, 3)), lambda x: x))
    operators = {operator.index: operator for operator in parse(content).operators}
    head = next(
        o for o in operators.values() if o.name == "CONV_2D" and o.inputs[1] is not None and o.inputs[1].shape[1:3] == (1, 1)
    )
    kernel = head.inputs[1]
    assert kernel is not None
    sums = kernel.array().sum(axis=(1, 2, 3))
    shift = np.asarray(offsets.shifts[head.index])
    ratio = shift / sums
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    first = offsets.shifts[next(o.index for o in operators.values() if o.name == "CONV_2D")]
    assert ratio[0] > 0 > float(first)


def test_the_offset_is_almost_half_a_step() -> None:
    keras.utils.set_random_seed(0)
    content, _, safe, offsets = _quantized(_block(keras.Input((8, 8, 3)), lambda x: x))
    stem = next(o for o in parse(content).operators if o.name == "CONV_2D")
    step = parse(safe).tensors[stem.outputs[0].index].step
    np.testing.assert_allclose(offsets.shifts[stem.index], -OFFSET * step, rtol=1e-5)


def test_a_tensor_whose_offset_would_reach_something_else_keeps_its_flips() -> None:
    keras.utils.set_random_seed(0)
    model = _block(keras.Input((8, 8, 3)), L.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform"))
    content, plain, safe, offsets = _quantized(model)
    assert (len(offsets.tensors), len(offsets.without)) == (0, 2)  # PReLU reads the first, and makes the second
    assert offsets.shifts == {} or plain == safe
    assert effect(safe, content, [models.images(8, 8, 3)]).images == 8


def _offsets(join: Callable[[Any], Any]) -> tuple[bytes, dict[int, float], Any]:
    """The float file of what joins an image (8, 8, 3) to a sign's tensor, steps of about STEP, and the offsets for these."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = _binary(join(image), "last")
    content = lower_model(FrozenModel(keras.Model(image, L.Dense(10)(L.GlobalAveragePooling2D()(x)))))
    graph = parse(content)
    scales = find_scales(graph)
    steps = {first: int8_checks.STEP * (1 + number / 8) for number, first in enumerate(sorted(set(scales.shares.values())))}
    offsets = find_offsets(graph, scales, {first: Affine(step, 0) for first, step in steps.items()}, set(scales.shares))
    return content, {tensor: steps[first] for tensor, first in scales.shares.items()}, offsets


def _conv(x: Any, size: int = 3, activation: str | None = None) -> Any:
    return L.Conv2D(32, size, padding="same", activation=activation, bias_initializer="normal")(x)


def _binary(x: Any, name: str) -> Any:
    return models.norm(f"{name}_norm", fan_in=288)(models.binary(32, name)(x))


def test_a_constant_of_a_concatenation_has_no_offset() -> None:
    """The first sign's offset reaches a concatenation with a constant, in front of a 1x1 convolution."""

    def join(image: Any) -> Any:
        x = _conv(image)
        y = tf.concat([x, tf.constant(np.ones((1, 8, 8, 4), np.float32))], -1)
        return L.Add()([_binary(x, "first"), _conv(y, size=1)])

    content, steps, offsets = _offsets(join)
    assert "CONCATENATION" in [operator.name for operator in parse(content).operators]
    int8_checks.assert_exact(content, steps, offsets)


def test_an_offset_is_multiplied_per_channel() -> None:
    """The first sign's offset passes a multiplication, and the last sign's tensor gets its own, the same for all channels."""

    def join(image: Any) -> Any:
        x = _conv(image)
        return L.Add()([x * tf.constant(np.linspace(-1, 2, 32, dtype=np.float32)), _binary(x, "first")])

    content, steps, offsets = _offsets(join)
    assert "MUL" in [operator.name for operator in parse(content).operators]
    assert offsets.without == frozenset()
    int8_checks.assert_exact(content, steps, offsets)


def test_an_offset_per_channel_does_not_pass_what_moves_channels() -> None:
    def join(image: Any) -> Any:
        x = _conv(image)
        y = tf.reverse(x * tf.constant(np.linspace(-1, 2, 32, dtype=np.float32)), [-1])
        return L.Add()([y, _binary(x, "first")])

    content, steps, offsets = _offsets(join)
    assert {"MUL", "REVERSE_V2"} <= {operator.name for operator in parse(content).operators}
    assert len(offsets.without) == 1
    int8_checks.assert_exact(content, steps, offsets)


def test_a_multiplication_with_a_fused_relu_takes_no_offset() -> None:
    def join(image: Any) -> Any:
        x = _conv(image)
        y = tf.nn.relu(x * tf.constant(np.linspace(-1, 2, 32, dtype=np.float32)))
        return L.Add()([y, _binary(x, "first")])

    content, steps, offsets = _offsets(join)
    assert [o.options["activation"] for o in parse(content).operators if o.name == "MUL"] == [1]
    assert (len(offsets.tensors), len(offsets.without)) == (1, 1)
    int8_checks.assert_exact(content, steps, offsets)


def test_a_concatenation_of_offsets_per_channel_takes_none() -> None:
    def join(image: Any) -> Any:
        parts = []
        for number, channels in enumerate((32, 16)):
            x = L.Conv2D(channels, 3, padding="same", bias_initializer="normal")(image)
            parts += [x * tf.constant(np.linspace(-1, 2, channels, dtype=np.float32)), _binary(x, f"first{number}")]
        return L.Add()([_conv(tf.concat(parts[::2], -1), size=1), *parts[1::2]])

    content, steps, offsets = _offsets(join)
    assert "CONCATENATION" in [operator.name for operator in parse(content).operators]
    assert len(offsets.without) == 2
    int8_checks.assert_exact(content, steps, offsets)


def test_the_offset_of_another_tensor_does_not_reach_a_sign() -> None:
    """No bias can give the sum its own offset: behind one end is a ReLU, and the other one feeds a sign itself."""

    def join(image: Any) -> Any:
        x = _conv(image)
        y = L.Add()([x, _conv(image, activation="relu")])
        return L.Add()([_binary(x, "first"), _binary(y, "second")])

    content, steps, offsets = _offsets(join)
    assert len(offsets.without) == 2
    int8_checks.assert_exact(content, steps, offsets)


def test_an_offset_is_created_through_an_average() -> None:
    content, steps, offsets = _offsets(lambda image: L.AveragePooling2D(2, strides=1, padding="same")(_conv(image)))
    assert "AVERAGE_POOL_2D" in [operator.name for operator in parse(content).operators]
    assert (len(offsets.tensors), len(offsets.without)) == (1, 0)
    int8_checks.assert_exact(content, steps, offsets)


def test_a_float_tensor_that_a_sign_is_taken_of_needs_no_offset() -> None:
    def join(image: Any) -> Any:
        x = tf.sin(_conv(image))
        return L.Add()([_binary(x, "first"), _conv(x)])

    content, steps, offsets = _offsets(join)
    assert (len(offsets.tensors), len(offsets.without)) == (1, 0)
    int8_checks.assert_exact(content, steps, offsets)


@pytest.mark.parametrize(
    "join",
    [
        lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-0.002),
        lambda x: tf.concat([x[..., :24], tf.fill((1, 8, 8, 8), -0.002)], -1),
        lambda x: tf.minimum(x, tf.constant([-0.002] * 4 + [1e4] * 28)),
    ],
    ids=["padding", "concatenation", "minimum"],
)
def test_signs_of_negative_constants_are_listed(join: Callable[[Any], Any]) -> None:
    """They are rounded to 0, and no value that the convolution computes is below it."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = models.binary(32, "a")(join(_conv(image, activation="relu")))
    content = lower_model(FrozenModel(keras.Model(image, L.Dense(10)(L.GlobalAveragePooling2D()(x)))))
    made = quantize_file(content, models.images(16, 8, 3), "mse")
    assert (len(made.offsets.tensors), len(made.offsets.without)) == (0, 1)
    flips = {report.name: report.flips for report in made.reports}
    assert flips[parse(content).tensors[min(made.offsets.without)].name] > 0.1
