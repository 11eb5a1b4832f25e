"""What a rewrite is: a function that changes a `Graph` in place, exactly, and says what it did and what it left alone."""

from collections.abc import Callable
from dataclasses import dataclass, field

from el_larq.converters.fold.ir import Graph


@dataclass
class Notes:
    """What one rewrite did, and where its pattern was met but it did not apply, with the reason."""

    applied: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


Rewrite = Callable[[Graph, Notes], None]
