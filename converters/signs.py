"""Signs and ternary values in the spelling that the further steps and LCE's converter recognize.

1. Comparisons with zero, multiplied and shifted so that the results are -1 and 1, become Larq's sign, sign(sign(x) + 0.1), where
   they are 1 at 0, and a choice between two constants where they are -1 there; LCE reads both as binary inputs:

       2 * cast(x >= 0) - 1,  where(x < 0, -ones_like(x), ones_like(x)),  K.switch(x >= 0, ...)     sign(sign(x) + 0.1)
       2 * cast(x > 0) - 1                                                                         where(x > 0, 1, -1)

2. LCE's converter interprets sign(sign(a) + b) as Larq's sign, whatever b is. Larq's ternary quantizers are such an operation, with
   sign(x - t) for b, and have zeros. Before the conversion their outer sign becomes min(max(y, -1), 1), which is the same for the
   sum of two signs, an integer.
"""

from typing import Any

import tensorflow as tf

from el_larq.converters.frozen import FrozenModel, find_source, is_constant, static_value
from el_larq.converters.graph import larq_sign, sums_signs
from el_larq.converters.graph_def import add_constant, add_operation, add_sign, become

_SELECTS = ("Select", "SelectV2")
# By comparison of x with zero: whether it holds for x > 0, and at 0.
_COMPARISONS = {"Greater": (True, False), "GreaterEqual": (True, True), "Less": (False, False), "LessEqual": (False, True)}
_REVERSED = {"Greater": "Less", "GreaterEqual": "LessEqual", "Less": "Greater", "LessEqual": "GreaterEqual"}
_CONSTANTS = {"OnesLike": 1.0, "ZerosLike": 0.0}


def with_signs(model: FrozenModel) -> FrozenModel:
    """The model with Larq's sign, or a choice between 1 and -1, in place of comparisons that compute one."""
    found = []
    for operation in model.operations:
        choice = _choice(operation.outputs[0]) if operation.type in (*_SELECTS, "Sub", "Add", "AddV2", "Mul", "RealDiv") else None
        if choice is None or not model.depends(operation.outputs[0]):
            continue
        comparison, x, if_true, if_false = choice
        holds, holds_at_zero = _COMPARISONS[comparison]
        positive, negative = (if_true, if_false) if holds else (if_false, if_true)
        if (positive, negative) == (1, -1) and list(x.shape) == list(operation.outputs[0].shape):
            found.append((operation, x, (if_true if holds_at_zero else if_false) == 1))
    if not found:
        return model

    def change(graph: Any) -> None:
        nodes = {node.name: node for node in graph.node}
        for operation, x, one_at_zero in found:
            name, dtype = operation.name, operation.outputs[0].dtype
            if one_at_zero:
                sign = add_sign(graph, f"{name}/sign", x.name, dtype)
                become(nodes[name], "Identity", [sign], dtype)
                continue
            zero = add_constant(graph, f"{name}/zero", 0.0, x.dtype)
            greater = add_operation(graph, "Greater", f"{name}/positive", [x.name, zero], x.dtype)
            values = [add_constant(graph, f"{name}/{word}", value, dtype) for word, value in (("one", 1.0), ("minus_one", -1.0))]
            become(nodes[name], "SelectV2", [greater, *values], dtype)

    return model.edited(change)


def _choice(tensor: Any) -> tuple[str, Any, float, float] | None:
    """A comparison of a tensor with zero, the tensor, and the values of ``tensor`` where it holds and where not; None if none."""
    operation = find_source(tensor).op
    if operation.type in _COMPARISONS:
        a, b = operation.inputs
        for x, zero, name in ((a, b, operation.type), (b, a, _REVERSED[operation.type])):
            if _constant(zero) == 0 and x.dtype.is_floating:
                return name, x, 1.0, 0.0
        return None
    if operation.type == "Cast" and operation.inputs[0].dtype == tf.bool:
        return _choice(operation.inputs[0])
    if operation.type in _SELECTS:
        # Keras' switch repeats the condition to the shape of the values, which it has already.
        condition = operation.inputs[0]
        condition = condition.op.inputs[0] if condition.op.type == "Tile" else condition
        found, a, b = _choice(condition), *map(_constant, operation.inputs[1:])
        return None if found is None or found[2:] != (1, 0) or a is None or b is None else (*found[:2], a, b)
    if operation.type == "Neg":
        found = _choice(operation.inputs[0])
        return found and (*found[:2], -found[2], -found[3])
    if operation.type in ("Mul", "RealDiv", "Add", "AddV2", "Sub"):
        constants = [_constant(operand) for operand in operation.inputs]
        if (constants[0] is None) == (constants[1] is None) or (operation.type == "RealDiv" and not constants[1]):
            return None
        found = _choice(operation.inputs[0 if constants[0] is None else 1])
        return found and (*found[:2], _applied(operation.type, constants, found[2]), _applied(operation.type, constants, found[3]))
    return None


def _applied(kind: str, constants: list[float | None], value: float) -> float:
    """An operation with one constant operand, on a value for the other."""
    a, b = (value if constant is None else constant for constant in constants)
    return {"Mul": a * b, "RealDiv": a / (b or 1.0), "Sub": a - b}.get(kind, a + b)


def _constant(tensor: Any) -> float | None:
    """The value of a tensor that has one value only, whatever its shape; None for others."""
    operation = find_source(tensor).op
    if operation.type in _CONSTANTS:
        return _CONSTANTS[operation.type]
    if operation.type == "Fill":
        return _constant(operation.inputs[1])
    if operation.type == "Neg":
        value = _constant(operation.inputs[0])
        return None if value is None else -value
    value = static_value(find_source(tensor)) if is_constant(find_source(tensor)) else None
    return float(value.reshape(-1)[0]) if value is not None and value.size and (value == value.reshape(-1)[0]).all() else None


def without_mistaken_signs(model: FrozenModel) -> FrozenModel:
    """The model with no sign(sign(a) + sign(b)), which LCE's converter takes for a sign of two values."""
    found = [o for o in model.operations if o.type == "Sign" and larq_sign(o.outputs[0]) is None and sums_signs(o.inputs[0])]
    if not found:
        return model

    def change(graph: Any) -> None:
        nodes = {node.name: node for node in graph.node}
        for operation in found:
            name, dtype = operation.name, operation.outputs[0].dtype
            least, most = (add_constant(graph, f"{name}/{word}", value, dtype) for word, value in (("least", -1.0), ("most", 1.0)))
            bounded = add_operation(graph, "Maximum", f"{name}/bounded", [operation.inputs[0].name, least], dtype)
            become(nodes[name], "Minimum", [bounded, most], dtype)

    return model.edited(change)
