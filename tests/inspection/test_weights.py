import warnings
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, cast

import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.errors import ElLarqError
from el_larq.inspection.binary_layer import BinaryLayer
from el_larq.inspection.weights import binary_kernels, read_weights, write_weights
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

DATA = Path(__file__).parents[1] / "data"


def signs(values: np.ndarray) -> np.ndarray:
    return np.where(values < 0, -1.0, 1.0).astype(np.float32)


def same(first: BinaryLayer, second: BinaryLayer) -> None:
    assert (first.name, first.kind) == (second.name, second.kind)
    for field in ("signs", "scale", "shift", "threshold"):
        a, b = getattr(first, field), getattr(second, field)
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == b.dtype and np.array_equal(a, b))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for number, model in enumerate((DATA / "t1.tflite", DATA / "bin4.tflite")):
        layers = binary_kernels(model).layers
        path = tmp_path / f"{number}.npz"
        write_weights(layers, path, model.name)
        for layer, again in zip(layers, read_weights(path), strict=True):
            same(layer, again)


def test_a_kernel_needs_one_bit_per_weight(tmp_path: Path) -> None:
    layer = BinaryLayer("odd", np.where(np.arange(2 * 3 * 3 * 5).reshape(2, 3, 3, 5) % 7 < 3, -1, 1).astype(np.int8), None, None)
    write_weights([layer], tmp_path / "w.npz", "test")
    with np.load(tmp_path / "w.npz") as arrays:
        bits = arrays["0/bits"]
    assert bits.shape == (2, 6)  # 45 bits
    flat = layer.signs.reshape(2, -1)
    assert [(bits[1, n // 8] >> (n % 8)) & 1 for n in range(45)] == [int(sign < 0) for sign in flat[1]]
    same(read_weights(tmp_path / "w.npz")[0], layer)


def convolve(x: np.ndarray, layer: BinaryLayer) -> np.ndarray:
    """What the documented format says that a layer computes, padded with +1 to the same size."""
    pad = layer.signs.shape[1] // 2
    padded = np.pad(signs(x), ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=1.0)
    dot = tf.nn.conv2d(padded, np.transpose(layer.signs, (1, 2, 3, 0)).astype(np.float32), 1, "VALID").numpy()
    if layer.threshold is not None:
        differing = (np.prod(layer.signs.shape[1:]) - dot) / 2
        return np.where(differing > layer.threshold, -1.0, 1.0)
    assert layer.scale is not None
    assert layer.shift is not None
    return dot * layer.scale + layer.shift


def test_exported_weights_compute_what_the_interpreter_does() -> None:
    """A model with float and with packed results, worked out from the exported arrays with TensorFlow's convolution."""
    content = (DATA / "binpool.tflite").read_bytes()
    first, second, third = binary_kernels(DATA / "binpool.tflite").layers
    assert second.threshold is not None
    graph = parse(content)
    norm = next(operator for operator in graph.operators if operator.name == "MUL").inputs[1]
    assert norm is not None
    image = np.random.default_rng(0).standard_normal((1, 32, 32, 64)).astype(np.float32)
    pooled = tf.nn.max_pool2d(convolve(image, first), 2, 2, "VALID").numpy()
    output = convolve(convolve(pooled * norm.array(), second), third)
    wanted = Interpreter(content).run(image)[0]
    assert np.abs(output - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_keras_kernels_are_those_of_the_tflite(small: Any) -> None:
    keras_layers, tflite_layers = binary_kernels(small.h5).layers, binary_kernels(small.tflite).layers
    assert [layer.name for layer in keras_layers] == ["first", "second"]
    for ours, theirs in zip(keras_layers, tflite_layers, strict=True):
        # LCE may turn a whole filter around where its multiplier is negative.
        agree = (ours.signs == theirs.signs).reshape(len(ours.signs), -1).mean(axis=1)
        assert set(agree) <= {0.0, 1.0}
        assert ours.scale is not None
        assert np.array_equal(ours.scale, np.ones(len(ours.signs)))


def test_a_model_without_binary_convolutions_is_refused() -> None:
    with pytest.raises(ElLarqError, match="contains no binary kernel"):
        binary_kernels(DATA / "float.tflite")


SIGNS: dict[str, Any] = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
SEPARABLE = {
    "input_quantizer": "ste_sign",
    "depthwise_quantizer": "ste_sign",
    "pointwise_quantizer": "magnitude_aware_sign",
    "depthwise_constraint": "weight_clip",
    "pointwise_constraint": "weight_clip",
}


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model with a layer of every kind that Larq has, each on 4x4 pixels of 8 channels."""
    keras.utils.set_random_seed(0)
    larq_layers: Any = larq.layers
    image = keras.Input((4, 4, 8), name="image")
    row, cube = keras.layers.Reshape((16, 8))(image), keras.layers.Reshape((4, 4, 4, 2))(image)
    depthwise = {"depthwise_quantizer": "ste_sign", "depthwise_constraint": "weight_clip", "input_quantizer": "ste_sign"}
    initial = {"bias_initializer": "normal"}
    outputs = [
        larq_layers.QuantConv2D(3, 3, name="conv", **SIGNS, **initial)(image),
        larq_layers.QuantConv2D(3, 3, name="real_input", **(SIGNS | {"input_quantizer": None}))(image),
        larq_layers.QuantDense(5, name="dense", **SIGNS, **initial)(keras.layers.Flatten()(image)),
        larq_layers.QuantConv1D(3, 5, name="row", **SIGNS)(row),
        larq_layers.QuantConv3D(3, 2, name="cube", **SIGNS)(cube),
        larq_layers.QuantConv2DTranspose(3, 2, name="transposed", **SIGNS)(image),
        larq_layers.QuantConv3DTranspose(3, 2, name="transposed_cube", **SIGNS)(cube),
        larq_layers.QuantDepthwiseConv2D(3, name="depthwise", **depthwise)(image),
        larq_layers.QuantSeparableConv2D(6, 3, name="separable", **SEPARABLE, **initial)(image),
        larq_layers.QuantSeparableConv1D(6, 3, name="separable_row", **SEPARABLE)(row),
        larq_layers.QuantLocallyConnected1D(3, 3, name="local_row", **SIGNS)(row),
        larq_layers.QuantLocallyConnected2D(3, 3, name="local", **SIGNS)(image),
        larq_layers.QuantConv2D(3, 3, name="ternary", **(SIGNS | {"kernel_quantizer": "ste_tern"}))(image),
        larq_layers.QuantConv2D(3, 3, name="heaviside", **(SIGNS | {"kernel_quantizer": "ste_heaviside"}))(image),
        larq_layers.QuantConv2D(3, 3, name="dorefa", **(SIGNS | {"kernel_quantizer": larq.quantizers.DoReFa(2, "weights")}))(image),
        larq_layers.QuantConv2D(3, 3, name="noop", **(SIGNS | {"kernel_quantizer": larq.quantizers.NoOp(1)}))(image),
        keras.layers.Conv2D(3, 3, name="plain_signs")(image),
        keras.layers.Conv2D(3, 3, name="plain")(image),
    ]
    model = keras.Model(image, outputs, name="every_kind")
    for name in ("noop", "plain_signs"):
        kernel = cast(Any, model.get_layer(name)).kernel
        kernel.assign(np.where(kernel.numpy() < 0, -0.5, 0.5))
    path = tmp_path_factory.mktemp("every_kind") / "model.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return model, path


def test_every_larq_layer_is_exported_or_named(every_kind: tuple[Any, Path]) -> None:
    model, path = every_kind
    found = binary_kernels(path)
    shapes = {layer.name: (layer.signs.shape, layer.kind) for layer in found.layers}
    assert shapes == {
        "conv": ((3, 3, 3, 8), "QuantConv2D"),
        "real_input": ((3, 3, 3, 8), "QuantConv2D"),
        "dense": ((5, 1, 1, 128), "QuantDense"),
        "row": ((3, 5, 8), "QuantConv1D"),
        "cube": ((3, 2, 2, 2, 2), "QuantConv3D"),
        "transposed": ((3, 2, 2, 8), "QuantConv2DTranspose"),
        "transposed_cube": ((3, 2, 2, 2, 2), "QuantConv3DTranspose"),
        "depthwise": ((8, 3, 3, 1), "QuantDepthwiseConv2D"),
        "separable_depthwise": ((8, 3, 3, 1), "QuantSeparableConv2D"),
        "separable_pointwise": ((6, 1, 1, 8), "QuantSeparableConv2D"),
        "separable_row_depthwise": ((8, 3, 1), "QuantSeparableConv1D"),
        "separable_row_pointwise": ((6, 1, 8), "QuantSeparableConv1D"),
        "noop": ((3, 3, 3, 8), "QuantConv2D"),
        "plain_signs": ((3, 3, 3, 8), "Conv2D"),
    }
    assert {one.name: one.reason for one in found.left_out} == {
        "local_row": "QuantLocallyConnected1D has no kernel of filters",
        "local": "QuantLocallyConnected2D has no kernel of filters",
        "ternary": "its kernel has 2 bits (SteTern)",
        "heaviside": "its filters contain more than two values (SteHeaviside)",
        "dorefa": "its kernel has 2 bits (DoReFa)",
    }
    named = {*(name.removesuffix("_depthwise").removesuffix("_pointwise") for name in shapes), *(o.name for o in found.left_out)}
    assert named >= {layer.name for layer in model.layers if type(layer).__name__.startswith("Quant")}


def test_exported_kernels_compute_what_the_layers_do(every_kind: tuple[Any, Path]) -> None:
    """Of those kinds whose filters lie differently in Keras: worked out from the exported arrays as the documentation says."""
    model, path = every_kind
    layers = {layer.name: layer for layer in binary_kernels(path).layers}
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 8)).astype(np.float32)

    def wanted(name: str) -> np.ndarray:
        return np.asarray(keras.Model(model.inputs, model.get_layer(name).output)(x))

    def kernel(name: str) -> np.ndarray:
        """(kh, kw, C_in, C_out), as it multiplies."""
        layer = layers[name]
        assert layer.scale is not None
        return np.moveaxis(layer.signs, 0, -1) * layer.scale

    def shift(name: str) -> Any:
        return layers[name].shift

    conv = tf.nn.conv2d(signs(x), kernel("conv"), 1, "VALID") + shift("conv")
    np.testing.assert_allclose(conv, wanted("conv"), atol=1e-4)
    dense = signs(x).reshape(2, -1) @ kernel("dense")[0, 0] + shift("dense")
    np.testing.assert_allclose(dense, wanted("dense"), atol=1e-4)
    for name, sums in (("depthwise", signs(x)), ("separable_depthwise", signs(x))):
        one_each = np.moveaxis(kernel(name), -1, 2)[..., 0][..., None]  # (kh, kw, C, 1)
        sums = tf.nn.depthwise_conv2d(sums, one_each.astype(np.float32), [1, 1, 1, 1], "VALID") + shift(name)
        if name == "depthwise":
            np.testing.assert_allclose(sums, wanted(name), atol=1e-4)
    separable = tf.nn.conv2d(sums, kernel("separable_pointwise"), 1, "VALID") + shift("separable_pointwise")
    np.testing.assert_allclose(separable, wanted("separable"), atol=1e-4)
    filters = np.moveaxis(layers["transposed"].signs, 0, -2).astype(np.float32)  # (kh, kw, C_out, C_in)
    transposed = tf.nn.conv2d_transpose(signs(x), filters, tf.constant([2, 5, 5, 3]), 1, "VALID") + shift("transposed")
    np.testing.assert_allclose(transposed, wanted("transposed"), atol=1e-4)


def test_a_tflite_has_the_binary_kernels_of_real_valued_operators_too(every_kind: tuple[Any, Path]) -> None:
    from el_larq.converters.frozen import FrozenModel
    from el_larq.converters.lower import lower_model

    model, path = every_kind
    names = ("conv", "real_input", "dense", "cube", "transposed", "transposed_cube", "depthwise", "plain")
    part = keras.Model(model.inputs, [model.get_layer(name).output for name in names])
    tflite = path.parent / "model.tflite"
    tflite.write_bytes(lower_model(FrozenModel(part)))
    exported = binary_kernels(tflite).layers
    kinds = ("LceBconv2d", "CONV_2D", "FULLY_CONNECTED", "CONV_3D", "TRANSPOSE_CONV", "CONV_3D_TRANSPOSE", "DEPTHWISE_CONV_2D")
    assert sorted(layer.kind for layer in exported) == sorted(kinds)
    ours = {layer.name: layer for layer in binary_kernels(path).layers}
    for name, kind in zip(names, kinds, strict=False):
        (theirs,) = [layer for layer in exported if layer.kind == kind]
        assert np.array_equal(theirs.signs, ours[name].signs), name
        assert np.array_equal(np.asarray(theirs.scale), np.asarray(ours[name].scale)), name


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    path.write_bytes(content)
    with pytest.raises(ElLarqError, match="not a file of exported weights"):
        read_weights(path)


def test_the_command_names_what_it_leaves_out(
    el_larq_command: Callable[..., CompletedProcess[str]], every_kind: tuple[Any, Path], tmp_path: Path
) -> None:
    out = tmp_path / "w.npz"
    result = el_larq_command("export-weights", every_kind[1], "--binary", "-o", out)
    assert result.returncode == 0, result.stderr
    assert f"wrote {out}: 14 binary kernels" in result.stdout
    assert "left out: ternary: its kernel has 2 bits (SteTern)\n" in result.stderr
    assert "dense" in [layer.name for layer in read_weights(out)]


def test_the_command(el_larq_command: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    out = tmp_path / "w.npz"
    result = el_larq_command("export-weights", DATA / "t1.tflite", "--binary", "-o", out)
    assert result.returncode == 0, result.stderr
    assert f"wrote {out}" in result.stdout
    assert read_weights(out)
    assert "add --binary" in el_larq_command("export-weights", DATA / "t1.tflite", "-o", out).stderr
    assert el_larq_command("export-weights", DATA / "t1.tflite", "--binary", "-o", tmp_path / "w.txt").returncode == 2
