"""Rules for files that compute with int8, whatever quantized them: LCE's converter leaves operators in float without saying so."""

from collections.abc import Iterator

from el_larq.converters.int8.int8_operators import DIFFERENT_SCALES, INT8, reason_float, shares_scale
from el_larq.converters.rules.rule import Found, rule
from el_larq.converters.rules.subject import Subject
from el_larq.tflite.operators import restores_constant
from el_larq.tflite.reader import Operator

_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


@rule(
    "left-float",
    "warning",
    requirement="in a file that computes with int8, operators that have an int8 form use it",
    why="LCE's converter leaves an operator in float, without a message, if the range of one of its tensors is not known",
    remedy="quantize it with `convert --int8 full`, or put fake quantization at its inputs and its output",
)
def left_float(subject: Subject) -> Found:
    for operator in _float_operators(subject):
        if operator.name in INT8 and _reason(subject, operator) is None:
            yield operator, f"{operator.name} computes in float"


@rule(
    "only-float",
    "note",
    requirement="in a file that computes with int8, all operators do",
    why="the operator computes in float, between conversions from and to int8",
    remedy="none is needed if its cost is small; else replace the operation in the model",
)
def only_float(subject: Subject) -> Found:
    for operator in _float_operators(subject):
        if (reason := _reason(subject, operator)) is not None:
            yield operator, f"{operator.name} computes in float: {reason}"


def _reason(subject: Subject, operator: Operator) -> str | None:
    """Why an operator cannot compute with int8; None if it can."""
    producers = [subject.graph.producers.get(tensor.index) for tensor in operator.inputs if tensor is not None]
    steps = {source.step for made in producers if made is not None and made.name == "DEQUANTIZE" and (source := made.inputs[0])}
    return DIFFERENT_SCALES if shares_scale(operator) and len(steps) > 1 else reason_float(operator)


def _float_operators(subject: Subject) -> Iterator[Operator]:
    """Those with a float output, in a file in which an operator computes int8."""
    graph = subject.graph
    if not any(tensor.type == "int8" for operator in graph.operators for tensor in operator.outputs):
        return
    for operator in graph.operators:
        if operator.name in _CONVERSIONS or restores_constant(operator) or not operator.outputs:
            continue
        if operator.outputs[0].type == "float32":
            yield operator
