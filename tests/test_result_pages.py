"""Tables of results on pages are those that the benchmarks print from the stored results."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("benchmark", ["guideline", "low_bits"])
def test_the_page_has_the_table(benchmark: str) -> None:
    command = [sys.executable, f"benchmarks/{benchmark}.py", "--table"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert printed.count("\n") > 3
    assert printed in (ROOT / "docs/guideline.md").read_text(), f"replace the table by what {' '.join(command[1:])} prints"
