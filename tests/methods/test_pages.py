"""The committed pages of docs/methods are those that `make docs` makes of the methods' files."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from el_larq.cli.train import command as train
from el_larq.methods import method_pages
from el_larq.methods.method_registry import METHODS, get_maker
from el_larq.published import of_method

FOLDER = Path(__file__).parents[2] / "docs" / "methods"


@pytest.mark.parametrize("name", METHODS)
def test_the_page_of_a_method_is_what_its_file_says(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text("utf-8") == method_pages.page(name), "run `make docs`"


def test_the_list_of_methods_is_the_registrys() -> None:
    assert (FOLDER / method_pages.INDEX).read_text("utf-8") == method_pages.index(), "run `make docs`"
    assert {path.name for path in FOLDER.iterdir()} == {method_pages.INDEX, *(f"{name}.md" for name in METHODS)}


@pytest.mark.parametrize("name", METHODS)
def test_a_page_has_mathematics_reference_and_options(name: str) -> None:
    text = method_pages.page(name)
    assert METHODS[name].reference in text
    for option in get_maker(name).__annotations__ if get_maker(name) else ():
        assert option == "return" or f"| `{option}` | " in text
    for network, (value, _source) in of_method(name).items():
        assert f"| {network} | {value:g} |" in text
    for line in text.splitlines():
        if line.startswith("el-larq train resnet18"):
            train.make_context("train", line.split()[2:], parent=click.Context(train))
    # Tables are tables: every row has as many cells as the one before it.
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_the_pages_are_made_without_tensorflow_and_old_ones_go(tmp_path: Path) -> None:
    (tmp_path / "forgotten.md").write_text("of a method that is no more")
    start = f"import runpy, sys; sys.argv[1:] = [{str(tmp_path)!r}]; runpy.run_module('el_larq.methods.method_pages'"
    code = f"{start}, run_name='__main__'); assert 'tensorflow' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {method_pages.INDEX, *(f"{name}.md" for name in METHODS)}
