"""Step `audit`: compares the flatbuffer with what the model was meant to become, by the rules in `rules.rule_registry`."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from el_larq.converters.graph import Convolution, find_convolutions
from el_larq.converters.intent import Intent, evidence, join, read_intents
from el_larq.converters.job import Job
from el_larq.converters.match import match, real_layers
from el_larq.converters.rules.allow import check_layers, parse_allowed
from el_larq.converters.rules.rule import Finding, summarized
from el_larq.converters.rules.rule_registry import check
from el_larq.converters.rules.subject import Subject
from el_larq.errors import ElLarqError
from el_larq.tflite.macs import count_macs
from el_larq.tflite.operators import BINARY, KERNELS, input_bits, kernel_bits, kernel_shape, output_shape
from el_larq.tflite.reader import Operator, TfliteGraph, parse


@dataclass(frozen=True)
class AuditRow:
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
class Audit:
    """The result of all rules.

    binary, meant_binary: number of LceBconv2d among the convolutions that were meant to be binary, and the number of the latter.
    low_bit: number of convolutions quantized to values other than -1 and +1.
    evidence: source of what was meant: quantizers of the model's "layers", the frozen "graph" where no layer has one, or
        "layers and graph".
    """

    rows: tuple[AuditRow, ...]
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
        if not self.meant_binary and not self.low_bit:
            return "nothing in this model is binary, so LCE runs it like any .tflite"
        text = f"{self.binary} of {self.meant_binary} binary convolutions are {BINARY}"
        if self.low_bit:
            text += f", {self.low_bit} quantized to other values than signs"
        return f"{text} (by the graph: no layer declares a quantizer)" if self.evidence == "graph" and self.meant_binary else text

    def to_dict(self) -> dict[str, Any]:
        return {
            "binary": self.binary,
            "meant_binary": self.meant_binary,
            "low_bit": self.low_bit,
            "nothing_binary": not self.meant_binary and not self.low_bit,
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
    convolutions: Sequence[Convolution], graph: TfliteGraph, allow: Iterable[str] = (), intents: Iterable[Intent] = ()
) -> Audit:
    """Apply every rule to a model's convolutions and its flatbuffer. Findings that are allowed are kept and marked so.

    Arguments:
        allow: rules that may fail, in all layers (RULE) or in one (RULE:LAYER).
        intents: what the model's layers declare; without them, what was meant to be binary is inferred from the graph.
    """
    allowed = parse_allowed(allow)
    matches = match(convolutions, graph)
    quantized = join(convolutions, intents)
    check_layers(allowed, {c.layer for c in convolutions} | {one.layer for one in quantized})
    layers = real_layers(convolutions, graph) | {m.operator.index: m.convolution.layer for m in matches}
    weights = sum(c.kernel.size for c in convolutions) + sum(one.elsewhere for one in quantized)
    subject = Subject(graph, layers, quantized, weights, {id(m.convolution): m.operator for m in matches})
    rows = tuple(_row(operator, layers) for operator in graph.operators if operator.name in KERNELS)
    findings = tuple(replace(found, allowed=any(one.covers(found) for one in allowed)) for found in check(subject))
    binary = [one for one in quantized if one.sort == "binary"]
    converted_to = sum(subject.operator(one) is not None for one in binary)
    low_bit = sum(one.sort == "low-bit" for one in quantized)
    return Audit(rows, findings, converted_to, len(binary), low_bit, evidence(quantized))


def _row(operator: Operator, layers: dict[int, str]) -> AuditRow:
    return AuditRow(
        operator.index,
        operator.name,
        layers.get(operator.index, ""),
        kernel_bits(operator),
        input_bits(operator),
        kernel_shape(operator),
        output_shape(operator),
        count_macs(operator),
    )
