"""`import el_larq` is all that a user of the Python API needs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import el_larq

STUB = Path(el_larq.__file__).with_suffix(".pyi")


def stubbed() -> dict[str, str]:
    """Public names and the modules that the stub takes them from."""
    tree = ast.parse(STUB.read_text("utf-8"))
    return {a.name: str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}


def test_the_stub_says_what_the_package_does() -> None:
    assert stubbed() == vars(el_larq)["_HOME"]
    assert set(vars(el_larq)["__all__"]) == {"__version__", *stubbed()}
    assert set(stubbed()) <= set(dir(el_larq))


@pytest.mark.parametrize("name", sorted(stubbed()))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(el_larq, name)
    assert found.__name__ == name
    assert found.__doc__


def test_lists_of_names_need_no_tensorflow() -> None:
    code = (
        "import sys, el_larq; print(el_larq.list_networks(), el_larq.list_methods(), el_larq.Conv('c', 8, 1));"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "'resnet26'" in done.stdout
    assert "'el'" in done.stdout


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'qqq'"):
        _ = el_larq.qqq  # pyright: ignore[reportAttributeAccessIssue]
