"""Links, pipes and devices inside a folder that came from somebody else: one line, and nothing outside is read or changed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from el_larq import own_folders
from el_larq.cli.main import main
from el_larq.errors import ElLarqError
from el_larq.evaluation.partial_outputs import PartialOutputs
from el_larq.training.lock import Lock
from el_larq.training.tensorboard import TensorBoard

SEEDS = Path(__file__).parent / "fuzz" / "seeds"

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="links need a right that few users have there, and there are no named pipes"
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A user's own files, named as a run folder's are, so that following a link would find, change or delete them."""
    folder = tmp_path / "outside"
    for name in ("file", ".x.part.notes", "state-000000009.ckpt", "last.weights.h5", "result.json", "train/events", "train/.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"my {name}")
    return folder


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A run that was begun and can be resumed."""
    folder = tmp_path / "run"
    shutil.copytree(Path(__file__).parent / "data" / "run_schema1", folder)
    config = json.loads((folder / "config.json").read_text())
    config = {name: value for name, value in config.items() if name != "facts"} | {"schema": 2}
    (folder / "config.json").write_text(json.dumps(config))
    for path in (folder / "result.json", *folder.glob("model.*")):
        path.unlink(missing_ok=True)
    for part in ("checkpoints", "tensorboard"):
        (folder / part).mkdir(exist_ok=True)
    return folder


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _to_file(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "file")


def _to_folder(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def _to_nothing(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "new")


def _to_zeros(path: Path, _outside: Path) -> None:
    path.symlink_to("/dev/zero")


def _pipe(path: Path, _outside: Path) -> None:
    os.mkfifo(path)


def _hard_link(path: Path, outside: Path) -> None:
    os.link(outside / "file", path)


Put = Callable[[Path, Path], None]


def _refused(arguments: list[object], capfd: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command ends."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    said = capfd.readouterr().err
    assert end.value.code == 1
    assert said.splitlines() == [said.rstrip("\n")]
    return said


@pytest.mark.parametrize(
    ("name", "put"),
    [
        (".lock", _to_file),
        (".lock", _to_nothing),
        (".lock", _hard_link),
        (".lock", _pipe),
        ("checkpoints", _to_folder),
        ("tensorboard", _to_folder),
        ("tensorboard/train", _to_folder),
        ("checkpoints/state-000000003.ckpt", _to_file),
        ("checkpoints/state-000000003.ckpt", _to_zeros),
        ("checkpoints/state-000000003.ckpt", _pipe),
        ("config.json", _to_file),
        ("config.json", _to_zeros),
        ("config.json", _pipe),
        ("network.py", _to_file),
        ("result.json", _pipe),
        ("failure.json", _pipe),
        ("environment.json", _to_zeros),
        ("model.h5", _to_file),
    ],
)
def test_a_run_with_a_link_is_not_resumed(
    name: str, put: Put, begun: Path, outside: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = _content(outside)
    path = begun / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    put(path, outside)
    said = _refused(["train", "--resume", begun], capfd)
    assert f"el-larq: {path} " in said
    assert "remove it" in said
    assert _content(outside) == before


def test_the_run_folder_itself_may_be_a_link(begun: Path, tmp_path: Path) -> None:
    from el_larq.training.config import read_config

    (tmp_path / "link").symlink_to(begun)
    assert read_config(tmp_path / "link") == read_config(begun)


@pytest.mark.parametrize(
    ("name", "put"),
    [
        ("runs", _to_folder),
        ("runs/resnet18-el-s0", _to_folder),
        ("runs/resnet18-el-s0/result.json", _to_file),
        ("results.json", _pipe),
        ("comparison.json", _to_file),
        ("comparison.json", _pipe),
        ("comparison.json", _to_zeros),
    ],
)
def test_a_comparison_with_a_link_is_not_continued(
    name: str, put: Put, tmp_path: Path, outside: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from el_larq.comparison.comparison_plan import plan_comparison
    from el_larq.comparison.results_folder import ResultsFolder

    settings: Any = {"dataset": "digits", "epochs": 1, "batch_size": 512, "width": 0.0625, "image_size": 8}
    ResultsFolder(tmp_path / "comparison", plan_comparison(["resnet18"], ["el"], 1, **settings))
    before = _content(outside)
    path = tmp_path / "comparison" / name
    if path.is_dir():
        path.rmdir()
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    put(path, outside)
    command = ["compare", "--network", "resnet18", "--methods", "el", "--dataset", "digits", "--image-size", 8, "--width", 0.0625]
    more = ["--epochs", 1, "--batch-size", 512, "--seeds", 1, "-o", tmp_path / "comparison"]
    assert f"el-larq: {path} " in _refused([*command, *more], capfd)
    assert _content(outside) == before


@pytest.mark.parametrize("put", [_to_file, _to_zeros, _pipe])
def test_the_state_of_an_evaluation_is_a_file(put: Put, tmp_path: Path, outside: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "evaluation"
    folder.mkdir()
    put(folder / "unfinished.npz", outside)
    command = ["evaluate", SEEDS / "model.tflite", "--images", 4, "-o", folder]
    assert f"el-larq: {folder / 'unfinished.npz'} " in _refused(command, capfd)
    assert [path.name for path in folder.iterdir()] == ["unfinished.npz"]


def test_a_state_that_is_an_array_alone_is_not_used(tmp_path: Path) -> None:
    with open(tmp_path / "unfinished.npz", "wb") as file:
        np.save(file, np.zeros(3))
    assert PartialOutputs(tmp_path, {}).load() is None


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "result.json", "environment.json", "model.tflite"])
def test_a_report_reads_no_link_in_a_run(name: str, tmp_path: Path, outside: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(SEEDS / "run", run)
    shutil.copy(run / name, outside / name)
    (run / name).unlink()
    (run / name).symlink_to(outside / name)
    assert f"el-larq: {run / name} is a link" in _refused(["report", run, "-o", tmp_path / "report.html"], capfd)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("put", [_pipe, _to_zeros, _to_nothing])
def test_a_report_names_what_it_finds_in_place_of_a_config(
    put: Put, tmp_path: Path, outside: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It does not take the other files of the run for results of a benchmark, nor leave out the run."""
    run = tmp_path / "all" / "run"
    shutil.copytree(SEEDS / "run", run)
    config = run / "config.json"
    config.unlink()
    put(config, outside)
    for folder in (run, run.parent):
        assert f"el-larq: {config} is " in _refused(["report", folder, "-o", tmp_path / "report.html"], capfd)


def test_a_report_follows_no_link_to_a_run_or_a_result(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "record.json").write_text("{}")
    for name, target in (("run", SEEDS / "run"), ("a.json", tmp_path / "record.json")):
        link = tmp_path / "all" / name
        link.symlink_to(target)
        assert f"el-larq: {link} is a link" in _refused(["report", tmp_path / "all", "-o", tmp_path / "report.html"], capfd)
        link.unlink()


def test_what_opens_entries_does_not_follow_links(tmp_path: Path, outside: Path) -> None:
    """Also behind a look that saw nothing wrong."""
    before = _content(outside)
    for put in (_to_file, _to_nothing, _to_zeros, _hard_link):
        put(tmp_path / ".lock", outside)
        with pytest.raises(ElLarqError, match="remove it"):
            Lock(tmp_path)
        (tmp_path / ".lock").unlink()
    (tmp_path / "tensorboard").symlink_to(outside)
    with pytest.raises(ElLarqError, match="tensorboard is a link"):
        TensorBoard(tmp_path / "tensorboard", [])
    assert _content(outside) == before


def test_an_entry_that_changes_between_the_look_and_the_opening_is_not_followed(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_folders, "is_there", lambda path: True)
    _to_file(tmp_path / "link", outside)
    for create in (False, True):
        with pytest.raises(OSError, match="symbolic link"):
            own_folders.open_file(tmp_path / "link", create=create)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ElLarqError, match="is not a file"):
        own_folders.open_file(tmp_path / "pipe")


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert own_folders.read(tmp_path / "file") == b"12345"
    with pytest.raises(ElLarqError, match="5 bytes are more than the 4"):
        own_folders.read(tmp_path / "file", 4)
    with pytest.raises(ElLarqError, match="No such file"):
        own_folders.read(tmp_path / "none")
