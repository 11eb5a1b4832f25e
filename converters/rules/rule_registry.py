"""All rules of the audit, in the order in which they are reported and documented."""

from el_larq.converters.rules import flatbuffer, int8_rules, model
from el_larq.converters.rules.rule import Finding, Rule
from el_larq.converters.rules.subject import Subject
from el_larq.errors import ElLarqError
from el_larq.tflite.reader import TfliteGraph

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        model.not_binary,
        model.no_operator,
        model.binary_depthwise,
        model.low_bit,
        model.zeros_as_signs,
        model.stray_binary,
        flatbuffer.scale_rank,
        flatbuffer.dynamic_shape,
        flatbuffer.stride_over_kernel,
        flatbuffer.zero_padded_small_map,
        model.real_input,
        model.ternary_input,
        model.separable,
        flatbuffer.float_on_signs,
        flatbuffer.groups,
        flatbuffer.zero_padding,
        flatbuffer.norm_left,
        flatbuffer.dead_channels,
        int8_rules.left_float,
        model.size,
        flatbuffer.channels,
        int8_rules.only_float,
        flatbuffer.slow_on_arm32,
    )
}
"""By name, errors first."""


def check(subject: Subject) -> list[Finding]:
    """The findings of all rules."""
    return [finding for rule in RULES.values() for finding in rule.findings(subject)]


def check_graph(graph: TfliteGraph, source: str = "the .tflite") -> list[Finding]:
    """The findings of the rules that need the flatbuffer alone, in an untrusted file.

    Raises:
        ElLarqError: an operator lacks tensors or options that its kind requires, as in a damaged file.
    """
    rules = [rule for rule in RULES.values() if rule.needs == "flatbuffer"]
    try:
        return [finding for rule in rules for finding in rule.findings(Subject(graph))]
    except ElLarqError as error:
        raise ElLarqError(f"{source}: {error}") from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ElLarqError(f"{source}: its operators are inconsistent; the file is damaged, convert the model again") from error
