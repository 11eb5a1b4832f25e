"""`el-larq train --resume`: what it refuses without TensorFlow, old runs, and Ctrl-C through the real entry point."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from el_larq.cli.train import command
from el_larq.training.recipe import Recipe
from el_larq.training.training_plan import CHANGES, SharedSettings

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def old(data_folder: Path, tmp_path: Path) -> Path:
    """A finished run of schema 1, made by the version before there were states (git e61064b)."""
    return Path(shutil.copytree(data_folder / "run_schema1", tmp_path / "old"))


def _change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(("depthwise", "allow"), [("binary", " --allow binary-depthwise"), ("real", "")])
def test_the_next_command_allows_what_the_conversion_needs(old: Path, el_larq_here: Command, depthwise: str, allow: str) -> None:
    _change(old / "config.json", schema=3, network="mobilenet", network_options={"depthwise": depthwise})
    result = el_larq_here("train", "--resume", old)
    assert result.stdout.splitlines()[-1] == f"next: el-larq convert {old}/model.h5 -o model.tflite{allow}"


def test_a_finished_run_of_an_older_version_says_so(old: Path, el_larq_here: Command) -> None:
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    result = el_larq_here("train", "--resume", old)
    assert (result.returncode, result.stderr) == (0, f"{old} is finished; there is nothing to resume\n")
    assert result.stdout.startswith("test accuracy 0.4267 after")
    result = el_larq_here("train", "--resume", old, "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["accuracy"] == pytest.approx(0.4267, abs=1e-4)
    assert before == {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}


def test_an_unfinished_run_of_an_older_version_says_what_it_lacks(old: Path, el_larq_here: Command) -> None:
    (old / "result.json").unlink()
    result = el_larq_here("train", "--resume", old)
    assert (result.returncode, result.stdout) == (1, "")
    assert (
        result.stderr
        == f"el-larq: {old} was made by an older el-larq (schema 1) that saved no state to resume from; train it again\n"
    )


def test_an_older_run_is_reported(old: Path, tmp_path: Path, el_larq_here: Command) -> None:
    result = el_larq_here("report", old, "-o", tmp_path / "report.html")
    assert result.returncode == 0, result.stderr
    assert "0.4267" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("command", [["train", "--resume"], ["report"]])
def test_a_run_of_a_newer_version_is_refused(old: Path, command: list[str], el_larq_here: Command) -> None:
    _change(old / "config.json", schema=99)
    result = el_larq_here(*command, old)
    assert result.returncode == 1
    assert result.stderr == (
        f"el-larq: {old} is a run of schema 99, made by a newer el-larq; this one supports schemas up to 3: update it\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", 1], "RUN was started with 2 epochs, and fewer (1) are not possible; omit the number, or give more"),
        (["--seed", 1], "--seed 1 contradicts RUN, which was started with 0"),
        (["--width", 0.5], "--width 0.5 contradicts RUN, which was started with 1.0"),
        (["--dataset", "photos"], "--dataset photos contradicts RUN, which was started with digits"),
        (["--validation", 0.1], "--validation 0.1 contradicts RUN, which was started with test"),
        (["--stem", "small"], "--stem small contradicts RUN, which was started with the default"),
        (["--method", "el"], "--method el contradicts RUN, which was started with own"),
        (["-o", "elsewhere"], "--out elsewhere contradicts RUN, which was started with RUN"),
        (["--init-from", "model.h5"], "--init-from cannot be combined with --resume: RUN continues with its original settings"),
        (["resnet26"], "NETWORK resnet26 contradicts RUN, which was started with"),
    ],
)
def test_options_that_contradict_the_run_are_refused(old: Path, arguments: list[Any], message: str, el_larq_here: Command) -> None:
    result = el_larq_here("train", "--resume", old, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("el-larq: " + message.replace("RUN", str(old)))
    assert len(result.stderr.splitlines()) == 1


def test_options_that_repeat_the_run_are_taken(old: Path, el_larq_here: Command) -> None:
    repeated = ["--epochs", 2, "--batch-size", 64, "--dataset", "digits", "--seed", 0, "-o", old, "--trust"]
    assert el_larq_here("train", "--resume", old, *repeated).returncode == 0


def test_a_data_set_is_repeated_as_it_was_named(old: Path, tmp_path: Path, el_larq_here: Command) -> None:
    _change(old / "config.json", dataset=f"cifar10@{tmp_path},augment=none")
    repeated = ["--dataset", "cifar10", "--data-dir", tmp_path, "--augment"]
    assert el_larq_here("train", "--resume", old, *repeated, "none").returncode == 0
    result = el_larq_here("train", "--resume", old, *repeated, "crop")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert f"--dataset cifar10@{tmp_path},augment=crop contradicts {old}" in result.stderr
    assert "--augment cannot be combined with --resume" in el_larq_here("train", "--resume", old, "--augment", "none").stderr


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"accuracy": "good", "seconds": 1}', '{"accuracy": 0.5, "seconds": 1, "allow": [1]}']
)
def test_a_damaged_result_is_named(old: Path, content: str, el_larq_here: Command) -> None:
    (old / "result.json").write_text(content)
    result = el_larq_here("train", "--resume", old)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"el-larq: {old / 'result.json'} is damaged; take it from a backup, or train again into another folder\n"
    )


def test_a_folder_that_is_not_a_run_and_a_missing_folder_are_refused(tmp_path: Path, el_larq_here: Command) -> None:
    assert "there is no run folder" in el_larq_here("train", "--resume", tmp_path / "no").stderr
    assert "is not a run folder: it has no config.json" in el_larq_here("train", "--resume", tmp_path).stderr
    result = el_larq_here("train")
    assert result.returncode == 2
    assert "Missing argument 'NETWORK'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--width", "-1"], "width must be positive"),
        (["--validation", "1.5"], "validation must be a share of the training images, from 0 to below 1; got 1.5"),
        (["--placement", "after"], "unknown placement 'after'"),
    ],
)
def test_values_are_checked_before_there_is_a_folder(
    tmp_path: Path, arguments: list[str], message: str, el_larq_here: Command
) -> None:
    result = el_larq_here("train", "resnet26", "-o", tmp_path / "run", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


# The test's own process has TensorFlow already: a start of it would be the first call of train's `start_tensorflow`.
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("resnet18 --method xnor --option k=some", "option k takes off, 1x1, 3x3 or all; got 'some'"),
        ("resnet18 --method xnor --option k", "option 'k' is not NAME=VALUE"),
        ("resnet18 --method bireal --option k=all", "method 'bireal' has no options of its own"),
        ("resnet18 --method tbn --option delta=0", "option delta must be a positive share"),
        ("resnet18 --variant two_stream", "network 'resnet18' has no block variant 'two_stream'"),
        ("resnet18 --method mobinet", "no block variant 'mid', which method 'mobinet' needs"),
        ("resnet18 --depthwise real", "network 'resnet18' has no option 'depthwise'"),
        ("mobilenet --depthwise rael", "unknown depthwise 'rael'; did you mean real"),
        ("densenet28 --downsample rael", "unknown downsample 'rael'; did you mean real"),
    ],
)
def test_options_of_methods_and_networks_are_checked_before_tensorflow_starts(
    tmp_path: Path, arguments: str, message: str, el_larq_here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("el_larq.cli.train.start_tensorflow", lambda: pytest.fail("TensorFlow starts"))
    result = el_larq_here("train", *arguments.split(), "-o", tmp_path / "run")
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_ctrl_c_saves_and_prints_the_command_that_continues(data_folder: Path, tmp_path: Path, el_larq_here: Command) -> None:
    program, folder = Path(sys.executable).parent / "el-larq", tmp_path / "run"
    network = f"{data_folder / 'run_schema1' / 'network.py'}:build"
    command = [program, "train", network, "--dataset", "digits", "--epochs", "200", "--batch-size", "512", "-o", folder]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 170
        while not (folder / "metrics.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    started, sizes, *_epochs, stopped, last = filter(None, err.splitlines())  # click adds an empty line
    assert started.startswith("training ")
    assert sizes.startswith("images 16x16x1, ")
    assert stopped.startswith("stopped at step ")
    assert stopped.endswith(f" of 400; to continue: el-larq train --resume {folder}")
    assert last == "el-larq: interrupted"
    states = sorted(int(path.stem.rpartition("-")[2]) for path in (folder / "checkpoints").glob("*.ckpt"))
    assert states[-1] == int(stopped.split()[3])
    el_larq_here("report", folder, "-o", tmp_path / "report.html")  # of a run that is not done
    assert (tmp_path / "report.html").exists()


def test_options_of_recipes_are_settings_and_have_no_defaults() -> None:
    """CHANGES, SharedSettings and option_groups.py belong together. A default would replace the recipe's value."""
    assert set(CHANGES) <= SharedSettings.__optional_keys__, "add the field to SharedSettings"
    fields = {field.name for field in dataclasses.fields(Recipe)}
    assert fields & SharedSettings.__optional_keys__ == set(CHANGES), "add the field to CHANGES or SharedSettings"
    given = command.make_context("train", ["resnet18"]).params
    for name in CHANGES:
        assert name in given, f"add the option {name} in el_larq/cli/option_groups.py"
        assert given[name] is None, f"the option {name} has a default; a flag needs default=None"
    own = {"network", "method", "teacher"}  # also fields of recipes, by another way
    assert (fields & given.keys()) - own == set(CHANGES), "add the field to CHANGES and SharedSettings (training_plan.py)"
