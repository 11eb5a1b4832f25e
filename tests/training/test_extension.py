"""`train --resume RUN --epochs N`: more epochs for a run that was stopped or is finished."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from conftest import EPOCHS, STEPS, Start, lines
from watched import kill_at

from el_larq.data.in_memory import InMemory
from el_larq.errors import UsageError
from el_larq.training.config import read_config
from el_larq.training.extension import extend
from el_larq.training.run_folder import RunFolder, open_run
from el_larq.training.train import Trained, resume

Command = Callable[..., CompletedProcess[str]]
MORE = EPOCHS + 2
PER_EPOCH = STEPS // EPOCHS


def _copy(run: Trained, folder: Path) -> Path:
    return Path(shutil.copytree(run.folder, folder))


def _cosine(step: int) -> float:
    """The rate of the extended run: from 0.01 after a warmup of a twentieth, one step, to 0 at the last of all steps."""
    return 1e-2 * (1 + math.cos(math.pi * (step - 1) / (MORE * PER_EPOCH - 1))) / 2


@pytest.mark.slow
def test_an_extended_run_that_is_killed_ends_with_the_same_weights(
    undisturbed: Trained, digits: InMemory, assert_same: Any, tmp_path: Path
) -> None:
    notices: list[str] = []
    expected = resume(_copy(undisturbed, tmp_path / "expected"), dataset=digits, epochs=MORE, notify=notices.append)
    rate = _cosine(STEPS)
    assert notices[0] == (
        f"{tmp_path}/expected has 5 epochs from step 12 on, 3 before; the schedule (cosine) is that of 5 epochs: "
        f"the learning rate is {rate:.3g} now, 0 before"
    )
    killed = _copy(undisturbed, tmp_path / "killed")
    for step, epochs in ((STEPS + 3, MORE), (STEPS + PER_EPOCH + 1, None)):
        with pytest.raises(KeyboardInterrupt):
            resume(killed, dataset=kill_at(digits, step), epochs=epochs, checkpoint_steps=2)
    assert_same(resume(killed, dataset=digits), expected)
    records = lines(expected.folder)
    assert records[:EPOCHS] == lines(undisturbed.folder)
    for record in records[EPOCHS:]:
        assert record["learning_rate"] == pytest.approx(_cosine(record["step"] - 1), rel=1e-5)
    config = read_config(expected.folder)
    assert config.recipe["epochs"] == MORE
    assert config.changes == [{"step": STEPS, "epochs": MORE, "epochs_before": EPOCHS}]


def test_a_run_that_was_stopped_is_extended_from_its_last_state(start: Start, digits: InMemory, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", dataset=kill_at(digits, 6), checkpoint_steps=1)
    trained = resume(tmp_path / "run", dataset=digits, epochs=MORE)
    assert [record["epoch"] for record in lines(trained.folder)] == list(range(1, MORE + 1))
    assert read_config(trained.folder).changes[0]["step"] == 5


def test_a_kill_while_a_finished_run_is_extended_loses_nothing(
    undisturbed: Trained, digits: InMemory, assert_same: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    run = _copy(undisturbed, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "change", die)
        with pytest.raises(KeyboardInterrupt):
            resume(run, dataset=digits, epochs=MORE)
    assert_same(resume(run, dataset=digits), undisturbed)


def test_a_run_that_early_stopping_ended_is_not_extended(undisturbed: Trained, tmp_path: Path) -> None:
    folder = _copy(undisturbed, tmp_path / "run")
    path = folder / "metrics.jsonl"
    records = [{**json.loads(line), "val_accuracy": 0.5} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    with open_run(folder) as run:
        run.change(replace(run.config, recipe=run.config.recipe | {"patience": 2}))
        with pytest.raises(UsageError, match="was stopped early, since its validation had not improved for 2 epochs"):
            extend(run, MORE)
    assert (folder / "result.json").exists()


def test_a_run_of_several_stages_is_not_extended(undisturbed: Trained, tmp_path: Path) -> None:
    folder = _copy(undisturbed, tmp_path / "run")
    with open_run(folder) as run:
        run.change(replace(run.config, recipe=run.config.recipe | {"stages": [run.config.recipe]}))
    with pytest.raises(UsageError, match="has several stages, which cannot be extended; start from it with --init-from"):
        resume(folder, epochs=9)


def test_the_command_extends_a_finished_run(tiny_network: str, tmp_path: Path, el_larq_here: Command) -> None:
    folder = tmp_path / "my run"
    made = el_larq_here("train", tiny_network, "--dataset", "digits", "--epochs", 1, "--batch-size", 256, "-o", folder)
    assert made.returncode == 0, made.stderr
    fewer = el_larq_here("train", "--resume", folder, "--epochs", 0)
    assert (fewer.returncode, fewer.stderr.count("\n")) == (2, 1)
    longer = el_larq_here("train", "--resume", folder, "--epochs", 2)
    assert longer.returncode == 0, longer.stderr
    assert f"{folder} has 2 epochs from step 4 on, 1 before; the schedule (cosine) is that of 2 epochs" in longer.stderr
    assert longer.stdout.startswith("test accuracy ")
    again = el_larq_here("train", "--resume", folder, "--epochs", 2)
    assert again.stderr == f"{folder} is finished; there is nothing to resume\n"

    for state in (folder / "checkpoints").glob("*.ckpt"):
        state.write_bytes(state.read_bytes()[:-1])
    damaged = el_larq_here("train", "--resume", folder, "--epochs", 3)
    assert damaged.returncode == 1
    assert "is damaged: its checksum is wrong" in damaged.stderr
    for state in (folder / "checkpoints").glob("*.ckpt"):
        state.unlink()
    without = el_larq_here("train", "--resume", folder, "--epochs", 3)
    assert without.returncode == 1
    assert "has no state to continue from" in without.stderr
    assert without.stderr.endswith(f"start from it with --init-from '{folder}'\n")
    assert json.loads((folder / "result.json").read_text())["accuracy"] >= 0
