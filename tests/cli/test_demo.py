"""The demo, which is the first command of the README, with a single epoch."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest


@pytest.mark.slow
def test_the_demo_trains_converts_verifies_and_times_three_networks(
    el_larq_command: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    done = el_larq_command("demo", "--epochs", 1, "--json", "-o", tmp_path / "demo", timeout=900)
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads(done.stdout)["results"]}
    assert list(rows) == ["el", "binary", "float"]
    assert rows["el"]["binary_convolutions"] == rows["binary"]["binary_convolutions"] > 0
    assert rows["float"]["binary_convolutions"] == 0
    for method, row in rows.items():
        assert row["verification"]["failures"] == []
        assert row["latency"]["median_ms"] > 0
        assert (tmp_path / "demo" / method / "model.tflite").stat().st_size == row["tflite_bytes"]
    # Links are worth more than seeds: 0.42 against 0.24 after three epochs, over three seeds (README.md).
    assert rows["el"]["accuracy"] > rows["binary"]["accuracy"]
