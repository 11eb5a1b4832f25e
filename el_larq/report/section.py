"""What a report page is made of: sections of parts, each with a heading, text, a plot, a table, facts or code."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

Heading = tuple[str, bool]
"""A column's name, and whether it contains numbers."""


@dataclass
class Part:
    heading: str = ""
    text: str = ""
    notes: Sequence[str] = ()
    plot: Markup | None = None
    caption: str = ""
    table: str = ""
    headings: Sequence[Heading] = ()
    rows: Sequence[Sequence[str]] = ()
    facts: Sequence[tuple[str, str]] = ()
    code: str = ""


@dataclass
class Section:
    anchor: str
    name: str
    parts: list[Part] = field(default_factory=list)


def short_name(path: str) -> str:
    """A model's short name, with its folder if it is called model.tflite or model.h5, as models of different runs often are."""
    parts = Path(path).parts
    return "/".join(parts[-2:]) if Path(path).stem == "model" and len(parts) > 1 else Path(path).name
