"""Rules that compare the flatbuffer with what the model's layers were meant to become."""

from typing import TYPE_CHECKING

from el_larq.converters.match import REAL_OPERATORS
from el_larq.converters.rules.reasons import is_depthwise, no_operator_for, reason_low_bit, reason_not_binary, reason_real_input
from el_larq.converters.rules.rule import Found, Place, rule
from el_larq.converters.rules.subject import Subject
from el_larq.tflite.operators import BINARY, binary_operators

if TYPE_CHECKING:
    from el_larq.converters.intent import QuantizedLayer

# Allowance for constants that are not weights: normalizations, shapes, gains of links. The second is for small models.
_SIZE_FACTOR, _SIZE_SLACK = 1.1, 65536


def _place(quantized: "QuantizedLayer") -> Place:
    return Place(quantized.title, quantized.layer)


def _runs_as(subject: Subject, quantized: "QuantizedLayer", reason: str) -> str:
    """The reason, for a layer that runs as a real-valued operator."""
    kind = "" if quantized.convolution is None else REAL_OPERATORS.get(quantized.convolution.kind, "")
    present = any(operator.name == kind for operator in subject.graph.operators)
    return f"runs as {kind if present else 'a real-valued operator'}, since {reason}"


@rule(
    "not-binary",
    "error",
    requirement="each convolution or dense layer meant to be binary is an `LceBconv2d`",
    why=(
        "LCE leaves it real-valued without a message; the finding gives the reason: a dense layer that `fold` did not turn into a "
        "convolution, an input that is not a sign or is plain `tf.sign`, filters of zeros, a kernel of 0 and 1 (`SteHeaviside`) or "
        "of real numbers (`NoOp(precision=1)` without Bop), several magnitudes in a filter, padding with another value than 0 and "
        "1, groups whose number of channels is not a multiple of 32"
    ),
    remedy="as the finding says",
    needs="flatbuffer and model",
)
def not_binary(subject: Subject) -> Found:
    for quantized in subject.missing("binary"):
        if not is_depthwise(quantized) and no_operator_for(quantized) is None:
            reason, remedy = reason_not_binary(quantized)
            yield _place(quantized), _runs_as(subject, quantized, reason), remedy


@rule(
    "no-operator",
    "error",
    requirement="LCE has a binary operator for each layer meant to be binary",
    why="it has none for Conv3D, transposed and locally connected layers, which run real-valued",
    remedy="use QuantConv2D, or allow the rule",
    needs="flatbuffer and model",
)
def no_operator(subject: Subject) -> Found:
    for quantized in subject.missing("binary"):
        why = no_operator_for(quantized)
        if why is not None:
            yield _place(quantized), _runs_as(subject, quantized, why[0]), why[1]


@rule(
    "binary-depthwise",
    "error",
    requirement="no depthwise convolution was meant to be binary",
    why="LCE runs it as a real-valued one, at a higher cost",
    remedy="keep it real-valued, or allow it with --allow binary-depthwise",
    needs="flatbuffer and model",
)
def binary_depthwise(subject: Subject) -> Found:
    for quantized in subject.missing("binary"):
        if is_depthwise(quantized) and not quantized.separable:
            yield _place(quantized), _runs_as(subject, quantized, "LCE has no binary depthwise convolution")


@rule(
    "low-bit",
    "error",
    requirement="kernels and inputs are quantized to -1 and +1 or not at all",
    why=("LCE computes with signs only: with ternary or DoReFa quantizers a layer runs as a real-valued one"),
    remedy="use sign quantizers for kernel and input, or allow the rule",
    needs="flatbuffer and model",
)
def low_bit(subject: Subject) -> Found:
    for quantized in subject.quantized:
        if quantized.sort != "low-bit" or quantized.ternary_input:
            continue
        if subject.operator(quantized) is None:
            reason, remedy = reason_low_bit(quantized)
            yield _place(quantized), _runs_as(subject, quantized, f"{reason} and LCE computes with signs only"), remedy


@rule(
    "zeros-as-signs",
    "error",
    requirement="no `LceBconv2d` reads an input that the model quantizes to zeros too",
    why="LCE treats the outer sign of ternary inputs (`SteTern`) as a sign with only -1 and +1, so the results are wrong",
    remedy="use one of Larq's sign quantizers as input_quantizer",
    needs="flatbuffer and model",
)
def zeros_as_signs(subject: Subject) -> Found:
    for quantized in subject.quantized:
        if subject.operator(quantized) is None or quantized.convolution is None:
            continue
        if quantized.convolution.plain_sign and not quantized.convolution.two_values:
            # `lower` keeps these in 32 bits; this finds a spelling that it does not recognize.
            intent = quantized.intent
            quantizer = "" if intent is None or intent.input_quantizer is None else f" ({intent.input_quantizer})"
            reason = (
                f"runs as {BINARY}, which interprets every value as a sign, but its input{quantizer} contains zeros, "
                "so the results are wrong"
            )
            yield _place(quantized), reason


@rule(
    "separable",
    "warning",
    requirement="no separable convolution was meant to be binary",
    why="LCE has no binary depthwise convolution, and the pointwise part reads its real-valued sums: both run in 32 bits",
    remedy="for a binary pointwise part use DepthwiseConv2D, then QuantConv2D of 1x1 with an input_quantizer",
    needs="flatbuffer and model",
)
def separable(subject: Subject) -> Found:
    for layer in dict.fromkeys(quantized.layer for quantized in subject.missing("binary") if quantized.separable):
        reason = "runs real-valued: LCE has no binary depthwise convolution, and the pointwise part reads its real-valued sums"
        yield Place(layer, layer), reason


@rule(
    "ternary-input",
    "warning",
    requirement="no layer with a binary kernel has a ternary input",
    why="LCE computes with signs only: the layer runs in 32 bits, at the time and size of a real-valued one",
    remedy="use one of Larq's sign quantizers as input_quantizer if it should be binary",
    needs="flatbuffer and model",
)
def ternary_input(subject: Subject) -> Found:
    for quantized in subject.missing("low-bit"):
        if quantized.ternary_input:
            reason = "its input contains zeros, so its binary kernel needs as much time and memory as a real-valued one"
            yield _place(quantized), _runs_as(subject, quantized, reason)


@rule(
    "stray-binary",
    "error",
    requirement="every `LceBconv2d` has a counterpart in the model",
    why="the flatbuffer was not made from this model",
    remedy="convert again from the right model",
    needs="flatbuffer and model",
)
def stray_binary(subject: Subject) -> Found:
    known = {operator.index for operator in subject.converted_to.values()}
    for operator in binary_operators(subject.graph):
        if operator.index not in known:
            yield operator, "has no counterpart in the model"


@rule(
    "real-input",
    "warning",
    requirement="a layer with a quantized kernel has a quantized input",
    why=(
        "LCE has no operator for a binary kernel and a real-valued input: the layer runs in 32 bits, at the time and size of a "
        "real-valued one. A first layer, the pointwise part of a separable convolution, and a layer without an `input_quantizer`; "
        "a layer with one, or after a sign, breaks `not-binary`"
    ),
    remedy="quantize its input too if it should be binary",
    needs="flatbuffer and model",
)
def real_input(subject: Subject) -> Found:
    reported = {quantized.layer for quantized in subject.missing("binary") if quantized.separable}
    for quantized in subject.missing("real-input"):
        if quantized.layer in reported:
            continue
        reason, remedy = reason_real_input(quantized)
        runs = _runs_as(subject, quantized, f"{reason}: its binary kernel needs as much time and memory as a real-valued one")
        yield _place(quantized), runs, remedy


@rule(
    "size",
    "warning",
    requirement="the constants take no more bytes than the weights need at their bits (10 % and 64 KiB to spare)",
    why="the file is larger than a binary network's: something in it is not binary, or stored twice",
    remedy="look for what is not binary in --table",
    needs="flatbuffer and model",
)
def size(subject: Subject) -> Found:
    kernels = [
        quantized.convolution.kernel
        for quantized in subject.quantized
        if quantized.sort == "binary" and quantized.convolution is not None
    ]
    binary = sum(kernel.size / 8 for kernel in kernels)
    channels = sum(kernel.shape[-1] for kernel in kernels)
    real = 4 * (subject.weights - sum(kernel.size for kernel in kernels))
    restored = [tensor for tensor in subject.graph.tensors if tensor.stored is not None]
    saved = sum(4 * tensor.elements - len(tensor.stored.data) for tensor in restored if tensor.stored is not None)
    predicted = binary + 8 * channels + real - saved
    actual = sum(len(tensor.data) for tensor in subject.graph.tensors)
    if actual > _SIZE_FACTOR * predicted + _SIZE_SLACK:
        reason = f"constants take {actual:,} bytes, {actual / predicted:.1f} times the {predicted:,.0f} that the weights need"
        yield Place("the file"), reason
