"""Options that several commands have, and functions for printing."""

import importlib
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from el_larq.by_name import load_by_name
from el_larq.model_files import model_file
from el_larq.native_output import QuietStart
from el_larq.printable import printable
from el_larq.printable import say as say  # for commands, beside `show`
from el_larq.zoo.named_models import is_model_name


def common_options(function: Callable[..., None]) -> Callable[..., None]:
    """--json and -v. `main` prints the traceback; the option is declared here so that click accepts it."""
    function = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)
    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_keep_verbose,
        help="Show the traceback of an error, and messages of native libraries.",
    )(function)


def _keep_verbose(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta["verbose"] = value
    QuietStart.hides = not value


def model_options(function: Callable[..., None]) -> Callable[..., None]:
    """--import and --trust, for commands that open models from other people. docs/safety.md says what they permit."""
    function = click.option(
        "--trust",
        is_flag=True,
        help="Run code that the model contains, and lift size limits; only for files from a source you trust.",
    )(function)
    return click.option(
        "--import", "modules", multiple=True, help="Python module or file that registers your own layers: mylayers or mylayers.py."
    )(function)


def complete_from(*registries: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Shell completion with the names in registries, "module:attribute", and after commas; with files where no name fits."""

    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, begun = incomplete.rpartition(",")
        names = [name for registry in registries for name in load_by_name(registry) if name.startswith(begun)]
        found = [CompletionItem(f"{before}{comma}{name}") for name in names]
        return found or [CompletionItem(incomplete, type="file")]

    return complete


class _Model(click.Path):
    """A model's path, or zoo:NAME; a run folder stands for its model."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        return path if is_model_name(path) else model_file(path)


MODEL = _Model(path_type=Path)


class _Numbers(click.ParamType):
    """Numbers separated by commas, as many as one of ``counts``. A single number becomes a float, several become a tuple."""

    name = "numbers"

    def __init__(self, counts: tuple[int, ...]):
        self.counts = counts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | tuple[float, ...]:
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) not in self.counts:
            counts = " or ".join(map(str, self.counts))
            self.fail(f"{value!r} is not {counts} numbers separated by commas", param, ctx)
        return numbers[0] if len(numbers) == 1 else numbers


def preprocessing_options(function: Callable[..., None]) -> Callable[..., None]:
    """--mean, --std, --range, --channel-order and --labels, for models whose files lack this information: `el_larq.data.stated`."""
    for option in reversed(
        (
            click.option("--mean", type=_Numbers((1, 3)), metavar="M[,M,M]", help="Inputs are (x - M) / S for x from 0 to 255."),
            click.option(
                "--std", type=_Numbers((1, 3)), metavar="S[,S,S]", help="See --mean. If only one is given, M is 0 or S is 1."
            ),
            click.option("--range", type=_Numbers((2,)), metavar="LOW,HIGH", help="Inputs range from LOW (black) to HIGH (white)."),
            click.option(
                "--channel-order",
                type=click.Choice(("rgb", "bgr")),
                help="Order of the channels in inputs, M and S. [default: rgb]",
            ),
            click.option("--labels", type=click.Path(), metavar="FILE", help="Class names: one per line, or a JSON list."),
        )
    ):
        function = option(function)
    return function


def data_dir_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--data-dir", type=click.Path(path_type=Path), help="Folder of the data set: its IDX files, or where TFDS has prepared it."
    )(function)


def strict_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--strict", is_flag=True, help="Stop at an image that cannot be read. By default, such images are skipped and named."
    )(function)


def output_option(function: Callable[..., None]) -> Callable[..., None]:
    """--output, for commands that use one output of a model: `el_larq.model_outputs`."""
    return click.option(
        "--output",
        metavar="NAME|NUMBER",
        help="The output to use if the model has several; numbers start at 0, and inspect lists them.",
    )(function)


def start_tensorflow() -> None:
    """Import TensorFlow, without its messages unless -v is given (`el_larq.native_output.QuietStart`)."""
    import el_larq  # noqa: F401  (first: it selects Keras 2)

    importlib.import_module("tensorflow")


def import_layers(modules: tuple[str, ...]) -> None:
    """Import the user's modules, after TensorFlow has been imported."""
    from el_larq.loading.user_modules import import_modules

    import_modules(modules)


def print_json(content: Any) -> None:
    print(json.dumps(content, indent=2))


def show(line: object = "") -> None:
    """Print a line of the result on stdout. Text from files in it cannot break the line or control the terminal."""
    print(printable(line))


def redraw(line: object, *, last: bool) -> None:
    """Print a line of progress on stderr over the previous one; ``last`` ends the line."""
    print(f"\r{printable(line)}", end="\n" if last else "", file=sys.stderr, flush=True)


class _Record(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802  (logging's name)
        return _each_line_printable(super().getMessage())


def download_progress(name: str) -> Callable[[int, int | None], None]:
    """A function that shows the progress of a download, for `el_larq.downloads.download.fetch`; silent without a terminal."""
    if not sys.stderr.isatty():
        return lambda done, total: None

    def draw(done: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        redraw(f"{name}: {done / 1e6:.1f}{of} MB", last=done == total)

    return draw


def guard_terminal() -> None:
    """Make libraries' warnings and log lines safe for the terminal, since they also quote names from files."""
    logging.setLogRecordFactory(_Record)
    warnings.formatwarning = _format_warning


_plain_warning = warnings.formatwarning


def _format_warning(*arguments: Any, **more: Any) -> str:
    return _each_line_printable(_plain_warning(*arguments, **more))


def _each_line_printable(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def say_traceback(error: BaseException) -> None:
    for line in "".join(traceback.format_exception(error)).rstrip("\n").split("\n"):
        say(line)


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]], droppable: Sequence[str] = ()) -> None:
    """Print a table with the first column left-aligned and columns of numbers right-aligned.

    Columns ``droppable`` are left out, in this order, in terminals that are too narrow; they are named below the table.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from el_larq.cli.table_width import fit

    console = Console()
    # Without a terminal, Rich would fit the table into 80 columns, but a pipe has no width.
    console.width = console.width if console.is_terminal else 160
    cells = [[printable(cell) for cell in row] for row in rows]
    numeric = [
        index > 0 and all(isinstance(row[index], (int, float)) or _looks_like_number(row[index]) for row in rows)
        for index in range(len(headings))
    ]
    texts = list(map(printable, headings))
    kept, widths = fit(texts, cells, numeric, droppable, console.width)
    # Rich would fold a table's title to the width of the table.
    console.print(escape(printable(title)), style="italic", soft_wrap=True, highlight=False)
    table = Table()
    for index, width in zip(kept, widths, strict=True):
        justify = "right" if numeric[index] else "left"
        table.add_column(escape(texts[index]), justify=justify, overflow="fold", width=width)
    for row in cells:
        table.add_row(*(escape(row[index]) for index in kept))
    console.print(table)
    if left_out := [heading for index, heading in enumerate(texts) if index not in kept]:
        show_wrapped(f"not shown at {console.width} columns, but with --json: {', '.join(left_out)}")


def show_wrapped(line: object, indent: int = 0) -> None:
    """As `show`, but a terminal breaks the line between words; the lines that follow are indented."""
    import shutil
    import textwrap

    text = printable(line)
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size().columns, indent + 20)
        text = textwrap.fill(text, width, subsequent_indent=" " * indent, break_on_hyphens=False, drop_whitespace=True)
    print(text)


def _looks_like_number(cell: object) -> bool:
    text = str(cell).strip()
    return not text or text[0].isdigit() or text[0] in "+-±–>"
