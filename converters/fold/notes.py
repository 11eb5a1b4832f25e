"""The type of a rewrite: a function that changes a `FoldGraph` in place, exactly, and notes what it changed and what it did not."""

from collections.abc import Callable
from dataclasses import dataclass, field

from el_larq.converters.fold.ir import FoldGraph


@dataclass
class Notes:
    """Where a rewrite was applied, and where its pattern matched but it was not applied, with the reason."""

    applied: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


Rewrite = Callable[[FoldGraph, Notes], None]
