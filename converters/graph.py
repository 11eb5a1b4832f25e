"""The convolutions of a Keras model as TensorFlow sees them: which are binary, and where their signs are taken.

Read from the frozen inference graph, so it holds for any model: nested, subclassed, or with the sign as a layer of its own.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.converters.frozen import FrozenModel, behind

# Which operands are the input and the kernel.
_OPERANDS = {
    "Conv2D": (0, 1),
    "DepthwiseConv2dNative": (0, 1),
    "MatMul": (0, 1),
    "Conv2DBackpropInput": (2, 1),
    "Conv3D": (0, 1),
    "Conv3DBackpropInputV2": (2, 1),
}
# Others that sum products with weights; locally connected layers are made of them.
_PRODUCTS = ("BatchMatMulV2", "SparseMatMul", "SparseTensorDenseMatMul", "Einsum")
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
    binarized: those signs, -1 and 1, in the shape of ``signs``.
    """

    layer: str
    kind: str
    kernel: np.ndarray
    quantized: bool
    signs: Any | None
    binarized: Any | None = None
    plain_sign: bool = False
    """The input is tf.sign(x), which has zeros, and not Larq's sign."""
    pad_value: float | None = None
    """What explicit padding before the convolution pads with; None without it."""
    groups: int = 1
    first: bool = False
    """No other convolution or dense layer comes before it."""
    one_dimensional: bool = False
    """Its input gets an axis of one first, as in Conv1D. LCE does not see a sign through that, so that ``signs`` is None."""
    sign_input: bool = False
    """Its input is a sign of any kind, seen by LCE or not."""

    @property
    def dead_filters(self) -> int:
        """Filters of zeros."""
        return int(np.sum(~np.any(self.kernel.reshape(-1, self.kernel.shape[-1]), axis=0)))

    @property
    def binary_kernel(self) -> bool:
        """Whether each output channel of the kernel has a single magnitude other than zero."""
        magnitude = np.abs(self.kernel.reshape(-1, self.kernel.shape[-1]))
        scale = magnitude[:1]
        return bool(np.all(scale > 1e-7) and np.all(np.abs(magnitude - scale) <= _SCALE_TOLERANCE * np.maximum(scale, 1)))

    @property
    def meant_binary(self) -> bool:
        """Quantized to two values, or holding them itself behind a sign, as kernels trained with Bop do."""
        if self.kind in ("Conv2D", "MatMul") and self.signs is not None and self.binary_kernel:
            return True
        return self.quantized and not self._has_zeros

    @property
    def ternary(self) -> bool:
        """Quantized to one magnitude a filter and zeros beside it."""
        if not self.quantized or not self._has_zeros:
            return False
        magnitude = np.abs(self.kernel.reshape(-1, self.kernel.shape[-1]))
        scale = magnitude.max(axis=0)
        return bool(np.all((magnitude == 0) | (np.abs(magnitude - scale) <= _SCALE_TOLERANCE * scale)))

    @property
    def _has_zeros(self) -> bool:
        zeros = self.kernel.reshape(-1, self.kernel.shape[-1]) == 0
        return bool(np.any(zeros.any(axis=0) & ~zeros.all(axis=0)))


@dataclass(frozen=True)
class Sign:
    """Larq's sign of a tensor that depends on the image: ``real``, and ``signs`` of -1 and 1 in the same shape."""

    real: Any
    signs: Any


def find_signs(model: FrozenModel) -> tuple[Sign, ...]:
    """Every sign of a model, whatever reads it, in the order of its graph."""
    found = [sign for operation in model.operations if operation.type == "Sign" for sign in [_sign(operation.outputs[0])]]
    return tuple(sign for sign in found if sign is not None and model.depends(sign.real))


@functools.lru_cache(maxsize=4)
def find_convolutions(model: FrozenModel) -> tuple[Convolution, ...]:
    """Every convolution and dense layer of a model, in the order of its graph."""
    # A quantizer may multiply matrices to make a kernel: what does not see the input is no layer.
    operations = [operation for operation in model.operations if operation.type in _OPERANDS and _sees(model, operation)]
    products = {operation.name for operation in operations}
    kernels = model.constants([operation.inputs[_OPERANDS[operation.type][1]] for operation in operations])
    found = []
    for operation, kernel in zip(operations, kernels, strict=True):
        if kernel is None:
            continue  # a product of two activations
        source, operand = _OPERANDS[operation.type]
        quantized = any(o.type == "Sign" or o.type in _SELECTS for o in behind(operation.inputs[operand]))
        layer = layer_name(operation.name, model.name)
        x = operation.inputs[source]
        channels = x.shape[-1] if operation.type == "Conv2D" else None
        sign = _sign(_unpadded(x))
        found.append(
            Convolution(
                layer,
                operation.type,
                kernel,
                quantized,
                sign.real if sign else None,
                sign.signs if sign else None,
                plain_sign=_unpadded(x).op.type == "Sign",
                pad_value=_pad_value(model, x),
                groups=channels // kernel.shape[2] if channels else 1,
                first=not any(before.name in products or before.type in _PRODUCTS for before in behind(x)),
                one_dimensional=_unpadded(x).op.type == "ExpandDims",
                sign_input=_unshaped(x).op.type == "Sign",
            )
        )
    return tuple(found)


def _sees(model: FrozenModel, operation: Any) -> bool:
    source = operation.inputs[_OPERANDS[operation.type][0]]
    return any(before is model.input.op for before in behind(source))


def _source(tensor: Any) -> Any:
    """The tensor behind operations that change no value."""
    while True:
        if tensor.op.type in _PASS_THROUGH:
            tensor = tensor.op.inputs[0]
        elif tensor.op.type == "IdentityN":
            tensor = tensor.op.inputs[tensor.value_index]
        else:
            return tensor


def _unpadded(tensor: Any) -> Any:
    tensor = _source(tensor)
    return _source(tensor.op.inputs[0]) if tensor.op.type in _PADS else tensor


def _unshaped(tensor: Any) -> Any:
    """The tensor behind padding and what only arranges values: the axis that Conv1D adds, the order that Tensordot takes."""
    tensor = _unpadded(tensor)
    while tensor.op.type in ("ExpandDims", "Transpose"):
        tensor = _unpadded(tensor.op.inputs[0])
    return tensor


def _pad_value(model: FrozenModel, tensor: Any) -> float | None:
    operation = _source(tensor).op
    if operation.type == "Pad":
        return 0.0
    value = model.constants([operation.inputs[2]])[0] if operation.type == "PadV2" else None
    return None if value is None else float(value)


def _sign(tensor: Any) -> Sign | None:
    """Larq's sign, which is sign(sign(x) + c) with c between 0 and 1; None where the tensor is something else."""
    if tensor.op.type != "Sign":
        return None
    shifted = _source(tensor.op.inputs[0])
    if shifted.op.type not in ("Add", "AddV2"):
        return None
    for candidate, shift in (shifted.op.inputs, shifted.op.inputs[::-1]):
        inner, value = _source(candidate), tf.get_static_value(_source(shift))
        if inner.op.type == "Sign" and value is not None and np.all((value > 0) & (value < 1)):
            real = inner.op.inputs[0]
            return Sign(real, tensor) if list(real.shape) == list(tensor.shape) else None
    return None


def layer_name(operation: str, root: str) -> str:
    """The Keras layer that an operation belongs to, nested names joined by "/", in a model named ``root``."""
    parts = operation.split("/")
    if parts[0] in ("StatefulPartitionedCall", "PartitionedCall"):
        parts = parts[1:]
    if root in parts[:-1]:
        parts = parts[parts.index(root) + 1 :]
    # What is left ends with the operation, and in Larq's layers with the scope of its call.
    parts = parts[:-1]
    if len(parts) > 1 and parts[-1] in ("QuantConv2D", "QuantDepthwiseConv2D", "QuantDense", "separable_conv2d", "Tensordot"):
        parts = parts[:-1]
    return "/".join(parts) or operation
