"""What is said of a Keras model against the .tflite that becomes of it: sizes and multiply-accumulates.

The slow suite converts one network of each family, another one each day. EL_LARQ_SAMPLE=all takes all of them.
"""

import os
import random
from typing import Any

import larq
import numpy as np
import pytest
import tf_keras as keras

import el_larq
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.lower import lower_model
from el_larq.counting.counts import count
from el_larq.inspection.inspect import inspect
from el_larq.inspection.keras_layers import inspect_model
from el_larq.inspection.predicted_graph import PredictedGraph
from el_larq.inspection.summary import Inspection
from el_larq.inspection.tflite_graph import inspect_graph
from el_larq.keras_internals import leaf_layers
from el_larq.models.network_registry import NETWORKS
from el_larq.tflite.reader import parse

L: Any = keras.layers
Q: Any = larq.layers
SIGNS: dict[str, Any] = {
    "input_quantizer": "ste_sign",
    "kernel_quantizer": "ste_sign",
    "kernel_constraint": "weight_clip",
    "use_bias": False,
}

# Of the weights' bytes; and of the file, for names, shapes and the operators themselves.
WEIGHTS_TOLERANCE, BYTES_AN_OPERATOR, BYTES_A_FILE = 0.06, 500, 2000


def _trained(model: keras.Model) -> keras.Model:
    """With biases, normalizations and gains of their own, as training gives: equal constants are stored once."""
    random = np.random.default_rng(0)
    for layer in leaf_layers(model):
        for variable in layer.weights:
            if len(variable.shape) < 2:
                variable.assign(variable + random.uniform(0.1, 0.3, variable.shape))
    return model


def _check_size(model: keras.Model) -> Inspection:
    predicted = inspect_model(_trained(model), "model")
    content = el_larq.convert(model, skip=("audit", "verify")).need_tflite()
    real = inspect_graph(parse(content), "model")
    assert predicted.predicted["binary kernels"] == real.predicted["binary kernels"]
    weights = real.predicted_size - real.predicted["metadata"]
    assert predicted.predicted_size == pytest.approx(weights, rel=WEIGHTS_TOLERANCE)
    least, most = (predicted.predicted_size * (1 + sign * WEIGHTS_TOLERANCE) for sign in (-1, 1))
    assert least <= len(content) <= most + BYTES_AN_OPERATOR * len(real.layers) + BYTES_A_FILE
    return predicted


def test_instructions_are_those_of_the_folded_operators() -> None:
    """2x2 pooling runs as a depthwise convolution, and the stem reads pairs of pixels, as in the file."""
    image = keras.Input((32, 32, 3))
    x = L.AveragePooling2D(2)(L.Conv2D(8, 7, 2, "same", use_bias=False)(image))
    graph = PredictedGraph(keras.Model(image, x))
    stem, pool = graph.all_operators
    assert stem.inputs[1] is not None
    assert (stem.name, stem.inputs[1].shape, stem.options["strides"]) == ("CONV_2D", (8, 7, 4, 6), (2, 1))
    assert pool.inputs[1] is not None
    assert (pool.name, pool.inputs[1].shape) == ("DEPTHWISE_CONV_2D", (1, 2, 2, 8))
    assert [operator.name for operator in graph.graph.operators] == ["CONV_2D", "AVERAGE_POOL_2D"]


def _small(network: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    return el_larq.build(network, NETWORKS[network].default_method, input_shape=(32, 32, 3), num_classes=10, width=0.25)


EVERY_DAY = ("resnet18", "mobilenet")


def _of_the_day(sample: str) -> list[str]:
    """One network of each builder, apart from those of every day."""
    families: dict[str, list[str]] = {}
    for name, network in NETWORKS.items():
        if name not in EVERY_DAY:
            families.setdefault(network.builder, []).append(name)
    if sample == "all":
        return [name for family in families.values() for name in family]
    chosen = random.Random(sample)
    return [chosen.choice(family) for family in families.values()]


@pytest.mark.parametrize("network", EVERY_DAY)
def test_the_predicted_size_is_near_the_files(network: str) -> None:
    _check_size(_small(network))


@pytest.mark.slow
@pytest.mark.parametrize("network", _of_the_day(os.environ["EL_LARQ_SAMPLE"]))
def test_the_predicted_size_is_near_the_files_of_every_network(network: str) -> None:
    _check_size(_small(network))


def test_binary_dense_layers_are_predicted_as_the_convolutions_that_they_become() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((28, 28, 1))
    x = L.BatchNormalization()(L.Flatten()(image))
    for units in (512, 256):
        x = L.BatchNormalization()(Q.QuantDense(units, **SIGNS)(x))
    predicted = _check_size(keras.Model(image, L.Dense(10)(x)))
    assert predicted.predicted["binary kernels"] == 4 * 25 * 512 + 4 * 16 * 256  # 784 inputs take 25 words
    assert predicted.layers[2].memory == 4 * 25 * 512 + 4 * 512  # with thresholds, for the next layer reads signs


def test_what_does_not_become_binary_is_predicted_in_full() -> None:
    image = keras.Input((8, 8, 32))
    heaviside = Q.QuantConv2D(32, 3, **(SIGNS | {"kernel_quantizer": "ste_heaviside"}))(image)
    real_noop = Q.QuantConv2D(32, 3, **(SIGNS | {"kernel_quantizer": larq.quantizers.NoOp(1)}))(heaviside)
    map_dense = Q.QuantDense(32, **SIGNS)(real_noop)
    half = Q.QuantConv2D(32, 3, padding="same", pad_values=0.5, **SIGNS)(map_dense)
    predicted = inspect_model(keras.Model(image, half), "model")
    assert predicted.predicted == {"binary kernels": 0, "real-valued weights": 4 * (3 * 9 * 32 * 32 + 32 * 32)}
    real = inspect_graph(parse(lower_model(FrozenModel(keras.Model(image, half)))), "model")
    assert real.predicted["binary kernels"] == 0


def _one(shape: tuple[int, ...], *layers: Any) -> keras.Model:
    image = x = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x)


COUNTED = {
    "Conv1D": (lambda: _one((16, 4), L.Conv1D(6, 3, 2)), 3 * 4 * 6 * 7),
    "Conv3D": (lambda: _one((4, 5, 6, 2), L.Conv3D(3, 2)), 8 * 2 * 3 * 3 * 4 * 5),
    "Conv2DTranspose": (lambda: _one((4, 4, 6), L.Conv2DTranspose(3, 3, 2)), 9 * 6 * 3 * 16),
    "Conv3DTranspose": (lambda: _one((3, 3, 3, 6), L.Conv3DTranspose(4, 2)), 8 * 6 * 4 * 27),
    "DepthwiseConv2D": (lambda: _one((5, 5, 4), L.DepthwiseConv2D(3, depth_multiplier=2)), 9 * 8 * 9),
    "SeparableConv2D": (lambda: _one((5, 5, 4), L.SeparableConv2D(6, 3, depth_multiplier=2)), (9 * 8 + 8 * 6) * 9),
    "SeparableConv1D": (lambda: _one((8, 4), L.SeparableConv1D(6, 3)), (3 * 4 + 4 * 6) * 6),
    "LocallyConnected1D": (lambda: _one((8, 4), L.LocallyConnected1D(5, 3)), 3 * 4 * 5 * 6),
    "LocallyConnected2D": (lambda: _one((4, 4, 3), L.LocallyConnected2D(2, 2)), 4 * 3 * 2 * 9),
    "EinsumDense": (lambda: _one((7, 4), L.EinsumDense("abc,cd->abd", (None, 6))), 7 * 4 * 6),
    "TimeDistributed": (lambda: _one((3, 6, 6, 2), L.TimeDistributed(L.Conv2D(4, 3))), 3 * 9 * 2 * 4 * 16),
}
RECURRENT = {
    "LSTM": (lambda: _one((7, 5), L.LSTM(6)), 7 * 4 * (5 * 6 + 6 * 6)),
    "GRU": (lambda: _one((7, 5), L.GRU(6, return_sequences=True)), 7 * 3 * (5 * 6 + 6 * 6)),
    "SimpleRNN": (lambda: _one((7, 5), L.SimpleRNN(6)), 7 * (5 * 6 + 6 * 6)),
    "Bidirectional": (lambda: _one((7, 5), L.Bidirectional(L.LSTM(6))), 2 * 7 * 4 * (5 * 6 + 6 * 6)),
    "RNN": (lambda: _one((7, 5), L.RNN([L.LSTMCell(6), L.GRUCell(4)])), 7 * (4 * (5 + 6) * 6 + 3 * (6 + 4) * 4)),
}


@pytest.mark.parametrize("kind", [*COUNTED, *RECURRENT])
def test_macs_of_every_kind_of_layer_with_a_kernel(kind: str) -> None:
    make, wanted = (COUNTED | RECURRENT)[kind]
    model = make()
    inspection = inspect_model(model, "model")
    assert inspection.macs == {1: 0, 8: 0, 32: wanted}
    assert inspection.uncounted == ()
    assert count(model).flops == wanted
    assert sum(inspection.weights.values()) == model.count_params()


@pytest.mark.parametrize(
    "kind", ["Conv1D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose", "SeparableConv2D", "LocallyConnected1D"]
)
def test_the_tflite_has_as_many(kind: str) -> None:
    make, wanted = COUNTED[kind]
    real = inspect_graph(parse(lower_model(FrozenModel(make()))), "model")
    assert (real.flops, real.uncounted) == (wanted, ())


def test_parts_of_a_separable_convolution_have_bits_of_their_own() -> None:
    layer = Q.QuantSeparableConv2D(
        6,
        3,
        name="q",
        use_bias=False,
        input_quantizer="ste_sign",
        depthwise_quantizer="ste_sign",
        pointwise_quantizer="ste_sign",
        depthwise_constraint="weight_clip",
        pointwise_constraint="weight_clip",
    )
    inspection = inspect_model(_one((5, 5, 4), layer), "model")
    rows = [(row.name, row.macs, row.mac_bits, row.weights) for row in inspection.layers]
    assert rows == [("q/depthwise_kernel", 9 * 4 * 9, 1, {1: 36}), ("q/pointwise_kernel", 24 * 9, 32, {1: 24})]


def test_layers_whose_macs_are_not_known_are_named(el_larq_here: Any, tmp_path: Any) -> None:
    image = keras.Input((4, 6, 6, 2))
    x = L.ConvLSTM2D(3, 3, name="frames")(image)
    x = L.Reshape((16, 3))(x)
    x = L.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = L.PReLU()(L.LayerNormalization()(x))
    model = keras.Model(image, L.Dense(2, name="head")(x))
    inspection = inspect_model(model, "model")
    assert inspection.uncounted == ("frames (ConvLSTM2D)", "attention (MultiHeadAttention)")
    assert inspection.flops == 16 * 3 * 2
    model.save(tmp_path / "model.keras")
    assert inspect(tmp_path / "model.keras").uncounted == inspection.uncounted
    text = el_larq_here("inspect", tmp_path / "model.keras", "--total").stdout
    assert "MACs of frames (ConvLSTM2D) are not counted" in text
