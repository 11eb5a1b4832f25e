"""Full disks, read-only folders, files that vanish: one error line, the old file or none, no incomplete file."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from el_larq.cli.main import main
from el_larq.errors import ElLarqError
from el_larq.files import atomic_path, write_bytes

SEEDS = Path(__file__).parent / "seeds"

Commands = dict[str, Callable[[Path], list[str]]]

# What each writes: a single file, or a folder of them.
WRITERS: Commands = {
    "convert": lambda out: ["convert", str(SEEDS / "model.h5"), "-o", str(out / "old.tflite"), "--verify-images", "2", "--json"],
    "inspect": lambda out: ["inspect", str(SEEDS / "model.tflite"), "--plot", str(out / "old.png"), "--json"],
    "export": lambda out: ["export-weights", str(SEEDS / "model.h5"), "--binary", "-o", str(out / "old.npz"), "--json"],
    "evaluate": lambda out: ["evaluate", str(SEEDS / "model.h5"), "--images", "4", "-o", str(out), "--json"],
    "report": lambda out: ["report", str(SEEDS / "run"), "-o", str(out / "old.html"), "--json"],
}


@contextmanager
def _mounted(path: Path, size: str) -> Iterator[Path]:
    """A small separate file system; skips if this process may not mount one."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes=100,mode=777", "none", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"this process may not mount a tmpfs: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def _run(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0), capfd.readouterr().err


def _listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_one_line(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with _mounted(tmp_path / "disk", "32k") as disk:
        for suffix, content in (("tflite", b"old TFL3"), ("png", b"\x89PNG\r\n\x1a\nold"), ("html", b"<html>old")):
            (disk / f"old.{suffix}").write_bytes(content)
        np.savez_compressed(disk / "old.npz", meta=np.zeros(1))
        filler = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="No space left"):  # noqa: PT012
            while True:
                os.write(filler, bytes(1024))
        os.close(filler)
        before = {path: content for path, content in _listing(disk).items() if path != "filler"}
        status, printed = _run(WRITERS[name](disk), capfd)
        assert status == 1
        assert printed.splitlines() == [printed.rstrip("\n")]
        assert "No space left on device" in printed
        assert str(disk) in printed
        after = _listing(disk)
        after.pop("filler")
        assert after == before


@pytest.mark.parametrize("name", WRITERS)
def test_a_read_only_folder_is_named_in_one_line(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with _mounted(tmp_path / "disk", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        status, printed = _run(WRITERS[name](disk), capfd)
        assert status == 1
        assert printed.splitlines() == [printed.rstrip("\n")]
        assert str(disk) in printed
        assert list(disk.iterdir()) == []


def test_an_error_of_a_library_on_a_full_disk_is_reported_as_a_full_disk(tmp_path: Path) -> None:
    """h5py fails on closing, with a RuntimeError."""
    with _mounted(tmp_path / "disk", "32k") as disk:

        def fill() -> None:
            with atomic_path(disk / "file") as temporary:
                try:
                    temporary.write_bytes(bytes(1 << 16))
                except OSError:
                    raise RuntimeError("problem closing\nthe file") from None

        with pytest.raises(ElLarqError, match=r"cannot write .*file: No space left on device"):
            fill()
        assert list(disk.iterdir()) == []
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "file"):
        raise RuntimeError("something else")


def test_a_record_that_cannot_be_kept_leaves_nothing(tmp_path: Path) -> None:
    from el_larq.devices import record

    kept = record.read(_record(tmp_path / "record.json"))
    with _mounted(tmp_path / "disk", "8k") as disk:
        write_bytes(disk / "filler", bytes(4096))
        with pytest.raises(ElLarqError, match="No space left on device; choose another folder with -o"):
            record.write(disk, kept, {"stdout": "x" * 50_000})
        assert [path.name for path in disk.iterdir()] == ["filler"]


def _record(path: Path) -> Path:
    content = {
        "time": "2026-01-01T00:00:00",
        "target": "local",
        "model": {"path": "m.tflite", "name": "m.tflite", "sha256": "0" * 64},
        "device": {},
        "engine": {},
        "runtime": {"num_threads": 1},
        "latency_metrics": {"avg_ms": 1.0},
    }
    path.write_text(json.dumps(content))
    return path


READERS: Commands = {
    "inspect": lambda file: ["inspect", str(file), "--json"],
    "export": lambda file: ["export-weights", str(file), "--binary", "-o", str(file.parent / "out.npz"), "--json"],
    "predict": lambda file: ["predict", str(file), str(SEEDS / "image.png"), "--json"],
    "evaluate": lambda file: ["evaluate", str(file), "--images", "4", "-o", str(file.parent / "out"), "--json"],
}


@pytest.mark.parametrize("suffix", ["h5", "keras", "tflite"])
@pytest.mark.parametrize("name", READERS)
def test_a_model_that_vanishes_after_the_command_has_seen_it_is_one_line(
    name: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"model.{suffix}"
    shutil.copy(SEEDS / path.name, path)
    exists = Path.exists

    def vanish(self: Path, **options: Any) -> bool:
        found = exists(self, **options)
        if self == path and found:
            os.unlink(path)
        return found

    monkeypatch.setattr(Path, "exists", vanish)
    status, printed = _run(READERS[name](path), capfd)
    assert status == 1
    assert printed.splitlines() == [printed.rstrip("\n")]
    assert str(path) in printed
    assert {entry.name for entry in tmp_path.iterdir()} <= {"out"}


def test_an_image_that_vanishes_between_check_and_prediction_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "image.png"
    shutil.copy(SEEDS / "image.png", path)
    load = Image.Image.load

    def vanish(self: Image.Image) -> Any:
        loaded = load(self)
        path.unlink(missing_ok=True)
        return loaded

    monkeypatch.setattr(Image.Image, "load", vanish)
    status, printed = _run(["predict", str(SEEDS / "model.h5"), str(path), "--json"], capfd)
    assert (status, printed.count("\n")) == (1, 1)
    assert str(path) in printed
