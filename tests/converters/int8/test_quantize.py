"""Post-training quantization: every operator of the file, compared with itself in float, and what stays float is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import binary_models as models
import larq_compute_engine as lce
import numpy as np
import pytest
import tf_keras as keras

from el_larq.compression.affine import Affine
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.int8.int8_comparison import compare_int8
from el_larq.converters.int8.int8_ends import with_int8_ends
from el_larq.converters.int8.int8_file import with_int8
from el_larq.converters.int8.int8_operators import find_scales
from el_larq.converters.int8.int8_plot import plot_int8
from el_larq.converters.int8.quantized_file import Quantized, quantize_file
from el_larq.converters.int8.single_operators import OperatorRun, SingleOperators
from el_larq.converters.lower import lower_model
from el_larq.converters.rewrite import with_outputs
from el_larq.converters.rules.rule_registry import check_graph
from el_larq.errors import ElLarqError, UsageError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.operators import unpack_signs
from el_larq.tflite.reader import parse

L = keras.layers


def _model() -> keras.Model:
    """A stem, a residual binary block, a concatenation, PReLU, pooling of both kinds, a gate, a dense layer and a softmax."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    x = L.ReLU()(models.norm("stem_norm")(L.Conv2D(32, 3, strides=2, padding="same", name="stem")(image)))
    x = models.norm("depth_norm")(L.DepthwiseConv2D(3, padding="same", name="depth")(x))
    x = L.Add()([x, models.norm("a_norm", fan_in=288)(models.binary(32, "a")(x))])
    y = models.norm("b_norm", fan_in=288)(models.binary(32, "b")(x))
    y = L.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform")(L.Add()([x, y]))
    x = L.MaxPooling2D()(L.Concatenate()([x, y]))
    x = L.Multiply()([x, L.Reshape((1, 1, 64))(L.Dense(64, "sigmoid", name="gate")(L.GlobalAveragePooling2D()(x)))])
    return keras.Model(image, L.Softmax()(L.Dense(10, name="logits")(L.Flatten()(L.AveragePooling2D()(x)))))


def _images(count: int = 24) -> np.ndarray:
    return models.images(count, 16, 3)


@pytest.fixture(scope="module")
def unquantized() -> bytes:
    return lower_model(FrozenModel(_model()))


@pytest.fixture(scope="module")
def quantized(unquantized: bytes) -> Quantized:
    return quantize_file(unquantized, _images(), "mse")


def test_every_operator_computes_with_int8_what_it_computes_in_float(unquantized: bytes, quantized: Quantized) -> None:
    graph = parse(quantized.content)
    assert {operator.outputs[0].type for operator in graph.operators} == {"int8", "int32", "float32"}
    assert [o.name for o in graph.operators if o.outputs[0].type == "float32"] == ["DEQUANTIZE"]
    assert quantized.scales.left == ()
    assert {finding.rule for finding in check_graph(graph)} <= {"channels"}
    compared = compare_int8(quantized, unquantized, [models.images(8, 16, 3)])
    assert compared.worst_operator < 0.02
    assert len(quantized.content) < 0.6 * len(unquantized)


def test_constants_are_what_their_integers_stand_for(unquantized: bytes, quantized: Quantized) -> None:
    """Each kernel is symmetric and per channel, and a bias has the scale of the products: computed here from the formulas."""
    single = SingleOperators(quantized.content, unquantized)
    seen = 0
    for operator in single.floats.operators:
        if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        partner = single.operators[operator.outputs[0].index]
        source, kernel, bias = partner.inputs
        wanted = operator.inputs[1]
        assert source is not None
        assert kernel is not None
        assert bias is not None
        assert wanted is not None
        axis = 3 if operator.name == "DEPTHWISE_CONV_2D" else 0
        values = np.moveaxis(wanted.array(), axis, 0).reshape(wanted.shape[axis], -1)
        steps = single.steps(kernel).ravel()
        np.testing.assert_allclose(steps, np.abs(values).max(axis=1) / 127, rtol=1e-6)
        integers = np.moveaxis(kernel.array(), axis, 0).reshape(values.shape)
        assert np.abs(values / steps[:, None] - integers).max() <= 0.5 + 1e-4
        assert integers.min() >= -127
        np.testing.assert_allclose(single.steps(bias).ravel(), source.step * steps, rtol=1e-6)
        seen += 1
    assert seen == 4


def _other_kernels(content: bytes, images: np.ndarray) -> list[list[np.ndarray]]:
    """All outputs and packed signs by each of LCE's kernels, with and without XNNPACK."""
    packed = [o.outputs[0].index for o in parse(content).operators if o.name == "LceQuantize"]
    content = with_outputs(content, packed)
    kernels: list[dict[str, Any]] = [{}, {"use_indirect_bgemm": True}, {"use_reference_bconv": True}]
    interpreters: list[Any] = [
        lce.testing.Interpreter(content, use_xnnpack=x, **kernel) for x in (True, False) for kernel in kernels
    ]
    return [interpreter.predict([images], verbose=0) for interpreter in interpreters]


def test_all_kernels_of_lce_agree(quantized: Quantized) -> None:
    first, *others = _other_kernels(quantized.content, _images(8))
    for number, other in enumerate(others):
        for a, b in zip(first[1:], other[1:], strict=True):
            differing = unpack_signs(a ^ b, 32 * a.shape[-1]).mean()
            assert differing == 0 if number < 2 else differing <= 1e-3  # without XNNPACK, ties are rounded otherwise
        np.testing.assert_allclose(other[0], first[0], atol=0 if number < 2 else 4 / 256)


def test_int8_inputs_and_outputs_are_those_of_the_conversions(unquantized: bytes, quantized: Quantized) -> None:
    content = with_int8_ends(quantized.content)
    graph = parse(content)
    assert [tensor.type for tensor in (*graph.inputs, *graph.outputs)] == ["int8", "int8"]
    assert graph.output_names == parse(unquantized).output_names
    compare_int8(quantized, unquantized, [_images(4)], content)
    near = Interpreter(content).run_real(_images(4)) - Interpreter(quantized.content).run(_images(4))[0]
    assert np.abs(near).max() <= 0.05


def _constant(content: bytes, name: str, position: int) -> Any:
    return next(o for o in parse(content).operators if o.name == name).inputs[position]


def _with_scale(content: bytes, tensor: int, factor: float) -> bytes:
    def change(model: Any) -> None:
        found = model.subgraphs[0].tensors[tensor].quantization
        found.scale = np.asarray(found.scale) * np.float32(factor)

    return models.edit(content, change)


def _with_activation(content: bytes) -> bytes:
    def change(model: Any) -> None:
        numbers = [o.index for o in parse(content).operators if o.name == "ADD"]
        model.subgraphs[0].operators[numbers[0]].builtinOptions.fusedActivationFunction = 1

    return models.edit(content, change)


def _with_output_of(content: bytes, name: str) -> bytes:
    """The result is converted from the input of an operator, not from its output."""
    source = next(o for o in parse(content).operators if o.name == name).inputs[0]
    assert source is not None

    def change(model: Any) -> None:
        model.subgraphs[0].operators[-1].inputs = np.array([source.index], np.int32)

    return models.edit(content, change)


WRONG: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "kernel": (
        lambda c: models.change_constant(c, _constant(c, "CONV_2D", 1).index, np.int8, lambda v: v // 2),
        "constant .* stored wrongly",
    ),
    "kernel step": (lambda c: _with_scale(c, _constant(c, "CONV_2D", 1).index, 1.02), "constant .* stored wrongly"),
    "bias": (
        lambda c: models.change_constant(c, _constant(c, "CONV_2D", 2).index, np.int32, lambda v: v + 100),
        "constant .* stored wrongly",
    ),
    "bias step": (lambda c: _with_scale(c, _constant(c, "CONV_2D", 2).index, 1.02), "constant .* stored wrongly"),
    "multiplier": (
        lambda c: models.change_constant(c, _constant(c, "LceBconv2d", 2).index, np.float32, lambda v: v * 1.01),
        "constant .* stored wrongly",
    ),
    "binary bias": (
        lambda c: models.change_constant(c, _constant(c, "LceBconv2d", 3).index, np.float32, lambda v: v + 0.01),
        "constant .* stored wrongly",
    ),
    "slope": (
        lambda c: models.change_constant(c, _constant(c, "PRELU", 1).index, np.int8, lambda v: v // 2),
        "constant .* stored wrongly",
    ),
    "range": (lambda c: _with_scale(c, _constant(c, "PRELU", 0).index, 0.5), "scale of .* stored wrongly"),
    "operator": (_with_activation, r"operator .* \(ADD\) with int8 differs"),
    "conversion": (lambda c: _with_output_of(c, "SOFTMAX"), r"operator .* \(DEQUANTIZE\) with int8 differs"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_file_is_found(unquantized: bytes, quantized: Quantized, wrong: str) -> None:
    change, reason = WRONG[wrong]
    with pytest.raises(ElLarqError, match=f"verify: {reason}"):
        compare_int8(replace(quantized, content=change(quantized.content)), unquantized, [_images(4)])


@pytest.mark.parametrize("name", ["CONV_2D", "FULLY_CONNECTED", "LceBconv2d"])
def test_a_bias_without_its_offset_is_found(unquantized: bytes, quantized: Quantized, name: str) -> None:
    number = next(o.index for o in parse(unquantized).operators if o.name == name)
    expected = replace(quantized, offsets=replace(quantized.offsets, shifts={number: 0.05}))
    with pytest.raises(ElLarqError, match=rf"verify: constant .* of operator {number} \({name}\) is stored wrongly"):
        compare_int8(expected, unquantized, [_images(4)])


def test_values_outside_a_required_range_are_found(unquantized: bytes, quantized: Quantized) -> None:
    """As if the scale of the softmax were required of the sum in front of a sign."""
    tensor = _constant(unquantized, "PRELU", 0).index
    first = quantized.scales.shares[tensor]
    wrong = Affine(1 / 256, -128)
    scales = replace(quantized.scales, fixed=quantized.scales.fixed | {first: wrong})
    affines = quantized.affines | {first: wrong}
    made = replace(
        quantized, scales=scales, affines=affines, content=with_int8(unquantized, scales, affines, quantized.offsets.shifts)
    )
    with pytest.raises(ElLarqError, match=r"verify: values of tensor .* are outside 0 to 0.996094"):
        compare_int8(made, unquantized, [_images(4)])


def test_what_is_not_a_number_is_a_difference(unquantized: bytes) -> None:
    operator = parse(unquantized).operators[0]
    run = OperatorRun(operator, operator.outputs[0], np.zeros(2, np.int8), np.array([0.0, np.nan], np.float32))
    assert np.isnan(run.steps)


def test_zero_padded_binary_convolutions_stay_float_and_are_named() -> None:
    model = models.network(models.binary(32, "a", pad_values=0.0), models.norm("n"), models.binary(32, "b"), models.norm("m"))
    content = lower_model(FrozenModel(model))
    made = quantize_file(content, models.images(8), "min-max")
    assert [(operator.name, "zeros" in reason) for operator, reason in made.scales.left] == [("LceBconv2d", True)]
    findings = [finding for finding in check_graph(parse(made.content)) if finding.rule.endswith("float")]
    assert [finding.rule for finding in findings] == ["only-float"]
    assert compare_int8(made, content, [models.images(4)]).worst_operator < 0.02


def test_a_file_without_real_layers_and_a_quantized_one_are_refused(quantized: Quantized) -> None:
    image = keras.Input((8, 8, 32))
    content = lower_model(FrozenModel(keras.Model(image, models.norm("n")(models.binary(32, "a")(image)))))
    with pytest.raises(UsageError, match="no real-valued convolution or dense layer"):
        quantize_file(content, models.images(4, 8, 32), "mse")
    with pytest.raises(UsageError, match="quantized already"):
        quantize_file(quantized.content, _images(4), "mse")


def test_values_that_are_not_finite_name_their_tensor(unquantized: bytes) -> None:
    images = _images(4)
    images[0, 0, 0, 0] = np.inf
    with pytest.raises(ElLarqError, match=r"calibration: tensor .* not finite"):
        quantize_file(unquantized, images, "mse")


def test_a_bias_beyond_int32_widens_the_scale_of_its_kernel() -> None:
    image = keras.Input((4,))
    dense = L.Dense(2, kernel_initializer="ones")
    model = keras.Model(image, dense(image))
    dense.set_weights([np.full((4, 2), 1e-6, np.float32), np.array([0.0, 1e3], np.float32)])
    content = lower_model(FrozenModel(model))
    graph = parse(content)
    scales = find_scales(graph)
    affines = {first: Affine(1e-4, 0) for first in scales.shares.values()} | {
        scales.shares[graph.outputs[0].index]: Affine.of_range(0, 1e3)
    }
    made = with_int8(content, scales, affines, {})
    np.testing.assert_allclose(Interpreter(made).run(np.zeros((1, 4), np.float32))[0], [[0, 1e3]], rtol=1e-6)


def test_the_plot_is_the_same_each_time_and_names_the_worst_tensor(quantized: Quantized, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        plot_int8(quantized.reports, "model.tflite", tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    assert min(quantized.reports, key=lambda one: one.sqnr).name in text
    plot_int8(quantized.reports, "model.tflite", tmp_path / "c.PNG")
    assert (tmp_path / "c.PNG").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="its name must end in"):
        plot_int8(quantized.reports, "model.tflite", tmp_path / "a.txt")
