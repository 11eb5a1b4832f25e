"""The corpus of damaged and hostile files, given to the commands. `runner.Runner._judge` says what is checked."""

from collections.abc import Iterator
from pathlib import Path

import corpus
import pytest
import runner

KINDS = tuple(corpus.COUNTS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[runner.Runner]:
    with runner.Runner(tmp_path_factory.mktemp("runner")) as started:
        yield started


def _faults(run: runner.Runner, cases: list[corpus.Case], commands: int | None = None) -> list[str]:
    return [
        f"{outcome.name}: {' '.join(outcome.command)}: {'; '.join(outcome.faults)}: {outcome.error}"
        for case in cases
        for command in case.commands[:commands]
        if (outcome := run.run(case.name, case.path, command)).faults
    ]


def test_the_corpus_is_the_same_wherever_it_is_made_and_large_enough(tmp_path: Path) -> None:
    assert sum(corpus.COUNTS.values()) >= 500
    few = {"tflite": 4, "image": 4, "run": 4}
    names = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        files = [case.path for case in corpus.write(folder, counts=few, hostile_kinds=()) if case.path.is_file()]
        names.append({file.name: file.read_bytes() for file in files})
    assert names[0] == names[1]
    assert len({*names[0].values()}) == 8


def test_a_few_files_of_each_kind(run: runner.Runner, tmp_path: Path) -> None:
    cases = corpus.write(tmp_path, counts=dict.fromkeys(KINDS, 3), hostile_kinds=("h5", "keras", "image", "run", "tflite"))
    random = [case for case in cases if case.name[-3:].isdigit() and case.name.count("-") == 1]
    hostile = [case for case in cases if case not in random and "crash" not in case.name][::5]
    chosen = random + hostile
    assert len(chosen) >= 40
    assert _faults(run, chosen, commands=1) == []


def test_what_the_corpus_has_found(run: runner.Runner, tmp_path: Path) -> None:
    """Files that once made a command hang, crash or give a wrong error."""
    cases = corpus.write(tmp_path, counts={}, hostile_kinds=("found",))
    assert cases
    assert _faults(run, cases) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_corpus(kind: str, tmp_path: Path) -> None:
    """About half a minute each; separate tests, so that two processes share the work."""
    files = tmp_path / "files"
    files.mkdir()
    cases = corpus.write(files, counts={kind: corpus.COUNTS[kind]}, hostile_kinds=(kind,))
    with runner.Runner(tmp_path) as run:
        assert _faults(run, cases) == []
        assert run.commands >= len(cases)
        assert run.peak < runner.MEMORY


def test_the_runner_notices_what_goes_wrong(run: runner.Runner, tmp_path: Path) -> None:
    """If the checks found no fault in anything, all of the above would pass."""
    path = tmp_path / "model.tflite"
    answer = {"status": 0, "stderr": "", "peak": 0, "seconds": 0.0, "alarms": []}

    def judge(arguments: list[str], **changes: object) -> str:
        return "; ".join(run._judge({**answer, **changes}, arguments, path))

    assert judge([]) == ""
    assert judge([], status=1, stderr=f"el-larq: {path}: no good\n") == ""
    assert "does not name" in judge([], status=1, stderr="el-larq: no good\n")
    assert "2 lines" in judge([], status=1, stderr=f"el-larq: {path}: no\ngood\n")
    assert "unexpected error" in judge([], status=1, stderr=f"el-larq: unexpected {path}\n")
    assert "death by signal 11" in judge([], status="death by signal 11")
    assert "MiB" in judge([], peak=5 * 2**30)
    assert "100 s" in judge([], seconds=100.0)
    assert "opened x" in judge([], alarms=["opened x"])
    assert "has written nothing" in judge(["out.tflite"])
    (run.here / "EXECUTED").touch()
    assert "was executed" in judge([])
    (run.here / ".ab.part.out.svg").touch()
    assert "an incomplete file was left" in judge([])
    (run.here / "out.svg").touch()
    assert "left out.svg" in judge(["out.svg"], status=1, stderr=f"el-larq: {path}: no good\n")
    assert judge([]) == ""
