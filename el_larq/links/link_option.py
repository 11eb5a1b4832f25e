"""An option of a link, declared in the link's file. Importing this module does not import TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class LinkOption:
    """A keyword of a link's `join`.

    name: the keyword. Runs store the option under it.
    kind: the type of its value on the command line: bool, int, float or str.
    help: a line for the command line's help.
    flag: its parameter on the command line ("gamma_per_channel" for --gamma-per-channel), unique among all links; None if it can
        be set from Python only.
    to_stored, from_stored: what a value of the command line is passed to `join` and stored as, and the reverse.
    """

    name: str
    kind: type
    help: str = ""
    flag: str | None = None
    to_stored: Callable[[Any], Any] = _same
    from_stored: Callable[[Any], Any] = _same
