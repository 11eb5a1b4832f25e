from pathlib import Path

import numpy as np
import pytest
import reference

from el_larq.conv import Conv
from el_larq.converters.rules.rule_registry import check_graph
from el_larq.errors import UsageError
from el_larq.layers import LearnedScale
from el_larq.methods.method_registry import METHODS, get_method
from el_larq.tflite.reader import parse

SHAPES = {
    "c": {"scale_c": "c"},
    "chw": {"scale": "hwc"},
    "c_hw": {"scale_c": "c", "scale_hw": "hw"},
    "c_h_w": {"scale_c": "c", "scale_h": "h", "scale_w": "w"},
}

CONVOLUTIONS = [Conv("c", 6, 3), Conv("c", 9, 3, strides=2), Conv("c", 3, 1), Conv("c", 6, 3, strides=2, depthwise=True)]


def factors(model: object, shape: str) -> dict[str, np.ndarray]:
    return dict(zip(SHAPES[shape], reference.weights(model, "c_scale"), strict=True))


def gamma(values: dict[str, np.ndarray], shape: str, height: int, width: int) -> np.ndarray:
    """Gamma by its definition, (H, W, 1 or C)."""
    axes = SHAPES[shape]
    found = np.einsum(f"{','.join(axes.values())}->{''.join(a for a in 'hwc' if a in ''.join(axes.values()))}", *values.values())
    return np.broadcast_to(found, (height, width, found.shape[-1]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_a_unit_computes_what_its_formulas_say(conv: Conv, shape: str):
    model = reference.make_unit(get_method("xnor_pp", chosen={"shape": shape}), (7, 6, 6), conv)
    reference.randomize(model)
    x = reference.values(2, 7, 6, 6, seed=1).astype(np.float64)
    scale, shift = reference.norm_scale_and_shift(model, "c_norm")
    (kernel,) = reference.weights(model, "c_conv")
    z = reference.convolve(reference.sign(scale * x + shift), reference.sign(kernel), conv.strides, conv.depthwise)
    expected = z * gamma(factors(model, shape), shape, *z.shape[1:3])
    np.testing.assert_allclose(model(x.astype(np.float32), training=False), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_the_factors_and_of_the_kernel(shape: str):
    model = reference.make_unit(get_method("xnor_pp", chosen={"shape": shape}), (3, 4, 5), Conv("c", 6, 1))
    reference.randomize(model, seed=3)
    x, g = reference.values(2, 3, 4, 5, seed=1).astype(np.float64), reference.values(2, 3, 4, 6, seed=5).astype(np.float64)
    scale, shift = reference.norm_scale_and_shift(model, "c_norm")
    v = scale * x + shift
    kernel = reference.weights(model, "c_conv")[0][0, 0]
    z = reference.sign(v) @ reference.sign(kernel)
    values = factors(model, shape)
    g_z = g * gamma(values, shape, 3, 4)

    found = reference.gradients(model, x, g)
    g_v = g_z @ reference.sign(kernel).T * (np.abs(v) <= 1)
    np.testing.assert_allclose(found["x"], g_v * scale, rtol=1e-4, atol=1e-4)
    g_kernel = reference.sign(v).reshape(-1, 5).T @ g_z.reshape(-1, 6) * (np.abs(kernel) <= 1)
    np.testing.assert_allclose(found["c_conv/kernel"][0, 0], g_kernel, rtol=1e-4, atol=1e-4)
    g_gamma = (g * z).sum(axis=0)
    for name, axes in SHAPES[shape].items():
        others = {key: value for key, value in values.items() if key != name}
        terms = ",".join(["hwc", *(SHAPES[shape][key] for key in others)])
        expected = np.einsum(f"{terms}->{axes}", g_gamma, *others.values())
        np.testing.assert_allclose(found[f"c_scale/{name}"], expected, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(("conv", "terms"), [(Conv("c", 6, 1), 4), (Conv("c", 6, 3), 36), (Conv("c", 4, 3, depthwise=True), 9)])
@pytest.mark.parametrize("shape", SHAPES)
def test_learned_values_and_their_start(shape: str, conv: Conv, terms: int):
    for start, first in (("unit", terms**-0.5), ("one", 1.0)):
        model = reference.make_unit(get_method("xnor_pp", chosen={"shape": shape, "start": start}), (3, 5, 4), conv)
        sizes = {"h": 3, "w": 5, "c": conv.filters}
        for (_, axes), values in zip(SHAPES[shape].items(), reference.weights(model, "c_scale"), strict=True):
            np.testing.assert_allclose(values, np.full([sizes[axis] for axis in axes], first), rtol=1e-6)
            first = 1.0


def test_the_default_is_the_product_of_three_vectors():
    assert METHODS["xnor_pp"].options == {"shape": "c_h_w", "start": "unit"}


def test_a_real_convolution_has_no_scale():
    model = reference.make_unit(METHODS["xnor_pp"], (4, 4, 3), Conv("c", 3, 3, real=True))
    assert not any(isinstance(layer, LearnedScale) for layer in model.layers)


def test_an_open_size_is_refused_where_the_shape_has_one():
    with pytest.raises(ValueError, match="needs a fixed size"):
        reference.make_unit(METHODS["xnor_pp"], (None, None, 3), Conv("c", 3, 1))
    reference.make_unit(get_method("xnor_pp", chosen={"shape": "c"}), (None, None, 3), Conv("c", 3, 1))


def test_wrong_options_are_one_line():
    with pytest.raises(UsageError, match="option shape takes c, chw, c_hw or c_h_w; got 'hwc'"):
        get_method("xnor_pp", chosen={"shape": "hwc"})


def test_every_shape_converts_and_all_but_c_leave_one_multiplication(tmp_path: Path):
    names = ("c", "chw", "c_hw", "c_h_w")
    convolutions = [Conv("a", 32, 3), Conv("b", 64, 3, 2), Conv("c", 32, 1), Conv("d", 32, 3)]
    units = [(get_method("xnor_pp", chosen={"shape": n}), conv) for n, conv in zip(names, convolutions, strict=True)]
    operators = reference.convert_units(tmp_path, units)
    assert operators["LceBconv2d"] == 4
    assert operators["MUL"] == 3
    assert operators["ADD"] <= 4
    findings = check_graph(parse((tmp_path / "model.tflite").read_bytes()))
    assert "norm-left" not in {finding.rule for finding in findings}


@pytest.mark.parametrize("skip", [(), ("fold",)])
def test_maps_of_one_position_convert_too(tmp_path: Path, skip: tuple[str, ...]):
    """There the scale by position is one by channel, and LCE merges what it can reach, view or not."""
    names = ("chw", "c_hw", "c_h_w")
    methods = [get_method("xnor_pp", chosen={"shape": name}) for name in names]
    units = [(method, Conv(f"u{index}", 32, 3, 1 if index else 2)) for index, method in enumerate(methods)]
    operators = reference.convert_units(tmp_path, units, size=2, skip=skip)
    assert operators["LceBconv2d"] == 3
    assert "MUL" not in operators
