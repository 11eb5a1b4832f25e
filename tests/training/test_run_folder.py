"""The run folder: made whole, locked, of a schema."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from el_larq.errors import ElLarqError
from el_larq.training import run_folder as run_module
from el_larq.training.config import TrainConfig, read_config
from el_larq.training.lock import Lock
from el_larq.training.run_folder import create, open_run
from el_larq.training.state_files import SavedState, StateFiles

CONFIG = TrainConfig(
    network="n",
    method="m",
    link="l",
    placement=None,
    link_options={},
    dataset="d",
    dataset_version=1,
    image_size=16,
    width=1.0,
    network_options={},
    recipe={},
    seed=0,
)


class Killed(BaseException):
    pass


def test_a_config_is_read_as_it_was_written(tmp_path: Path) -> None:
    with create(tmp_path / "run", CONFIG, {"network.py": b"x"}) as run:
        assert run.config == read_config(tmp_path / "run") == CONFIG
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.json",
        "environment.json",
        "network.py",
        "checkpoints",
        ".lock",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ElLarqError, match="already contains files"):
        create(tmp_path / "file", CONFIG)
    with pytest.raises(ElLarqError, match="cannot write a run to"):
        create(tmp_path / "file" / "run", CONFIG)


@pytest.mark.parametrize("kind", ["empty", "link", "left"])
def test_an_empty_folder_is_taken(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "run"
    (tmp_path / "real").mkdir()
    if kind == "link":
        folder.symlink_to("real")
    else:
        folder.mkdir()
    if kind == "left":  # by a process that was killed before it had written a config
        (folder / ".lock").touch()
        (folder / ".00000000.part.config.json").touch()
    create(folder, CONFIG).__exit__(None, None, None)
    assert read_config(folder) == CONFIG
    assert folder.is_symlink() == (kind == "link")


def test_a_folder_that_cannot_be_renamed_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount point, or a folder in one that may not be written."""

    def busy(_source: Path, _target: Path) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(os, "rename", busy)
    (tmp_path / "run").mkdir()
    with create(tmp_path / "run", CONFIG):
        assert read_config(tmp_path / "run") == CONFIG
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", ["write_json", "environment", "Lock"])
def test_a_process_killed_while_it_makes_a_folder_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def die(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, name, die)
        patch.setattr(run_module.shutil, "rmtree", lambda *_, **__: None)  # nor is there time to clean up
        with pytest.raises(Killed):
            create(tmp_path / "run", CONFIG)
    assert not (tmp_path / "run").exists()
    assert len(list(tmp_path.iterdir())) == 1
    with create(tmp_path / "run", CONFIG):
        assert [path.name for path in tmp_path.iterdir()] == ["run"]


# --- The lock -------------------------------------------------------------------------------------------------------------


def test_a_second_process_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = f"""
from pathlib import Path
from el_larq.training.run_folder import open_run
from el_larq.errors import ElLarqError
try:
    open_run(Path({str(folder)!r}))
    print("open")
except ElLarqError as error:
    print(error)
"""

    def second() -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout

    with create(folder, CONFIG):
        assert second() == f"{folder} is in use by process {os.getpid()}; wait until that ends, or stop it\n"
        with pytest.raises(ElLarqError, match="is in use by process"):
            open_run(folder)  # of this process
    assert second() == "open\n"
    with open_run(folder) as run:  # that process has ended
        assert run.config == CONFIG


def test_a_lock_survives_what_the_file_says(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1\n")  # the number of a process that runs, and holds no lock
    lock = Lock(tmp_path)
    with pytest.raises(ElLarqError, match="in use"):
        Lock(tmp_path)
    lock.release()
    Lock(tmp_path).release()


def test_a_lock_file_of_any_content_does(tmp_path: Path) -> None:
    with create(tmp_path / "run", CONFIG):
        (tmp_path / "run" / ".lock").write_bytes(b"\xff\x00")
        with pytest.raises(ElLarqError, match="is in use by another process"):
            open_run(tmp_path / "run")


def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.decode().strip()}")
    try:
        create(disk / "run", CONFIG).__exit__(None, None, None)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(ElLarqError) as caught:
            open_run(disk / "run")
        assert str(caught.value) == f"cannot resume {disk / 'run'}: Read-only file system"
        with pytest.raises(ElLarqError) as caught:
            create(disk / "other", CONFIG)
        assert str(caught.value) == f"cannot write a run to {disk / 'other'}: Read-only file system"
        assert [path.name for path in disk.iterdir()] == ["run"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# --- States -------------------------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_back_does_not_make_an_old_state_the_newest(tmp_path: Path) -> None:
    states = StateFiles(tmp_path)
    for step, time in ((9, 3e9), (10, 1e9), (11, 2e9)):
        states.save(SavedState(step, {}, {"a": np.array([step])}))
        os.utime(states.path(step), (time, time))
    (tmp_path / "state-of-mine.ckpt").touch()  # not one of ours
    assert [path.name for path in states.paths()] == ["state-000000011.ckpt", "state-000000010.ckpt"]
    assert states.kept_step() == 11
    found = states.load(pytest.fail)
    assert found is not None
    assert found.step == 11


def test_a_state_that_declares_more_than_the_training_has_is_not_read(tmp_path: Path) -> None:
    states, said = StateFiles(tmp_path), []
    states.save(SavedState(1, {}, {"a": np.zeros(4)}))
    with open(states.path(2), "wb") as file:
        file.truncate(2**40)  # which takes no place on the disk
    found = states.load(said.append, 2**20)
    assert found is not None
    assert found.step == 1
    assert len(said) == 1
    assert said[0].startswith(f"{states.path(2)} is damaged: a state of this training does not have 1,099,511,627,776 bytes")


# --- Folders that are not runs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a run folder"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ('{"network": "x"}', "is damaged"),
        ('{"schema": 2, "network": "x"}', "is damaged"),
        ('{"schema": "2"}', "is damaged"),
        ('{"schema": true}', "is damaged"),
        ('{"schema": 4, "a": 1}', "schema 4, made by a newer el-larq; this one supports schemas up to 3: update it"),
    ],
)
def test_a_folder_that_is_not_a_run_is_a_one_line_error(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    for read in (read_config, open_run):
        with pytest.raises(ElLarqError) as caught:
            read(tmp_path)
        assert message in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / ".lock").exists()


def test_a_field_of_the_wrong_kind_is_damage(tmp_path: Path) -> None:
    with create(tmp_path / "run", CONFIG):
        path = tmp_path / "run" / "config.json"
        content = json.loads(path.read_text())
    for name, value in {"recipe": [], "seed": "0", "width": None, "link_options": 1, "validation": None}.items():
        path.write_text(json.dumps(content | {name: value}))
        with pytest.raises(ElLarqError, match="is damaged"):
            read_config(tmp_path / "run")


def test_an_older_mobilenet_is_built_as_it_was(tmp_path: Path) -> None:
    """Its depthwise convolutions were binary where nothing was said."""
    with create(tmp_path / "run", replace(CONFIG, network="mobilenet", network_options={"stem": "small"})):
        path = tmp_path / "run" / "config.json"
        content = json.loads(path.read_text())
    assert read_config(tmp_path / "run").network_options == {"stem": "small"}
    for schema in (1, 2):
        for given, meant in (
            ({"stem": "small"}, {"depthwise": "binary", "stem": "small"}),
            ({"depthwise": "real"}, {"depthwise": "real"}),
            ({"variant": "mid"}, {"variant": "mid"}),
        ):
            path.write_text(json.dumps(content | {"schema": schema, "network_options": given}))
            assert read_config(tmp_path / "run").network_options == meant
    path.write_text(json.dumps(content | {"schema": 2, "network": "resnet18"}))
    assert "depthwise" not in read_config(tmp_path / "run").network_options


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ElLarqError, match="there is no run folder"):
        open_run(tmp_path / "run")
