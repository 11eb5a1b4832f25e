"""A run that was stopped at any moment and resumed ends as one that was not. Real SIGKILLs: test_kills.py."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from watched import kill_at, watch, when_renamed

from el_larq.data.in_memory import InMemory
from el_larq.errors import ElLarqError, UsageError
from el_larq.methods.method_registry import METHODS
from el_larq.training.config import FAILURE, read_config
from el_larq.training.recipe import Recipe
from el_larq.training.state_files import read_state, write_state
from el_larq.training.stopping import Interrupted
from el_larq.training.train import Trained, resume

STEPS, STEPS_PER_EPOCH = 12, 4


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def die() -> None:
    raise Killed


# --- Bit for bit ----------------------------------------------------------------------------------------------------------


def test_killed_after_many_a_step_it_ends_with_the_same_weights(
    start: Any, undisturbed: Trained, digits: InMemory, assert_same: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    every: Any = {"checkpoint_steps": 2}
    with pytest.raises(KeyboardInterrupt):
        start(folder, dataset=kill_at(digits, 1), **every)
    for step in (4, 7, 12):
        with pytest.raises(KeyboardInterrupt):
            resume(folder, dataset=kill_at(digits, step), **every)
    notices: list[str] = []
    trained = resume(folder, dataset=digits, notify=notices.append)
    assert _without_epochs(notices) == [f"continuing {folder} at step 10 of 12"]
    assert_same(trained, undisturbed)
    for name in ("best", "last"):
        assert _arrays(folder / "checkpoints" / f"{name}.weights.h5") == _arrays(
            undisturbed.folder / "checkpoints" / f"{name}.weights.h5"
        )
    assert _scalars(folder) == _scalars(undisturbed.folder)
    resumed = json.loads((folder / "environment.json").read_text())["resumed"]
    assert [entry["step"] for entry in resumed] == [0, 2, 6, 10]


@pytest.mark.slow
def test_momentum_a_schedule_of_steps_and_clipping_resume_exactly(
    start: Any, digits: InMemory, assert_same: Any, tmp_path: Path
) -> None:
    recipe = Recipe("mine", "", epochs=3, batch_size=32, learning_rate=1e-2, optimizer="sgd")
    recipe = replace(recipe, schedule="step", drop_at=(0.3, 0.6), clip_norm=0.1)
    expected = start(tmp_path / "expected", recipe=recipe)
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        start(folder, recipe=recipe, dataset=kill_at(digits, 6), checkpoint_steps=1)
    notices: list[str] = []
    assert_same(resume(folder, dataset=digits, notify=notices.append), expected)
    assert _without_epochs(notices) == [f"continuing {folder} at step 5 of 12"]
    rates = [json.loads(line)["learning_rate"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rates == pytest.approx([1e-2, 1e-4, 1e-4])


def _without_epochs(notices: list[str]) -> list[str]:
    return [notice for notice in notices if not notice.startswith("epoch ")]


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
    assert len(found) == 3 * 7 + 3 * 2  # per epoch: seven of the training, two of the validation
    return sorted(found)


@pytest.mark.parametrize(
    ("name", "call", "after"),
    [
        pytest.param("state-000000000.ckpt", 1, False, marks=pytest.mark.slow),  # before the first state
        pytest.param("metrics.jsonl", 2, False, marks=pytest.mark.slow),  # between the weights of an epoch and its line
        ("state-000000008.ckpt", 1, False),  # between an epoch's line and its state
        ("model.keras", 1, True),  # between the model and the result
        pytest.param("result.json", 1, True, marks=pytest.mark.slow),  # before the states are removed
    ],
)
def test_killed_between_two_files_it_ends_with_the_same(
    start: Any, undisturbed: Trained, digits: InMemory, assert_same: Any, tmp_path: Path, name: str, call: int, after: bool
) -> None:
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        when_renamed(patch, name, call, die, after)
        with pytest.raises(Killed):
            start(folder)
    for part in (folder, folder / "checkpoints"):
        (part / ".0123abcd.part.model.h5").write_bytes(b"half")  # what SIGKILL leaves of a file in the making
    trained = resume(folder, dataset=digits)
    if name == "result.json":
        assert trained.accuracy == undisturbed.accuracy  # it was finished
    else:
        assert_same(trained, undisturbed)
    assert sorted(path.name for path in folder.rglob("*.part.*")) == []
    assert [path.name for path in folder.rglob("*.ckpt")] == ["state-000000012.ckpt"]


DROPOUT = """
import tf_keras as keras
from watched import kill_at, watch, when_renamed

def build(input_shape, num_classes):
    image = keras.Input(input_shape)
    x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Dense(num_classes)(x))
"""


def test_layers_that_draw_numbers_go_on_where_they_were(start: Any, digits: InMemory, assert_same: Any, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(DROPOUT)
    network = f"{tmp_path / 'net.py'}:build"
    whole = start(tmp_path / "whole", network, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", network, epochs=1, checkpoint_steps=2, dataset=kill_at(digits, 3))
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


@pytest.mark.slow
def test_a_search_runs_once_before_each_epoch_but_the_first(
    start: Any,
    digits: InMemory,
    undisturbed: Trained,
    assert_same: Any,
    tiny_network: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The search is that of a method, here of one without options; the network has the same layers as without it."""
    monkeypatch.setitem(METHODS, "bireal", replace(METHODS["bireal"], search=f"{__name__}:fake_search"))
    source = Path(tiny_network.rpartition(":")[0]).read_text()
    (tmp_path / "net.py").write_text(source.replace("(input_shape, num_classes)", "(input_shape, num_classes, method)"))
    searching: Any = {"network": f"{tmp_path / 'net.py'}:build", "method": "bireal"}
    SEARCHES.clear()
    whole = start(tmp_path / "whole", **searching)
    assert SEARCHES == [(5, 1, 4, (32, 16, 16, 1)), (5, 2, 4, (32, 16, 16, 1))]
    assert whole.model.get_weights()[0].tobytes() != undisturbed.model.get_weights()[0].tobytes()
    for step, epochs in ((4, [1, 2]), (5, [1, 2]), (6, [2])):
        folder = tmp_path / str(step)
        with pytest.raises(KeyboardInterrupt):
            start(folder, **searching, checkpoint_steps=1, dataset=kill_at(digits, step))
        SEARCHES.clear()
        assert_same(resume(folder, dataset=digits), whole)
        assert [epoch for _, epoch, *_ in SEARCHES] == epochs


# --- Ends other than a kill ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["step", pytest.param("evaluation", marks=pytest.mark.slow)])
def test_an_interruption_saves_and_says_how_to_continue(
    start: Any, digits: InMemory, undisturbed: Trained, assert_same: Any, tmp_path: Path, where: str
) -> None:
    folder, notices = tmp_path / "a run", []
    if where == "step":
        data = watch(digits, lambda at: signal.raise_signal(signal.SIGINT) if at == 6 else None)
    else:
        data = watch(digits, at_validation=lambda: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        start(folder, dataset=data, notify=notices.append)
    assert signal.getsignal(signal.SIGINT) is before
    step = 6 if where == "step" else 4
    assert notices[-1] == f"stopped at step {step} of 12; to continue: el-larq train --resume '{folder}'"
    assert_same(resume(folder, dataset=digits), undisturbed)


def test_a_second_interruption_ends_at_once(start: Any, digits: InMemory, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        start(tmp_path / "run", dataset=kill_at(digits, 1))
    assert not isinstance(caught.value, Interrupted)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["state-000000000.ckpt"]


def test_a_loss_of_nan_keeps_a_state_to_continue_from(start: Any, digits: InMemory, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    nan = np.full((32, 16, 16, 1), np.nan, np.float32)
    message = (
        f"the loss is nan at step 7; step 6 is kept; to continue from it with a lower rate: "
        f"el-larq train --resume {folder} --learning-rate 0.001"
    )
    with pytest.raises(ElLarqError) as caught:
        start(folder, checkpoint_steps=2, dataset=watch(digits, lambda step: nan if step == 7 else None))
    assert str(caught.value) == message
    with pytest.raises(ElLarqError) as caught:  # the same would happen again
        resume(folder, dataset=digits)
    assert str(caught.value) == f"{folder} would fail again: {message}"
    notices: list[str] = []
    trained = resume(folder, dataset=digits, learning_rate=1e-3, notify=notices.append)
    assert _without_epochs(notices) == [f"continuing {folder} at step 6 of 12"]
    config = read_config(folder)
    assert config.recipe["learning_rate"] == 1e-3
    assert config.changes == [{"step": 6, "learning_rate": 1e-3}]
    assert not (folder / FAILURE).exists()
    assert np.isfinite(trained.accuracy)


def test_a_state_that_is_not_finite_is_not_kept(start: Any, digits: InMemory, tmp_path: Path) -> None:
    """The variance of these images is Inf, and batch normalization stores it; images divided by it are 0, so the loss is finite."""
    huge = np.zeros((32, 16, 16, 1), np.float32)
    huge[::2] = 1e25
    with pytest.raises(ElLarqError, match=r"the state of the training is not finite at step 2; step 1 is kept"):
        start(tmp_path / "run", checkpoint_steps=1, dataset=watch(digits, lambda step: huge if step == 2 else None))
    for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        assert read_state(path).is_finite


def test_a_run_that_an_earlier_version_began_continues(data_folder: Path, tmp_path: Path) -> None:
    """One of schema 2, killed after six of eight steps by the version that introduced states."""
    begun, folder = data_folder / "run_schema2", tmp_path / "run"
    shutil.copytree(begun, folder)
    notices: list[str] = []
    trained = resume(folder, notify=notices.append)
    assert notices[0] == f"continuing {folder} at step 6 of 8"
    before, after = [(path / "metrics.jsonl").read_text().splitlines() for path in (begun, folder)]
    assert before == after[:1]
    assert json.loads(after[1])["step"] == 8
    # It validated on the test split, and goes on so, on all training images.
    assert trained.accuracy == json.loads(after[1])["val_accuracy"]
    assert set(json.loads((folder / "result.json").read_text())) == {"accuracy", "best_accuracy", "seconds"}


# --- Damage, and what does not fit ----------------------------------------------------------------------------------------


@pytest.fixture
def stopped(start: Any, digits: InMemory, tmp_path: Path) -> Path:
    """A run that was stopped after six of twelve steps, with two states."""
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", checkpoint_steps=1, dataset=kill_at(digits, 7))
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
    assert _without_epochs(notices) == [
        f"{path} is damaged: its checksum is wrong; using the previous state, or starting from the beginning",
        f"continuing {stopped} at step 5 of 12",
    ]


def test_with_every_state_damaged_it_starts_again(stopped: Path, digits: InMemory, undisturbed: Trained, assert_same: Any) -> None:
    for path in (stopped / "checkpoints").glob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:100])
    notices: list[str] = []
    assert_same(resume(stopped, dataset=digits, notify=notices.append), undisturbed)
    assert _without_epochs(notices)[-1] == f"continuing {stopped} at step 0 of 12"


def test_what_does_not_fit_is_refused_and_changes_nothing(stopped: Path, digits: InMemory) -> None:
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    few = replace(digits, train=replace(digits.train, images=digits.train.images[:100], labels=digits.train.labels[:100]))
    with pytest.raises(ElLarqError, match="cannot be resumed with other data: it was started with 4 steps per epoch, digits has 3"):
        resume(stopped, dataset=few)
    with pytest.raises(ElLarqError, match="the data of digits have changed"):
        resume(stopped, dataset=replace(digits, version=2))
    with pytest.raises(UsageError, match=r"has a learning rate of 0\.01; it can be changed only after a run has failed"):
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
    with pytest.raises(ElLarqError, match="the network or the optimizer is not the one it was started with"):
        resume(stopped, dataset=digits)
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert {path.name for path in changed} <= {"network.py", ".lock"}


def test_a_stream_says_that_a_resume_is_not_exact(
    start: Any, digits: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InMemory, "exact_resume", False)
    notices: list[str] = []
    start(tmp_path / "run", notify=notices.append)
    assert notices[2].startswith("digits cannot be read from an arbitrary position: a resumed run ends with similar")


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


def fill(disk: Path, room: int = 0) -> None:
    """Fill a file system but for ``room`` bytes."""
    with open(disk / "ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)
    os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - room)


def test_a_full_disk_ends_in_one_line_and_a_resume_fixes_it(
    start: Any, digits: InMemory, undisturbed: Trained, assert_same: Any, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(ElLarqError) as caught:
            start(disk / "run", checkpoint_steps=1, dataset=watch(digits, lambda step: fill(disk) if step == 3 else None))
        assert "No space left on device" in str(caught.value)
        assert f"step 2 is kept; once this is fixed, continue with el-larq train --resume {disk / 'run'}" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert _states(disk / "run") == [1, 2]
        (disk / "ballast").unlink()
        assert_same(resume(disk / "run", dataset=digits), undisturbed)


@pytest.mark.parametrize(
    ("room", "made"),
    [
        pytest.param(0, set(), marks=pytest.mark.slow),
        pytest.param(20_000, set(), marks=pytest.mark.slow),
        pytest.param(60_000, {"model.h5"}, id="room for model.h5 alone"),
    ],
)
def test_a_disk_that_is_full_when_the_model_is_saved_costs_nothing_of_the_training(
    room: int, made: set[str], start: Any, digits: InMemory, undisturbed: Trained, assert_same: Any, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(ElLarqError) as caught:
            start(disk / "run", dataset=watch(digits, at_test=lambda: fill(disk, room)))
        assert "No space left on device" in str(caught.value)
        assert f"step {STEPS} is kept; once this is fixed, continue with el-larq train --resume {disk / 'run'}" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert {path.name for path in (disk / "run").glob("model.*")} == made
        assert not list((disk / "run").rglob("*.part.*"))
        assert not (disk / "run" / "result.json").exists()
        (disk / "ballast").unlink()
        assert_same(resume(disk / "run", dataset=digits), undisturbed)


def test_a_folder_that_cannot_be_written_any_more_is_one_line(
    start: Any, digits: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def protect(step: int) -> None:  # a mode would not stop root
        if step == 2:
            monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(ElLarqError) as caught:
        start(folder, checkpoint_steps=1, dataset=watch(digits, protect))
    path = folder / "checkpoints"
    assert str(caught.value) == (
        f"cannot write {path / 'state-000000002.ckpt'}: the folder {path} is not writable; step 1 is kept; "
        f"once this is fixed, continue with el-larq train --resume {folder}"
    )


def test_a_run_folder_that_vanishes_is_one_line(start: Any, digits: InMemory, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(ElLarqError, match="the run folder is gone") as caught:
        start(folder, checkpoint_steps=1, dataset=watch(digits, lambda step: shutil.rmtree(folder) if step == 2 else None))
    assert "\n" not in str(caught.value)
