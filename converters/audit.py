"""Step `audit`: compares the flatbuffer with what the model was meant to become, by named rules over one table.

A rule is a function from the `Subject` to findings. Each finding has a reason and a remedy; each rule can be allowed by name.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from el_larq.converters.graph import Convolution, find_convolutions
from el_larq.converters.intent import Intent, Meant, evidence, join, read_intents
from el_larq.converters.job import Job
from el_larq.converters.match import REAL_OPERATORS, match, real_layers
from el_larq.converters.reasons import is_depthwise, no_operator, why_depthwise, why_low_bit, why_not, why_real_input
from el_larq.converters.rules import GRAPH_RULES, Finding, Found, check_graph, summarized
from el_larq.errors import ElLarqError, unknown_name
from el_larq.tflite.macs import count_macs
from el_larq.tflite.operators import BINARY, KERNELS, input_bits, kernel_bits, kernel_shape, output_shape
from el_larq.tflite.reader import Graph, Operator, parse


@dataclass(frozen=True)
class Row:
    """One convolution (or dense layer) of the flatbuffer, with the bit widths of its kernel and its input."""

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
    """The input of the rules: the graph, its convolutions, and the quantized kernels of the model.

    weights: total number of weights in the model's convolutions, including quantized kernels that the graph does not show as one.
    became: maps the id of a convolution of the model to the LceBconv2d that it was converted to.
    """

    graph: Graph
    rows: tuple[Row, ...]
    meant: tuple[Meant, ...]
    weights: int
    became: dict[int, Operator]

    def operator(self, meant: Meant) -> Operator | None:
        return self.became.get(id(meant.convolution))

    def missing(self, sort: str) -> Iterator[Meant]:
        """The quantized kernels of a sort that were not converted to an LceBconv2d."""
        return (meant for meant in self.meant if meant.sort == sort and self.operator(meant) is None)

    def left_real(self, meant: Meant, reason: str, remedy: str) -> tuple[str, str, str]:
        """Subject, reason and remedy for a layer that runs as a real-valued operator."""
        kind = "" if meant.convolution is None else REAL_OPERATORS.get(meant.convolution.kind, "")
        became = kind if any(row.operator == kind for row in self.rows) else "a real-valued operator"
        return meant.layer, f"runs as {became}, since {reason}", remedy


@dataclass(frozen=True)
class Audit:
    """The result of all rules.

    binary, meant_binary: number of LceBconv2d among the convolutions that were meant to be binary, and the number of the latter.
    low_bit: number of convolutions quantized to values other than -1 and +1.
    evidence: source of what was meant: quantizers of the model's "layers", the frozen "graph" where no layer has one, or
        "layers and graph".
    """

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    binary: int
    meant_binary: int
    low_bit: int
    evidence: str

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "error" and not finding.allowed]

    @property
    def summary(self) -> str:
        text = f"{self.binary} of {self.meant_binary} binary convolutions are {BINARY}"
        if self.low_bit:
            text += f", {self.low_bit} quantized to other values than signs"
        return f"{text} (by the graph: no layer declares a quantizer)" if self.evidence == "graph" and self.meant_binary else text

    def to_dict(self) -> dict[str, Any]:
        return {
            "binary": self.binary,
            "meant_binary": self.meant_binary,
            "low_bit": self.low_bit,
            "evidence": self.evidence,
            "convolutions": [asdict(row) for row in self.rows],
            "findings": [asdict(finding) for finding in self.findings],
        }


def audit(job: Job) -> Job:
    intents = () if job.loaded is None else read_intents(job.loaded)
    result = audit_model(find_convolutions(job.need_original()), parse(job.need_tflite()), job.options.allow, intents)
    if result.errors:
        raise ElLarqError(f"audit: {result.summary}. " + " ".join(map(str, summarized(result.errors))))
    return job.done(result.summary, result.to_dict())


def audit_model(
    convolutions: Sequence[Convolution], graph: Graph, allow: Iterable[str] = (), intents: Iterable[Intent] = ()
) -> Audit:
    """Apply every rule to a model's convolutions and its flatbuffer. Findings of allowed rules are kept and marked as allowed.

    Arguments:
        intents: what the model's layers declare; without them, what was meant to be binary is inferred from the graph.
    """
    allow = set(allow)
    for name in allow - set(ALL_RULES):
        raise unknown_name("audit rule", name, ALL_RULES)
    matches = match(convolutions, graph)
    meant = join(convolutions, intents)
    layers = real_layers(convolutions, graph) | {m.operator.index: m.convolution.layer for m in matches}
    subject = Subject(
        graph,
        tuple(_row(operator, layers) for operator in graph.operators if operator.name in KERNELS),
        meant,
        sum(c.kernel.size for c in convolutions) + sum(one.elsewhere for one in meant),
        {id(m.convolution): m.operator for m in matches},
    )
    findings = [Finding(name, "error", *found) for name, rule in RULES.items() for found in rule(subject)]
    findings += [Finding(name, "warning", *found) for name, rule in WARNINGS.items() for found in rule(subject)]
    findings += check_graph(graph)
    marked = tuple(replace(finding, allowed=finding.rule in allow) for finding in findings)
    binary = [one for one in meant if one.sort == "binary"]
    became = sum(subject.operator(one) is not None for one in binary)
    low_bit = sum(one.sort == "low-bit" for one in meant)
    return Audit(subject.rows, marked, became, len(binary), low_bit, evidence(meant))


def _row(operator: Operator, layers: dict[int, str]) -> Row:
    return Row(
        operator.index,
        operator.name,
        layers.get(operator.index, ""),
        kernel_bits(operator),
        input_bits(operator),
        kernel_shape(operator),
        output_shape(operator),
        count_macs(operator),
    )


def _not_binary(subject: Subject) -> Found:
    """Each convolution that was meant to be binary is an LceBconv2d."""
    for meant in subject.missing("binary"):
        if not is_depthwise(meant) and no_operator(meant) is None:
            yield subject.left_real(meant, *why_not(meant))


def _no_operator(subject: Subject) -> Found:
    """LCE has a binary operator for every layer that was meant to be binary."""
    for meant in subject.missing("binary"):
        why = no_operator(meant)
        if why is not None:
            yield subject.left_real(meant, *why)


def _binary_depthwise(subject: Subject) -> Found:
    """A depthwise convolution that was meant to be binary runs as a real-valued one and costs more than one."""
    for meant in subject.missing("binary"):
        if is_depthwise(meant):
            yield subject.left_real(meant, *why_depthwise(meant))


def _low_bit(subject: Subject) -> Found:
    """No kernel or input is quantized to values other than signs: LCE computes with signs only."""
    for meant in subject.meant:
        if meant.sort != "low-bit":
            continue
        reason, remedy = why_low_bit(meant)
        if subject.operator(meant) is not None:
            yield meant.layer, f"runs as {BINARY}, which takes every value for a sign, though {reason}", remedy
        else:
            yield subject.left_real(meant, f"{reason} and LCE computes with signs only", remedy)


def _real_input(subject: Subject) -> Found:
    """A convolution with a quantized kernel and a real-valued input runs as a real-valued operator."""
    for meant in subject.missing("real-input"):
        yield subject.left_real(meant, *why_real_input(meant))


def _stray_binary(subject: Subject) -> Found:
    """Each LceBconv2d comes from a convolution of the model."""
    known = {operator.index for operator in subject.became.values()}
    for row in subject.rows:
        if row.operator == BINARY and row.index not in known:
            yield f"operator {row.index}", "has no counterpart in the model", "convert again from the right model"


Rule = Callable[[Subject], Found]


def _size(subject: Subject) -> Found:
    """The constants are no larger than the model's weights at their bit widths, within a tolerance."""
    kernels = [meant.convolution.kernel for meant in subject.meant if meant.sort == "binary" and meant.convolution is not None]
    binary = sum(kernel.size / 8 for kernel in kernels)
    channels = sum(kernel.shape[-1] for kernel in kernels)
    real = 4 * (subject.weights - sum(kernel.size for kernel in kernels))
    predicted = binary + 8 * channels + real
    actual = sum(len(tensor.data) for tensor in subject.graph.tensors)
    if actual > _SIZE_FACTOR * predicted + _SIZE_SLACK:
        reason = f"constants take {actual:,} bytes, {actual / predicted:.1f} times the {predicted:,.0f} that the weights need"
        yield "the file", reason, "look for what is not binary in --table"


RULES: dict[str, Rule] = {
    "not-binary": _not_binary,
    "no-operator": _no_operator,
    "binary-depthwise": _binary_depthwise,
    "low-bit": _low_bit,
    "stray-binary": _stray_binary,
}
WARNINGS: dict[str, Rule] = {"real-input": _real_input, "size": _size}
ALL_RULES = (*RULES, *WARNINGS, *GRAPH_RULES)

# Allowance for constants that are not weights: normalizations, shapes, gains of links. The second is for small models.
_SIZE_FACTOR, _SIZE_SLACK = 1.1, 65536


def operator_counts(graph: Graph) -> dict[str, int]:
    """The number of occurrences of each operator, most frequent first."""
    return dict(Counter(operator.name for operator in graph.operators).most_common())
