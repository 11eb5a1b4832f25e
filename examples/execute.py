"""Executes examples/first_steps.ipynb in an empty folder and stores its outputs.

python examples/execute.py                               stores them in the notebook itself
python examples/execute.py --epochs 1 --to OTHER.ipynb   trains for a shorter time and stores them elsewhere: what the test does

What is written on stderr is not stored: TensorFlow's notices about the machine.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("first_steps.ipynb")
EPOCHS = "EPOCHS = 8"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(epochs: int | None = None) -> Any:
    """The notebook with the outputs of an execution; raises nbclient's CellExecutionError if a cell fails."""
    notebook = nbformat.read(NOTEBOOK, 4)
    if epochs is not None:
        cells = [cell for cell in notebook.cells if EPOCHS in cell.source]
        if len(cells) != 1:
            raise LookupError(f"{NOTEBOOK} does not say {EPOCHS!r} in one cell")
        cells[0].source = cells[0].source.replace(EPOCHS, f"EPOCHS = {epochs}")
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,  # lines printed at different times are one output
        ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata = METADATA
    return notebook


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--to", type=Path, default=NOTEBOOK)
    arguments = parser.parse_args()
    nbformat.write(execute(arguments.epochs), arguments.to)
