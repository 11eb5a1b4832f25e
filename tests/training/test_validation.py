"""The best epoch is chosen on validation images; the test split is used once, for the model that is saved."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from watched import kill_at

from el_larq.data.in_memory import InMemory
from el_larq.errors import UsageError
from el_larq.loading.load import load_model
from el_larq.training.config import read_config
from el_larq.training.train import Trained, resume


def records(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in found:
        line.pop("seconds")
    return found


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def test_the_test_split_decides_nothing_and_is_used_once(
    start: Any, digits: InMemory, undisturbed: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real: Callable[..., Any] = InMemory.test_batches
    monkeypatch.setattr(InMemory, "test_batches", lambda data, size: (calls.append(size), real(data, size))[1])
    wrong = replace(digits, test=replace(digits.test, labels=(digits.test.labels + 1) % 10))
    trained = start(tmp_path / "run", dataset=wrong)
    assert len(calls) == 1
    assert records(trained.folder) == records(undisturbed.folder)
    assert trained.accuracy < undisturbed.accuracy
    best = [load_model(run.folder / "checkpoints" / "best.weights.h5").get_weights() for run in (trained, undisturbed)]
    for one, other in zip(*best, strict=True):
        np.testing.assert_array_equal(one, other)
    said, known = result(trained.folder), records(trained.folder)
    accuracies = [record["val_accuracy"] for record in known]
    assert said["validation_accuracy"] == accuracies[-1]
    assert said["best_validation_accuracy"] == max(accuracies)
    assert said["best_epoch"] == accuracies.index(max(accuracies)) + 1


def test_without_a_validation_split_a_tenth_is_held_out(start: Any, digits: InMemory, tmp_path: Path) -> None:
    notices: list[str] = []
    bare = replace(digits, validation=None)
    trained = start(tmp_path / "run", dataset=bare, notify=notices.append)
    held = bare.hold_out(0.1)
    assert read_config(trained.folder).validation == 0.1
    assert f"on digits: {held.train_size:,} images, {held.validation_size} for validation, 3 epochs" in notices[0]
    assert held.validation_size >= 10
    assert "val_accuracy" in records(trained.folder)[0]


@pytest.mark.parametrize("share", [0, pytest.param(0.25, marks=pytest.mark.slow)])
def test_a_share_is_kept_by_a_resume_and_0_is_without_validation(
    start: Any, digits: InMemory, tmp_path: Path, assert_same: Any, share: float
) -> None:
    bare = replace(digits, validation=None)
    whole = start(tmp_path / "whole", dataset=bare, validation=share)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", dataset=kill_at(bare, 4), validation=share, checkpoint_steps=1)
    assert_same(resume(tmp_path / "run", dataset=bare), whole)
    names = {path.name for path in (whole.folder / "checkpoints").iterdir() if path.suffix != ".ckpt"}
    assert names == {"last.weights.h5"} | ({"best.weights.h5"} if share else set())
    assert ("val_accuracy" in records(whole.folder)[0]) == bool(share)
    assert ("best_epoch" in result(whole.folder)) == bool(share)


def test_a_share_and_a_validation_split_are_refused_before_a_folder_is_made(start: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="digits has a validation split; omit --validation"):
        start(tmp_path / "run", validation=0.1)
    assert not (tmp_path / "run").exists()
