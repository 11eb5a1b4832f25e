"""Files of weights in place of models: those of a run, and others that lie in one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import h5py
import numpy as np
import pytest
import tf_keras as keras

import el_larq
from el_larq import card
from el_larq.training.trained import Trained

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def run(undisturbed: Trained, tmp_path: Path) -> Path:
    return Path(shutil.copytree(undisturbed.folder, tmp_path / "run"))


def _unfinish(run: Path) -> None:
    for name in ("result.json", "model.h5", "model.keras"):
        (run / name).unlink()


def _without_description(weights: Path) -> None:
    """As older versions wrote them."""
    with h5py.File(weights, "r+") as file:
        for name in list(file.attrs):
            del file.attrs[name]


@pytest.mark.parametrize("form", ["of a finished run", "of a run that was stopped", "copied from a run", "of an older run"])
def test_kept_weights_stand_for_a_model_in_every_command(
    undisturbed: Trained, run: Path, form: str, digit_png: Path, tmp_path: Path, el_larq_here: Command
) -> None:
    weights = run / "checkpoints" / "best.weights.h5"
    if form == "of a run that was stopped":
        _unfinish(run)
    elif form == "copied from a run":
        weights = Path(shutil.copy(weights, tmp_path))
    elif form == "of an older run":
        _without_description(weights)
    undisturbed_model = undisturbed.model
    expected = keras.models.clone_model(undisturbed_model)
    expected.load_weights(undisturbed.folder / "checkpoints" / "best.weights.h5")
    for found, wanted in zip(el_larq.load_model(weights).get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    commands = [
        ("predict", weights, digit_png, "--top", 1),
        ("inspect", weights),
        ("evaluate", weights, "-o", tmp_path / "evaluation"),
        ("convert", weights, "-o", tmp_path / "model.tflite"),
        ("export-weights", weights, "--binary", "-o", tmp_path / "weights.npz"),
    ]
    for command in commands:
        result = el_larq_here(*command)
        assert result.returncode == 0, (command, result.stderr)
    assert "accuracy" not in card.read(weights)  # that of the run's model is not theirs


def test_a_run_that_was_stopped_offers_its_best_weights(run: Path, el_larq_here: Command) -> None:
    _unfinish(run)
    result = el_larq_here("inspect", run)
    assert result.returncode == 1
    assert result.stderr.endswith(f"or give its best weights so far, {run}/checkpoints/best.weights.h5\n")
    assert el_larq_here("inspect", run / "checkpoints" / "best.weights.h5").returncode == 0


def test_weights_saved_into_a_run_folder_in_keras_older_form(run: Path, undisturbed: Trained) -> None:
    undisturbed.model.save_weights(run / "mine.h5")
    for found, wanted in zip(el_larq.load_model(run / "mine.h5").get_weights(), undisturbed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert card.read(run / "mine.h5")["labels"] == card.read(run / "model.h5")["labels"]


def test_weights_that_do_not_fit_or_lack_a_model_are_refused(run: Path, tmp_path: Path, el_larq_here: Command) -> None:
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    for name in ("other.weights.h5", "other.h5"):
        other.save_weights(run / name)
        result = el_larq_here("inspect", run / name)
        assert result.returncode == 1
        assert "not the weights of" in result.stderr
        assert result.stderr.count("\n") == 1
        moved = shutil.move(run / name, tmp_path / name)
        result = el_larq_here("inspect", moved)
        assert result.returncode == 1
        assert "contains weights only, and is not in a run folder that has a model" in result.stderr
    shutil.copy(run / "checkpoints" / "best.weights.h5", run / "renamed.h5")
    assert "rename it to renamed.weights.h5" in el_larq_here("inspect", run / "renamed.h5").stderr


def test_an_evaluation_of_weights_is_named_after_the_run(run: Path, tmp_path: Path, el_larq_here: Command) -> None:
    result = el_larq_here("evaluate", run / "checkpoints" / "last.weights.h5", "--images", 8, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "evaluations").iterdir()
    assert folder.name == "run-last.weights.h5-digits"
    assert json.loads((folder / "evaluation.json").read_text())["model"] == str(run / "checkpoints" / "last.weights.h5")


def test_benchmark_takes_a_run_folder_with_a_tflite(run: Path, small: Any, tmp_path: Path, el_larq_here: Command) -> None:
    keras_model, out = tmp_path / "a model.h5", tmp_path / "results"
    keras_model.touch()
    for path, what in ((run, "a run folder without model.tflite"), (keras_model, "a Keras model")):
        result = el_larq_here("benchmark", path, "-o", out)
        assert result.returncode == 1
        assert f"{path}: {what}; convert it first: el-larq convert" in result.stderr
    assert f"convert '{keras_model}' -o '{tmp_path}/a model.tflite'" in result.stderr
    shutil.copy(small.tflite, run / "model.tflite")
    result = el_larq_here("benchmark", run, "-o", out, "--runs", 2, "--warmup", 0, "--json")
    assert result.returncode == 0, result.stderr
    assert f"{run}/model.tflite" in result.stdout
    assert [path.name.split("-")[1] for path in out.iterdir()] == [run.name]
    missing = el_larq_here("benchmark", tmp_path / "missing.h5", "-o", out)
    assert (missing.returncode, missing.stderr) == (1, f"el-larq: cannot read {tmp_path}/missing.h5: No such file or directory\n")
