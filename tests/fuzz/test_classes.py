"""Hostile models with every class of tf-keras in every place, given to the commands that open models."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import alarm
import corpus
import hostile_classes
import pytest
import runner

FEW = (150, 400)
"""`make test` takes one of so many cases of several commands, and of one command."""
MOST = (2, 12)
"""The same for `make test-slow`."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[runner.Runner]:
    with runner.Runner(tmp_path / "runner") as started:
        hostile_classes.fill(corpus.SEEDS, started.watched)
        yield started


def _faults(run: runner.Runner, folder: Path, steps: tuple[int, int], random: Random | None = None) -> tuple[list[str], int]:
    faults, count = [], 0
    for case in hostile_classes.cases(corpus.SEEDS, folder, run.watched, *steps, random):
        outcomes = [run.run(case.name, case.path, command) for command in case.commands]
        if outcomes[0].status != 1:
            outcomes += [run.run(case.name, case.path, command) for command in case.further]
        count += len(outcomes)
        faults += [f"{case.name}: {one.command[0]}: {'; '.join(one.faults)}: {one.error}" for one in outcomes if one.faults]
    return faults, count


def test_a_few_classes_of_keras_in_a_few_places(run: runner.Runner, tmp_path: Path) -> None:
    faults, count = _faults(run, tmp_path, FEW)
    assert faults == []
    assert count > 10


@pytest.mark.slow
def test_classes_of_keras_in_every_place(run: runner.Runner, tmp_path: Path) -> None:
    """About a minute of one processor, each day with other cases."""
    faults, count = _faults(run, tmp_path, MOST, Random(os.environ["EL_LARQ_SAMPLE"]))
    assert faults == []
    assert count > 700


def test_the_alarm_rings_for_files_programs_and_code(tmp_path: Path) -> None:
    """In a separate process, since audit hooks cannot be removed."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("text")
    program = """
import marshal, os, subprocess, sys
from pathlib import Path
from alarm import Alarm
folder = Path(sys.argv[1])
alarm = Alarm(folder)
for act in (
    lambda: os.stat(folder / "folder" / "file"),
    lambda: (folder / "folder" / "file").read_text(),
    lambda: (folder / "new").write_text("text"),
    lambda: os.unlink(folder / "new"),
    lambda: subprocess.run(["true"]),
    lambda: marshal.loads(marshal.dumps(1)),
):
    act()
    print(alarm.take_alarms())
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(alarm.__file__).parent)},
    )
    quiet, read, written, deleted, started, loaded = result.stdout.splitlines()
    assert quiet == "[]"
    assert "opened file" in read
    assert "read file" in read
    assert "created new" in written
    assert "deleted new" in deleted
    assert "subprocess.Popen" in started
    assert "marshalled code" in loaded
