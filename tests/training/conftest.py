"""A network so small that a training of it costs little more than its start."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from el_larq.data.dataset_registry import load_dataset
from el_larq.data.in_memory import InMemory, Split
from el_larq.training.recipe import Recipe
from el_larq.training.train import Trained, train

EPOCHS, BATCH, IMAGES = 3, 32, 128
STEPS = EPOCHS * (IMAGES // BATCH)


def few_digits(images: int = IMAGES) -> InMemory:
    data = load_dataset("digits")
    index = np.random.RandomState(0).permutation(len(data.train))
    return replace(
        data,
        train=data.train.part(index[:images]),
        validation=data.train.part(index[images : images + 64]),
        test=Split(data.test.images[:64], data.test.labels[:64]),
        shift=1,
    )


@pytest.fixture(scope="session")
def digits() -> InMemory:
    return few_digits()


@pytest.fixture(scope="session")
def tiny_network(data_folder: Path) -> str:
    return f"{data_folder / 'run_schema1' / 'network.py'}:build"


Start = Callable[..., Trained]


@pytest.fixture(scope="session")
def start(digits: InMemory, tiny_network: str) -> Start:
    """start(folder, **changes) trains the tiny network."""

    def run(folder: Path, network: str = tiny_network, **changes: Any) -> Trained:
        recipe = Recipe("tiny", "", epochs=EPOCHS, batch_size=BATCH, learning_rate=1e-2)
        arguments: dict[str, Any] = {"dataset": digits, "recipe": recipe, "seed": 5, "out": folder}
        return train(network, **(arguments | changes))

    return run


@pytest.fixture(scope="session")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return start(tmp_path_factory.mktemp("undisturbed") / "run")


def lines(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock says."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in found:
        assert line.pop("seconds") >= 0
    return found


Same = Callable[[Trained, Trained], None]


@pytest.fixture(scope="session")
def assert_same() -> Same:
    """Weights, optimizer slots, records and kept weights of two finished runs, bit for bit."""

    def check(a: Trained, b: Trained) -> None:
        for x, y in zip(_variables(a), _variables(b), strict=True):
            assert x == y
        assert lines(a.folder) == lines(b.folder)
        assert a.accuracy == b.accuracy
        names = {path.relative_to(a.folder) for path in a.folder.rglob("*") if "tfevents" not in path.name}
        assert names == {path.relative_to(b.folder) for path in b.folder.rglob("*") if "tfevents" not in path.name}
        assert not list(a.folder.rglob("*.part.*"))

    return check


def _variables(trained: Trained) -> list[bytes]:
    return [v.numpy().tobytes() for v in (*trained.model.variables, *trained.model.optimizer.variables)]
