"""Text from files, devices and other programs, made safe for display.

A label, a file name or a program's message may contain characters that control a terminal (set its title, clear the screen, go
back and overwrite a line) or reverse the reading direction. They are shown as Python escapes: ``\\x1b``.
"""

import re
import sys
from collections.abc import Sequence

# Control characters; invisible characters and those that set the writing direction, except for the joiners, which some languages
# need; line and paragraph separators; lone surrogates, with which Python represents file names that are not UTF-8.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def printable(text: object) -> str:
    """``text`` on one line, without characters that control a terminal."""
    return _UNFIT.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def say(line: object) -> None:
    """Print a message on stderr, on one line, so that stdout contains only the result."""
    print(printable(line), file=sys.stderr, flush=True)


def plot_label(text: object) -> str:
    """The same for Matplotlib, which reads a pair of dollar signs as a formula."""
    return printable(text).replace("$", r"\$")


def counted(count: int, word: str) -> str:
    """A count with its noun, whose plural ends in s: "1 image", "1,200 images"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], most: int) -> str:
    """The first ``most`` names, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
