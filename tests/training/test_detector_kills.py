"""SIGKILL of a real process that trains a detector, and its resume by the command line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny_detector

_COMMAND = """
import sys
from el_larq.models.network_registry import DETECTORS, Network
DETECTORS["tiny_detector"] = Network(
    "tiny_detector", "two maps", "none", "tiny_detector:build", image_size=32, options=("heads",)
)
from el_larq.cli.main import main
main()
"""


def _start(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(tiny_detector.__file__).parent), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", _COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _end(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    return printed


@pytest.mark.slow
def test_a_killed_training_is_resumed_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    dataset = tiny_detector.write_squares(tmp_path / "data").removesuffix(",augment=none")
    settings = ["--method", "bireal", "--dataset", dataset, "--image-size", "32", "--epochs", "20", "--batch-size", "4"]
    printed = _end(_start("train", "tiny_detector", *settings, "-o", str(tmp_path / "whole")))
    assert "test mAP@0.5 " in printed
    killed = _start("train", "tiny_detector", *settings, "-o", str(tmp_path / "run"), "--checkpoint-every", "0.2")
    metrics, end = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 300
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3):
        assert killed.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "run" / "result.json").exists()
    assert "test mAP@0.5 " in _end(_start("train", "--resume", str(tmp_path / "run")))
    for name in ("model.h5", "checkpoints/best.weights.h5"):
        for one, other in zip(*(_arrays(tmp_path / run / name) for run in ("whole", "run")), strict=True):
            np.testing.assert_array_equal(one, other)
    rows = [(tmp_path / run / "metrics.csv").read_text().splitlines() for run in ("whole", "run")]
    assert [row.rsplit(",", 1)[0] for row in rows[0]] == [row.rsplit(",", 1)[0] for row in rows[1]]  # without seconds


def _arrays(path: Path) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    with h5py.File(path) as file:
        file.visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    assert found
    return found
