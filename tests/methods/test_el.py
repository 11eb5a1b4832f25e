from typing import Any

import numpy as np
import pytest
import reference

from el_larq.conv import Conv
from el_larq.layers import ActivationScale
from el_larq.methods.method_registry import METHODS, get_method


def box(magnitudes: np.ndarray, size: int, strides: int) -> np.ndarray:
    kernel = np.full((size, size, magnitudes.shape[-1], 1), 1 / size**2)
    return reference.convolve(magnitudes, kernel, strides, depthwise=True, pad=0.0)


@pytest.mark.parametrize("placement", ["after_norm", "before_norm"])
@pytest.mark.parametrize("k", ["off", "1x1", "3x3", "all"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("conv", [Conv("c", 6, 3), Conv("c", 12, 1)])
def test_a_unit_computes_what_its_formulas_say(conv: Conv, alpha: bool, k: str, placement: str):
    method = get_method("el", chosen={"alpha": alpha, "k": k}).with_placement(placement)
    model = reference.make_unit(method, (7, 6, 6), conv)
    reference.randomize(model)
    x = reference.values(2, 7, 6, 6, seed=1).astype(np.float64)
    (kernel,) = reference.weights(model, "c_conv")
    binary = reference.sign(kernel) * (reference.mean_magnitude(kernel, False) if alpha else 1.0)
    z = reference.convolve(reference.sign(x), binary, 1, False)
    if k == "all" or k == f"{conv.kernel_size}x{conv.kernel_size}":
        z = z * box(np.abs(x).mean(axis=-1, keepdims=True), conv.kernel_size, 1)
    (gamma,) = reference.weights(model, "c_link")
    link = gamma * np.tile(x, conv.filters // 6)
    scale, shift = reference.norm_scale_and_shift(model, "c_norm")
    expected = scale * (z + link) + shift if placement == "before_norm" else scale * z + shift + link
    np.testing.assert_allclose(model(x.astype(np.float32), training=False), expected, rtol=1e-4, atol=1e-4)


def test_the_default_has_no_scales():
    model = reference.make_unit(METHODS["el"], (4, 4, 4), Conv("c", 4, 3))
    assert not any(isinstance(layer, ActivationScale) for layer in model.layers)
    assert METHODS["el"].options == {"alpha": False, "k": "off"}
    assert METHODS["el"].kernel_quantizer == "ste_sign"


def test_gamma_can_be_fixed():
    from el_larq.models.build import resolve_method

    model: Any = reference.make_unit(resolve_method("el", None, None, {"trainable": False}, None), (4, 4, 4), Conv("c", 4, 1))
    link = model.get_layer("c_link")
    assert (link.trainable_weights, [weight.shape for weight in link.non_trainable_weights]) == ([], [()])
    assert link.gamma.numpy() == 1.0
    assert not any(weight is link.gamma for weight in model.trainable_weights)
