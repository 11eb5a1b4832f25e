"""The result of one check."""

from dataclasses import dataclass

OK, NOTE, PROBLEM = "ok", "note", "lack"
"""States of a check: in order; worth knowing; something required is missing or does not work ("lack" in JSON)."""


@dataclass(frozen=True)
class Check:
    """What was found and, if there is a problem, how to fix it."""

    area: str
    name: str
    state: str
    found: str
    remedy: str = ""

    @property
    def label(self) -> str:
        """The state as tables show it."""
        return "problem" if self.state == PROBLEM else self.state
