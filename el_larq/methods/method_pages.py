"""docs/methods: one page per registered method, generated from its module's docstring and its Method. Does not import TensorFlow.

python -m el_larq.methods.method_pages docs/methods      what `make docs` runs
"""

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path

from el_larq import published
from el_larq.files import write_bytes
from el_larq.methods.method import Method
from el_larq.methods.method_registry import METHODS, MODULES, get_maker
from el_larq.methods.options import choices

INDEX = "README.md"

_ABOUT = """\
Bits are those of weights / activations. The column of costs shows what remains at inference in addition to the convolutions of each
unit. Published figures are ImageNet top-1 in percent, each with its source on the method's page; [comparison.md](../comparison.md)
has the paper's table and ours. `el-larq list methods` prints the same."""

_NOTHING = "nothing: conversion folds everything"


def page(name: str) -> str:
    """The page of a method, in Markdown."""
    method = METHODS[name]
    text = inspect.getdoc(MODULES[name]) or ""
    title, _, body = text.partition("\n\n")
    maker = get_maker(name)
    options = choices(maker) if maker else {}
    parts = [
        f"<!-- Made by `make docs` from el_larq/methods/{Path(inspect.getfile(MODULES[name])).name}: change that file. -->",
        f"# `{name}`",
        title,
        body,
        "## Properties",
        _table(("", ""), _facts(method)),
    ]
    if options:
        parts += ["## Options", _table(("option", "takes"), [(f"`{option}`", takes) for option, takes in options.items()])]
    figures = _figures(name)
    if figures:
        parts += [
            "## Published",
            "ImageNet top-1 in percent, as others published it. [comparison.md](../comparison.md) has what this project measured.",
            _table(("network", "top-1", "source"), figures),
        ]
    parts += ["## Running it", _run(name, options)]
    return "\n\n".join(part for part in parts if part) + "\n"


def index() -> str:
    """The list of all methods, in Markdown."""
    rows = [
        (
            f"[`{name}`]({name}.md)",
            str(method.year or ""),
            method.bits,
            method.link.name,
            method.cost or _NOTHING,
            _published(name, "resnet18"),
            method.summary,
        )
        for name, method in METHODS.items()
    ]
    headings = ("method", "year", "bits", "link", "cost in addition to convolutions", "ResNet18, published", "summary")
    parts = ("<!-- Made by `make docs`: change the methods' files. -->", "# Methods", _ABOUT, _table(headings, rows))
    return "\n\n".join(parts) + "\n"


def write(folder: Path) -> list[Path]:
    """Write the pages and their index; remove pages of methods that no longer exist."""
    contents = {INDEX: index()} | {f"{name}.md": page(name) for name in METHODS}
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.md"):
        if path.name not in contents:
            path.unlink()
    for name, content in contents.items():
        write_bytes(folder / name, content.encode())
    return [folder / name for name in contents]


def _facts(method: Method) -> list[tuple[str, str]]:
    link = method.link
    options = ", ".join(f"{name} {value}" for name, value in link.options.items())
    facts = [
        ("reference", method.reference),
        ("bits of weights / activations", method.bits),
        ("link", f"`{link.name}`: {link.summary}" + (f" ({options})" if options else "")),
        ("stages of a unit", ", ".join(method.order)),
        ("at inference, in addition to its convolutions", method.cost or _NOTHING),
    ]
    if method.variant:
        facts.append(("block variant it needs", f"`{method.variant}`"))
    if method.search:
        facts.append(("search", "changes the model between epochs of a training"))
    return facts


def _figures(name: str) -> list[tuple[str, str, str]]:
    """Networks with their published accuracy, or the table's wording where there is no figure, and the source."""
    figures = published.of_method(name)
    rows = [(network, f"{value:g}", source) for network, (value, source) in figures.items()]
    for network in published.COLUMNS:
        words = published.top1(name, network)
        if words is not None and network not in figures:
            rows.append((network, published.spell(words), published.SOURCE))
    return rows


def _published(name: str, network: str) -> str:
    figures = published.of_method(name)
    return f"{figures[network][0]:g}" if network in figures else ""


def _run(name: str, options: dict[str, str]) -> str:
    lines = [f"el-larq train resnet18 --method {name} --dataset digits --width 0.25 --epochs 3"]
    if METHODS[name].variant:
        lines = [
            f"el-larq train NETWORK --method {name} --dataset digits --width 0.25 --epochs 3   # a network that offers the variant"
        ]
    lines += [f"el-larq train resnet18 --method {name} --option {option}=VALUE" for option in list(options)[:1]]
    return "```sh\n" + "\n".join(lines) + "\n```"


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    rows = [tuple(cell.replace("|", "\\|") for cell in row) for row in rows]
    headings = tuple(headings)
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    for written in write(Path(sys.argv[1])):
        print(written)
