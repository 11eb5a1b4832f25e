"""What tests of int8 files share: random graphs, and float files with the biases of int8 ones."""

from collections.abc import Sequence
from typing import Any

import binary_models as models
import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.compression.sign_safe import OFFSET
from el_larq.converters.int8.int8_file import Shifts
from el_larq.converters.int8.int8_operators import VIEWS
from el_larq.converters.int8.sign_offsets import Offsets
from el_larq.converters.rewrite import add_buffer, pack, unpack, with_outputs
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.operators import BINARY
from el_larq.tflite.reader import parse

L = keras.layers


STEP = 2.0**-13
"""Large compared with the rounding of float32."""


def _with_shifts(content: bytes, shifts: Shifts, packed: list[int]) -> bytes:
    """The float file with what is added to the biases of its operators, by their number; packed signs are further inputs."""
    from larq_compute_engine.mlir.python import tflite_schema as schema

    operators, model = parse(content).operators, unpack(content)
    subgraph = model.subgraphs[0]
    for operator, edited in zip(operators, subgraph.operators, strict=True):
        if operator.index not in shifts:
            continue
        position = 3 if operator.name == BINARY else 2
        bias = operator.inputs[position]
        channels = operator.outputs[0].shape[-1]
        values = ((np.zeros(channels) if bias is None else bias.array()) + shifts[operator.index]).astype("<f4")
        tensor: Any = schema.TensorT()
        tensor.shape, tensor.hasRank, tensor.name = np.array(values.shape, np.int32), True, f"bias{operator.index}"
        tensor.type, tensor.buffer = schema.TensorType.FLOAT32, add_buffer(model, values.tobytes())
        subgraph.tensors.append(tensor)
        edited.inputs = np.array([*edited.inputs[:position], len(subgraph.tensors) - 1, *edited.inputs[position + 1 :]], np.int32)
    subgraph.operators = [edited for edited in subgraph.operators if edited.outputs[0] not in packed]
    subgraph.inputs, model.signatureDefs = np.array([*subgraph.inputs, *packed], np.int32), None
    return pack(model)


def assert_exact(content: bytes, steps: dict[int, float], offsets: Offsets) -> None:
    """With shifted biases, the float file computes the same from the same signs, and each sign sees its offset or none."""
    signs = [o for o in parse(content).operators if o.name == "LceQuantize"]
    sources = [o.inputs[0].index for o in signs if o.inputs[0] is not None]
    packed = [o.outputs[0].index for o in signs]
    images = models.images(8, 8, 3)
    before = Interpreter(with_outputs(content, [*sources, *packed])).run(images)
    shifted = with_outputs(_with_shifts(content, offsets.shifts, packed), sources)
    after = Interpreter(shifted).run([images, *before[1 + len(sources) :]])
    np.testing.assert_allclose(after[0], before[0], atol=STEP / 20, rtol=2e-6)
    views = {o.outputs[0].index: o.inputs[0].index for o in parse(content).operators if o.name in VIEWS and o.inputs[0] is not None}
    for number, source in enumerate(sources, 1):
        owner = source
        while owner not in offsets.tensors and owner in views:
            owner = views[owner]
        wanted = -OFFSET * steps[source] if owner in offsets.tensors else 0.0
        np.testing.assert_allclose(after[number], before[number] + wanted, atol=STEP / 20, rtol=1e-5)


OFFSETS = (
    "linear",
    "binary",
    "add constant",
    "multiply constant",
    "concatenate constant",
    "gather",
    "average pooling",
    "view",
    "concatenate",
    "add",
)
"""The random operators that offsets are created in or pass."""


def random_model(seed: int, steps: int = 7, names: Sequence[str] = ()) -> keras.Model:
    """A network of an image (8, 8, 3) with random operators on maps (8, 8, 32), signs too; most share or require scales.

    names: of the operators; all by default.
    """
    random = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    image: Any = keras.Input((8, 8, 3), name="image")
    maps = [_conv(image)]

    def constant(*shape: int) -> Any:
        return tf.constant(random.normal(0, 2, shape).astype(np.float32))

    def binary(x: Any) -> Any:
        name = f"binary{len(maps)}"
        return models.norm(f"{name}_norm", seed, fan_in=288)(models.binary(32, name)(x))

    one = {
        "linear": lambda x: _conv(x, size=1),
        "conv": lambda x: _conv(x, activation=random.choice(["linear", "relu", "sigmoid", "tanh"])),
        "depthwise": lambda x: L.DepthwiseConv2D(3, padding="same", bias_initializer="normal")(x),
        "binary": binary,
        "relu": tf.nn.relu,
        "sigmoid": tf.sigmoid,
        "tanh": tf.tanh,
        "softmax": tf.nn.softmax,
        "gate": lambda x: x * tf.sigmoid(L.Dense(32)(L.GlobalAveragePooling2D(keepdims=True)(x))),
        "add constant": lambda x: x + constant(32),
        "multiply constant": lambda x: x * constant(32),
        "multiply and relu": lambda x: tf.nn.relu(x * constant(32)),
        "maximum constant": lambda x: tf.maximum(x, constant(32)),
        "minimum constant": lambda x: tf.minimum(x, float(random.normal(0, 3))),
        "maximum far": lambda x: tf.maximum(x, -1e4),
        "minimum far": lambda x: tf.minimum(x, 1e4),
        "pad far": lambda x: _pool(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-1e9)),
        "concatenate constant": lambda x: _conv(tf.concat([x, constant(1, 8, 8, 4)], -1), size=1),
        "pad": lambda x: tf.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]], constant_values=float(random.normal(0, 3)))[:, 1:9],
        "gather": lambda x: tf.gather(x, random.permutation(32), axis=-1),
        "table": lambda x: x + tf.reshape(tf.gather(constant(3, 32), tf.argmax(image[:, 0, 0], -1)), (-1, 1, 1, 32)),
        "maximum pooling": L.MaxPooling2D(3, strides=1, padding="same"),
        "average pooling": L.AveragePooling2D(3, strides=1, padding="same"),
        "view": lambda x: tf.reshape(tf.reshape(x, (-1, 64, 32)) + constant(32), (-1, 8, 8, 32)),
        "float": tf.sin,
    }
    two = {
        "concatenate": lambda x, y: _conv(tf.concat([x, y], -1), size=1),
        "stack": lambda x, y: _conv(tf.reshape(tf.stack([x, y], 1), (-1, 8, 16, 32))[:, :, ::2], size=1),
        "maximum": tf.maximum,
        "minimum": tf.minimum,
        "add": lambda x, y: x + y,
        "multiply": lambda x, y: x * y,
        "subtract": lambda x, y: x - y,
    }
    chosen: tuple[list[Any], ...] = tuple([made[name] for name in made if not names or name in names] for made in (one, two))
    for _ in range(steps):
        first, second = (maps[number] for number in random.integers(max(0, len(maps) - 3), len(maps), 2))
        made = chosen[int(random.random() < 0.4)]
        operator = made[int(random.integers(len(made)))]
        maps.append(operator(first) if made is chosen[0] else operator(first, second))
    return keras.Model(image, L.Dense(10)(L.GlobalAveragePooling2D()(tf.concat(maps[-2:], -1))))


def _pool(x: Any) -> Any:
    return L.MaxPooling2D(3, strides=1)(x)


def _conv(x: Any, size: int = 3, activation: str = "linear") -> Any:
    return L.Conv2D(32, size, padding="same", activation=activation, bias_initializer="normal")(x)
