"""The notebook runs from its first cell to its last, and what it has stored is what it does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "first_steps.ipynb"


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def kinds(cell: dict[str, Any]) -> list[list[str]]:
    """The kinds of a cell's outputs: which stream, or which representations of a value."""
    return [[output["name"]] if "name" in output else sorted(output["data"]) for output in cell["outputs"]]


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_it_has_stored(tmp_path: Path) -> None:
    out = tmp_path / "executed.ipynb"
    command = [sys.executable, str(ROOT / "examples" / "execute.py"), "--epochs", "1", "--to", str(out)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    stored, executed = code_cells(NOTEBOOK), code_cells(out)
    assert list(map(kinds, executed)) == list(map(kinds, stored))
    assert [cell["execution_count"] for cell in stored] == list(range(1, len(stored) + 1))
    assert sum("text/html" in kind for cell in stored for kind in kinds(cell)) >= 6
    # The names of methods depend on nothing that differs between machines.
    assert executed[2]["outputs"][0]["data"] == stored[2]["outputs"][0]["data"], "run make notebook"
    verified = [line for line in html(executed) if "verify" in line]
    assert len(verified) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"executed.ipynb"}


def html(cells: list[dict[str, Any]]) -> list[str]:
    outputs = [output["data"] for cell in cells for output in cell["outputs"] if "data" in output]
    return [line for data in outputs for line in "".join(data.get("text/html", [])).splitlines()]


@pytest.mark.slow
def test_the_notebook_needs_the_installed_package_alone() -> None:
    """Its cells import what pip installs with el-larq, and no path of this machine is in it."""
    text = NOTEBOOK.read_text("utf-8")
    assert str(ROOT) not in text
    lines = [line.strip() for cell in code_cells(NOTEBOOK) for line in cell["source"]]
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported == {"pathlib", "el_larq", "tensorflow", "PIL"}
