"""Recipes in files and repeated runs, through the command's own entry."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import h5py
import numpy as np
import pytest

Command = Callable[..., CompletedProcess[str]]

RECIPE = """\
epochs: 2
batch_size: 512
learning_rate: 0.01
optimizer: sgd
schedule: step
drop_at: [0.5]
clip_norm: 1
"""
SMALL = ("resnet18", "--dataset", "digits", "--image-size", 8, "--width", 0.0625, "--stem", "small")


def _weights(run: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(run / "model.h5") as file:
        file["model_weights"].visititems(  # pyright: ignore[reportAttributeAccessIssue]
            lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    assert found
    return found


def _config(run: Path) -> dict[str, Any]:
    return json.loads((run / "config.json").read_text())


@pytest.mark.slow
def test_a_run_with_a_recipe_of_a_file_is_repeated_from_its_config(
    tmp_path: Path, el_larq_here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, first, again = (tmp_path / name for name in ("mine.yaml", "first", "again"))
    mine.write_text(RECIPE)
    result = el_larq_here("train", *SMALL, "--recipe", mine, "--method", "bireal", "--link", "elastic", "-o", first)
    assert result.returncode == 0, result.stderr
    recipe = _config(first)["recipe"]
    assert (recipe["name"], recipe["optimizer"], recipe["drop_at"], recipe["clip_norm"]) == ("mine", "sgd", [0.5], 1.0)
    rates = [json.loads(line)["learning_rate"] for line in (first / "metrics.jsonl").read_text().splitlines()]
    assert rates == pytest.approx([0.01, 0.001])

    mine.unlink()  # the run stores the recipe
    result = el_larq_here("train", "--config", first / "config.json", "-o", again)
    assert result.returncode == 0, result.stderr
    assert _config(again) == _config(first)
    one, two = _weights(first), _weights(again)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)

    plans: list[Any] = []
    monkeypatch.setattr("el_larq.cli.train._start", lambda plan, *_: plans.append(plan))
    changes = ("--seed", 1, "--epochs", 1, "--downsample", "binary", "--validation", 0)
    el_larq_here("train", "--config", first, *changes)
    el_larq_here("train", "--config", first, "--method", "binary")
    plan, other = plans
    assert (plan.method.name, plan.method.link.name, plan.width) == ("bireal", "elastic", 0.0625)
    assert (plan.seed, plan.recipe.epochs, plan.recipe.optimizer, plan.validation, plan.out) == (1, 1, "sgd", 0, None)
    assert plan.network_options == {"stem": "small", "downsample": "binary"}
    assert (other.method.name, other.method.link.name, other.recipe.name) == ("binary", "none", "mine")

    mine.write_text(RECIPE)
    assert el_larq_here("train", "--resume", first, "--recipe", mine).returncode == 0
    mine.write_text(RECIPE + "momentum: 0.5\n")
    result = el_larq_here("train", "--resume", first, "--recipe", mine)
    assert result.returncode == 2
    assert f"--recipe {mine} contradicts {first}, which was started with other fields, see {first}/config.json" in result.stderr


def test_what_cannot_be_repeated_is_refused(data_folder: Path, tmp_path: Path, el_larq_here: Command) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "other.json").write_text("{}")
    run = data_folder / "run_schema1"
    for arguments, status, message in [
        (["--config", tmp_path / "other.json"], 1, f"{tmp_path}/other.json is not a run's config.json; give RUN/config.json or"),
        (["--config", tmp_path / "none" / "config.json"], 1, f"there is no run folder {tmp_path}/none"),
        (["--config", tmp_path], 1, f"{tmp_path}/config.json is damaged"),
        (["--config", run, "--resume", run], 2, "--config cannot be combined with --resume"),
        (["resnet18", "--recipe", "none.yaml"], 1, "cannot read none.yaml: No such file"),
    ]:
        result = el_larq_here("train", *arguments)
        assert (result.returncode, result.stdout) == (status, ""), result.stderr
        assert result.stderr.startswith(f"el-larq: {message}")
        assert len(result.stderr.splitlines()) == 1


def test_list_prints_a_recipe_to_start_from(el_larq_here: Command) -> None:
    result = el_larq_here("list", "recipes", "--yaml", "bbg-cifar")
    assert result.returncode == 0
    assert result.stdout.startswith("name: bbg-cifar\n")
    assert "\noptimizer: sgd " in result.stdout
    assert el_larq_here("list", "recipes", "--yaml", "bbg").returncode == 2
    assert "--yaml applies to recipes" in el_larq_here("list", "methods", "--yaml", "el").stderr
