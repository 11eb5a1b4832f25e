"""A run that was stopped at any moment and resumed ends as one that was not. Real SIGKILLs: test_kills.py."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.data.in_memory import InMemory
from el_larq.errors import ElLarqError, UsageError
from el_larq.training import loop, train
from el_larq.training.config import FAILURE, read_config
from el_larq.training.progress import LiveProgress
from el_larq.training.state import States, read_state, write_state
from el_larq.training.stopping import Interrupted
from el_larq.training.train import Trained, resume

STEPS, STEPS_PER_EPOCH = 12, 4


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The process ends right after that step."""

    def die(_bar: Any, at: int, _logs: Any) -> None:
        if at == step:
            raise Killed

    monkeypatch.setattr(LiveProgress, "step", die)


def kill_in(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int = 1, after: bool = False) -> None:
    """The process ends when a function is called for that time, before or after it does its work."""
    real, calls = getattr(owner, name), [0]

    def die(*arguments: Any, **more: Any) -> Any:
        calls[0] += 1
        result = real(*arguments, **more) if calls[0] != call or after else None
        if calls[0] == call:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, die)


# --- Bit for bit ----------------------------------------------------------------------------------------------------------


def test_killed_after_many_a_step_it_ends_with_the_same_weights(
    start: Any, undisturbed: Trained, digits: InMemory, assert_same: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    every: Any = {"checkpoint_steps": 2}
    begin: Callable[[], Trained] = lambda: start(folder, **every)  # noqa: E731
    for step in (1, 4, 7, 12):
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, step)
            with pytest.raises(Killed):
                begin()
        begin = lambda: resume(folder, dataset=digits, **every)  # noqa: E731
    notices: list[str] = []
    trained = resume(folder, dataset=digits, notify=notices.append)
    assert notices == [f"going on with {folder} at step 10 of 12"]
    assert_same(trained, undisturbed)
    for name in ("best", "last"):
        assert _arrays(folder / "checkpoints" / f"{name}.weights.h5") == _arrays(
            undisturbed.folder / "checkpoints" / f"{name}.weights.h5"
        )
    assert _scalars(folder) == _scalars(undisturbed.folder)
    resumed = json.loads((folder / "environment.json").read_text())["resumed"]
    assert [entry["step"] for entry in resumed] == [0, 2, 6, 10]


def _arrays(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None)
    assert found
    return found


def _scalars(folder: Path) -> list[tuple[str, str, int, bytes]]:
    found = []
    for path in sorted((folder / "tensorboard").rglob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            found += [(path.parent.name, value.tag, event.step, value.tensor.tensor_content) for value in event.summary.value]
    assert len(found) == 3 * 3 + 2 * 3
    return sorted(found)


@pytest.mark.parametrize(
    ("owner", "name", "call", "after"),
    [
        (States, "save", 1, False),  # before the first state
        (loop, "write_lines", 2, False),  # between the weights of an epoch and its line
        (States, "save", 3, False),  # between an epoch's line and its state
        (train, "save_model", 1, True),  # between the model and the result
        (States, "remove", 1, False),  # after the result
    ],
)
def test_killed_between_two_files_it_ends_with_the_same(
    start: Any,
    undisturbed: Trained,
    digits: InMemory,
    assert_same: Any,
    tmp_path: Path,
    owner: Any,
    name: str,
    call: int,
    after: bool,
) -> None:
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        kill_in(patch, owner, name, call, after)
        with pytest.raises(Killed):
            start(folder)
    for part in (folder, folder / "checkpoints"):
        (part / ".0123abcd.part.model.h5").write_bytes(b"half")  # what SIGKILL leaves of a file in the making
    trained = resume(folder, dataset=digits)
    if name == "remove":
        assert trained.accuracy == undisturbed.accuracy  # it was finished
    else:
        assert_same(trained, undisturbed)
    assert sorted(path.name for path in folder.rglob("*.part.*")) == []
    assert not list(folder.rglob("*.ckpt"))


DROPOUT = """
import tf_keras as keras

def build(input_shape, num_classes):
    image = keras.Input(input_shape)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Dense(num_classes)(x))
"""


def test_layers_that_draw_numbers_go_on_where_they_were(start: Any, digits: InMemory, assert_same: Any, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(DROPOUT)
    network = f"{tmp_path / 'net.py'}:build"
    whole = start(tmp_path / "whole", network, epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 3)
        with pytest.raises(Killed):
            start(tmp_path / "run", network, epochs=1, checkpoint_steps=2)
    (tmp_path / "net.py").write_text("raise SystemError")  # the run has its own copy
    assert_same(resume(tmp_path / "run", dataset=digits), whole)


# --- Searches between epochs ----------------------------------------------------------------------------------------------

SEARCHES: list[tuple[int, int, int, tuple[int, ...]]] = []


def fake_search(model: keras.Model, batches: list[tuple[np.ndarray, np.ndarray]], seed: int, epoch: int) -> None:
    SEARCHES.append((seed, epoch, len(batches), batches[0][0].shape))
    layer: Any = model.get_layer("binary")
    kernel = layer.kernel
    shift = np.random.default_rng([seed, epoch]).normal(0, 0.1 + abs(float(batches[0][0].mean())) * 0.01, kernel.shape)
    kernel.assign_add(shift.astype(np.float32))


@pytest.mark.parametrize("step", [4, 5, 6])
def test_a_search_runs_once_before_each_epoch_but_the_first(
    start: Any, digits: InMemory, undisturbed: Trained, assert_same: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    def with_search(*arguments: Any, **more: Any) -> Any:
        return _Loop(*arguments, **(more | {"search": f"{__name__}:fake_search"}))

    monkeypatch.setattr(train, "Loop", with_search)
    SEARCHES.clear()
    whole = start(tmp_path / "whole")
    assert SEARCHES == [(5, 1, 4, (32, 16, 16, 1)), (5, 2, 4, (32, 16, 16, 1))]
    assert whole.model.get_weights()[0].tobytes() != undisturbed.model.get_weights()[0].tobytes()
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            start(tmp_path / "run", checkpoint_steps=1)
    SEARCHES.clear()
    assert_same(resume(tmp_path / "run", dataset=digits), whole)
    assert [epoch for _, epoch, *_ in SEARCHES] == ([1, 2] if step <= 5 else [2])


_Loop = loop.Loop


# --- Ends that are no kill ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["step", "evaluation"])
def test_an_interruption_saves_and_says_how_to_go_on(
    start: Any, digits: InMemory, undisturbed: Trained, assert_same: Any, tmp_path: Path, where: str
) -> None:
    folder, notices = tmp_path / "a run", []
    with pytest.MonkeyPatch.context() as patch:
        if where == "step":
            patch.setattr(LiveProgress, "step", lambda _bar, at, _logs: signal.raise_signal(signal.SIGINT) if at == 6 else None)
        else:
            evaluate = keras.Model.evaluate
            patch.setattr(keras.Model, "evaluate", lambda *a, **k: (signal.raise_signal(signal.SIGTERM), evaluate(*a, **k))[1])
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(Interrupted):
            start(folder, notify=notices.append)
        assert signal.getsignal(signal.SIGINT) is before
    step = 6 if where == "step" else 4
    assert notices[-1] == f"stopped at step {step} of 12; to go on: el-larq train --resume '{folder}'"
    assert_same(resume(folder, dataset=digits), undisturbed)


def test_a_second_interruption_ends_at_once(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(_bar: Any, _at: int, _logs: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(LiveProgress, "step", twice)
    with pytest.raises(KeyboardInterrupt) as caught:
        start(tmp_path / "run")
    assert not isinstance(caught.value, Interrupted)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["state-000000000.ckpt"]


def test_a_loss_that_is_no_number_keeps_a_state_to_go_on_from(
    start: Any, digits: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    check = loop.Loop._check

    def breaks(self: loop.Loop, name: str, loss: float) -> None:
        broken = self.recipe.learning_rate == 1e-2 and self.step == 7
        check(self, name, float("nan") if broken else loss)

    monkeypatch.setattr(loop.Loop, "_check", breaks)
    message = (
        f"the loss is nan at step 7; step 6 is kept, to go on from it with a lower rate: "
        f"el-larq train --resume {folder} --learning-rate 0.001"
    )
    with pytest.raises(ElLarqError) as caught:
        start(folder, checkpoint_steps=2)
    assert str(caught.value) == message
    with pytest.raises(ElLarqError) as caught:  # the same would happen again
        resume(folder, dataset=digits)
    assert str(caught.value) == f"{folder} would fail again: {message}"
    notices: list[str] = []
    trained = resume(folder, dataset=digits, learning_rate=1e-3, notify=notices.append)
    assert notices == [f"going on with {folder} at step 6 of 12"]
    config = read_config(folder)
    assert config.recipe["learning_rate"] == 1e-3
    assert config.changes == [{"step": 6, "learning_rate": 1e-3}]
    assert not (folder / FAILURE).exists()
    assert np.isfinite(trained.accuracy)


def test_a_state_that_is_not_finite_is_not_kept(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's loss is that before its update: what an update broke is in the state before it is in a loss."""

    def broken(_bar: Any, at: int, _logs: Any) -> None:
        if at == 2:
            models[-1].get_layer("stem").kernel.assign_add(tf.fill([3, 3, 1, 8], float("inf")))

    models: list[Any] = []
    real = train.make_optimizer
    monkeypatch.setattr(train, "make_optimizer", lambda recipe, model, steps: (models.append(model), real(recipe, model, steps))[1])
    monkeypatch.setattr(LiveProgress, "step", broken)
    with pytest.raises(ElLarqError, match=r"the state of the training is not finite at step 2; step 1 is kept"):
        start(tmp_path / "run", checkpoint_steps=1)
    for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        assert read_state(path).is_finite


def test_a_run_that_an_earlier_version_began_goes_on(data_folder: Path, tmp_path: Path) -> None:
    """One of schema 2, killed after six of eight steps by the version that introduced states."""
    begun, folder = data_folder / "run_schema2", tmp_path / "run"
    shutil.copytree(begun, folder)
    notices: list[str] = []
    trained = resume(folder, notify=notices.append)
    assert notices[0] == f"going on with {folder} at step 6 of 8"
    before, after = [(path / "metrics.jsonl").read_text().splitlines() for path in (begun, folder)]
    assert before == after[:1]
    assert json.loads(after[1])["step"] == 8
    # It validated on the test split, and goes on so, on all training images.
    assert trained.accuracy == json.loads(after[1])["val_accuracy"]
    assert set(json.loads((folder / "result.json").read_text())) == {"accuracy", "best_accuracy", "seconds"}


# --- Damage, and what does not fit ----------------------------------------------------------------------------------------


@pytest.fixture
def stopped(start: Any, tmp_path: Path) -> Path:
    """A run that was stopped after six of twelve steps, with two states."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 7)
        with pytest.raises(Killed):
            start(tmp_path / "run", checkpoint_steps=1)
    assert _states(tmp_path / "run") == [5, 6]
    return tmp_path / "run"


def _states(folder: Path) -> list[int]:
    return sorted(read_state(path).step for path in (folder / "checkpoints").glob("*.ckpt"))


def test_a_damaged_state_is_named_and_the_one_before_it_taken(
    stopped: Path, digits: InMemory, undisturbed: Trained, assert_same: Any
) -> None:
    path = stopped / "checkpoints" / "state-000000006.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    notices: list[str] = []
    assert_same(resume(stopped, dataset=digits, notify=notices.append), undisturbed)
    assert notices == [
        f"{path} is damaged: its checksum is wrong; going back to the one before it, or to the start",
        f"going on with {stopped} at step 5 of 12",
    ]


def test_with_every_state_damaged_it_starts_again(stopped: Path, digits: InMemory, undisturbed: Trained, assert_same: Any) -> None:
    for path in (stopped / "checkpoints").glob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:100])
    notices: list[str] = []
    assert_same(resume(stopped, dataset=digits, notify=notices.append), undisturbed)
    assert notices[-1] == f"going on with {stopped} at step 0 of 12"


def test_what_does_not_fit_is_refused_and_changes_nothing(stopped: Path, digits: InMemory) -> None:
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    few = replace(digits, train=replace(digits.train, images=digits.train.images[:100], labels=digits.train.labels[:100]))
    with pytest.raises(ElLarqError, match="cannot go on with other data: it was begun with 4 steps per epoch, digits has 3"):
        resume(stopped, dataset=few)
    with pytest.raises(ElLarqError, match="the data of digits have changed"):
        resume(stopped, dataset=replace(digits, version=2))
    with pytest.raises(UsageError, match=r"has a learning rate of 0\.01; only a run that failed takes another"):
        resume(stopped, dataset=digits, learning_rate=0.5)
    path = stopped / "checkpoints" / "state-000000006.ckpt"
    whole, content = read_state(path), path.read_bytes()
    for change in ({"step": 13}, {"step": -1}, {"step": "6"}, {"records": []}, {"records": [{"epoch": 1}]}, {"seconds": "x"}):
        facts = whole.facts | {name: value for name, value in change.items() if name != "step"}
        write_state(path, replace(whole, step=change.get("step", 6), facts=facts))  # with a sound checksum
        with pytest.raises(ElLarqError, match=rf"{path} is damaged"):
            resume(stopped, dataset=digits)
    path.write_bytes(content)
    (stopped / "network.py").write_text(DROPOUT)
    with pytest.raises(ElLarqError, match="the network or the optimizer is not the one it was begun with"):
        resume(stopped, dataset=digits)
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert {path.name for path in changed} <= {"network.py", ".lock"}


def test_a_stream_says_that_a_resume_is_not_exact(
    start: Any, digits: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InMemory, "exact_resume", False)
    notices: list[str] = []
    start(tmp_path / "run", notify=notices.append)
    assert notices[1].startswith("digits cannot be read again from any place: a run that is resumed ends near")


# --- Full disk ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A file system of one megabyte; skips where this process may not mount one."""
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(path)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_ends_in_one_line_and_a_resume_mends_it(
    start: Any, digits: InMemory, undisturbed: Trained, assert_same: Any, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        ballast = disk / "ballast"

        def fill(_bar: Any, at: int, _logs: Any) -> None:
            if at == 3:
                with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
                    while True:
                        file.write(b"0" * 4096)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LiveProgress, "step", fill)
            with pytest.raises(ElLarqError) as caught:
                start(disk / "run", checkpoint_steps=1)
        assert "No space left on device" in str(caught.value)
        assert f"step 2 is kept, when that is mended: el-larq train --resume {disk / 'run'}" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert _states(disk / "run") == [1, 2]
        ballast.unlink()
        assert_same(resume(disk / "run", dataset=digits), undisturbed)


@pytest.mark.parametrize(
    ("room", "made"),
    [(0, set()), (20_000, set()), pytest.param(60_000, {"model.h5"}, id="room for model.h5 alone")],
)
def test_a_disk_that_is_full_when_the_model_is_saved_costs_nothing_of_the_training(
    room: int, made: set[str], start: Any, digits: InMemory, undisturbed: Trained, assert_same: Any, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk, pytest.MonkeyPatch.context() as patch:
        real = train.save_model

        def fill(*arguments: Any) -> None:
            with open(disk / "ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"0" * 4096)
            os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - room)
            real(*arguments)

        patch.setattr(train, "save_model", fill)
        with pytest.raises(ElLarqError) as caught:
            start(disk / "run")
        assert "No space left on device" in str(caught.value)
        assert f"step {STEPS} is kept, when that is mended: el-larq train --resume {disk / 'run'}" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert {path.name for path in (disk / "run").glob("model.*")} == made
        assert not list((disk / "run").rglob("*.part.*"))
        assert not (disk / "run" / "result.json").exists()
        patch.undo()
        (disk / "ballast").unlink()
        assert_same(resume(disk / "run", dataset=digits), undisturbed)


def test_a_folder_that_cannot_be_written_any_more_is_one_line(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr(
        LiveProgress, "step", lambda _bar, at, _logs: at == 2 and monkeypatch.setattr(os, "access", lambda *_: False)
    )
    with pytest.raises(ElLarqError) as caught:
        start(folder, checkpoint_steps=1)
    path = folder / "checkpoints"
    assert str(caught.value) == (
        f"cannot write {path / 'state-000000002.ckpt'}: the folder {path} is not writable; step 1 is kept, "
        f"when that is mended: el-larq train --resume {folder}"
    )


def test_a_state_is_saved_each_minute_and_less_often_where_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock on the wall says."""
    now = [1000.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(loop.time, "time", lambda: -now[0])
    begun: Any = SimpleNamespace(every_steps=None, every_seconds=60.0, step=7, _saved_at=1000.0, _save_cost=0.5)

    def due_after(seconds: float) -> bool:
        now[0] = 1000.0 + seconds
        return loop.Loop._is_due.__get__(begun)

    assert not due_after(59)
    assert due_after(61)
    begun._save_cost = 10.0  # a twentieth of the time at most
    assert not due_after(199)
    assert due_after(201)
    begun.every_steps = 7
    assert due_after(0)


def test_a_run_folder_that_vanishes_is_one_line(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr(LiveProgress, "step", lambda _bar, at, _logs: shutil.rmtree(folder) if at == 2 else None)
    with pytest.raises(ElLarqError, match="the run folder is gone") as caught:
        start(folder, checkpoint_steps=1)
    assert "\n" not in str(caught.value)
