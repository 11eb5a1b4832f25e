"""The kinds of layers for which LCE has no binary operator. Trainings and conversions look them up here."""

from collections.abc import Iterable
from dataclasses import dataclass

from el_larq.printable import listed

NO_OPERATOR = "no-operator"
BINARY_DEPTHWISE = "binary-depthwise"


@dataclass(frozen=True)
class MissingOperator:
    """A kind of layer that LCE runs with a real-valued operator even if kernel and input are binary.

    layer: Keras' class; Larq's has "Quant" before the name.
    operation: the TensorFlow operation that computes it; None if several do.
    remedy: what to use instead.
    rule: the audit rule that a conversion of such a binary layer violates.
    """

    layer: str
    operation: str | None
    remedy: str
    rule: str = NO_OPERATOR


_ONE_KERNEL = "use QuantConv2D, which has one kernel for all positions"

MISSING_OPERATORS = (
    MissingOperator("Conv3D", "Conv3D", "use QuantConv2D"),
    MissingOperator("Conv3DTranspose", "Conv3DBackpropInputV2", "keep it real-valued"),
    MissingOperator("Conv2DTranspose", "Conv2DBackpropInput", "keep it real-valued, or upsample and use QuantConv2D"),
    MissingOperator("LocallyConnected1D", None, _ONE_KERNEL),
    MissingOperator("LocallyConnected2D", None, _ONE_KERNEL),
    MissingOperator("DepthwiseConv2D", "DepthwiseConv2dNative", "keep it real-valued", BINARY_DEPTHWISE),
)

_PLURALS = {NO_OPERATOR: "such binary layers", BINARY_DEPTHWISE: "binary depthwise convolutions"}
_NAMES_SHOWN = 3


def missing_for_layer(classes: Iterable[str]) -> MissingOperator | None:
    """The entry for a layer, by the names of its class and base classes, derived classes first; None if LCE has an operator."""
    entries = {entry.layer: entry for entry in MISSING_OPERATORS}
    return next((entries[name] for name in (one.removeprefix("Quant") for one in classes) if name in entries), None)


def missing_for_operation(operation: str) -> MissingOperator | None:
    """The entry for a TensorFlow operation; None if LCE has an operator."""
    return next((entry for entry in MISSING_OPERATORS if entry.operation == operation), None)


def describe_missing(rule: str, layers: list[str] | None = None) -> str:
    """One line that says what runs real-valued, for layers that violate a rule. ``layers`` are their names, if they are known."""
    if layers is None:
        return f"LCE has no operator for {_PLURALS[rule]}: they will run real-valued, and cost more than those do"
    return (
        f"LCE has no operator for {_PLURALS[rule]}: {listed(layers, _NAMES_SHOWN)} will run real-valued, at a higher "
        f"cost than a real-valued layer, and el-larq convert needs --allow {rule}"
    )
