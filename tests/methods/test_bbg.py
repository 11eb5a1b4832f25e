"""BBG against its formulas, and its gates in a .tflite."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from reference import check_saving, convolve, convolve_depthwise, make_unit, normalize, randomize_norm, sign, values

import el_larq
from el_larq.conv import Conv
from el_larq.converters.job import Options
from el_larq.errors import UsageError
from el_larq.layers import GatedLink
from el_larq.methods.method_registry import METHODS, get_method
from el_larq.tflite.reader import parse


def balanced(kernel: np.ndarray, center: str = "mean") -> np.ndarray:
    """(..., n filters): the formula, one filter after the other."""
    result = np.zeros(kernel.shape)
    for f in range(kernel.shape[-1]):
        u = kernel[..., f].astype(np.float64) - getattr(np, center)(kernel[..., f].astype(np.float64))
        result[..., f] = np.abs(u).mean() * sign(u)
    return result


def pooled(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, x.shape[3]).mean(axis=(2, 4))


@pytest.mark.parametrize("conv", [Conv("c", 4, 3), Conv("c", 4, 3, 2), Conv("c", 4, 3, 2, depthwise=True), Conv("c", 6, 1)])
def test_a_unit_computes_the_formula(conv: Conv):
    model = make_unit(METHODS["bbg"], (4, 6, 4), conv)
    layer, norm = model.get_layer("c_conv"), model.get_layer("c_norm")
    kernel = values(*layer.get_weights()[0].shape, seed=1, scale=0.7) + 0.2
    layer.set_weights([kernel])
    randomize_norm(norm)
    x = values(2, 4, 6, 4, seed=2)
    if conv.depthwise:
        z = convolve_depthwise(sign(x), balanced(kernel[..., 0])[..., None], conv.strides)
    else:
        z = convolve(sign(x), balanced(kernel), conv.strides)
    expected = normalize(z, norm)
    gates = [layer for layer in model.layers if isinstance(layer, GatedLink)]
    assert len(gates) == (conv.filters == 4)  # other channels are the network's own shortcut
    if gates:
        gates[0].gate.assign([0.5, 1.5, 0.25, -2.0])
        expected += np.array([0.5, 1.5, 0.25, -2.0]) * (x if conv.strides == 1 else pooled(x))
    np.testing.assert_allclose(model(x, training=False), expected, rtol=1e-4, atol=1e-4)


def test_gradients_pass_gate_and_sign():
    method = METHODS["bbg"].with_placement("before_norm")
    whole = make_unit(method, (3, 3, 4), Conv("c", 4, 1))
    model: Any = keras.Model(whole.input, whole.get_layer("c_link").output)
    gate, layer = model.get_layer("c_link").gate, model.get_layer("c_conv")
    gate.assign([0.5, 1.5, 0.25, 2.0])
    layer.set_weights([values(1, 1, 4, 4, seed=1)])
    x, upstream = tf.constant(values(2, 3, 3, 4, seed=2)), values(2, 3, 3, 4, seed=3)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
    dx, dg = tape.gradient(y, [x, gate], output_gradients=tf.constant(upstream))  # pyright: ignore
    through = (np.abs(x) <= 1) * (upstream @ balanced(layer.kernel.numpy())[0, 0].T)
    np.testing.assert_allclose(dx, through + gate.numpy() * upstream, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dg, (upstream * x.numpy()).sum(axis=(0, 1, 2)), rtol=1e-4)


def test_options():
    method = get_method("bbg", chosen={"center": "median", "per": "tensor", "gate": 0.5, "positive": False})
    model: Any = make_unit(method, (4, 4, 4), Conv("c", 4, 3))
    quantizer, link = model.get_layer("c_conv").kernel_quantizer, model.get_layer("c_link")
    assert (quantizer.center, quantizer.per) == ("median", "tensor")
    np.testing.assert_array_equal(link.gate, np.full(4, 0.5))
    assert not link.positive
    named = get_method("bbg", "gated", chosen={"gate": 0.5})
    assert named.link.options == {"gate_initializer": 0.5}
    with pytest.raises(UsageError, match=r"option gate must be at least 0\.01"):
        get_method("bbg", chosen={"gate": 0.0})
    with pytest.raises(UsageError, match="option gate must be a finite number"):
        get_method("bbg", chosen={"gate": float("nan")})
    with pytest.raises(UsageError, match="option center takes mean or median"):
        get_method("bbg", chosen={"center": "mode"})


def network(positive: bool) -> Any:
    """A run of three units of the same width, with gates that training could have left."""
    keras.utils.set_random_seed(0)
    method = get_method("bbg", chosen={"positive": positive})
    image = keras.Input((6, 6, 1), name="image")
    x: Any = keras.layers.Conv2D(32, 3, padding="same", name="stem")(image)
    # Scales do not pass these activations: else even the last multiplication would go, into the stem or the dense layer.
    x = keras.layers.Activation("tanh", name="before")(x)
    for name in ("a", "b", "c"):
        x = method.unit(x, Conv(name, 32, 3))
    x = keras.layers.Activation("tanh", name="behind")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model: Any = keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="tested")
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, GatedLink):
            layer.gate.assign(random.uniform(0.3, 1.5, 32) * (1 if positive else random.choice([-1, 1], 32)))
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, 32), *random.normal(size=(2, 32)), random.uniform(50, 200, 32)])
    return model


@pytest.mark.parametrize(
    ("positive", "skip", "left"), [(True, (), 1), (True, ("fold",), 3), (False, (), 3)], ids=["folded", "unfolded", "negative"]
)
def test_three_gates_leave_at_most_one_multiplication(tmp_path: Path, positive: bool, skip: tuple[str, ...], left: int):
    model = network(positive)
    path = check_saving(model, tmp_path, values(3, 6, 6, 1))
    job = el_larq.convert(path, tmp_path / "model.tflite", options=Options(verify_images=16), skip=skip)
    operators = [operator.name for operator in parse((tmp_path / "model.tflite").read_bytes()).operators]
    assert operators.count("LceBconv2d") == 3
    assert operators.count("MUL") == left
    assert next(entry for entry in job.report if entry.step == "verify").details["failures"] == ()
