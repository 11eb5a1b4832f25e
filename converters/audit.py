"""Step `audit`: what the flatbuffer really holds, against what the model meant. Named rules over one table.

A rule is a function from the `Subject` to findings; each has a reason and a remedy, and can be allowed by name.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

from el_larq.converters.graph import Convolution, find_convolutions
from el_larq.converters.job import Job
from el_larq.converters.match import match, real_layers
from el_larq.converters.rules import BINARY_OPERATOR, GRAPH_RULES, Finding, check_graph
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
    real_weights: int
    became: dict[int, Operator]
    """By id of a convolution in ``meant_binary``, the LceBconv2d it became."""


@dataclass(frozen=True)
class Audit:
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    binary: int
    meant_binary: int

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error" and not finding.allowed]

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
    for name in allow - set(ALL_RULES):
        raise unknown_name("audit rule", name, ALL_RULES)
    matches = match(convolutions, graph)
    layers = real_layers(convolutions, graph) | {m.operator.index: m.convolution.layer for m in matches}
    subject = Subject(
        graph,
        tuple(_row(operator, layers) for operator in graph.operators if operator.name in _CONVOLUTIONS),
        tuple(c for c in convolutions if c.meant_binary),
        sum(c.kernel.size for c in convolutions if not c.meant_binary),
        {id(m.convolution): m.operator for m in matches},
    )
    findings = [Finding(name, "error", *found) for name, rule in RULES.items() for found in rule(subject)]
    findings += [Finding(name, "warning", *found) for name, rule in WARNINGS.items() for found in rule(subject)]
    findings += check_graph(graph)
    marked = tuple(replace(finding, allowed=finding.rule in allow) for finding in findings)
    return Audit(subject.rows, marked, len(subject.became), len(subject.meant_binary))


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
    return _missing(subject, depthwise=False)


def _binary_depthwise(subject: Subject) -> Iterable[tuple[str, str, str]]:
    """A depthwise convolution that was meant to be binary runs as a real-valued one, at more than its cost."""
    return _missing(subject, depthwise=True)


def _missing(subject: Subject, depthwise: bool) -> Iterable[tuple[str, str, str]]:
    for convolution in subject.meant_binary:
        if id(convolution) in subject.became or (convolution.kind == "DepthwiseConv2dNative") != depthwise:
            continue
        became = [row.operator for row in subject.rows if row.layer == convolution.layer]
        reason, remedy = why_not(convolution)
        yield convolution.layer, f"runs as {became[0] if became else 'a real-valued operator'}, since {reason}", remedy


def why_not(convolution: Convolution) -> tuple[str, str]:
    """Why LCE's converter left a convolution real-valued, and what to do."""
    if convolution.kind == "MatMul":
        return "LCE has no binary dense layer", "do not skip the step fold, which makes it a 1x1 convolution"
    if convolution.kind == "Conv2DBackpropInput":
        return "LCE has no binary transposed convolution", "keep it real-valued, or upsample and convolve"
    if convolution.kind == "DepthwiseConv2dNative":
        return "LCE has no binary depthwise convolution", "keep it real-valued, or allow it with --allow binary-depthwise"
    if convolution.signs is None and convolution.plain_sign:
        return "its input is tf.sign, which is zero at zero", "use one of Larq's sign quantizers, which are 1 there"
    if convolution.signs is None:
        return "its input is not a sign that LCE knows", "set input_quantizer to one of Larq's sign quantizers"
    if convolution.dead_filters:
        return (
            f"{convolution.dead_filters} of its filters are zero throughout",
            "train on: a kernel_quantizer scaled by the mean magnitude has no sign there",
        )
    if not convolution.binary_kernel:
        return "its kernel does not have one magnitude a filter", "use a kernel_quantizer of the form alpha * sign(W), alpha > 0"
    if convolution.pad_value not in (None, 0.0, 1.0):
        return f"it is padded with {convolution.pad_value:g}", "use pad_values=1.0: LCE takes 1 and 0 only"
    if convolution.groups > 1 and convolution.kernel.shape[2] % 32:
        reason = f"its {convolution.groups} groups have {convolution.kernel.shape[2]} channels each"
        return reason, "use groups of a multiple of 32 channels, or one group"
    return "LCE did not take its padding or shape", 'use padding "valid", or "same" with pad_values=1.0, and a fixed input size'


def _stray_binary(subject: Subject) -> Iterable[tuple[str, str, str]]:
    """Each LceBconv2d comes from a convolution of the model."""
    known = {operator.index for operator in subject.became.values()}
    for row in subject.rows:
        if row.operator == BINARY_OPERATOR and row.index not in known:
            yield f"operator {row.index}", "has no counterpart in the model", "convert again from the right model"


Rule = Callable[[Subject], Iterable[tuple[str, str, str]]]


def _size(subject: Subject) -> Iterable[tuple[str, str, str]]:
    """The constants take what the model's weights take at their bits."""
    binary = sum(c.kernel.size / 8 for c in subject.meant_binary)
    channels = sum(c.kernel.shape[-1] for c in subject.meant_binary)
    real = 4 * subject.real_weights
    predicted = binary + 8 * channels + real
    actual = sum(len(tensor.data) for tensor in subject.graph.tensors)
    if actual > _SIZE_FACTOR * predicted + _SIZE_SLACK:
        reason = f"constants take {actual:,} bytes, {actual / predicted:.1f} times the {predicted:,.0f} that the weights need"
        yield "the file", reason, "look for what is not binary in --table"


RULES: dict[str, Rule] = {
    "not-binary": _not_binary,
    "binary-depthwise": _binary_depthwise,
    "stray-binary": _stray_binary,
}
WARNINGS: dict[str, Rule] = {"size": _size}
ALL_RULES = (*RULES, *WARNINGS, *GRAPH_RULES)

# Constants that are no weights: normalizations, shapes, the gains of links; and what small models have of them.
_SIZE_FACTOR, _SIZE_SLACK = 1.1, 65536


def operator_counts(graph: Graph) -> dict[str, int]:
    """How often each operator occurs, most frequent first."""
    return dict(Counter(operator.name for operator in graph.operators).most_common())
