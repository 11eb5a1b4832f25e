"""Methods without some of their quantizers, as recipes train them in stages."""

from dataclasses import replace
from typing import Any

import larq  # noqa: F401  (registers the quantizers' names)
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.keras_internals import leaf_layers
from el_larq.methods.method import Method
from el_larq.methods.method_registry import METHODS, get_method

DIVISIBLE = [name for name, method in METHODS.items() if method.binary and not method.whole]
UNIT = Conv("u", 6, 3)


def _model(method: Method, conv: Conv = UNIT) -> Any:
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    x: Any = keras.Input((5, 5, 6))
    return keras.Model(x, method.unit(x, conv))


def _shapes(model: Any) -> list[tuple[str, tuple[int, ...]]]:
    return [(weight.name, tuple(weight.shape)) for weight in model.weights]


def _quantizers(model: Any) -> tuple[bool, bool]:
    """Whether inputs and kernels of the model's convolutions are quantized."""
    layers = [layer for layer in leaf_layers(model) if hasattr(layer, "input_quantizer")]
    kernels = [getattr(layer, "kernel_quantizer", None) or getattr(layer, "depthwise_quantizer", None) for layer in layers]
    return any(layer.input_quantizer is not None for layer in layers), any(kernel is not None for kernel in kernels)


@pytest.mark.parametrize(
    "conv", [UNIT, replace(UNIT, depthwise=True), replace(UNIT, groups=2)], ids=["conv", "depthwise", "groups"]
)
@pytest.mark.parametrize("name", DIVISIBLE)
def test_quantizers_are_left_out_and_weights_keep_their_order(name: str, conv: Conv):
    method = METHODS[name]
    whole = _model(method, conv)
    assert _quantizers(whole) == (True, True)
    activations, nothing = (_model(method.binarizing(what), conv) for what in ("activations", "nothing"))
    assert _quantizers(activations) == (True, False)
    assert _quantizers(nothing) == (False, False)
    assert _shapes(whole) == _shapes(activations) == _shapes(nothing)
    for a, b in zip(whole.weights, nothing.weights, strict=True):
        if not (name == "xnor_pp" and "_scale" in a.name):  # its scales start where products of such kernels have variance one
            np.testing.assert_array_equal(a, b)


def test_what_is_left_out_is_what_is_computed():
    x = np.random.RandomState(0).randn(2, 5, 5, 6).astype(np.float32)
    method = replace(METHODS["binary"], order=("conv",))
    kernel = _model(method).get_weights()[0]

    def conv(inputs: Any, weights: Any, padding: float) -> Any:
        padded = np.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=padding)
        return tf.nn.conv2d(padded, weights, 1, "VALID")

    sign = np.where(x >= 0, 1.0, -1.0)
    for found, expected in [
        (method, conv(sign, np.where(kernel >= 0, 1.0, -1.0), 1.0)),
        (method.binarizing("activations"), conv(sign, kernel, 1.0)),
        (method.binarizing("nothing"), conv(x, kernel, 0.0)),
        (method.binarizing("nothing", "tanh"), conv(np.tanh(x), kernel, 0.0)),
    ]:
        np.testing.assert_allclose(_model(found)(x), expected, rtol=1e-4, atol=1e-4)


def test_a_real_valued_kernel_is_not_clipped():
    layer = _model(METHODS["binary"].binarizing("activations")).layers[1]
    assert layer.kernel_constraint is None


def test_a_convolution_that_stays_real_valued_is_the_same_in_all_stages():
    conv = replace(UNIT, real=True)
    method = METHODS["real_to_binary"]
    assert [type(layer) for layer in _model(method, conv).layers] == [
        type(layer) for layer in _model(method.binarizing("nothing", "tanh"), conv).layers
    ]


def test_methods_that_cannot_leave_out_their_quantizers_say_so():
    named = {"abc", "cibcnn", "genetic"}
    assert {name for name, method in METHODS.items() if method.whole} == named, "name them here and in docs/recipes.md"
    with pytest.raises(UsageError, match="method 'abc' cannot leave out its quantizers"):
        get_method("abc").binarizing("nothing")
    with pytest.raises(UsageError, match="method 'float' does not binarize, so no stage of it has binary activations"):
        get_method("float").binarizing("activations")
    with pytest.raises(UsageError, match="unknown binarize 'kernels'"):
        get_method("el").binarizing("kernels")
    assert get_method("abc").binarizing("both") == METHODS["abc"]
