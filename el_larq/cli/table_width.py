"""Widths of a table's columns in a terminal: headings break between words only, numbers never, and text takes what is left."""

from collections.abc import Sequence

from rich.cells import cell_len

_BORDERS = 3
"""Characters that a column takes in addition to its text; the table takes one more."""

_LEAST_TEXT = 16
"""Text is not folded to less than this."""


def fit(
    headings: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool], droppable: Sequence[str], width: int
) -> tuple[list[int], list[int | None]]:
    """The columns that fit into ``width``, by number, and the width of each; None leaves it to its text.

    Arguments:
        headings, rows: the texts of the table.
        numeric: whether a column has numbers, which are not folded.
        droppable: headings of columns that may be left out, the first one first.
    """
    natural = [max(map(cell_len, (heading, *(row[i] for row in rows)))) for i, heading in enumerate(headings)]
    least = [
        max(map(cell_len, (*heading.split(), *(row[i] for row in rows)))) if numeric[i] else min(natural[i], _LEAST_TEXT)
        for i, heading in enumerate(headings)
    ]
    kept = list(range(len(headings)))
    leaving = [headings.index(heading) for heading in droppable if heading in headings]
    while leaving and _total([least[i] for i in kept]) > width:
        kept.remove(leaving.pop(0))
    if _total([natural[i] for i in kept]) <= width or _total([least[i] for i in kept]) > width:
        return kept, [None for _ in kept]
    spare = width - _total([least[i] for i in kept])
    given = {i: least[i] for i in kept}
    # The narrowest texts are whole first, so that only the longest ones are folded.
    texts = sorted((i for i in kept if natural[i] > least[i]), key=lambda i: (numeric[i], natural[i] - least[i]))
    for position, i in enumerate(texts):
        others = 0 if numeric[i] else sum(1 for j in texts[position + 1 :] if not numeric[j])
        more = min(natural[i] - least[i], spare // (1 + others))
        given[i] += more
        spare -= more
    return kept, [given[i] for i in kept]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _BORDERS * len(widths) + 1
