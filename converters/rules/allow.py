"""Which findings a user allows: RULE for all layers, RULE:LAYER for one."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from el_larq.converters.rules.rule import Finding
from el_larq.converters.rules.rule_registry import RULES
from el_larq.errors import UsageError, unknown_name


@dataclass(frozen=True)
class Allowed:
    """A rule that may fail. layer: in this Keras layer; "" for all."""

    rule: str
    layer: str

    def covers(self, finding: Finding) -> bool:
        return finding.rule == self.rule and self.layer in ("", finding.layer)


def parse_allowed(entries: Iterable[str]) -> list[Allowed]:
    """The entries of --allow; raises UsageError if a rule is unknown or a layer is empty."""
    found = []
    for entry in entries:
        rule, colon, layer = entry.partition(":")
        if rule not in RULES:
            raise unknown_name("audit rule", rule, RULES)
        if colon and not layer:
            raise UsageError(f"--allow {entry}: the layer is missing; name one, or use --allow {rule} for all layers")
        found.append(Allowed(rule, layer))
    return found


def check_layers(allowed: Iterable[Allowed], layers: Iterable[str]) -> None:
    """Raises UsageError if a layer that may break a rule is not among those with a kernel; it names the nearest."""
    known = sorted(layers)
    for one in allowed:
        if one.layer and one.layer not in known:
            near = difflib.get_close_matches(one.layer, known, n=1, cutoff=0.0)
            hint = f"did you mean {near[0]}?" if near else "the model has none"
            raise UsageError(f"--allow {one.rule}:{one.layer}: the model has no convolution or dense layer {one.layer!r}; {hint}")
