"""The result of one check."""

from dataclasses import dataclass

OK, NOTE, LACK = "ok", "note", "lack"
"""States of a check: in order; worth knowing; something required is missing or does not work."""


@dataclass(frozen=True)
class Check:
    """What was found and, if something is missing, what it is needed for and how to fix it."""

    area: str
    name: str
    state: str
    found: str
    remedy: str = ""
