"""Recipes of several stages: teachers, transfer between stages, and resume within and between them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from watched import kill_at, when_renamed

import el_larq
from el_larq.data.in_memory import InMemory
from el_larq.errors import ElLarqError, UsageError
from el_larq.report.collect import collect
from el_larq.training.config import read_config
from el_larq.training.recipe import Recipe
from el_larq.training.recipes import get_recipe
from el_larq.training.resume_options import check_no_contradiction
from el_larq.training.train import Trained, resume, train
from el_larq.training.training_plan import make_plan, stage_plans

NETWORK = """
import tf_keras as keras
from el_larq.conv import Conv

def build(input_shape, num_classes, method):
    x = keras.Input(input_shape)
    y = keras.layers.AveragePooling2D(4, name="shrink")(x)
    y = keras.layers.Conv2D(4, 1, use_bias=False, name="stem")(y)
    for index in (1, 2):
        y = method.unit(y, Conv(f"block{index}", 4, 3))
    y = keras.layers.GlobalAveragePooling2D(name="pool")(y)
    return keras.Model(x, keras.layers.Dense(num_classes, name="logits")(y))
"""

STAGE = Recipe("x", "", epochs=1, batch_size=32, learning_rate=1e-2, optimizer="adam", weight_decay=0.0)
FOUR = Recipe.of_stages(
    "four",
    "",
    (
        replace(STAGE, name="teacher", method="float", binarize="nothing"),
        replace(STAGE, name="real", binarize="nothing", instead_of_sign="tanh", teacher="teacher", attention=4.0, logits=3.0),
        replace(STAGE, name="half", binarize="activations", teacher="real", start="real", attention=4.0, cross_entropy=0.5),
        replace(STAGE, name="both", teacher="half", start="half", distributional=1.0, cross_entropy=0.0),
    ),
    "real_to_binary",
)
FOLDERS = ("1-teacher", "2-real", "3-half", "4-both")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("network") / "net.py"
    path.write_text(NETWORK)
    return f"{path}:build"


Run = Callable[..., Trained]


@pytest.fixture(scope="module")
def run(network: str, digits: InMemory) -> Run:
    def start(folder: Path, **changes: Any) -> Trained:
        settings: dict[str, Any] = {"dataset": digits, "recipe": FOUR, "seed": 3, "out": folder}
        return train(changes.pop("network", network), **(settings | changes))

    return start


@pytest.fixture(scope="module")
def staged(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return run(tmp_path_factory.mktemp("staged") / "run")


def _weights(folder: Path) -> list[np.ndarray]:
    return el_larq.load_model(folder / "model.h5").get_weights()


def _quantizers(folder: Path) -> tuple[bool, bool]:
    layer: Any = el_larq.load_model(folder / "model.h5").get_layer("block1_conv")
    return layer.input_quantizer is not None, layer.kernel_quantizer is not None


# --- What a staged run is -------------------------------------------------------------------------------------------------


def test_each_stage_has_its_run_folder_and_the_run_has_the_last_ones_model(staged: Trained):
    folder = staged.folder
    assert {path.name for path in folder.iterdir() if path.is_dir()} == set(FOLDERS)
    assert [_quantizers(folder / name) for name in FOLDERS[1:]] == [(False, False), (True, False), (True, True)]
    assert type(el_larq.load_model(folder / "1-teacher" / "model.h5").get_layer("block1_conv")) is keras.layers.Conv2D
    for a, b in zip(staged.model.get_weights(), _weights(folder), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (folder / "model.keras").read_bytes() == (folder / FOLDERS[3] / "model.keras").read_bytes()
    result = json.loads((folder / "result.json").read_text())
    assert [stage["stage"] for stage in result["stages"]] == list(FOLDERS)
    assert result["accuracy"] == result["stages"][3]["accuracy"] == staged.accuracy
    assert result["seconds"] == pytest.approx(sum(stage["seconds"] for stage in result["stages"]))
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(epoch["epoch"], epoch["stage"]) for epoch in epochs] == list(enumerate(FOLDERS, 1))


def test_commands_take_the_run_or_one_of_its_stages(staged: Trained, tmp_path: Path):
    job = el_larq.convert(staged.folder, tmp_path / "model.tflite", skip=("verify",))
    assert job.source == staged.folder / "model.h5"
    assert el_larq.inspect(staged.folder / FOLDERS[1]).model == str(staged.folder / FOLDERS[1] / "model.h5")
    shown = collect([staged.folder])
    assert [run.name for run in shown.runs] == ["run", *(f"run/{name}" for name in FOLDERS)]


def test_stages_start_from_one_another_and_keep_paths_that_survive_a_move(staged: Trained, tmp_path: Path, digits: InMemory):
    configs = [read_config(staged.folder / name) for name in FOLDERS]
    assert [config.teacher for config in configs] == [None, "../1-teacher", "../2-real", "../3-half"]
    assert [config.init_from and config.init_from["source"] for config in configs] == [None, None, "../2-real", "../3-half"]
    moved = tmp_path / "moved"
    shutil.copytree(staged.folder, moved)
    shutil.rmtree(moved / FOLDERS[3])
    (moved / "result.json").unlink()
    again = resume(moved, dataset=digits)
    for a, b in zip(again.model.get_weights(), staged.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stage_begins_with_the_weights_of_the_one_it_starts_from(run: Run, tmp_path: Path):
    still = Recipe.of_stages(
        "still",
        "",
        (
            replace(STAGE, name="a", binarize="activations"),
            replace(STAGE, name="b", start="a", learning_rate=1e-30),
        ),
    )
    folder = run(tmp_path / "run", recipe=still, method="xnor").folder
    before, after = (el_larq.load_model(folder / name / "model.h5") for name in ("1-a", "2-b"))
    assert [weight.name for weight in before.trainable_weights] == [weight.name for weight in after.trainable_weights]
    for a, b in zip(before.trainable_weights, after.trainable_weights, strict=True):
        np.testing.assert_allclose(np.clip(a, -1, 1) if "block" in a.name and "conv" in a.name else a, b, atol=1e-6)


# --- Interrupted and resumed ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_interrupted_within_and_between_stages_it_ends_with_the_same_weights(
    staged: Trained, run: Run, digits: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(folder, dataset=kill_at(digits, 3), checkpoint_steps=1)  # in the first stage
    assert not (folder / FOLDERS[1]).exists()
    assert (folder / FOLDERS[0] / "config.json").is_file()
    with pytest.raises(ElLarqError, match="is a run that is not finished and has no model; finish it with el-larq train --resume"):
        el_larq.inspect(folder)

    def die(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # between the second and the third
        resume(folder, dataset=digits, notify=lambda line: die() if line.startswith("stage 3 of 4, half:") else None)
    assert (folder / FOLDERS[1] / "result.json").is_file()
    assert not (folder / FOLDERS[2]).exists()
    with pytest.raises(KeyboardInterrupt):
        resume(folder, dataset=kill_at(digits, 2), checkpoint_steps=1)  # in the third
    with monkeypatch.context() as patch:
        when_renamed(patch, "model.h5", 3, die, after=False)  # of two stages, then of the run
        with pytest.raises(KeyboardInterrupt):
            resume(folder, dataset=digits)  # after the last, before the run's own files
    lines: list[str] = []
    again = resume(folder, dataset=digits, notify=lines.append)
    assert lines[:3] == [f"stage {n} of 4, {name}, is finished" for n, name in enumerate(("teacher", "real", "half"), 1)]
    for name in FOLDERS:
        for a, b in zip(_weights(folder / name), _weights(staged.folder / name), strict=True):
            np.testing.assert_array_equal(a, b)
    assert again.accuracy == staged.accuracy
    assert resume(folder, dataset=digits).accuracy == staged.accuracy


def test_a_stop_names_the_command_that_resumes_the_whole_run(run: Run, digits: InMemory, tmp_path: Path):
    def stop(step: int) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    from watched import watch

    with pytest.raises(KeyboardInterrupt, match=f"to continue: el-larq train --resume {tmp_path}/run$"):
        run(tmp_path / "run", dataset=watch(digits, stop))


KILLED = """
import el_larq, os, signal, sys
from pathlib import Path
import el_larq.training.train as module
from el_larq.training.recipe_file import find_recipe
if sys.argv[3] != "-":
    place, when = sys.argv[3].split(":")
    import el_larq.training.state_files as states
    save = states.StateFiles.save
    def dying(self, saved):
        save(self, saved)
        if place in str(self.folder) and saved.step == int(when):
            os.kill(os.getpid(), signal.SIGKILL)
    states.StateFiles.save = dying
folder = Path(sys.argv[2])
if folder.exists():
    module.resume(folder, checkpoint_steps=3)
else:
    module.train(sys.argv[1], dataset="digits", recipe=find_recipe(sys.argv[4]), seed=5, out=folder, checkpoint_steps=3)
"""


@pytest.mark.slow
def test_killed_processes_leave_a_staged_run_that_resumes_exactly(network: str, tmp_path: Path):
    from el_larq.training.recipe_file import to_yaml

    recipe = tmp_path / "four.yaml"
    recipe.write_text(to_yaml(FOUR.with_changes(batch_size=128)))

    def work(folder: Path, place: str) -> int:
        command = [sys.executable, "-c", KILLED, network, str(folder), place, str(recipe)]
        return subprocess.run(command, check=False, capture_output=True, timeout=600, env=os.environ).returncode

    assert work(tmp_path / "whole", "-") == 0
    folder = tmp_path / "killed"
    for place in ("2-real:6", "4-both:0"):
        assert work(folder, place) == -signal.SIGKILL
    assert work(folder, "-") == 0
    for name in ("2-real", "4-both"):
        for a, b in zip(_weights(folder / name), _weights(tmp_path / "whole" / name), strict=True):
            np.testing.assert_array_equal(a, b)


# --- Teachers -------------------------------------------------------------------------------------------------------------


def test_a_network_that_is_a_teacher_becomes_a_stage():
    recipe = replace(STAGE, name="mine", teacher="resnet34", logits=1.0)
    plan = make_plan("resnet18", recipe=recipe, dataset="digits", width=0.25, network_options={"stem": "small"})
    assert [stage.name for stage in plan.recipe.stages] == ["resnet34", "mine"]
    first, second = stage_plans(plan, Path("runs/x"))
    assert (first.network, first.method.name, first.width, first.network_options) == ("resnet34", "float", 0.25, {"stem": "small"})
    assert (second.network, second.method.name, second.teacher) == ("resnet18", "el", Path("runs/x/1-resnet34"))
    assert (first.out, second.out) == (Path("runs/x/1-resnet34"), Path("runs/x/2-mine"))


def test_a_recipes_method_is_that_of_runs_without_one():
    for name, method in [("two-stage", "reactnet"), ("real-to-binary", "real_to_binary"), ("el-dagger", "el")]:
        assert make_plan("resnet18", recipe=name).method.name == method
        given = make_plan("resnet18", recipe=name, method="bireal")
        assert given.method.name == "bireal"
        assert [plan.method.name for plan in stage_plans(given, Path())] == ["float", *["bireal"] * (len(given.recipe.stages) - 1)]


def test_another_teacher_takes_the_place_of_the_teachers_stage(staged: Trained, tmp_path: Path):
    plan = make_plan("resnet18", recipe="two-stage", teacher=staged.folder)
    assert [stage.name for stage in plan.recipe.stages] == ["activations", "both"]
    assert {stage.teacher for stage in stage_plans(plan, tmp_path)} == {staged.folder}
    network = make_plan("resnet18", recipe="two-stage", teacher="resnet34")
    assert [stage.network for stage in network.recipe.stages] == ["resnet34", None, None]
    with pytest.raises(UsageError, match="recipe standard has no teacher that another one could replace"):
        make_plan("resnet18", teacher="resnet34")


def test_a_teachers_file_is_used_and_its_own_training_is_left_out(staged: Trained, run: Run, tmp_path: Path):
    recipe = replace(STAGE, name="one", teacher=str(staged.folder), logits=1.0)
    one = run(tmp_path / "run", recipe=recipe)
    assert read_config(one.folder).teacher == str(staged.folder)
    assert not (one.folder / "1-one").exists()


# --- Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"start": "nowhere.h5"},
            "stage one starts from nowhere.h5, which is not an earlier stage or a model; earlier",
        ),
        (
            {"teacher": "resnet19", "logits": 1.0},
            "stage one has the teacher resnet19, which is not an earlier stage, a network or",
        ),
    ],
    ids=["start", "teacher"],
)
def test_what_a_stage_refers_to_must_exist(changes: dict[str, Any], reason: str):
    with pytest.raises(UsageError) as caught:
        make_plan("resnet18", recipe=replace(STAGE, name="one", **changes))
    assert str(caught.value).startswith(reason)


def test_a_teacher_with_other_classes_is_one_line(run: Run, tmp_path: Path, one_line: Callable[[BaseException], str]):
    image = keras.Input((32, 32, 1))
    outputs = keras.layers.Dense(7)(keras.layers.GlobalAveragePooling2D()(image))
    path = tmp_path / "seven.keras"
    keras.Model(image, outputs).save(path)
    recipe = replace(STAGE, name="one", teacher=str(path), logits=1.0)
    with pytest.raises(UsageError) as caught:
        run(tmp_path / "run", recipe=recipe)
    assert one_line(caught.value) == f"the teacher {path} has 7 classes, digits has 10; train a teacher on digits"
    assert not (tmp_path / "run").exists()


def test_a_tensor_that_would_be_left_behind_is_an_error(staged: Trained, run: Run, tmp_path: Path):
    source = staged.folder / FOLDERS[0]  # of the method float: its layers have other names
    recipe = replace(STAGE, name="one", start=str(source))
    with pytest.raises(ElLarqError, match=f"not all weights of {source} fit, so the training cannot start from it: .* not there"):
        run(tmp_path / "run", recipe=recipe, method="real_to_binary")


def test_methods_and_networks_that_cannot_be_staged_say_so(tiny_network: str, run: Run, tmp_path: Path):
    with pytest.raises(UsageError, match="method 'abc' cannot leave out its quantizers"):
        make_plan("resnet18", method="abc", recipe="two-stage")
    with pytest.raises(UsageError, match="method 'float' does not binarize, so no stage of it has binary activations"):
        make_plan("resnet18", method="float", recipe="two-stage")
    with pytest.raises(UsageError, match="takes no 'method', so recipe real cannot leave out its quantizers"):
        run(tmp_path / "run", network=tiny_network, recipe=replace(STAGE, name="real", binarize="nothing"))


def test_the_dagger_is_said_to_be_undefined():
    assert "no source that was seen defines the dagger" in get_recipe("el-dagger").summary
    assert [stage.name for stage in get_recipe("el-dagger").stages] == ["teacher", "real", "activations", "both"]


def test_options_given_on_resume_are_compared_with_those_of_the_stages(staged: Trained) -> None:
    config = read_config(staged.folder)
    changed = replace(config, recipe=config.recipe | {"stages": [stage | {"keep": "best"} for stage in config.recipe["stages"]]})
    check_no_contradiction(changed, staged.folder, {"keep": "best"})
    check_no_contradiction(config, staged.folder, {"keep": "last", "epochs": config.recipe["epochs"]})
    with pytest.raises(UsageError, match="last"):
        check_no_contradiction(changed, staged.folder, {"keep": "last"})
