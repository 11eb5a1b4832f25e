"""The command line through its real entry point."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from PIL import Image

from el_larq import __version__
from el_larq.cli.list import KINDS
from el_larq.cli.main import COMMANDS, main
from el_larq.converters.steps import ON_REQUEST, STEPS

Command = Callable[..., CompletedProcess[str]]


def _error(result: CompletedProcess[str], status: int) -> str:
    """The one line on stderr of a command that failed."""
    lines = result.stderr.splitlines()
    assert result.returncode == status, result.stderr
    assert len(lines) == 1, result.stderr
    if "--json" in result.args:
        return json.loads(lines[0])["error"]
    assert lines[0].startswith("el-larq: ")
    assert len(lines[0]) < 1000
    assert "Traceback" not in lines[0]
    assert "unexpected" not in lines[0]
    assert result.stdout == ""
    return lines[0]


def test_help_names_every_command(el_larq_command: Command) -> None:
    result = el_larq_command("--help")
    assert result.returncode == 0
    assert result.stderr == ""
    for name in COMMANDS:
        assert name in result.stdout
    assert el_larq_command("-h").stdout == result.stdout


def test_without_arguments_the_help_is_shown_as_help(el_larq_command: Command) -> None:
    result = el_larq_command()
    assert result.returncode in (0, 2)
    text = result.stdout + result.stderr
    assert "Usage: el-larq" in text
    assert len(text.splitlines()) > 5


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_the_common_options(el_larq_command: Command, name: str) -> None:
    result = el_larq_command(name, "--help")
    assert result.returncode == 0
    assert f"Usage: el-larq {name}" in result.stdout
    assert "--json" in result.stdout
    assert "--verbose" in result.stdout


def test_version(el_larq_command: Command) -> None:
    assert el_larq_command("--version").stdout.split()[-1] == __version__


@pytest.mark.parametrize("kind", KINDS)
def test_lists_for_people_and_for_programs(el_larq_command: Command, kind: str) -> None:
    table, data = el_larq_command("list", kind), el_larq_command("list", kind, "--json")
    assert table.returncode == data.returncode == 0
    assert table.stderr == data.stderr == ""
    entries = json.loads(data.stdout)
    assert entries
    assert [entry["name"] for entry in entries] == [entry["name"] for entry in KINDS[kind]()]
    for entry in entries:
        assert entry["name"] in table.stdout
        assert entry["summary"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["trian"], "unknown command 'trian'; did you mean train"),
        (["list", "network"], "unknown list 'network'; did you mean networks"),
        (["train", "resnet27"], "unknown network 'resnet27'; did you mean resnet26"),
        (["train", "resnet26", "--method", "birael"], "unknown method 'birael'; did you mean bireal"),
        (["train", "resnet26", "--link", "elastik"], "unknown link 'elastik'; did you mean elastic"),
        (["train", "resnet26", "--dataset", "digit"], "unknown data set 'digit'; did you mean digits"),
        (["train", "resnet26", "--recipe", "standart"], "unknown recipe 'standart'; did you mean standard"),
        (["train", "resnet26", "--stem", "smal"], "unknown stem 'smal'; did you mean small"),
        (["train", "resnet26", "--downsample", "bin"], "unknown downsample 'bin'; did you mean binary"),
        (["train", "resnet26", "--placement", "after"], "unknown placement 'after'; did you mean after_norm"),
        (["convert", "m.h5", "-o", "m.tflite", "--skip", "verfy"], "unknown step 'verfy'; did you mean verify"),
        (["convert", "m.h5", "-o", "m.tflite", "--skip", "write"], "step 'write' cannot be skipped"),
        (["convert", "m.h5", "-o", "m.tflite", "--int8", "weights", "--weights", "float16"], "either as int8 or as float16"),
        (["convert", "m.h5", "-o", "m.tflite", "--int8", "full"], "--int8 full needs --calibrate"),
        (
            ["convert", "m.h5", "-o", "m.tflite", "--int8", "io", "--calibrate", "digit"],
            "unknown data set 'digit'; did you mean digits",
        ),
        (["convert", "m.h5", "-o", "m.tflite", "--int8", "io", "--calibrate", "a.npy"], "calibration: there is no file a.npy"),
        (["benchmark", "m.tflite", "--target", "locla"], "unknown target 'locla'; did you mean local"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_name_offers_the_nearest(el_larq_here: Command, tmp_path: Path, arguments: list[str], hint: str) -> None:
    assert hint in _error(el_larq_here(*arguments, cwd=tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["train", "resnet18", "--method", "float", "--link", "elastic"], "method 'float' does not binarize"),
        (["train", "resnet18", "--method", "bireal", "--placement", "after_norm"], "link 'identity' has no placement"),
        (["train", "resnet18", "--epochs", "0"], "epochs must be at least 1"),
        (["train", "resnet18", "--epochs", "many"], "--epochs"),
        (["train", "resnet18", "--width", "0"], "width must be positive"),
        (["train", "resnet18", "--learning-rate", "-1"], "learning rate must be positive"),
        (["train"], "Missing argument 'NETWORK'"),
        (["train", "resnet18", "--colour", "red"], "No such option"),
        (["train", "resnet18", "--log", "missing/train.log"], "--log: "),
        (["convert", "m.h5"], "--out"),
        (["predict", "m.h5"], "IMAGES"),
        (["benchmark", "m.tflite", "--threads", "0"], "thread counts"),
        (["benchmark", "m.tflite", "--threads", "1,x"], "thread counts"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_ends_with_2(el_larq_command: Command, tmp_path: Path, arguments: list[str], reason: str) -> None:
    assert reason in _error(el_larq_command(*arguments, cwd=tmp_path), 2)
    assert list(tmp_path.iterdir()) == []


def test_verbose_shows_the_trace_before_the_line(el_larq_command: Command, tmp_path: Path) -> None:
    result = el_larq_command("convert", "missing.h5", "-o", "m.tflite", "-v", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1] == "el-larq: missing.h5: no such file"


@pytest.mark.parametrize(
    "arguments", [["convert", "m.h5", "-o"], ["inspect"], ["report"], ["train", "resnet18", "-o"]], ids=" ".join
)
def test_a_name_that_is_too_long_is_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = 300 * "x" + ".tflite"
    with pytest.raises(SystemExit) as end:
        main([*arguments, name])
    assert (end.value.code, capfd.readouterr().err) == (1, f"el-larq: {name}: File name too long\n")


def _bad_file(small: Any, folder: Path, kind: str) -> Path:
    path = folder / ("bad.h5" if kind.endswith("h5") else "bad.tflite")
    content = {
        "garbage": b"TFL3" * 100,
        "text": b"a text file\n",
        "empty": b"",
        "truncated": small.tflite.read_bytes()[:-100],
        "half": small.tflite.read_bytes()[: small.tflite.stat().st_size // 2],
        "h5 as": small.h5.read_bytes(),
        "text h5": b"a text file\n",
        "empty h5": b"",
        "truncated h5": small.h5.read_bytes()[:20000],
        "weights h5": b"",
    }[kind]
    path.write_bytes(content)
    if kind == "weights h5":
        small.model.save_weights(path)
    return path


@pytest.mark.parametrize("kind", ["garbage", "text", "empty", "truncated", "half", "h5 as"])
def test_a_bad_tflite_is_one_line(el_larq_command: Command, small: Any, tmp_path: Path, digit_png: Path, kind: str) -> None:
    path = _bad_file(small, tmp_path, kind)
    assert "bad.tflite: " in _error(el_larq_command("benchmark", path), 1)
    assert "bad.tflite: " in _error(el_larq_command("predict", path, digit_png), 1)


@pytest.mark.parametrize("kind", ["text h5", "empty h5", "truncated h5", "weights h5"])
def test_a_bad_h5_is_one_line_and_nothing_is_written(el_larq_here: Command, small: Any, tmp_path: Path, kind: str) -> None:
    path = _bad_file(small, tmp_path, kind)
    assert "bad.h5: " in _error(el_larq_here("convert", path, "-o", tmp_path / "model.tflite"), 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.h5"]


def test_a_file_that_is_not_an_image_is_a_one_line_error(
    el_larq_here: Command, small: Any, tmp_path: Path, digit_png: Path
) -> None:
    (tmp_path / "notes.png").write_text("a text file")
    (tmp_path / "cut.png").write_bytes(digit_png.read_bytes()[:60])
    for name in ("notes.png", "cut.png", "missing.png"):
        assert name in _error(el_larq_here("predict", small.tflite, tmp_path / name), 1)


def test_a_destination_that_cannot_be_written_is_refused_at_once(el_larq_command: Command, small: Any, tmp_path: Path) -> None:
    message = _error(el_larq_command("convert", small.h5, "-o", tmp_path / "missing" / "model.tflite", timeout=20), 1)
    assert "does not exist; create it first" in message
    assert "it is a folder" in _error(el_larq_command("convert", small.h5, "-o", tmp_path), 1)


def test_an_unknown_audit_rule_offers_the_nearest(el_larq_here: Command, small: Any, tmp_path: Path) -> None:
    arguments = ("convert", small.h5, "-o", tmp_path / "m.tflite", "--allow", "not-binery", "--json")
    assert "did you mean not-binary" in _error(el_larq_here(*arguments), 2)


def test_images_are_classified_for_people_and_for_programs(
    el_larq_command: Command, el_larq_here: Command, small: Any, digit_png: Path
) -> None:
    table = el_larq_here("predict", small.tflite, digit_png, "--top", "3")
    assert table.returncode == 0, table.stderr
    assert str(digit_png) in table.stdout
    assert table.stdout.count("%") == 3
    data = el_larq_command("predict", small.h5, digit_png, digit_png, "--json")
    entries = json.loads(data.stdout)
    assert [entry["image"] for entry in entries] == [str(digit_png)] * 2
    assert len(entries[0]["top"]) == 5
    assert entries[0]["top"][0][0] in table.stdout


def test_a_model_is_converted_for_people_and_for_programs(
    el_larq_command: Command, el_larq_here: Command, small: Any, tmp_path: Path
) -> None:
    out = tmp_path / "model.tflite"
    people = el_larq_here("convert", small.h5, "-o", out, "--table", "--verify-images", "8")
    assert people.returncode == 0, people.stderr
    assert people.stdout.endswith(f"wrote {out}\n")
    for name in ("stem", "first", "second", "logits", "LceBconv2d"):
        assert name in people.stdout
    steps = [step for step in STEPS if step not in ON_REQUEST]
    for step in steps:
        assert f"{step} " in people.stderr
    programs = el_larq_command("convert", small.h5, "-o", out, "--json", "--verify-images", "8")
    assert programs.stderr == ""
    report = json.loads(programs.stdout)
    assert [entry["step"] for entry in report["steps"]] == steps
    assert report["tflite"] == str(out)


def test_models_are_measured_for_people_and_for_programs(
    el_larq_command: Command, el_larq_here: Command, small: Any, data_folder: Path, tmp_path: Path
) -> None:
    other = data_folder / "t1.tflite"
    people = el_larq_command("benchmark", small.tflite, other, "--runs", "3", "--threads", "1,2", cwd=tmp_path)
    assert len(list((tmp_path / "results").glob("*.json"))) == 4
    assert people.returncode == 0, people.stderr
    assert "median ms" in people.stdout
    assert "note: measured" in people.stderr
    programs = el_larq_here("benchmark", small.tflite, "--runs", "3", "--warmup", "0", "--json", cwd=tmp_path)
    result = json.loads(programs.stdout)
    assert result["measurements"][0]["num_runs"] == 3
    assert result["caveat"]


def test_the_whole_chain(el_larq_here: Command, data_folder: Path, tmp_path: Path) -> None:
    network = f"{data_folder / 'run_schema1' / 'network.py'}:build"
    train = (
        "train",
        network,
        "--dataset",
        "digits",
        "--epochs",
        1,
        "--batch-size",
        256,
        "-o",
        "run",
        "--json",
        "--log",
        "train.log",
    )
    trained = el_larq_here(*train, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    run = json.loads(trained.stdout)
    assert run["run"] == "run"
    assert 0 <= run["accuracy"] <= 1
    assert {"config.json", "environment.json", "metrics.jsonl", "model.h5", "model.keras", "result.json"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }
    converted = el_larq_here("convert", run["model"], "-o", "model.tflite", cwd=tmp_path)
    assert converted.returncode == 0, converted.stderr
    Image.new("L", (20, 20), 128).save(tmp_path / "image.png")
    predicted = el_larq_here("predict", "model.tflite", "image.png", "--json", cwd=tmp_path)
    assert {label for label, _ in json.loads(predicted.stdout)[0]["top"]} < {str(digit) for digit in range(10)}
    measured = el_larq_here("benchmark", "model.tflite", "--runs", "3", "--json", cwd=tmp_path)
    assert json.loads(measured.stdout)["measurements"][0]["model"] == "model.tflite"
    logged = [line.split(" ", 2)[2] for line in (tmp_path / "train.log").read_text().splitlines()]
    assert trained.stderr.splitlines() == logged
    assert logged[-1].startswith("epoch 1/1: loss ")
    again = el_larq_here(*train, "--quiet", cwd=tmp_path)
    assert "already contains files" in _error(again, 1)
    assert "already contains files" in (tmp_path / "train.log").read_text().splitlines()[-1]
