"""Corrections of biases, against means computed in NumPy."""

from functools import cache
from typing import Any

import numpy as np
import tf_keras as keras
import uneven

import el_larq
from el_larq.compression.affine import Affine
from el_larq.converters.guideline.bias_correction import corrections
from el_larq.converters.int8.int8_file import with_int8
from el_larq.converters.int8.quantized_file import Quantized, quantize_file
from el_larq.converters.rewrite import with_outputs
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

IMAGES = 16


@cache
def _two_layers() -> tuple[bytes, Quantized]:
    """A 3x3 convolution with ReLU and padding, and a dense layer, both with coarse weights."""
    keras.utils.set_random_seed(0)
    image = keras.Input((uneven.SIZE, uneven.SIZE, 3))
    x = keras.layers.Conv2D(6, 3, 1, "same", activation="relu")(image)
    model = keras.Model(image, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x)))
    kernel, bias = model.layers[1].get_weights()
    kernel[0, 0, 0] = 8.0  # one large weight makes the steps of the others coarse
    model.layers[1].set_weights([kernel, bias + 0.3])
    content = el_larq.convert(model, skip=("audit", "verify")).need_tflite()
    return content, quantize_file(content, _images(), "min-max")


def _images() -> np.ndarray:
    return uneven.images(IMAGES) + np.float32(0.5)


def _convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """3x3 with zeros around: x (N, H, W, I), kernel (O, 3, 3, I)."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    parts = [
        np.einsum("nhwi,oi->nhwo", padded[:, dy : dy + height, dx : dx + width], kernel[:, dy, dx])
        for dy in range(3)
        for dx in range(3)
    ]
    return np.sum(parts, axis=0)


def _rounded(kernel: np.ndarray) -> np.ndarray:
    steps = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True).astype(np.float64) / 127
    return np.round(kernel / steps) * steps


def _kernel(content: bytes) -> np.ndarray:
    (convolution,) = [o for o in parse(content).operators if o.name == "CONV_2D"]
    assert convolution.inputs[1] is not None
    return convolution.inputs[1].array()


def _correct(kind: str) -> Any:
    content, made = _two_layers()
    return corrections(content, made.content, made.scales.operators, _images(), kind)


def test_the_analytic_form_is_the_mean_of_what_rounding_the_kernel_does() -> None:
    kernel = _kernel(_two_layers()[0])
    wanted = -_convolved(_images(), _rounded(kernel) - kernel).mean(axis=(0, 1, 2))
    got = _correct("analytic")
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(got[min(got)], wanted, rtol=1e-3, atol=1e-6)


def test_the_empirical_form_adds_what_rounding_the_input_does() -> None:
    content, made = _two_layers()
    kernel, affine = _kernel(content), made.affines[made.scales.shares[parse(content).inputs[0].index]]
    assert isinstance(affine, Affine)
    x = _images()
    wanted = (_convolved(x, kernel) - _convolved(affine.rounded(x), _rounded(kernel))).mean(axis=(0, 1, 2))
    got = _correct("empirical")
    np.testing.assert_allclose(got[min(got)], wanted, rtol=1e-3, atol=1e-5)


def test_the_last_layers_correction_knows_of_those_in_front_of_it() -> None:
    """Behind all corrections, the mean of the logits is right to within what rounding them to int8 allows."""
    content, made = _two_layers()
    shifts = _correct("empirical")
    logits = parse(content).outputs[0].index
    affine = made.affines[made.scales.shares[logits]]
    (exact,) = Interpreter(content).run(_images())
    errors = []
    for given in ({}, shifts):
        file = with_int8(content, made.scales, made.affines, given)
        got = affine.scale * (Interpreter(with_outputs(file, [logits])).run(_images())[-1].astype(np.float64) - affine.zero)
        errors.append(np.abs((got - exact).mean(axis=0)).max())
    assert errors[1] < 0.5 * affine.scale
    assert errors[1] < errors[0] / 2
