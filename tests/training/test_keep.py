"""Early stopping and the best epoch, both by validation alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BATCH, lines
from watched import watch

from el_larq.data.in_memory import InMemory
from el_larq.errors import UsageError
from el_larq.training.recipe import Recipe
from el_larq.training.train import Trained, resume
from el_larq.training.training_plan import make_plan

RECIPE = Recipe("kept", "", epochs=6, batch_size=BATCH, learning_rate=1e-2, keep="best", patience=2)


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


@pytest.fixture
def stopped_early(start: Any, digits: InMemory, tmp_path: Path) -> Callable[..., Trained]:
    """A training whose labels are wrong from the second epoch on, so that the first one stays the best."""
    steps = len(digits.train) // BATCH

    def train(name: str, **changes: Any) -> Trained:
        def at_step(step: int) -> Any:
            if changes.get("kill") == step:
                raise KeyboardInterrupt
            return np.zeros((BATCH, *digits.preprocessing.input_shape), np.float32) if step > steps else None

        given = {key: value for key, value in changes.items() if key != "kill"}
        return start(tmp_path / name, recipe=RECIPE, dataset=watch(digits, at_step=at_step), **given)

    return train


def test_it_stops_after_the_patience_and_saves_the_best_epoch(stopped_early: Any) -> None:
    notices: list[str] = []
    trained = stopped_early("run", notify=notices.append)
    records = lines(trained.folder)
    accuracies = [record["val_accuracy"] for record in records]
    best = accuracies.index(max(accuracies))
    assert len(records) == best + 3 < RECIPE.epochs + 1
    assert any(f"stopped after epoch {len(records)}" in line for line in notices)
    said = result(trained.folder)
    assert said["kept_epoch"] == said["best_epoch"] == best + 1
    assert said["validation_accuracy"] == max(accuracies)
    trained.model.load_weights(trained.folder / "checkpoints" / "best.weights.h5")
    saved = resume(trained.folder).model
    for ours, theirs in zip(trained.model.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_a_validation_split_both_are_one_line(one_line: Any) -> None:
    cases: list[tuple[Any, str]] = [({"keep": "best"}, "keep best"), ({"patience": 3}, "patience 3")]
    for changes, name in cases:
        with pytest.raises(UsageError, match=f"{name} needs a validation split") as caught:
            make_plan("resnet26", validation=0, **changes)
        one_line(caught.value)
    with pytest.raises(UsageError, match="unknown keep 'first'"):
        make_plan("resnet26", keep="first")
    with pytest.raises(UsageError, match="patience must be a number of epochs"):
        make_plan("resnet26", patience=-1)
