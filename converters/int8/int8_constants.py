"""Whether an int8 file has the scales that calibration found, and the constants of the float file, to within half a step.

Kernels that adaptive rounding rounds up or down are within one step.
"""

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.compression.symmetric import SMALLEST, along
from el_larq.converters.int8.int4_kernels import kernel_scales
from el_larq.converters.int8.int8_operators import CLIPS, KERNEL_AXES, is_global_pool, shares_scale
from el_larq.converters.int8.quantized_file import Quantized
from el_larq.converters.int8.single_operators import SingleOperators
from el_larq.errors import ElLarqError
from el_larq.tflite.operators import BINARY
from el_larq.tflite.reader import Operator, Tensor

_HALF, _WHOLE = 0.5 + 1e-4, 1 + 1e-4
_LARGEST_BIAS = 2.0**30
"""In int32 steps. Where a bias would be larger, the steps of its kernel are."""


def check_constants(made: Quantized, single: SingleOperators) -> None:
    """Check all operators.

    Raises:
        ElLarqError: a scale is not the calibrated one, or a constant differs by more than half a step.
    """
    for operator in single.floats.operators:
        partner = single.operators[operator.outputs[0].index]
        inputs = partner.inputs[:1] if is_global_pool(operator) else partner.inputs  # MEAN has its axes too
        for position, stored in enumerate(inputs):
            if stored is not None and stored.constant and not _is_right(made, single, operator, partner, position):
                raise _wrong(operator, stored)
        for tensor, stored in (*zip(operator.inputs, inputs, strict=False), *zip(operator.outputs, partner.outputs, strict=True)):
            if tensor is not None and stored is not None and not stored.constant and not _has_scale(made, single, tensor, stored):
                raise _wrong(operator, stored)


def _wrong(operator: Operator, tensor: Tensor) -> ElLarqError:
    what = f"{'constant' if tensor.constant else 'scale of'} {tensor.name}"
    return ElLarqError(
        f"verify: {what} of operator {operator.index} ({operator.name}) is stored wrongly; report this as an error in el-larq"
    )


def _has_scale(made: Quantized, single: SingleOperators, tensor: Tensor, stored: Tensor) -> bool:
    """Whether a computed tensor has the calibrated scale, if it has one."""
    if stored.type != "int8":
        return True
    found, affine = single.model.subgraphs[0].tensors[stored.index].quantization, made.affines[made.scales.shares[tensor.index]]
    return bool(found.scale[0] == np.float32(affine.scale) and found.zeroPoint[0] == affine.zero)


def _is_right(made: Quantized, single: SingleOperators, operator: Operator, partner: Operator, position: int) -> bool:
    """Whether a constant is the float file's, or its int8 form."""
    if operator.name in KERNEL_AXES and operator.index in made.scales.operators and position > 0:
        return _is_right_layer(made, single, operator, partner, position)
    stored, tensor = partner.inputs[position], operator.inputs[position]
    assert stored is not None
    assert tensor is not None
    values = tensor.array()
    if operator.name == BINARY and position == 3:
        values = (values.astype(np.float64) + made.offsets.shifts.get(operator.index, 0.0)).astype(values.dtype)
    if stored.type != "int8" or tensor.type == "int8":
        return bool(np.array_equal(stored.array(), values))
    affine = made.affines[made.scales.shares[operator.outputs[0].index]]
    if not shares_scale(operator):
        affine = Affine.of_range(values.min(), values.max())
    if operator.name in CLIPS:
        values = np.clip(values, affine.low, affine.high)
    return bool(np.all(np.abs(single.stored(stored) - values) <= _HALF * affine.scale))


def _is_right_layer(made: Quantized, single: SingleOperators, operator: Operator, partner: Operator, position: int) -> bool:
    """Whether the kernel or the bias of a layer is right. A bias counts in the steps of the products, whatever its scale says."""
    source, kernel, stored = operator.inputs[0], operator.inputs[1], partner.inputs[1]
    assert source is not None
    assert kernel is not None
    assert stored is not None
    axis, values, step = KERNEL_AXES[operator.name], kernel.array(), made.affines[made.scales.shares[source.index]].scale
    given = operator.inputs[2] if len(operator.inputs) > 2 else None
    bias = (0.0 if given is None else given.array().astype(np.float64)) + made.offsets.shifts.get(operator.index, 0.0)
    scales, largest = kernel_scales(operator, made.scales)
    steps = np.maximum(scales, np.maximum(np.abs(bias) / _LARGEST_BIAS, SMALLEST) / step)
    if position == 1:
        if stored.type != ("int4" if operator.index in made.scales.int4 else "int8"):
            return False
        each = along(steps, values.ndim, axis)
        wanted = np.clip(values, -largest * each, largest * each)  # int4 saturates where that costs less
        limit = _WHOLE if operator.index in made.roundings else _HALF
        return bool(np.all(np.abs(single.stored(stored) - wanted) <= limit * each))
    integers, products = partner.inputs[2], step * single.steps(stored).ravel()
    assert integers is not None
    error = np.abs(integers.array() * products - bias)
    same = np.allclose(single.steps(integers).ravel(), products, rtol=1e-6, atol=0)
    return bool(same and np.all(error <= _HALF * step * steps + 2.0**-22 * np.abs(bias)))
