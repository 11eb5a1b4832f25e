from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from el_larq.errors import ElLarqError
from el_larq.inspection.weights import BinaryLayer, binary_layers, read_weights, write_weights
from el_larq.interpreter import Interpreter
from el_larq.tflite import parse

DATA = Path(__file__).parents[1] / "data"


def signs(values: np.ndarray) -> np.ndarray:
    return np.where(values < 0, -1.0, 1.0).astype(np.float32)


def same(first: BinaryLayer, second: BinaryLayer) -> None:
    assert first.name == second.name
    for field in ("signs", "scale", "shift", "threshold"):
        a, b = getattr(first, field), getattr(second, field)
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == b.dtype and np.array_equal(a, b))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for number, model in enumerate((DATA / "t1.tflite", DATA / "bin4.tflite")):
        layers = binary_layers(model)
        path = tmp_path / f"{number}.npz"
        write_weights(layers, path, model.name)
        for layer, again in zip(layers, read_weights(path), strict=True):
            same(layer, again)


def test_a_kernel_takes_a_bit_a_weight(tmp_path: Path) -> None:
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
    first, second, third = binary_layers(DATA / "binpool.tflite")
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
    keras_layers, tflite_layers = binary_layers(small.h5), binary_layers(small.tflite)
    assert [layer.name for layer in keras_layers] == ["first", "second"]
    for ours, theirs in zip(keras_layers, tflite_layers, strict=True):
        # LCE may turn a whole filter around where its multiplier is negative.
        agree = (ours.signs == theirs.signs).reshape(len(ours.signs), -1).mean(axis=1)
        assert set(agree) <= {0.0, 1.0}
        assert ours.scale is not None
        assert np.array_equal(ours.scale, np.ones(len(ours.signs)))


def test_a_model_without_binary_convolutions_is_refused() -> None:
    with pytest.raises(ElLarqError, match="holds no binary convolution"):
        binary_layers(DATA / "float.tflite")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip at all"])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    path.write_bytes(content)
    with pytest.raises(ElLarqError, match="not a file of exported weights"):
        read_weights(path)


def test_the_command(el_larq_command: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    out = tmp_path / "w.npz"
    result = el_larq_command("export-weights", DATA / "t1.tflite", "--binary", "-o", out)
    assert result.returncode == 0, result.stderr
    assert f"wrote {out}" in result.stdout
    assert read_weights(out)
    assert "say --binary" in el_larq_command("export-weights", DATA / "t1.tflite", "-o", out).stderr
    assert el_larq_command("export-weights", DATA / "t1.tflite", "--binary", "-o", tmp_path / "w.txt").returncode == 2
