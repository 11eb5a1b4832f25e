"""Text from files, devices and other programs, made fit to be shown.

A label, a file's name or a program's message may hold characters that a terminal obeys (set its title, clear the screen, go back
and write over a line) or that reverse what is read. They are shown as Python would spell them: ``\\x1b``.
"""

import re

# Control characters; invisible ones and those that direct the order of writing, but for the joiners, which some languages
# need; line and paragraph separators; halves of characters, which are how Python keeps file names that are not UTF-8.
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def printable(text: object) -> str:
    """``text`` on one line, with nothing in it that a terminal obeys."""
    return _UNFIT.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def plot_label(text: object) -> str:
    """The same for Matplotlib, to which a pair of dollar signs is a formula."""
    return printable(text).replace("$", r"\$")


def counted(count: int, word: str) -> str:
    """How many of a thing whose plural ends in s: "1 image", "1,200 images"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
