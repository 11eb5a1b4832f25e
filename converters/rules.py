"""Rules for any .tflite for Larq Compute Engine, checked on the flatbuffer alone. Does not import TensorFlow.

Each rule is a function from a graph to its findings. An error prevents the model from working as intended; a warning costs time or
memory; a note matters on some devices.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from el_larq.errors import ElLarqError
from el_larq.tflite.operators import REAL_KERNELS, binary_groups, binary_operators, input_channels, source_of
from el_larq.tflite.reader import Graph, Operator, Tensor

_SAME = 0  # LCE's code for padding "same"


@dataclass(frozen=True)
class Finding:
    """A finding of a rule. severity: "error", "warning" or "note"."""

    rule: str
    severity: str
    subject: str
    reason: str
    remedy: str
    allowed: bool = False

    def __str__(self) -> str:
        return f"[{self.rule}] {self.subject}: {self.reason}; {self.remedy}"


_NAMED = 3


def summarized(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each rule, reason and remedy; repeated ones name the first few subjects and their number."""
    groups: dict[Finding, list[str]] = {}
    for finding in findings:
        groups.setdefault(replace(finding, subject=""), []).append(finding.subject)
    return [replace(finding, subject=_joined(subjects)) for finding, subjects in groups.items()]


def _joined(subjects: list[str]) -> str:
    named = ", ".join(subjects[:_NAMED])
    return named if len(subjects) <= _NAMED else f"{named} and {len(subjects) - _NAMED} more ({len(subjects)} in all)"


# Subject, reason, remedy.
Found = Iterable[tuple[str, str, str]]


@dataclass(frozen=True)
class Rule:
    """A rule applied to the flatbuffer."""

    severity: str
    summary: str
    check: Callable[[Graph], Found]


def check_graph(graph: Graph, source: str = "the .tflite") -> list[Finding]:
    """The findings of all rules, errors first.

    Raises:
        ElLarqError: an operator lacks tensors or options that its kind requires, as in a damaged file.
    """
    try:
        findings = [Finding(name, rule.severity, *found) for name, rule in GRAPH_RULES.items() for found in rule.check(graph)]
    except ElLarqError as error:
        raise ElLarqError(f"{source}: {error}") from None
    except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ElLarqError(f"{source}: its operators do not go together; the file is damaged, convert the model again") from error
    return sorted(findings, key=lambda finding: ("error", "warning", "note").index(finding.severity))


def _name(operator: Operator) -> str:
    return f"operator {operator.index}"


def _scale_rank(graph: Graph) -> Found:
    for operator in binary_operators(graph):
        for what, tensor in zip(("multiplier", "bias"), operator.inputs[2:4], strict=False):
            if tensor is not None and len(tensor.shape) != 1:
                reason = f"its {what} has shape {tensor.shape}, which LCE converts and then refuses to load"
                yield _name(operator), reason, "give scales and shifts behind binary convolutions the shape (C,)"


def _dynamic_shape(graph: Graph) -> Found:
    for tensor in graph.tensors:
        if tensor.dynamic and tensor.shape[1:] and any(size < 1 for size in tensor.shape[1:]):
            yield tensor.name, "its size is known at run time only", "convert with a fixed input size (--image-size)"
            return


def _stride_over_kernel(graph: Graph) -> Found:
    """XNNPACK, TFLite's default for real-valued convolutions, is wrong where "same" would need negative padding."""
    for operator in graph.operators:
        if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or operator.options["padding"] != "same":
            continue
        shapes = [tensor.shape[1:3] for tensor in (*operator.inputs[:2], operator.outputs[0]) if tensor is not None]
        options = operator.options["strides"], operator.options["dilations"]
        if len(shapes) < 3 or shapes[1] == (1, 1):
            continue
        axes = zip(*shapes, *options, strict=False)
        if any((after - 1) * stride + (size - 1) * dilation + 1 < before for before, size, after, stride, dilation in axes):
            reason = (
                f"a {operator.name} that strides past its kernel, which TFLite's default implementation (XNNPACK) computes wrongly"
            )
            yield _name(operator), reason, 'use padding="valid", which is the same convolution there'


def _float_on_signs(graph: Graph) -> Found:
    for operator in graph.operators:
        source = source_of(operator)
        producer = graph.producers.get(source.index) if operator.name in REAL_KERNELS and source else None
        while producer is not None and producer.name in ("PADV2", "PAD", "RESHAPE"):
            before = producer.inputs[0]
            producer = graph.producers.get(before.index) if before else None
        if producer is not None and producer.name == "LceDequantize":
            reason = f"a {operator.name} on signs, which are unpacked for it: dearer than a real-valued convolution"
            yield _name(operator), reason, "make it one that LCE has in binary (docs/audit.md), or keep its input real-valued"


def _groups(graph: Graph) -> Found:
    for operator in binary_operators(graph):
        groups = binary_groups(operator)
        if groups > 1:
            reason = f"{groups} groups, which LCE's default kernel refuses when it loads the model"
            yield _name(operator), reason, "use one group, or run with --use_indirect_bgemm"


def _zero_padding(graph: Graph) -> Found:
    for operator in binary_operators(graph):
        if operator.options.get("padding") == _SAME and operator.options.get("pad_values") == 0:
            kernel = operator.inputs[1]
            if kernel is not None and kernel.shape[1:3] == (1, 1):
                remedy = 'a 1x1 convolution needs no padding: use padding="valid"'
            else:
                remedy = "train with pad_values=1.0"
            yield _name(operator), "padded with zeros, so no activation is fused and the result is not packed", remedy


def _norm_left(graph: Graph) -> Found:
    readers: dict[int, list[Operator]] = {}
    for operator in graph.operators:
        for tensor in operator.inputs:
            if tensor is not None:
                readers.setdefault(tensor.index, []).append(operator)
    for operator in graph.operators:
        after = readers.get(operator.outputs[0].index, []) if operator.name == "MUL" else []
        if _by_channel(operator.inputs) and len(after) == 1 and after[0].name == "ADD" and _by_channel(after[0].inputs):
            reason = "a batch normalization that was not folded: one MUL and one ADD over the whole tensor"
            yield _name(operator), reason, "put the normalization right behind a convolution, before additions and pooling"


def _by_channel(tensors: tuple[Tensor | None, ...]) -> bool:
    """Whether one of the tensors is a constant with one value per channel; a scale by position is not a normalization."""
    constants = [tensor for tensor in tensors if tensor is not None and tensor.constant and tensor.elements > 1]
    return any(tensor.shape[-1] == tensor.elements for tensor in constants)


def _channels(graph: Graph) -> Found:
    for operator in binary_operators(graph):
        channels = input_channels(operator)
        if channels % 32:
            unused = -channels % 32
            reason = f"{channels} input channels take {channels + unused}: bits are packed by 32"
            yield _name(operator), reason, "use multiples of 32 where speed counts"


def _dead_channels(graph: Graph) -> Found:
    for operator in binary_operators(graph):
        multiplier = operator.inputs[2] if len(operator.inputs) > 2 else None
        if multiplier is not None and multiplier.constant and multiplier.type == "float32":
            dead = int(np.sum(multiplier.array() == 0))
            if dead:
                yield _name(operator), f"{dead} of {multiplier.elements} output channels are constant", "train on, or prune them"


def _slow_on_arm32(graph: Graph) -> Found:
    packed = [operator for operator in binary_operators(graph) if operator.outputs[0].type == "int32"]
    if packed:
        reason = "binary convolutions with packed results run as portable C++ on 32-bit ARM"
        yield f"{len(packed)} operators", reason, "use a 64-bit system on the device"


GRAPH_RULES: dict[str, Rule] = {
    "scale-rank": Rule("error", "scales behind binary convolutions have one dimension", _scale_rank),
    "dynamic-shape": Rule("error", "every size is static", _dynamic_shape),
    "stride-over-kernel": Rule("error", "no padded convolution strides past its kernel", _stride_over_kernel),
    "float-on-signs": Rule("warning", "no real-valued convolution reads signs", _float_on_signs),
    "groups": Rule("warning", "binary convolutions have one group", _groups),
    "zero-padding": Rule("warning", "binary convolutions are not padded with zeros", _zero_padding),
    "norm-left": Rule("warning", "no batch normalization is left as MUL and ADD", _norm_left),
    "channels": Rule("note", "input channels come by 32", _channels),
    "dead-channels": Rule("warning", "no output channel is constant", _dead_channels),
    "slow-on-arm32": Rule("note", "packed results are slow on 32-bit ARM", _slow_on_arm32),
}
