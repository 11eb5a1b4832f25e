"""Errors that a user can mend: one line that names the cause and the remedy."""

import difflib
from collections.abc import Iterable


class ElLarqError(Exception):
    """The work could not be done. The command line prints the message as one line and exits with 1."""

    exit_status = 1


class UsageError(ElLarqError):
    """The request itself is wrong (an unknown name, a pair that does not fit). The command line exits with 2."""

    exit_status = 2


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in a registry: offers the nearest names, or all of them when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")


def summarize(error: BaseException, limit: int = 300) -> str:
    """Another library's error as one line: its type and the first line of its message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
