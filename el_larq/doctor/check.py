"""One thing that the doctor looks at."""

from dataclasses import dataclass

OK, NOTE, LACK = "ok", "note", "lack"
"""All is well; worth knowing; something does not work without it."""


@dataclass(frozen=True)
class Check:
    """What was found, and where it falls short, what for and how to mend it."""

    area: str
    name: str
    state: str
    found: str
    remedy: str = ""
