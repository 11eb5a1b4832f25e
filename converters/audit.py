"""Step `audit`: what the flatbuffer really holds, against what the model meant. Named rules over one table.

A rule is a function from the `Subject` to findings; each has a reason and a remedy, and can be allowed by name.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from el_larq.converters.graph import Convolution, find_convolutions
from el_larq.converters.job import Job
from el_larq.converters.match import BINARY_OPERATOR, match, real_layers
from el_larq.errors import ElLarqError, unknown_name
from el_larq.tflite import Graph, Operator, parse

_BITS = {"float32": 32, "float16": 16, "int8": 8, "uint8": 8, "int16": 16, "int32": 32, "int4": 4}
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", BINARY_OPERATOR)


@dataclass(frozen=True)
class Row:
    """One convolution (or dense layer) of the flatbuffer. Bits are those of its kernel and of its input."""

    index: int
    operator: str
    layer: str
    kernel_bits: int
    input_bits: int
    kernel_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int


@dataclass(frozen=True)
class Subject:
    """What rules look at: the graph, its convolutions, and the model's convolutions with their operators."""

    graph: Graph
    rows: tuple[Row, ...]
    meant_binary: tuple[Convolution, ...]
    became: dict[int, Operator]
    """By id of a convolution in ``meant_binary``, the LceBconv2d it became."""


@dataclass(frozen=True)
class Finding:
    rule: str
    subject: str
    reason: str
    remedy: str
    allowed: bool = False

    def __str__(self) -> str:
        return f"[{self.rule}] {self.subject}: {self.reason}; {self.remedy}"


@dataclass(frozen=True)
class Audit:
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    binary: int
    meant_binary: int

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.allowed]

    @property
    def summary(self) -> str:
        return f"{self.binary} of {self.meant_binary} binary convolutions are {BINARY_OPERATOR}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "binary": self.binary,
            "meant_binary": self.meant_binary,
            "convolutions": [asdict(row) for row in self.rows],
            "findings": [asdict(finding) for finding in self.findings],
        }


def audit(job: Job) -> Job:
    result = audit_model(find_convolutions(job.need_original()), parse(job.need_tflite()), job.options.allow)
    if result.errors:
        raise ElLarqError(f"audit: {result.summary}. " + " ".join(str(finding) for finding in result.errors))
    return job.done(result.summary, result.to_dict())


def audit_model(convolutions: Sequence[Convolution], graph: Graph, allow: Iterable[str] = ()) -> Audit:
    """Every rule on a model's convolutions and its flatbuffer. Findings of allowed rules stay, marked."""
    allow = set(allow)
    for name in allow - set(RULES):
        raise unknown_name("audit rule", name, RULES)
    matches = match(convolutions, graph)
    layers = real_layers(convolutions, graph) | {m.operator.index: m.convolution.layer for m in matches}
    subject = Subject(
        graph,
        tuple(_row(operator, layers) for operator in graph.operators if operator.name in _CONVOLUTIONS),
        tuple(c for c in convolutions if c.meant_binary),
        {id(m.convolution): m.operator for m in matches},
    )
    findings = tuple(
        Finding(name, what, reason, remedy, name in allow) for name, rule in RULES.items() for what, reason, remedy in rule(subject)
    )
    return Audit(subject.rows, findings, len(subject.became), len(subject.meant_binary))


def _row(operator: Operator, layers: dict[int, str]) -> Row:
    source, kernel = operator.inputs[0], operator.inputs[1]
    if operator.name == "TRANSPOSE_CONV":
        source = operator.inputs[2]
    assert source is not None
    assert kernel is not None
    output = operator.outputs[0].shape
    binary = operator.name == BINARY_OPERATOR
    shape = kernel.shape
    if binary:
        words = -(-operator.options["channels_in"] // 32)
        groups = max(1, words // shape[-1])
        shape = (*shape[:-1], operator.options["channels_in"] // groups)
        output = (*output[:-1], shape[0])  # a packed output counts words
    # TFLite keeps kernels as (C_out, kh, kw, C_in), a depthwise one as (1, kh, kw, C).
    per_output = prod(shape[1:-1]) if operator.name == "DEPTHWISE_CONV_2D" else prod(shape[1:])
    computed = prod(source.shape[1:3]) * shape[0] if operator.name == "TRANSPOSE_CONV" else prod(output[1:])
    return Row(
        operator.index,
        operator.name,
        layers.get(operator.index, ""),
        1 if binary else _BITS.get(kernel.type, 32),
        1 if binary else _BITS.get(source.type, 32),
        shape,
        output,
        per_output * computed,
    )


def _not_binary(subject: Subject) -> Iterable[tuple[str, str, str]]:
    """Each convolution that was meant to be binary is an LceBconv2d."""
    # A fused result that keeps its name takes one operator per layer; what is missing is what is not there.
    for convolution in subject.meant_binary:
        if id(convolution) not in subject.became:
            became = [row.operator for row in subject.rows if row.layer == convolution.layer]
            reason, remedy = _why_not(convolution)
            yield (
                convolution.layer,
                f"runs as {became[0] if became else 'a real-valued operator'}, since {reason}",
                remedy,
            )


def _why_not(convolution: Convolution) -> tuple[str, str]:
    if convolution.kind == "MatMul":
        return "LCE has no binary dense layer", "reshape to (1, 1, C) and use a 1x1 QuantConv2D"
    if convolution.kind == "Conv2DBackpropInput":
        return "LCE has no binary transposed convolution", "keep it real-valued, or upsample and convolve"
    if convolution.kind == "DepthwiseConv2dNative":
        return "LCE has no binary depthwise convolution", "keep it real-valued, or allow it with --allow not-binary"
    if convolution.signs is None:
        return "its input is not a sign that LCE knows", "set input_quantizer to one of Larq's sign quantizers"
    if not convolution.binary_kernel:
        return (
            "its kernel does not have one magnitude a filter (a filter of zeros counts too)",
            "use a kernel_quantizer of the form alpha * sign(W) with alpha > 0",
        )
    return (
        "LCE did not take its padding, groups or shape",
        "use padding valid, or same with pad_values 0 or 1, and groups of 32 channels or none",
    )


def _stray_binary(subject: Subject) -> Iterable[tuple[str, str, str]]:
    """Each LceBconv2d comes from a convolution of the model."""
    known = {operator.index for operator in subject.became.values()}
    for row in subject.rows:
        if row.operator == BINARY_OPERATOR and row.index not in known:
            yield f"operator {row.index}", "has no counterpart in the model", "convert again from the right model"


Rule = Callable[[Subject], Iterable[tuple[str, str, str]]]

RULES: dict[str, Rule] = {
    "not-binary": _not_binary,
    "stray-binary": _stray_binary,
}


def operator_counts(graph: Graph) -> dict[str, int]:
    """How often each operator occurs, most frequent first."""
    return dict(Counter(operator.name for operator in graph.operators).most_common())
