"""What a rule of the audit is, and what it finds."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from el_larq.converters.rules.subject import Subject
from el_larq.tflite.reader import Operator

Severity = Literal["error", "warning", "note"]
Needs = Literal["flatbuffer", "flatbuffer and model"]


@dataclass(frozen=True)
class Place:
    """Where a rule found something: the text that names it, and the Keras layer, "" if it is unknown or not one layer.

    operations: what it costs, in operations for one image; 0 if that is not counted.
    """

    subject: str
    layer: str = ""
    operations: int = 0


Found = Iterable[tuple[Place | Operator, str] | tuple[Place | Operator, str, str]]
"""Where, the reason, and a remedy if it is not the rule's own."""


@dataclass(frozen=True)
class Finding:
    """A finding of a rule.

    layer: name of the Keras layer, "" if it is unknown or the finding is not about one layer.
    operations: what it costs, in operations for one image; 0 if that is not counted.
    """

    rule: str
    severity: str
    subject: str
    reason: str
    remedy: str
    allowed: bool = False
    layer: str = ""
    operations: int = 0

    @property
    def explanation(self) -> str:
        """The reason and what it costs."""
        return f"{self.reason} ({self.operations:,} operations per image)" if self.operations else self.reason

    def __str__(self) -> str:
        return f"[{self.rule}] {self.subject}: {self.explanation}; {self.remedy}"


@dataclass(frozen=True)
class Rule:
    """A rule of the audit.

    severity: an error prevents the model from working as intended; a warning costs time or memory; a note matters on some devices.
    requirement: what is true if the rule finds nothing. why: what happens otherwise. remedy: what to do about it.
    needs: what is compared; "flatbuffer" rules apply to any .tflite, regardless of which tool made it.
    check: yields the places where the requirement is not met.
    """

    name: str
    severity: Severity
    requirement: str
    why: str
    remedy: str
    needs: Needs
    check: Callable[[Subject], Found]

    def findings(self, subject: Subject) -> Iterator[Finding]:
        for where, reason, *remedy in self.check(subject):
            place = _place(where, subject) if isinstance(where, Operator) else where
            own = remedy[0] if remedy else self.remedy
            yield Finding(self.name, self.severity, place.subject, reason, own, layer=place.layer, operations=place.operations)


def rule(
    name: str, severity: Severity, *, requirement: str, why: str, remedy: str, needs: Needs = "flatbuffer"
) -> Callable[[Callable[[Subject], Found]], Rule]:
    """Make a rule of the function that checks it."""
    return lambda check: Rule(name, severity, requirement, why, remedy, needs, check)


def _place(operator: Operator, subject: Subject) -> Place:
    layer = subject.layers.get(operator.index, "")
    return Place(f"operator {operator.index} ({layer})" if layer else f"operator {operator.index}", layer)


_NAMED = 3


def summarized(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each rule, reason and remedy; repeated ones name the first few subjects and their number, and add up."""
    groups: dict[Finding, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(replace(finding, subject="", layer="", operations=0), []).append(finding)
    return [
        replace(kind, subject=_joined([one.subject for one in group]), operations=sum(one.operations for one in group))
        for kind, group in groups.items()
    ]


def _joined(subjects: list[str]) -> str:
    named = ", ".join(subjects[:_NAMED])
    return named if len(subjects) <= _NAMED else f"{named} and {len(subjects) - _NAMED} more ({len(subjects)} in all)"
