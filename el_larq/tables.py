"""Results as small HTML tables, which a notebook shows. Does not import TensorFlow."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TypeVar

from el_larq.printable import printable

T = TypeVar("T")


def html_table(caption: object, rows: Iterable[Sequence[object]], headings: Sequence[object] = ()) -> str:
    """An HTML table. Everything in it is shown as text, since labels, file names and notes may come from others' files.

    Arguments:
        rows: the cells, row by row. Without headings, the first cell of a row is its heading.
    """
    lines = [f"<caption>{_text(caption)}</caption>"]
    if headings:
        lines.append(_row(("th",) * len(headings), headings))
    for row in rows:
        kinds = ("td" if headings else "th", *("td",) * (len(row) - 1))
        lines.append(_row(kinds, row))
    return "\n".join(("<table>", *lines, "</table>"))


def _row(kinds: Sequence[str], cells: Sequence[object]) -> str:
    texts = (f'<{kind} style="text-align: left">{_text(cell)}</{kind}>' for kind, cell in zip(kinds, cells, strict=True))
    return f"<tr>{''.join(texts)}</tr>"


def _text(cell: object) -> str:
    return escape(printable(cell))


class TableList(list[T]):
    """A list that a notebook shows as a table, with one row per item. In every other way it is a list."""

    def __init__(self, items: Iterable[T], caption: str, headings: Sequence[str], row: Callable[[T], Sequence[object]]):
        super().__init__(items)
        self._caption, self._headings, self._row = caption, headings, row

    def _repr_html_(self) -> str:
        return html_table(self._caption, map(self._row, self), self._headings)
