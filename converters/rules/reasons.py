"""Why LCE's converter left a quantized convolution real-valued, and what to do about it: pairs of reason and remedy."""

from typing import TYPE_CHECKING

import numpy as np

from el_larq.missing_operators import BINARY_DEPTHWISE, NO_OPERATOR, MissingOperator, missing_for_layer, missing_for_operation

if TYPE_CHECKING:
    from el_larq.converters.intent import Intent, QuantizedLayer

# A Conv1D that `el_larq.converters.one_dimensional` left as it is; LCE has an operator for the others.
_ONE_DIMENSIONAL = MissingOperator("Conv1D", None, "use QuantConv2D with a kernel of (1, k) on maps of one row")
_OR_ALLOW = ", or allow it with --allow "


def missing_operator(quantized: "QuantizedLayer") -> MissingOperator | None:
    """The kind of a layer for which LCE has no binary operator; None if it has one."""
    convolution, intent = quantized.convolution, quantized.intent
    if convolution is not None:
        return missing_for_operation(convolution.kind) or (_ONE_DIMENSIONAL if convolution.one_dimensional else None)
    if intent is None:
        return None
    return missing_for_layer([intent.kind]) or MissingOperator(intent.kind.removeprefix("Quant"), None, "use QuantConv2D")


def no_operator_for(quantized: "QuantizedLayer") -> tuple[str, str] | None:
    """Reason and remedy for a kind of layer for which LCE has no binary operator; None if it has one, and for depthwise layers."""
    missing = missing_operator(quantized)
    if missing is None or missing.rule != NO_OPERATOR:
        return None
    return f"LCE has no binary operator for {missing.layer}", f"{missing.remedy}{_OR_ALLOW}{missing.rule}"


def is_depthwise(quantized: "QuantizedLayer") -> bool:
    missing = missing_operator(quantized)
    return missing is not None and missing.rule == BINARY_DEPTHWISE


def reason_not_binary(quantized: "QuantizedLayer") -> tuple[str, str]:
    """For a convolution or dense layer that is meant to be binary and for which LCE has an operator."""
    convolution, intent = quantized.convolution, quantized.intent
    assert convolution is not None
    input_quantizer = None if intent is None else intent.input_quantizer
    if input_quantizer == "SteHeaviside":
        return "its input is 0 and 1 (SteHeaviside)", "set input_quantizer to one of Larq's sign quantizers"
    if convolution.plain_sign and not convolution.two_values:
        return "its input is tf.sign, which is zero at zero", "use one of Larq's sign quantizers, which are 1 there"
    if not convolution.sign_input or (convolution.signs is None and convolution.kind != "MatMul"):
        by = "" if input_quantizer is None else f" ({input_quantizer})"
        return f"its input is not a sign that LCE recognizes{by}", "set input_quantizer to one of Larq's sign quantizers"
    scaled_sign = "use a kernel_quantizer of the form alpha * sign(W), alpha > 0"
    if intent is not None and intent.kernel_quantizer == "NoOp" and not convolution.binary_kernel:
        reason = "its kernel contains real numbers, which NoOp passes on unchanged"
        return reason, "train it with an optimizer that keeps kernels at +1 and -1, as larq.optimizers.Bop does"
    if convolution.dead_filters and convolution.meant_binary:
        return (
            f"{convolution.dead_filters} of its filters are all zero",
            "train longer: a kernel_quantizer scaled by the mean magnitude has no sign there",
        )
    if not convolution.binary_kernel:
        zeros = np.any(convolution.kernel == 0)
        return f"its kernel {'contains zeros' if zeros else 'does not have one magnitude per filter'}{_by(intent)}", scaled_sign
    if convolution.kind == "MatMul":
        return (
            "LCE has no binary dense layer",
            "do not skip the step fold, which makes a 1x1 convolution of it, and give it vectors (N, C)",
        )
    if convolution.pad_value not in (None, -1.0, 0.0, 1.0):
        return f"it is padded with {convolution.pad_value:g}", "use pad_values=1.0: only -1, 0 and 1 can be binary"
    if convolution.groups > 1 and convolution.kernel.shape[2] % 32:
        reason = f"its {convolution.groups} groups have {convolution.kernel.shape[2]} channels each"
        return reason, "use groups of a multiple of 32 channels, or one group"
    return "LCE did not take its padding or shape", 'use padding "valid", or "same" with pad_values=1.0, and a fixed input size'


def reason_low_bit(quantized: "QuantizedLayer") -> tuple[str, str]:
    """For a layer whose kernel or input is quantized to values other than -1 and +1."""
    intent = quantized.intent
    if intent is None:
        what, argument = "its kernel contains zeros and one magnitude", "kernel_quantizer"
    elif intent.kernel_bits not in (None, 1):
        what, argument = f"its kernel has {intent.kernel_bits} bits{_by(intent)}", "kernel_quantizer"
    else:
        what, argument = f"its input has {intent.input_bits} bits ({intent.input_quantizer})", "input_quantizer"
    return what, f"use a sign as {argument}{_OR_ALLOW}low-bit"


def reason_real_input(quantized: "QuantizedLayer") -> tuple[str, str]:
    """For a layer with a quantized kernel whose input is not quantized."""
    convolution, intent = quantized.convolution, quantized.intent
    if intent is not None and intent.part == "pointwise_kernel":
        remedy = "for a binary pointwise part use DepthwiseConv2D, then QuantConv2D of 1x1 with an input_quantizer"
        return "it reads the real-valued sums of the depthwise part", remedy
    if convolution is not None and convolution.first:
        return "it reads the model's real-valued input", "this is usual for a first layer"
    what = "its input is not a sign" if intent is None else "it has no input_quantizer and its input is not a sign"
    return what, "if it was meant to be binary, set its input_quantizer to one of Larq's sign quantizers"


def _by(intent: "Intent | None") -> str:
    return "" if intent is None else f" ({intent.kernel_quantizer})"
