"""A Matplotlib figure written to a file: the same figure gives the same bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from el_larq.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WITHOUT_TIME: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
"""By format, the metadata that leaves out when the file was made."""


@contextmanager
def figure_file(
    path: Path, size: tuple[float, float], *, dpi: float | None = None, check: Callable[[Path], None] | None = None
) -> Iterator["Figure"]:
    """Yield an empty figure; write it to ``path`` at the end of the block. Nothing is written if the block raises.

    Arguments:
        path: its extension, .svg, .png or .pdf in any case, is the format.
        size: width and height in inches.
        dpi: pixels per inch of a .png; Matplotlib's default if None.
        check: as for `atomic_path`.

    Raises:
        ElLarqError: the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    kind = path.suffix[1:].lower()
    # The salt is that of the identifiers in an SVG, which are random otherwise.
    with rc_context({"svg.hashsalt": "el-larq", "svg.fonttype": "none"}):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        with atomic_path(path, check) as temporary:
            figure.savefig(temporary, format=kind, dpi=dpi or "figure", metadata=_WITHOUT_TIME[kind])
