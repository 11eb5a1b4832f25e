"""Plans, folders and tables of comparisons, and one whole comparison through the command line."""

import csv
import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from el_larq.comparison.compare import execute
from el_larq.comparison.comparison_plan import ComparisonPlan, plan_comparison
from el_larq.comparison.plot import plot
from el_larq.comparison.results_folder import ResultsFolder
from el_larq.comparison.shard import Shard, parse_shard
from el_larq.comparison.table import ComparisonRow, cells, markdown, read_rows, to_csv
from el_larq.errors import ElLarqError, UsageError
from el_larq.methods.method import Method
from el_larq.methods.method_registry import METHODS
from el_larq.models.network_registry import NETWORKS, fits
from el_larq.training.recipes import get_recipe

Command = Callable[..., CompletedProcess[str]]

SMALL = ("--network", "resnet18", "--dataset", "digits", "--image-size", 8, "--width", 0.0625, "--epochs", 1, "--batch-size", 512)
"""A comparison whose trainings take two steps each."""


def _plan(
    methods: str = "el,binary", seeds: int = 1, networks: str = "resnet18", options: tuple[str, ...] = (), **changes: Any
) -> ComparisonPlan:
    recipe = get_recipe("standard").with_changes(epochs=1, batch_size=512)
    settings: Any = {"dataset": "digits", "recipe": recipe, "width": 0.0625, "image_size": 8} | changes
    return plan_comparison(networks.split(","), methods.split(","), seeds, options, **settings)


# --- What is compared -----------------------------------------------------------------------------------------------------


def test_a_plan_pairs_every_network_with_every_method_in_the_order_asked() -> None:
    plan = _plan("bireal,el,bireal", networks="resnet26,resnet18")
    assert [pair.name for pair in plan.pairs] == ["resnet26-bireal", "resnet26-el", "resnet18-bireal", "resnet18-el"]


def test_with_own_recipes_each_method_has_its_own_and_all_have_as_many_epochs() -> None:
    plan = _plan("el,reactnet,real_to_binary,bbg", recipe="own", epochs=6, batch_size=512)
    recipes = [pair.plan.recipe for pair in plan.pairs]
    assert [recipe.name for recipe in recipes] == ["standard", "two-stage", "real-to-binary", "bbg-cifar"]
    assert [recipe.epochs for recipe in recipes] == [6] * 4
    assert {stage.batch_size for recipe in recipes for stage in recipe.stages or (recipe,)} == {512}
    assert [pair.plan.method.name for pair in plan.pairs] == ["el", "reactnet", "real_to_binary", "bbg"]


def test_all_is_every_method_that_fits_the_network() -> None:
    for network in ("resnet18", "quicknet_small"):
        names = [pair.method.name for pair in _plan("all", networks=network).pairs]
        assert names == [name for name, method in METHODS.items() if fits(NETWORKS[network], method)]
        assert names


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"methods": "el,birael"}, "unknown method 'birael'; did you mean bireal"),
        ({"networks": "resnet27"}, "unknown network 'resnet27'; did you mean resnet"),
        ({"dataset": "digit"}, "unknown data set 'digit'; did you mean digits"),
        ({"seeds": 0}, "seeds must be at least 1; got 0"),
        ({"width": -1.0}, "width must be positive; got -1"),
        ({"validation": 1.0}, "validation must be a share of the training images"),
        ({"methods": ""}, "unknown method ''"),
        ({"options": ("k=all",)}, "option 'k=all' is not METHOD.NAME=VALUE"),
        ({"options": ("bireal.k=all",)}, "unknown method of an option 'bireal'"),
        ({"methods": "bireal", "options": ("bireal.k=all",)}, "method 'bireal' has no options of its own"),
        ({"network_options": {"sten": "small"}}, "network 'resnet18' has no option 'sten'"),
        ({"recipe": "own"}, "recipe own: the methods' recipes differ in their epochs; give the same number for all"),
        ({"recipe": "own", "epochs": 2, "methods": "reactnet"}, "epochs must be at least 3 for the 3 stages of two-stage; got 2"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused_by_name(
    changes: dict[str, Any], reason: str, one_line: Callable[[BaseException], str]
) -> None:
    with pytest.raises(UsageError) as caught:
        _plan(**changes)
    assert reason in one_line(caught.value)


def test_a_pair_that_does_not_fit_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "resnet18", replace(NETWORKS["resnet18"], links=("none",)))
    with pytest.raises(UsageError, match="network 'resnet18' does not support link 'elastic' of method 'el'"):
        _plan("binary,el")
    names = [pair.method.name for pair in _plan("all").pairs]
    assert "binary" in names
    assert "el" not in names


def _with_method(plan: ComparisonPlan, method: Method) -> ComparisonPlan:
    (pair,) = plan.pairs
    return replace(plan, pairs=(replace(pair, plan=replace(pair.plan, method=method)),))


# --- Its folder -----------------------------------------------------------------------------------------------------------


def test_a_folder_takes_more_methods_networks_and_seeds(tmp_path: Path) -> None:
    ResultsFolder(tmp_path / "new", _plan("el"))
    ResultsFolder(tmp_path / "new", _plan("binary", seeds=3, networks="resnet18,resnet26"))
    content = json.loads((tmp_path / "new" / "comparison.json").read_text())
    assert list(content["options"]) == ["el", "binary"]
    assert content["settings"]["recipe"]["batch_size"] == 512


def test_a_folder_of_own_recipes_takes_more_methods_and_refuses_another_recipe_of_one_it_has(tmp_path: Path) -> None:
    ResultsFolder(tmp_path, _plan("el", recipe="own", epochs=3))
    ResultsFolder(tmp_path, _plan("reactnet", recipe="own", epochs=3))
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert {name: recipe["name"] for name, recipe in content["recipes"].items()} == {"el": "standard", "reactnet": "two-stage"}
    with pytest.raises(UsageError, match=r"was made with el\.epochs 3, not 4"):
        ResultsFolder(tmp_path, _plan("el", recipe="own", epochs=4))
    with pytest.raises(UsageError, match="was made with recipe own, not "):
        ResultsFolder(tmp_path, _plan("el"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"width": 0.25}, "was made with width 0.0625, not 0.25; give the same settings, or another folder with -o"),
        ({"dataset": "photos"}, "was made with dataset digits, not photos"),
        ({"recipe": get_recipe("demo")}, "was made with recipe name standard, not demo"),
        ({"network_options": {"stem": "small"}}, "was made with network options stem None, not small"),
        ({"validation": 0.2}, "was made with validation default, not 0.2"),
    ],
    ids=str,
)
def test_a_folder_refuses_other_settings(
    tmp_path: Path, changes: dict[str, Any], reason: str, one_line: Callable[[BaseException], str]
) -> None:
    ResultsFolder(tmp_path, _plan())
    before = (tmp_path / "comparison.json").read_text()
    with pytest.raises(UsageError) as caught:
        ResultsFolder(tmp_path, _plan(**changes))
    assert reason in one_line(caught.value)
    assert (tmp_path / "comparison.json").read_text() == before


def test_a_folder_from_before_recipes_had_an_optimizer_is_continued(tmp_path: Path) -> None:
    ResultsFolder(tmp_path, _plan())
    path = tmp_path / "comparison.json"
    content = json.loads(path.read_text())
    for name in ("optimizer", "momentum", "schedule", "drop_at", "drop", "clip_norm"):
        del content["settings"]["recipe"][name]
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="was made with recipe optimizer adamw, not sgd"):
        ResultsFolder(tmp_path, _plan(recipe=get_recipe("standard").with_changes(epochs=1, batch_size=512, optimizer="sgd")))
    ResultsFolder(tmp_path, _plan())


def test_a_folder_from_before_its_stages_had_a_field_is_continued(tmp_path: Path) -> None:
    plan = _plan(methods="el", recipe=get_recipe("two-stage"))
    ResultsFolder(tmp_path, plan)
    path = tmp_path / "comparison.json"
    content = json.loads(path.read_text())
    for stage in content["settings"]["recipe"]["stages"]:
        del stage["class_weights"]
    path.write_text(json.dumps(content))
    ResultsFolder(tmp_path, plan)


def test_a_folder_of_an_earlier_version_is_not_mixed_with_other_validation(tmp_path: Path) -> None:
    """Its runs trained on what is held out now, and chose by the test split."""
    ResultsFolder(tmp_path, _plan())
    path = tmp_path / "comparison.json"
    content = json.loads(path.read_text())
    del content["settings"]["validation"]
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"was made by an older el-larq, .*choose another folder with -o"):
        ResultsFolder(tmp_path, _plan())


def test_a_folder_refuses_other_options_of_a_method_it_has(tmp_path: Path) -> None:
    plan = _plan("binary")
    method = replace(plan.pairs[0].method, options={"k": "off"})
    ResultsFolder(tmp_path, _with_method(plan, method))
    other = replace(method, options={"k": "all"})
    with pytest.raises(UsageError, match=r"was made with binary\.k off, not all"):
        ResultsFolder(tmp_path, _with_method(plan, other))


def _read_again(path: Path, plan: ComparisonPlan) -> None:
    folder = ResultsFolder(path, plan)
    read_rows(folder, plan, {}, folder.latencies())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("comparison.json", '{"schema": 1}', "comparison.json has no settings"),
        ("comparison.json", '{"settings": {}}', "comparison.json has no options"),
        ("comparison.json", '{"settings": [], "options": {}}', "comparison.json.settings is not an object"),
        ("comparison.json", "[]", "comparison.json is not an object"),
        ("comparison.json", "{", "it is not JSON"),
        ("results.json", '{"latencies": 1}', "results.json.latencies is not an object"),
        ("results.json", '{"latencies": {"a": {}}}', "latencies.a has no median_ms"),
        ("runs/resnet18-el-s0/result.json", '{"accuracy": 0.5}', "result.json has no seconds"),
        ("runs/resnet18-el-s0/deployed.json", '{"bops": 1}', "deployed.json has no sha256"),
    ],
)
def test_an_invalid_comparison_file_is_a_one_line_error(
    tmp_path: Path, name: str, content: str, reason: str, one_line: Callable[[BaseException], str]
) -> None:
    plan = _plan("el")
    folder = ResultsFolder(tmp_path / "new", plan)
    path = folder.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    with pytest.raises(ElLarqError) as caught:
        _read_again(folder.path, plan)
    assert one_line(caught.value) == f"{path} is damaged: {reason}; remove it, or choose another folder with -o"


def test_the_options_of_a_method_must_be_an_object(tmp_path: Path) -> None:
    ResultsFolder(tmp_path / "new", _plan("el"))
    path = tmp_path / "new" / "comparison.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"options": {"el": 1}}))
    with pytest.raises(ElLarqError, match=r"is damaged: options\.el is not an object"):
        ResultsFolder(tmp_path / "new", _plan("el"))


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(Exception, match="already contains files that are not a comparison"):
        ResultsFolder(tmp_path, _plan())
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


# --- Its table ------------------------------------------------------------------------------------------------------------


def _fill(folder: ResultsFolder, plan: ComparisonPlan, accuracies: dict[str, list[float | None]]) -> None:
    for pair in plan.pairs:
        for seed, accuracy in enumerate(accuracies[pair.method.name]):
            run = folder.run(pair, seed)
            run.mkdir()
            if accuracy is not None:
                (run / "result.json").write_text(json.dumps({"accuracy": accuracy, "seconds": 10 + 2 * seed}))


def test_rows_have_mean_and_range_over_the_seeds_that_are_done(tmp_path: Path, data_folder: Path) -> None:
    plan = _plan("el,binary", seeds=3)
    folder = ResultsFolder(tmp_path / "new", plan)
    _fill(folder, plan, {"el": [0.5, 0.625, 0.75], "binary": [0.25, None, None]})
    facts = {"bops": 2_500_000, "flops": 1_250_000, "ops": 1_289_062.5, "tflite_bytes": 263_600, "sha256": "a"}
    run = folder.run(plan.pairs[0], 0)
    (run / "deployed.json").write_text(json.dumps(facts))
    shutil.copy(data_folder / "binpool.tflite", run / "model.tflite")
    el, binary = read_rows(folder, plan, {"resnet18-binary": ["seed 1: no room"]}, {"a": {"median_ms": 1.5, "iqr_ms": 0.25}})
    assert (el.mean, binary.mean) == (0.625, 0.25)
    assert cells([el])[0] == (
        *("resnet18", "el", "1/1", "elastic", "0.6250", "0.5000 – 0.7500", "3"),
        *("2.50", "1.25", "0.33", "264", "1.500", "0.250", "12"),
    )
    assert cells([binary])[0][6:] == ("1", "", "", "", "", "", "", "10")
    assert markdown([el, binary]).splitlines()[3].startswith("| resnet18 | binary | 1/1 | none | 0.2500 |")
    read = list(csv.DictReader(to_csv([el, binary]).splitlines()))
    assert read[0]["accuracy_mean"] == "0.625"
    assert [read[0][f"accuracy_seed{seed}"] for seed in range(3)] == ["0.5", "0.625", "0.75"]
    assert (read[1]["accuracy_seed1"], read[1]["errors"]) == ("", "seed 1: no room")


def test_the_same_rows_make_the_same_picture(tmp_path: Path) -> None:
    rows = [
        ComparisonRow("resnet18", "el", "1/1", "elastic", (0.5, 0.6), 1.0, 10, 5, 5.2, 7, 100, 50, 3, 1.0, 0.1),
        ComparisonRow("resnet26", "el", "1/1", "elastic", (None, None), None, None, None, None, None, None, None, None, None, None),
    ]
    for name in ("a.svg", "b.svg"):
        plot(rows, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    text = (tmp_path / "a.svg").read_text()
    for label in ("resnet18", "resnet26", "binary MACs, millions", "real-valued MACs, millions", "latency here, ms", ">el<"):
        assert label in text


# --- The whole of it ------------------------------------------------------------------------------------------------------


def _files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_comparison_continues_after_a_failure_and_from_where_it_stopped(el_larq_command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    arguments = ("compare", *SMALL, "--methods", "binary,el", "--seeds", 1, "-o", folder)
    ResultsFolder(folder, _plan("binary,el"))
    obstacle = folder / "runs" / "resnet18-binary-s0"
    obstacle.write_text("no folder")
    result = el_larq_command(*arguments, "--json", timeout=900)
    assert result.returncode == 1, result.stderr
    reason = "cannot remove the unfinished run"
    assert [line for line in result.stderr.splitlines() if line.startswith("failed: resnet18 binary seed 0") and reason in line]
    binary, el = json.loads(result.stdout)["rows"]
    assert reason in binary["errors"][0]
    assert el["errors"] == []
    assert el["accuracies"] == [json.loads((folder / "runs" / "resnet18-el-s0" / "result.json").read_text())["accuracy"]]
    assert el["binary_convolutions"] == 16
    assert el["bops"] > 0
    assert el["flops"] > 0
    assert el["latency_ms"] > 0
    assert el["beside"] > 0
    assert el["tflite_bytes"] == (folder / "runs" / "resnet18-el-s0" / "model.tflite").stat().st_size

    obstacle.unlink()
    before = {name: time for name, time in _files(folder / "runs").items() if name.startswith("resnet18-el")}
    done = execute(_plan("binary,el"), folder)
    assert not done.failed
    assert before.items() <= _files(folder / "runs").items()
    assert all(row.latency_ms and row.mean is not None for row in done.rows)
    assert {path.name for path in folder.iterdir()} == {
        *("comparison.json", "results.json", "table.csv", "table.md", "comparison.png", "comparison.svg", "runs")
    }


def _weights(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


@given(runs=st.integers(0, 40), count=st.integers(1, 60))
def test_every_run_belongs_to_exactly_one_shard(runs: int, count: int) -> None:
    shares = [Shard(index, count).select(range(runs)) for index in range(1, count + 1)]
    assert sorted(itertools.chain(*shares)) == list(range(runs))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3", " 1/2"])
def test_an_invalid_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid shard"):
        parse_shard(text)


def test_a_shard_may_open_the_folder_while_another_one_creates_it(tmp_path: Path) -> None:
    (tmp_path / ".0a1b2c3d.part.comparison.json").write_text("{")
    ResultsFolder(tmp_path, _plan())
    assert (tmp_path / "runs").is_dir()


@pytest.mark.slow
def test_two_shards_at_once_give_one_comparison_of_runs_that_train_makes(el_larq_command: Command, tmp_path: Path) -> None:
    plan, folder = _plan("binary,el", seeds=2), tmp_path / "new"
    with ThreadPoolExecutor() as pool:
        shards = list(pool.map(lambda index: execute(plan, folder, shard=Shard(index, 2)), (1, 2)))
    assert not any(shard.failed for shard in shards)
    assert {path.name for path in folder.iterdir()} == {"comparison.json", "runs"}
    said: list[str] = []
    merged = execute(plan, folder, notify=said.append)
    assert said == ["4 of 4 runs are done already"]
    assert all(len(row.done) == 2 and row.latency_ms and not row.errors for row in merged.rows)
    assert (folder / "table.md").is_file()

    # The second training of its process against one in a process of its own.
    options = SMALL[2:]
    result = el_larq_command("train", "resnet18", *options, "--method", "el", "--seed", 1, "-o", tmp_path / "run", timeout=900)
    assert result.returncode == 0, result.stderr
    ours, theirs = (_weights(path / "model.h5") for path in (tmp_path / "new" / "runs" / "resnet18-el-s1", tmp_path / "run"))
    assert ours.keys() == theirs.keys()
    assert len(ours) > 50
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])


@pytest.mark.slow
def test_a_killed_comparison_leaves_no_process_and_can_be_continued(el_larq_command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    arguments = ["compare", *map(str, SMALL), "--methods", "binary,bireal", "--seeds", "1", "-o", str(folder)]
    program = Path(sys.executable).with_name("el-larq")
    with subprocess.Popen([str(program), *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "accuracy" in process.stderr.readline()
        done = _files(folder / "runs" / "resnet18-binary-s0")
        process.send_signal(signal.SIGKILL)
        # The pipe ends when the last process that holds it does, the workers too.
        process.stderr.read()
    time.sleep(1)
    assert "model.tflite" in done
    result = el_larq_command(*arguments, timeout=900)
    assert result.returncode == 0, result.stderr
    assert "1 of 2 runs are done already" in result.stderr
    assert _files(folder / "runs" / "resnet18-binary-s0") == done


@pytest.mark.slow
def test_an_interrupted_training_continues_and_ends_as_an_undisturbed_one(el_larq_command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    small = [*map(str, SMALL), "--epochs", "30"]
    arguments = ["compare", *small, "--methods", "el", "--seeds", "1", "-o", str(folder)]
    run = folder / "runs" / "resnet18-el-s0"
    program = Path(sys.executable).with_name("el-larq")
    with subprocess.Popen([str(program), *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        end = time.monotonic() + 600
        while not (run / "metrics.jsonl").is_file() and time.monotonic() < end:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert "the same command continues there" in process.stderr.read()
        assert process.wait() == 130
    assert not (run / "result.json").exists()
    begun = json.loads((run / "environment.json").read_text())
    result = el_larq_command(*arguments, timeout=900)
    assert result.returncode == 0, result.stderr
    # It has gone on, and not begun anew.
    assert json.loads((run / "environment.json").read_text())["command"] == begun["command"]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 30
    done = el_larq_command("train", "resnet18", *small[2:], "--method", "el", "-o", tmp_path / "run", timeout=900)
    assert done.returncode == 0, done.stderr
    ours, theirs = _weights(run / "model.h5"), _weights(tmp_path / "run" / "model.h5")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])
