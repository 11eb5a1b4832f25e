"""docs/api.md is what `make docs` makes of the docstrings, and the docstrings are complete."""

import ast
import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import el_larq

ROOT = Path(__file__).parents[1]
FUNCTIONS = [name for name in vars(el_larq)["__all__"] if inspect.isfunction(getattr(el_larq, name))]


def script() -> Any:
    spec = importlib.util.spec_from_file_location("api_page", ROOT / "docs" / "api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_docstrings_say() -> None:
    assert (ROOT / "docs" / "api.md").read_text("utf-8") == script().page(), "run `make docs`"


def test_the_page_has_every_public_name_once() -> None:
    text = script().page()
    for name in set(vars(el_larq)["__all__"]) - {"__version__"}:
        assert len(re.findall(rf"^### {name}$", text, re.MULTILINE)) == 1
    for _, anchor in re.findall(r"\[`(\w+)`\]\(#(\w+)\)", text):
        assert re.search(rf"^### {anchor}$", text, re.MULTILINE | re.IGNORECASE)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_described(name: str) -> None:
    function = getattr(el_larq, name)
    described = re.findall(r"^ {4}((?:\w+, )*\w+): ", inspect.getdoc(function) or "", re.MULTILINE)
    named = {argument for names in described for argument in names.split(", ")}
    assert set(inspect.signature(function).parameters) <= named


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_signature_is_the_one_that_python_sees(name: str) -> None:
    section = script().page().split(f"\n### {name}\n", 1)[1]
    code = section.split("```python\n", 1)[1].split("\n```", 1)[0]
    definition = ast.parse(f"def {code}: ...".replace("\n)", "\n)")).body[0]
    assert isinstance(definition, ast.FunctionDef)
    given = definition.args
    names = [argument.arg for argument in (*given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg)))]
    assert names == list(inspect.signature(getattr(el_larq, name)).parameters)


@pytest.mark.parametrize(
    ("docstring", "markdown"),
    [
        ("One line.", "One line."),
        (
            "A.\n\nArguments:\n    x, y: sizes.\n        More.\n    z: last.",
            "A.\n\n**Arguments**\n\n- `x, y`: sizes.\n  More.\n- `z`: last.",
        ),
        ("A.\n\nRaises:\n    ElLarqError: bad.\n\nThe end.", "A.\n\n**Raises**\n\n- `ElLarqError`: bad.\n\nThe end."),
        ("A.\n\n    y = x: code\n\nB.", "A.\n\n    y = x: code\n\nB."),
        ("A.\n\nsize: in bytes.\nname, kind: words.", "A.\n\n- `size`: in bytes.\n- `name, kind`: words."),
        ("A sentence, with a\ncolon: no list.", "A sentence, with a\ncolon: no list."),
    ],
)
def test_docstrings_become_markdown(docstring: str, markdown: str) -> None:
    assert script()._markdown(docstring) == markdown
