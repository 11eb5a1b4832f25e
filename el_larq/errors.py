"""Errors that a user can fix: one line that states the cause and the remedy."""

import difflib
from collections.abc import Iterable


class ElLarqError(Exception):
    """The operation failed. The command line prints the message as one line and exits with status 1."""

    exit_status = 1


class UsageError(ElLarqError):
    """The request itself is invalid (an unknown name, an incompatible pair). The command line exits with status 2."""

    exit_status = 2


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in a registry; it suggests similar names, or lists all if there is none."""
    known = sorted(known)
    hint = suggest_name(name.lower(), known, f"known: {', '.join(known)}")
    return UsageError(f"unknown {kind} {name!r}; {hint}")


def suggest_name(name: str, known: Iterable[str], otherwise: str) -> str:
    """The question whether one of the similar names was meant; ``otherwise`` if no known name is similar."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def summarize(error: BaseException, limit: int = 300) -> str:
    """Another library's error as one line: its type and the first non-empty line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
