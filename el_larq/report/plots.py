"""Plots as SVG inside a page: text stays text, axes and text use the page's colours, and each plot has a description.

Models differ in line style and marker as well as in colour, and the colours are distinguishable for colour-blind readers and on
light and dark backgrounds.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from el_larq.printable import plot_label, printable

# A placeholder for the page's text colour, which depends on the theme: light, dark or print.
_INK = "#0a0b0c"
# Okabe and Ito's colours, or variants of them, with a contrast of at least 3 on both the white and the dark background.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b0629b", "#8c7000", "#5b84c4")
_MARKERS, _DASHES = ("o", "s", "^", "D", "v", "P"), ("-", "--", "-.", ":")
_SYMBOLS = ("●", "■", "▲", "◆", "▼", "✚")
BITS: dict[int | None, str] = {1: "#d55e00", 8: "#009e73", 16: "#b0629b", 32: "#0072b2"}


@dataclass(frozen=True)
class Style:
    """The appearance of model ``number``, from 0; 36 models have different ones."""

    number: int

    @property
    def colour(self) -> str:
        return COLOURS[self.number % len(COLOURS)]

    @property
    def dash(self) -> str:
        return _DASHES[self.number % len(_DASHES)]

    @property
    def marker(self) -> str:
        return _MARKERS[self._shape]

    @property
    def symbol(self) -> str:
        """The marker as a character."""
        return _SYMBOLS[self._shape]

    @property
    def _shape(self) -> int:
        # The seventh model has the colour of the first and another marker.
        return (self.number + self.number // len(COLOURS)) % len(_MARKERS)


Series = Sequence[tuple[str, Style, list[tuple[float, float]]]]
"""Names and styles of models, with their points (x, y)."""


def curves(series: Series, *, x: str, y: str, title: str, describe: str) -> Markup:
    """A line plot with common axes."""
    figure, axes = _figure(6.4, 3.4)
    drawn = []
    for _name, style, points in series:
        drawn += axes.plot(
            [p[0] for p in points],
            [p[1] for p in points],
            color=style.colour,
            linestyle=style.dash,
            marker=style.marker,
            markevery=max(1, len(points) // 10),
            markersize=4,
        )
    _finish(axes, x, y)
    # Matplotlib leaves out lines whose labels begin with "_", so the names are passed to the legend instead.
    axes.legend(drawn, [plot_label(name) for name, _style, _points in series], frameon=False, fontsize=8, labelcolor=_INK)
    return _svg(figure, title, describe)


def points(found: Series, *, x: str, y: str, title: str, describe: str) -> Markup:
    """A scatter plot of models with the Pareto front; lower is better in x, higher in y."""
    figure, axes = _figure(6.4, 3.6)
    for name, style, places in found:
        for across, up in places:
            axes.plot([across], [up], style.marker, color=style.colour, markersize=7)
            axes.annotate(plot_label(name), (across, up), xytext=(6, 5), textcoords="offset points", fontsize=8, color=_INK)
    front = pareto([place for _name, _style, places in found for place in places])
    if len(front) > 1:
        axes.step([p[0] for p in front], [p[1] for p in front], where="post", color=_INK, linewidth=0.8, linestyle=":")
    axes.margins(0.25, 0.2)
    _finish(axes, x, y)
    return _svg(figure, title, describe)


def pareto(found: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The Pareto front: the points that no other point dominates. Lower is better in the first value, higher in the second."""
    front: list[tuple[float, float]] = []
    for point in sorted(set(found), key=lambda p: (p[0], -p[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def layers(rows: Sequence[dict[str, Any]], *, title: str, describe: str) -> Markup:
    """A bar plot of milliseconds per layer, coloured and hatched by bit width."""
    figure, axes = _figure(6.4, max(2.2, 0.24 * len(rows) + 0.9))
    hatches: dict[int | None, str] = {1: "///", 8: "...", 16: "xx", 32: ""}
    names = [plot_label(f"{row['operator']} {row['index'] if row['index'] is not None else ''}".strip()) for row in rows]
    seen: set[Any] = set()
    for number, row in enumerate(rows):
        kind = row["bits"]
        label = None if kind in seen else ("a delegate's" if kind is None else f"{kind} bit")
        seen.add(kind)
        axes.barh(
            number,
            row["ms"],
            color=BITS.get(kind, "#808080"),
            hatch=hatches.get(kind, ""),
            edgecolor=_INK,
            linewidth=0.4,
            label=label,
        )
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.invert_yaxis()
    _finish(axes, "ms", "")
    axes.legend(frameon=False, fontsize=8, labelcolor=_INK)
    return _svg(figure, title, describe)


def confusion(names: Sequence[str], counts: Sequence[Sequence[int]], style: Style, *, title: str, describe: str) -> Markup:
    """A confusion matrix: true classes as rows, predicted ones as columns, shaded by the share of the row."""
    from matplotlib.patches import Rectangle

    side = min(7.5, max(3.2, 0.3 * len(names) + 1.6))
    figure, axes = _figure(side + 0.8, side)
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            if count:
                # At most 0.6, so that numbers in the page's text colour can be read in the light and in the dark theme.
                shade = 0.08 + 0.52 * count / sum(line)
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=style.colour, alpha=shade, linewidth=0))
                axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=_INK)
    labels = [plot_label(name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…") for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=90)
    axes.set_yticks(range(len(names)), labels)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    _finish(axes, "predicted class", "true class")
    axes.grid(False)
    return _svg(figure, title, describe)


_LONGEST_LABEL = 24


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _finish(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x, color=_INK, fontsize=9)
    axes.set_ylabel(y, color=_INK, fontsize=9)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
    axes.grid(True, color="#808080", alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


_count = 0


def _svg(figure: Any, title: str, describe: str) -> Markup:
    import matplotlib

    global _count
    _count += 1
    prefix = f"plot{_count}-"
    store = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix, "font.family": "sans-serif"}):
        figure.savefig(
            store, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = store.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Identifiers must be unique in the page that contains all plots.
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(xlink:href="#|href="#(?!{prefix})|url\(#)', lambda match: match[0] + prefix, text)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    head = f'<svg role="img" aria-labelledby="{prefix}t {prefix}d"'
    named = f'<title id="{prefix}t">{escape(printable(title))}</title><desc id="{prefix}d">{escape(printable(describe))}</desc>'
    text = text.replace("<svg", head, 1)
    end = text.index(">") + 1
    return Markup(text[:end] + named + text[end:])
