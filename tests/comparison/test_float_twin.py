"""A run beside its float twin, through the command line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest

from el_larq.comparison import float_twin, work
from el_larq.comparison.comparison_plan import Task
from el_larq.comparison.float_twin import plan_twin
from el_larq.converters.job import Options
from el_larq.errors import ElLarqError, UsageError
from el_larq.tflite.reader import parse
from el_larq.training.config import read_config
from el_larq.twins import TwinFigure, read_twins

Command = Callable[..., CompletedProcess[str]]

OWN = """
import tf_keras as keras

def build(input_shape, num_classes):
    image = keras.Input(input_shape)
    return keras.Model(image, keras.layers.Dense(num_classes)(keras.layers.Flatten()(image)))
"""


@pytest.fixture(scope="module")
def run(el_larq_command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twin") / "run"
    words = ["--dataset", "digits", "--image-size", 8, "--width", 0.0625, "--epochs", 1, "--batch-size", 512]
    done = el_larq_command("train", "resnet18", "--method", "bireal", "--seed", 3, *words, "-o", folder)
    assert done.returncode == 0, done.stderr
    return folder


def changed(run: Path, place: Path, **fields: object) -> Path:
    """A copy of the run whose config says something else."""
    shutil.copytree(run, place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | fields))
    return place


@pytest.mark.slow
def test_the_twins_are_trained_alike_and_all_are_in_one_table(run: Path, el_larq_here: Command, tmp_path: Path) -> None:
    out = tmp_path / "twin"
    done = el_larq_here("compare", run, "--against", "int8", "-o", out)
    assert done.returncode == 0, done.stderr
    assert "int8 twin / binary, int8" in done.stdout
    assert "differences of accuracy of a few points may be chance" in done.stderr
    ours, theirs = read_config(run), read_config(out / "float")
    assert (ours.method, theirs.method) == ("bireal", "float")
    same = ("network", "dataset", "dataset_fingerprint", "preprocessing", "recipe", "seed", "width", "image_size", "validation")
    assert [getattr(ours, name) for name in same] == [getattr(theirs, name) for name in same]
    figures = {row["name"]: row for row in json.loads((out / "twin.json").read_text())["figures"]}
    for place, side in ((run, "binary"), (out / "float", "float")):
        accuracy = json.loads((place / "result.json").read_text())["accuracy"]  # of the Keras model
        assert figures["test accuracy of the .tflite, %"][side] == pytest.approx(100 * accuracy, abs=0.5)
    for side in ("binary", "float"):
        size = (out / side / "model.tflite").stat().st_size
        assert figures["size of the .tflite, kB"][side] == size / 1e3
    assert figures["binary MACs, M"]["binary"] > figures["binary MACs, M"]["float"] == 0
    assert "| size of the .tflite, kB |" in (out / "table.md").read_text()
    assert list(json.loads((out / "twin.json").read_text())["sha256"]) == ["binary", "float", "binary-int8", "int8"]
    macs = {name: [figures[name][side] for side in ("binary-int8", "int8")] for name in ("binary MACs, M", "8-bit MACs, M")}
    assert macs["binary MACs, M"] == [figures["binary MACs, M"]["binary"], 0]
    assert macs["8-bit MACs, M"] == [figures["32-bit MACs, M"]["binary"], figures["32-bit MACs, M"]["float"]]
    for side in ("binary-int8", "int8"):
        described = parse((out / side / "model.tflite").read_bytes()).metadata["el_larq_card"]
        assert json.loads(described)["calibrated_on"] == {"dataset": "digits", "split": "train", "images": 256}
        evaluation = json.loads((out / side / "evaluation" / "evaluation.json").read_text())
        assert figures["test accuracy of the .tflite, %"][side] == pytest.approx(100 * evaluation["top1"])
        assert evaluation["images"] == 450

    page = el_larq_here("report", out, "-o", tmp_path / "report.html")
    assert page.returncode == 0, page.stderr
    html = (tmp_path / "report.html").read_text()
    assert "What binary bought" in html
    assert "int8 twin / binary, int8" in html

    other = changed(run, tmp_path / "other")
    refused = el_larq_here("compare", other, "--against", "float", "-o", out)
    assert refused.returncode == 2
    assert f"{out} belongs to {run}" in refused.stderr
    stale = changed(run, tmp_path / "stale", dataset_fingerprint="other")
    refused = el_larq_here("compare", stale, "--against", "float", "-o", tmp_path / "stale_twin")
    assert refused.returncode == 1
    assert "the data of digits have changed since it was trained" in refused.stderr


@dataclass
class Twinned:
    """A folder of twins without any training: conversions are recorded and replaced."""

    source: Path
    out: Path
    done: list[str]

    def compare(self, int8: bool) -> list[str]:
        """What was done, in its order."""
        self.done.clear()
        sides = ["binary", "float", *(["binary-int8", "int8"] if int8 else [])]
        work.perform_twins(
            (self.source, [self.out / side for side in sides], Task("twin", plan_twin(self.source, self.out), False))
        )
        return [*self.done]


@pytest.fixture
def twinned(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Twinned:
    twins = Twinned(changed(run, tmp_path / "source"), tmp_path / "out", [])
    twins.out.mkdir()

    def perform(task: Task) -> None:
        if not (task.folder / "model.h5").exists():
            twins.done.append("training")
            task.folder.mkdir()
            (task.folder / "model.h5").write_bytes(b"real")

    def convert(model: Path, target: Path, options: Options) -> SimpleNamespace:
        twins.done.append(target.parent.name)
        if options.int8 and model.read_bytes() == b"no int8":
            raise ElLarqError("refused")
        target.write_bytes(b"converted")
        details = {"audit": {"binary": 1}, "verify": {"top1_agreement": 1.0}}
        return SimpleNamespace(report=[SimpleNamespace(step=step, details=one) for step, one in details.items()], loaded=model)

    monkeypatch.setattr(work, "perform", perform)
    monkeypatch.setattr(work, "convert", convert)
    monkeypatch.setattr(work, "count", lambda _: SimpleNamespace(bops=1, flops=1, ops=1))
    monkeypatch.setattr(work, "inspect", lambda _: SimpleNamespace(arena=1))
    return twins


@pytest.mark.slow
def test_only_what_is_missing_or_was_made_of_other_weights_is_done_again(twinned: Twinned) -> None:
    assert twinned.compare(int8=False) == ["binary", "training", "float"]
    assert twinned.compare(int8=True) == ["binary-int8", "int8"]
    assert twinned.compare(int8=True) == []
    with (twinned.source / "model.h5").open("ab") as file:
        file.write(b"trained on")
    assert twinned.compare(int8=True) == ["binary", "binary-int8"]
    (twinned.out / "float" / "model.h5").write_bytes(b"trained on")
    (twinned.out / "binary" / "deployed.json").write_text("{")
    assert twinned.compare(int8=True) == ["binary", "float", "int8"]


def test_a_network_that_int8_refuses_is_refused_before_the_training(twinned: Twinned) -> None:
    (twinned.source / "model.h5").write_bytes(b"no int8")
    with pytest.raises(ElLarqError, match=r"cannot be converted with int8, so compare --against float: refused$"):
        twinned.compare(int8=True)
    assert twinned.done == ["binary", "binary-int8"]


def test_only_an_evaluation_of_the_same_file_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "evaluation" / "evaluation.json"
    report.parent.mkdir()

    def evaluate(model: Path, dataset: str, out: Path) -> None:
        (out / "evaluation.json").write_text('{"sha256": "2", "top1": 0.25}')

    monkeypatch.setattr("el_larq.evaluation.evaluate.evaluate", evaluate)
    said: list[str] = []
    for content in ('{"sha256": "2", "top1": 0.75}', '{"sha256": "1", "top1": 0.75}', '{"top1": 0.75}', "[]", "{"):
        report.write_text(content)
        accuracy = float_twin._test_accuracy(tmp_path / "model.tflite", "2", "digits", said.append)
        assert accuracy == (0.75 if '"2"' in content else 0.25)
    assert len(said) == 4


def test_a_run_that_was_extended_after_its_twin_was_trained(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "twin.json").write_text(json.dumps({"schema": 1, "run": str(run)}))
    recipe = json.loads((run / "config.json").read_text())["recipe"]
    changed(run, out / "float", method="float", recipe=recipe | {"epochs": 3})
    with pytest.raises(UsageError, match=r"has 1 epochs now and its float twin 3; extend that with el-larq train --resume .*float"):
        float_twin.compare_twin(run, out)


def test_the_twin_of_a_training_for_int8_from_weights(run: Path, tmp_path: Path) -> None:
    started = {"source": str(run), "sha256": "0" * 64, "taken": [], "left": [], "dropped": []}
    recipe = json.loads((run / "config.json").read_text())["recipe"] | {"qat_bits": 8}
    source = changed(run, tmp_path / "int8", init_from=started, recipe=recipe)
    assert plan_twin(source, tmp_path / "twin").recipe.qat_bits == 0
    first, second = float_twin._notes(read_config(source))
    assert f"the float twin starts from the weights of {run} too" in first
    assert "without simulated int8" in second
    assert [*float_twin._notes(read_config(run))] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "a run folder and --against belong together"),
        (["--against", "float"], "a run folder and --against belong together"),
        (["run", "--against", "float", "--epochs", "3"], "--epochs does not apply to RUN --against float"),
        ([], "give --network NAME, or a run folder with --against float|int8"),
        (["run", "--against", "int4"], "'int4' is not"),
    ],
)
def test_wrong_uses(el_larq_here: Command, arguments: list[str], message: str, tmp_path: Path) -> None:
    done = el_larq_here("compare", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.slow
def test_runs_without_a_twin(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="is real-valued itself"):
        plan_twin(changed(run, tmp_path / "real", method="float", link="none"), out)
    (tmp_path / "net.py").write_text(OWN)
    with pytest.raises(UsageError, match=r"net\.py:build takes no 'method'"):
        plan_twin(changed(run, tmp_path / "own", network=f"{tmp_path}/net.py:build", method="own"), out)
    (run_unfinished := changed(run, tmp_path / "unfinished")).joinpath("result.json").unlink()
    with pytest.raises(ElLarqError, match="is not finished; el-larq train --resume"):
        plan_twin(run_unfinished, out)
    with pytest.raises(ElLarqError, match="there is no run folder"):
        plan_twin(tmp_path / "none", out)
    with pytest.raises(UsageError, match="it is the input"):
        plan_twin(run, run)


def test_the_twin_of_a_run_with_partial_weights_accepts_as_few(run: Path, tmp_path: Path) -> None:
    started = {"source": str(run), "sha256": "0" * 64, "taken": [], "left": [], "dropped": [], "partial": True}
    plan = plan_twin(changed(run, tmp_path / "partial", init_from=started), tmp_path / "twin")
    assert (plan.init_from, plan.partial) == (run, True)


def test_a_figure_beside_that_of_the_twin() -> None:
    assert TwinFigure("size, kB", (10, 200), 0).cells() == ("size, kB", "10", "200", "20.00")
    assert TwinFigure("size, kB", (10, 200, 8, 4), 0).cells() == ("size, kB", "10", "200", "8", "4", "0.50")
    assert TwinFigure("accuracy, %", (60, 61.5), 2).cells() == ("accuracy, %", "60.00", "61.50", "+1.50 points")
    assert TwinFigure("binary MACs, M", (0, 1), 1).cells()[-1] == "–"
    assert TwinFigure("ms", (None, 1), 1).cells() == ("ms", "–", "1.0", "–")


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    for damaged in ('{"figures": 3}', '{"figures": [], "title": "", "caveat": "", "sha256": {"binary": "", "int8": ""}}'):
        (tmp_path / "twin.json").write_text(damaged)
        with pytest.raises(ElLarqError, match=r"twin\.json is damaged; run el-larq compare RUN --against float again"):
            read_twins(tmp_path)
    (tmp_path / "twin.json").write_text('{"schema": 1}')
    assert read_twins(tmp_path) is None
    for schema, age in ((1, "an older"), (3, "a newer")):
        (tmp_path / "twin.json").write_text(json.dumps({"schema": schema, "figures": [{"binary": 1, "float": 2}]}))
        with pytest.raises(ElLarqError, match=f"was made by {age} el-larq; run el-larq compare RUN --against float again"):
            read_twins(tmp_path)
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8" / "model.tflite").touch()
    with pytest.raises(ElLarqError, match="--against int8 again"):
        read_twins(tmp_path)
