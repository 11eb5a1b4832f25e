"""The convolutions of a Keras model as TensorFlow sees them: which are binary, and where their signs are taken.

Read from the frozen inference graph, so it holds for any model: nested, subclassed, or with the sign as a layer of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from el_larq.converters.lower import inference
from el_larq.native_output import captured_stderr

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
_PASS_THROUGH = ("Identity", "StopGradient", "Snapshot", "Reshape")
_PADS = ("Pad", "PadV2", "MirrorPad")
_SELECTS = ("Select", "SelectV2")

# LCE's converter takes a kernel as binary when each output channel has one magnitude, to this tolerance.
_SCALE_TOLERANCE = 0.005


@dataclass(frozen=True)
class Convolution:
    """A convolution (or dense layer) of the frozen graph.

    layer: name of the Keras layer, nested names joined by "/".
    kernel: its values as they multiply, (kh, kw, C_in / groups, C_out); (C_in, C_out) for a dense layer.
    quantized: the kernel comes out of a sign or a comparison, so it was meant to be binary.
    signs: the real-valued tensor whose signs are its input; None when the input is not binarized.
    """

    layer: str
    kind: str
    kernel: np.ndarray
    quantized: bool
    signs: tf.Tensor | None

    @property
    def binary_kernel(self) -> bool:
        """Whether each output channel of the kernel has a single magnitude other than zero."""
        magnitude = np.abs(self.kernel.reshape(-1, self.kernel.shape[-1]))
        scale = magnitude[:1]
        return bool(np.all(scale > 1e-7) and np.all(np.abs(magnitude - scale) <= _SCALE_TOLERANCE * np.maximum(scale, 1)))

    @property
    def meant_binary(self) -> bool:
        return self.quantized


class FrozenModel:
    """A model's inference graph with its weights as constants."""

    def __init__(self, model: keras.Model):
        concrete = inference(model, batch_size=None).get_concrete_function()
        with captured_stderr():  # Grappler reports the devices it does not find
            self._function = convert_variables_to_constants_v2(concrete)
        self.outputs = [t for t in self._function.outputs if t.dtype != tf.resource]
        self.convolutions = tuple(self._find_convolutions(model.name))

    def fetch(self, tensors: list[tf.Tensor]) -> Callable[[np.ndarray], list[np.ndarray]]:
        """A function from images (N, ...) to the values of the tensors."""
        pruned = self._function.prune(self._function.inputs[0], tensors)
        return lambda images: [value.numpy() for value in pruned(tf.constant(images))]

    def _find_convolutions(self, root: str) -> list[Convolution]:
        found = []
        operations = [op for op in self._function.graph.get_operations() if op.type in _CONVOLUTIONS]
        kernels = self._constants([op.inputs[1] for op in operations])
        for operation, kernel in zip(operations, kernels, strict=True):
            if kernel is None:
                continue  # a product of two activations
            found.append(
                Convolution(
                    _layer_name(operation.name, root),
                    operation.type,
                    kernel,
                    _quantized(operation.inputs[1]),
                    _sign_input(operation.inputs[0]),
                )
            )
        return found

    def _constants(self, tensors: list[tf.Tensor]) -> list[np.ndarray | None]:
        """Values of those tensors that do not depend on the input."""
        image = self._function.inputs[0].op
        constant = [not _depends_on(tensor, image) for tensor in tensors]
        fetched = [tensor for tensor, known in zip(tensors, constant, strict=True) if known]
        values = iter(self._function.prune([], fetched)() if fetched else [])
        return [next(values).numpy() if known else None for known in constant]


def _depends_on(tensor: tf.Tensor, target: tf.Operation) -> bool:
    stack, seen = [tensor.op], set()
    while stack:
        operation = stack.pop()
        if operation is target:
            return True
        if operation.name not in seen:
            seen.add(operation.name)
            stack.extend(source.op for source in operation.inputs)
    return False


def _quantized(kernel: tf.Tensor) -> bool:
    """Whether a sign or a choice between two values lies between the stored weights and the kernel."""
    stack, seen = [kernel.op], set()
    while stack:
        operation = stack.pop()
        if operation.type == "Sign" or operation.type in _SELECTS:
            return True
        if operation.name not in seen:
            seen.add(operation.name)
            stack.extend(source.op for source in operation.inputs)
    return False


def _source(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor behind operations that change no value."""
    while True:
        if tensor.op.type in _PASS_THROUGH:
            tensor = tensor.op.inputs[0]
        elif tensor.op.type == "IdentityN":
            tensor = tensor.op.inputs[tensor.value_index]
        else:
            return tensor


def _sign_input(tensor: tf.Tensor) -> tf.Tensor | None:
    """x, where a convolution's input is Larq's sign(sign(x) + c), possibly padded; None where it is something else."""
    tensor = _source(tensor)
    if tensor.op.type in _PADS:
        tensor = _source(tensor.op.inputs[0])
    if tensor.op.type != "Sign":
        return None
    shifted = _source(tensor.op.inputs[0])
    if shifted.op.type not in ("Add", "AddV2"):
        return None
    for candidate in shifted.op.inputs:
        inner = _source(candidate)
        if inner.op.type == "Sign":
            return inner.op.inputs[0]
    return None


def _layer_name(operation: str, root: str) -> str:
    parts = operation.split("/")
    if parts[0] in ("StatefulPartitionedCall", "PartitionedCall"):
        parts = parts[1:]
    if root in parts[:-1]:
        parts = parts[parts.index(root) + 1 :]
    # What is left ends with the operation, and in Larq's layers with the scope of its call.
    parts = parts[:-1]
    if len(parts) > 1 and parts[-1] in ("QuantConv2D", "QuantDepthwiseConv2D", "QuantDense"):
        parts = parts[:-1]
    return "/".join(parts) or operation
