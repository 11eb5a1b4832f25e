"""Commands in a page of the documentation, their outputs there, and the comparison of these with what the commands print.

The output of an ```sh block is the plain block that follows it, with nothing but empty lines between them. In a plain block that
begins with "$ ", each such line is a command, and its output goes on to the next one. A line "..." stands for any number of lines.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```\n*(?P<directly>(?=^```\n(?!\$ )))?", re.MULTILINE | re.DOTALL)
_PROMPT = "$ "
_GAP = "..."


@dataclass(frozen=True)
class Line:
    """A line of a page; ``number`` counts from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Example:
    """The commands of one block, each as its words, and their output in the page; None if the page shows none."""

    commands: tuple[tuple[str, ...], ...]
    output: tuple[Line, ...] | None


@dataclass(frozen=True)
class Page:
    """What a page shows, in its order. ``unknown`` are plain blocks that are not the output of a command in the page."""

    examples: tuple[Example, ...]
    unknown: tuple[tuple[Line, ...], ...]


def read_page(path: Path) -> Page:
    examples: list[Example] = []
    unknown: list[tuple[Line, ...]] = []
    page, commands = path.read_text("utf-8"), None
    for block in _BLOCK.finditer(page):
        first = page.count("\n", 0, block.start("text")) + 1
        lines = tuple(Line(first + index, text) for index, text in enumerate(block["text"].splitlines()))
        if block["language"] == "sh":
            commands = _commands(block["text"].replace("\\\n", " ").splitlines())
            if block["directly"] is None:
                examples.append(Example(commands, None))
        elif block["language"] == "" and commands is not None:
            examples.append(Example(commands, lines))
        elif block["language"] == "" and lines[0].text.startswith(_PROMPT):
            examples.extend(_session(lines))
        elif block["language"] == "":
            unknown.append(lines)
        if block["language"] != "sh" or block["directly"] is None:
            commands = None
    return Page(tuple(examples), tuple(unknown))


def _commands(lines: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(words) for line in lines if (words := shlex.split(line, comments=True)))


def _session(lines: Sequence[Line]) -> Iterator[Example]:
    starts = [index for index, line in enumerate(lines) if line.text.startswith(_PROMPT)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield Example(_commands([lines[start].text.removeprefix(_PROMPT)]), tuple(lines[start + 1 : end]))


def difference(output: Sequence[Line], printed: str, numbers: bool) -> str | None:
    """The first difference between a documented output and what was printed, with the page's line; None if there is none.

    What legitimately differs is left out: times, accuracies, folders, what depends on the load of the machine; without ``numbers``,
    also each number that is a word of its own, except the 8 of "8 bit". Sizes of files may differ by 1 %.
    Lines of epochs that follow each other count once.
    """
    lines = printed.splitlines()
    found = [(lines[index], masked) for index, masked in _mask(lines, numbers)]
    position, gap, last = 0, False, output[0].number
    for index, expected in _mask([line.text for line in output], numbers):
        line = output[index]
        last = line.number
        if expected.text == _GAP:
            gap = True
            continue
        while gap and position < len(found) and not expected.agrees(found[position][1]):
            position += 1
        if position == len(found):
            return f"line {line.number} is not printed{' after the lines above it' if index else ''}: {line.text!r}"
        if not expected.agrees(found[position][1]):
            return f"line {line.number} is {line.text!r}, but {found[position][0]!r} is printed"
        position, gap = position + 1, False
    if not gap and position < len(found):
        return f"after line {last}, {found[position][0]!r} is printed too"
    return None


_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
_WHOLE_NUMBER = re.compile(rf"(?<![\w-])(?>\d+(?:x\d+)+|{_NUMBER})(?!\w|[ -]bit)")
"""A number or shape that is a word of its own. Not the 8 of int8, and not the number of bits, which says what is counted."""

_VARIES = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"(?<![\w./])/(?:[^\s/:,]+/)+(?=[^\s/:,])", "/"),  # an absolute path: its folder
        (r"; about [\w ]+ left$", ""),
        (r"; in [\d,]+ images? signs within rounding of zero flipped \([^)]*\)", ""),
        (r"(SQNR .* or more) \([^)]*\)", r"\1"),  # the name of the worst tensor
        (r"^ +\d+\.\d%  .*", "  N%  CLASS"),  # of predict
        (r"\b(epoch) \d+/\d+", r"\1 N"),
        (r"\b\d+ epochs?\b", "N epochs"),
        (r"\d\.\d+ with simulated int8", "N with simulated int8"),
        (rf"\b(loss|accuracy|validation|calibration error|mAP@0\.5|mAP@\[\.5:\.95\]) +{_NUMBER}", r"\1 N"),
        (r"\b(measured on) \w+", r"\1 MACHINE"),
        (r"\b(sha256) [0-9a-f]{64}", r"\1 N"),
        (rf"{_NUMBER} (?:h \d+ min|min|s)\b", "N s"),
        (rf"{_NUMBER}(?= (?:ms|dB|of a step)\b)", "N"),
        (rf"\b{_NUMBER} images of\b", "N images of"),  # that a conversion is verified or calibrated with
        (r"(with kernels as \w+,|against float:) top-1 agrees for \d+\.\d%", r"\1 top-1 agrees for N%"),
        (r"(differ by up to) \d\.\de[-+]\d\d (of the largest one)", r"\1 N \2"),
        (r"(?<!agrees for )(?<![\d.])[-+]?\d+\.\d+%", "N%"),  # accuracies and shares of signs
        (r"\b\d(?:\.\d+)?e-(?:0[5-9]|[1-9]\d)\b|\b0e\+00", "less than 1e-04"),
        (rf"(bits in ){_NUMBER}(?= bytes)", r"\1N"),  # compressed
    )
)
"""What differs from one machine, folder or training to another."""

_PASSING = re.compile(r"about .* more steps(;.*)?$|epoch \d+/\d+, step |note: .* times the minimum: ")
"""Lines that are printed if the machine is slow or busy."""

_MEASURED = re.compile(r"\bms$|^(recall|precision|ratio|difference)$|^top-1 on ")
"""Headings of columns, or of rows, with figures that differ."""

_SIZE = re.compile(r"(?<=\.tflite, )[\d,]+(?= bytes)|(?<=file )[\d,]+(?= bytes)")
_SIZES = "file, kB"
"""The heading of a row with sizes of files."""

_CARD, _SHARE = 1024, 0.01
"""By how many bytes, and by which share, sizes of files of a network may differ: the card names data sets, folders and accuracies,
and int8 files of other weights differ a little.
"""


@dataclass(frozen=True)
class _Masked:
    """A line that is compared: its text without what differs, and sizes of files in bytes."""

    text: str
    sizes: tuple[float, ...]

    def agrees(self, other: "_Masked") -> bool:
        near = all(abs(size - another) <= max(_CARD, _SHARE * size) for size, another in zip(self.sizes, other.sizes, strict=False))
        return self.text == other.text and near


def _mask(lines: Sequence[str], numbers: bool) -> Iterator[tuple[int, _Masked]]:
    """The lines that are compared, each with its index."""
    measured: set[int] = set()
    before = None
    for index, text in enumerate(lines):
        if re.fullmatch(r"[\s\u2500-\u257f]*", text) or _PASSING.match(text):  # an empty line, or one of a table's frame
            continue
        cells = [cell.strip() for cell in re.split("[│┃]", text)]
        sizes: list[float] = []
        if "┃" in text:
            measured = {column for column, heading in enumerate(cells) if _MEASURED.search(heading)}
        elif "│" in text:
            label, values = cells[1], range(2, len(cells) - 1)
            if label == _SIZES and numbers:
                sizes = [1e3 * float(cells[column].replace(",", "")) for column in values]
            there = {*values} if label == _SIZES or _MEASURED.search(label) else measured
            cells = ["N" if column in there else cell for column, cell in enumerate(cells)]
        masked = " | ".join(cells) if len(cells) > 1 else text
        for pattern, replacement in _VARIES:
            masked = pattern.sub(replacement, masked)
        masked = " ".join(masked.split())
        if numbers:
            sizes += [float(size.replace(",", "")) for size in _SIZE.findall(masked)]
            masked = _SIZE.sub("N", masked)
        else:
            masked = _WHOLE_NUMBER.sub("N", masked)
        if masked != before or not masked.startswith("epoch N"):
            yield index, _Masked(masked, tuple(sizes))
        before = masked
