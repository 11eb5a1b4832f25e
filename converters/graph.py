"""The convolutions of a Keras model in its TensorFlow graph: which are binary, and which tensors their signs are taken of.

They are read from the frozen inference graph, which works for any model: nested, subclassed, or with the sign as a separate layer.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from el_larq.converters.frozen import FrozenModel, dependencies_of, find_source, is_constant, static_value

# Positions of the input and the kernel among the operands.
_OPERANDS = {
    "Conv2D": (0, 1),
    "DepthwiseConv2dNative": (0, 1),
    "MatMul": (0, 1),
    "Conv2DBackpropInput": (2, 1),
    "Conv3D": (0, 1),
    "Conv3DBackpropInputV2": (2, 1),
}
# Other operations that sum products with weights; locally connected layers consist of them.
_PRODUCTS = ("BatchMatMulV2", "SparseMatMul", "SparseTensorDenseMatMul", "Einsum")
PADS = ("Pad", "PadV2", "MirrorPad")
_SELECTS = ("Select", "SelectV2")
_COMPARISONS = ("Greater", "GreaterEqual", "Less", "LessEqual")
_PRODUCTS_BY_CONSTANT = ("Mul", "RealDiv")
_SUMS = ("Add", "AddV2", "Sub")

# LCE's converter treats a kernel as binary if each output channel has a single magnitude, within this tolerance.
_SCALE_TOLERANCE = 0.005


@dataclass(frozen=True)
class Convolution:
    """A convolution (or dense layer) of the frozen graph.

    operation: name of the operation in the graph.
    layer: name of the Keras layer, nested names joined by "/".
    kernel: the quantized values, (kh, kw, C_in / groups, C_out); (C_in, C_out) for a dense layer.
    quantized: the kernel is computed by a sign or a select operation, as quantizers do.
    signs: the real-valued tensor whose signs are the input; None if the input is not binarized.
    binarized: these signs, -1 and 1, in the shape of ``signs``.
    """

    operation: str
    layer: str
    kind: str
    kernel: np.ndarray
    quantized: bool
    signs: Any | None
    binarized: Any | None = None
    plain_sign: bool = False
    """The input is a sign operation: with ``signs`` None it is tf.sign(x), which is 0 at 0, and not Larq's sign."""
    pad_value: float | None = None
    """The value of explicit constant padding before the convolution; None without it."""
    paddings: tuple[tuple[int, int], ...] | None = None
    """The amounts of this padding along each axis of the input, before and after; None without it."""
    groups: int = 1
    first: bool = False
    """No other convolution or dense layer precedes it."""
    one_dimensional: bool = False
    """An axis of size 1 is added to its input, as in Conv1D. LCE recognizes no sign before that, so ``signs`` is None."""
    sign_input: bool = False
    """Its input is a sign or a comparison of any kind, also scaled, shifted or max-pooled, whether LCE recognizes it or not."""
    ternary_input: bool = False
    """Its input is the sign of a sum of two signs, which has zeros: Larq's ternary quantizers."""
    two_values: bool = False
    """Its input is -a and +a for one a > 0: Larq's sign, or a choice between two constants, also multiplied by a constant."""

    @property
    def dead_filters(self) -> int:
        """The number of filters that consist of zeros."""
        return int(np.sum(~np.any(self.kernel.reshape(-1, self.kernel.shape[-1]), axis=0)))

    @property
    def binary_kernel(self) -> bool:
        """Whether each output channel of the kernel has a single nonzero magnitude."""
        magnitude = np.abs(self.kernel.reshape(-1, self.kernel.shape[-1]))
        scale = magnitude[:1]
        return bool(np.all(scale > 1e-7) and np.all(np.abs(magnitude - scale) <= _SCALE_TOLERANCE * np.maximum(scale, 1)))

    @property
    def meant_binary(self) -> bool:
        """Whether the kernel is quantized to two values, or stores two and is applied to signs, as kernels trained with Bop."""
        if self.kind in ("Conv2D", "MatMul") and (self.signs is not None or self.two_values) and self.binary_kernel:
            return True
        return self.quantized and not self._has_zeros

    @property
    def ternary(self) -> bool:
        """Whether the kernel is quantized to zeros and one magnitude per filter."""
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
    """Larq's sign: ``real`` is a tensor that depends on the image, ``signs`` its signs, -1 and 1, in the same shape."""

    real: Any
    signs: Any


def find_signs(model: FrozenModel) -> tuple[Sign, ...]:
    """Every sign of a model, in graph order, whichever operation reads it."""
    found = [sign for operation in model.operations if operation.type == "Sign" for sign in [larq_sign(operation.outputs[0])]]
    return tuple(sign for sign in found if sign is not None and model.depends(sign.real))


@functools.lru_cache(maxsize=4)
def find_convolutions(model: FrozenModel) -> tuple[Convolution, ...]:
    """Every convolution and dense layer of a model, in graph order."""
    # A quantizer may compute a kernel by matrix products; an operation that does not depend on the input is not a layer.
    operations = [operation for operation in model.operations if operation.type in _OPERANDS and _sees(model, operation)]
    products = {operation.name for operation in operations}
    kernels = model.constants([operation.inputs[_OPERANDS[operation.type][1]] for operation in operations])
    found = []
    for operation, kernel in zip(operations, kernels, strict=True):
        if kernel is None:
            continue  # a product of two activations
        position, operand = _OPERANDS[operation.type]
        quantized = any(o.type == "Sign" or o.type in _SELECTS for o in dependencies_of(operation.inputs[operand]))
        layer = layer_name(operation.name, model.name)
        x = operation.inputs[position]
        channels = x.shape[-1] if operation.type == "Conv2D" else None
        sign, padding = larq_sign(_unpadded(x)), constant_padding(model, find_source(x))
        paddings = None if padding is None or padding.amounts is None else padding.amounts.tolist()
        found.append(
            Convolution(
                operation.name,
                layer,
                operation.type,
                kernel,
                quantized,
                sign.real if sign else None,
                sign.signs if sign else None,
                plain_sign=_unpadded(x).op.type == "Sign",
                pad_value=None if padding is None else padding.value,
                paddings=None if paddings is None else tuple((before, after) for before, after in paddings),
                groups=channels // kernel.shape[2] if channels else 1,
                first=not any(before.name in products or before.type in _PRODUCTS for before in dependencies_of(x)),
                one_dimensional=_unpadded(x).op.type == "ExpandDims",
                sign_input=_is_sign(x),
                ternary_input=_unpadded(x).op.type == "Sign" and sums_signs(_unpadded(x).op.inputs[0]),
                two_values=_has_two_values(x),
            )
        )
    return tuple(found)


def _sees(model: FrozenModel, operation: Any) -> bool:
    return model.depends(operation.inputs[_OPERANDS[operation.type][0]])


def _unpadded(tensor: Any) -> Any:
    tensor = find_source(tensor)
    return find_source(tensor.op.inputs[0]) if tensor.op.type in PADS else tensor


def _unshaped(tensor: Any) -> Any:
    """The tensor before padding and operations that only rearrange values: Conv1D's added axis, Tensordot's transposition."""
    tensor = _unpadded(tensor)
    while tensor.op.type in ("ExpandDims", "Transpose", "Squeeze"):
        tensor = _unpadded(tensor.op.inputs[0])
    return tensor


def _is_sign(tensor: Any) -> bool:
    """Whether a tensor is a sign or a comparison, whatever constants it is multiplied by and added to, also after max pooling."""
    operation = _unshaped(tensor).op
    while operation.type in ("Cast", "Neg", "MaxPool", *_PRODUCTS_BY_CONSTANT, *_SUMS):
        varying = [source for source in operation.inputs if not _is_constant(source)]
        if not varying or (len(varying) > 1 and operation.type != "MaxPool"):
            return False
        operation = _unshaped(varying[0]).op
    if operation.type in _SELECTS:
        return all(_is_constant(value) for value in operation.inputs[1:])
    return operation.type in ("Sign", *_COMPARISONS)


def _has_two_values(tensor: Any) -> bool:
    """Whether a tensor is -a and +a for one a > 0."""
    tensor = _unshaped(tensor)
    while tensor.op.type in _PRODUCTS_BY_CONSTANT:
        values = [static_value(find_source(operand)) for operand in tensor.op.inputs]
        varying = [operand for operand, value in zip(tensor.op.inputs, values, strict=True) if value is None]
        factors = [value for value in values if value is not None]
        if len(varying) != 1 or np.size(factors[0]) != 1 or not np.all(factors[0]):
            return False
        tensor = _unshaped(varying[0])
    if tensor.op.type in _SELECTS:
        a, b = (static_value(find_source(value)) for value in tensor.op.inputs[1:])
        return a is not None and b is not None and np.size(a) == np.size(b) == 1 and bool(np.all(a == -b) and np.all(a != 0))
    return larq_sign(tensor) is not None


def _is_constant(tensor: Any) -> bool:
    """Whether a tensor's values do not depend on the image, though its shape may."""
    operation = find_source(tensor).op
    if operation.type in ("Neg", "Fill", "BroadcastTo"):
        return _is_constant(operation.inputs[1 if operation.type == "Fill" else 0])
    return operation.type in ("OnesLike", "ZerosLike") or is_constant(operation.outputs[0])


@dataclass(frozen=True)
class Padding:
    """Explicit padding with one value: the amounts before and after along each axis, (rank, 2). None if unknown to the graph."""

    amounts: np.ndarray | None
    value: float | None


def constant_padding(model: FrozenModel, tensor: Any) -> Padding | None:
    """The padding that results in a tensor; None if it is not padded, or with other than one value."""
    operation = tensor.op
    if operation.type not in ("Pad", "PadV2"):
        return None
    amounts, *values = model.constants(list(operation.inputs[1:]))
    value = values[0] if operation.type == "PadV2" else 0.0
    return Padding(amounts, None if value is None else float(value))


def larq_sign(tensor: Any) -> Sign | None:
    """Larq's sign, which is sign(sign(x) + c) with 0 < c < 1; None if the tensor is anything else."""
    if tensor.op.type != "Sign":
        return None
    shifted = find_source(tensor.op.inputs[0])
    if shifted.op.type not in ("Add", "AddV2"):
        return None
    for candidate, shift in (shifted.op.inputs, shifted.op.inputs[::-1]):
        inner, value = find_source(candidate), static_value(find_source(shift))
        if inner.op.type == "Sign" and value is not None and np.all((value > 0) & (value < 1)):
            real = inner.op.inputs[0]
            return Sign(real, tensor) if list(real.shape) == list(tensor.shape) else None
    return None


def sums_signs(tensor: Any) -> bool:
    """Whether a tensor is the sum of two signs."""
    operation = find_source(tensor).op
    return operation.type in ("Add", "AddV2") and all(find_source(operand).op.type == "Sign" for operand in operation.inputs)


def layer_name(operation: str, root: str) -> str:
    """The Keras layer that an operation belongs to, nested names joined by "/", in a model named ``root``."""
    parts = operation.split("/")
    if parts[0] in ("StatefulPartitionedCall", "PartitionedCall"):
        parts = parts[1:]
    if root in parts[:-1]:
        parts = parts[parts.index(root) + 1 :]
    # The last part is the operation; in Larq's layers, the one before it is the scope of the call.
    parts = parts[:-1]
    if len(parts) > 1 and parts[-1] in ("QuantConv2D", "QuantDepthwiseConv2D", "QuantDense", "separable_conv2d", "Tensordot"):
        parts = parts[:-1]
    return "/".join(parts) or operation
