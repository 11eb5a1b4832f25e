"""Parses the benchmark tool's operator profile: rows of its "Run Order" table, tab-separated or CSV.

Columns are found by the heading, because versions differ (a `[start]` column until about 2020). A node type may contain spaces,
commas and parentheses, without quotes in CSV; a name may contain `;`, `/`, `[`, `]` and be truncated by the converter.
"""

import re
from dataclasses import dataclass

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|nan|inf"
_PHASE, _RULE = "Profiling Info for ", "====="
_INDEX = re.compile(r":(\d+)$")
_COLUMNS = {
    "node type": "type",
    "start": "start",
    "first": "first",
    "avg ms": "avg",
    "avg_ms": "avg",
    "%": "percent",
    "cdf%": "cdf",
    "mem kb": "memory",
    "times called": "times",
    "name": "name",
}
_END = ("Number of nodes executed", "Timings (microseconds)", "Memory (bytes)")


@dataclass(frozen=True)
class ProfileRow:
    """One row, in run order. ``avg_ms`` is per call; ``percent`` is of all calls; ``index`` ends the name, or is None."""

    node_type: str
    name: str
    index: int | None
    avg_ms: float
    percent: float
    times_called: int

    @property
    def ms(self) -> float:
        """Milliseconds per inference."""
        # The tool divides integers by the number of runs: the oldest versions print 0 for an operator that was called every time.
        return self.avg_ms * max(self.times_called, 1)

    @property
    def delegated(self) -> bool:
        """Whether a delegate (XNNPACK) ran it: the index then refers to a partition, and rows may have been merged."""
        return self.name.startswith("Delegate/")


def parse(text: str) -> list[ProfileRow]:
    """Rows of the regular runs, from a log or a CSV file; empty if there is no profile."""
    rows: list[ProfileRow] = []
    phase, table = "regular", ""
    columns: list[str] | None = None
    tabs = False
    # No regular expressions that could take quadratic time on a long line: the log is not trusted.
    for line in text.split("\n"):
        if _PHASE in line:
            phase, table, columns = line.partition(_PHASE)[2].rstrip().removesuffix(":").lower(), "", None
            continue
        if _RULE in line and line.rstrip().endswith(_RULE):
            table, columns = line[line.index(_RULE) :].strip("= \r\t"), None
            if table == "Run Order" and "initialization" not in phase:
                # Several profiles in one log: the last one counts.
                rows = []
            continue
        if table != "Run Order" or "initialization" in phase:
            continue
        if not line.strip() or any(end in line for end in _END):
            columns = None if rows else columns
            continue
        if columns is None:
            tabs = "\t" in line and "[" in line
            columns = _heading(line, tabs)
            continue
        line = line.rstrip("\r")
        row = _from_tabs(line, columns) if tabs else _from_csv(line, columns)
        if row is not None:
            rows.append(row)
    return rows


def _heading(line: str, tabs: bool) -> list[str] | None:
    """Normalized names of columns; None if the line is not a heading."""
    cells = [cell.strip().strip("[]").lower() for cell in line.split("\t" if tabs else ",")]
    found = [_COLUMNS.get(cell, cell) for cell in cells if cell]
    return found if {"type", "avg", "name"} <= set(found) else None


def _from_tabs(line: str, columns: list[str]) -> ProfileRow | None:
    cells = line.split("\t")
    # Rows start with a tab, and a log prefix may precede it.
    cells = [cell.strip() for cell in cells[1:]]
    if len(cells) < len(columns):
        return None
    cells = [*cells[: len(columns) - 1], "\t".join(cells[len(columns) - 1 :])]
    return _row(dict(zip(columns, cells, strict=True)))


def _from_csv(line: str, columns: list[str]) -> ProfileRow | None:
    numeric = [column for column in columns if column not in ("type", "name")]
    pattern = r"(?P<type>.*?),\s*" + "".join(rf"(?P<{column}>{_NUMBER})%?,\s*" for column in numeric) + r"(?P<name>.*)"
    match = re.fullmatch(pattern, line.strip())
    if match is None:
        return None
    # The tool writes a name's commas as tabs.
    return _row(match.groupdict() | {"name": match["name"].replace("\t", ",").strip()})


def _row(cells: dict[str, str]) -> ProfileRow | None:
    try:
        name = cells["name"]
        index = _INDEX.search(name)
        return ProfileRow(
            node_type=cells["type"].strip(),
            name=name[: index.start()] if index else name,
            index=int(index[1]) if index else None,
            avg_ms=float(cells["avg"]),
            percent=float(cells.get("percent", "0").rstrip("%")),
            times_called=int(float(cells.get("times", "1"))),
        )
    except ValueError:
        return None
