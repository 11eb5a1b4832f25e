"""A run that was stopped at any moment and resumed ends as one that was not. Real SIGKILLs: test_kills.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.data.in_memory import InMemory
from el_larq.training import loop, train
from el_larq.training.progress import LiveProgress
from el_larq.training.state import States
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
    every = {"checkpoint_steps": 2}
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
        (loop, "append_line", 1, False),  # between the weights of an epoch and its line
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
    kernel = model.get_layer("binary").kernel
    shift = np.random.default_rng([seed, epoch]).normal(0, 0.1 + abs(float(batches[0][0].mean())) * 0.01, kernel.shape)
    kernel.assign_add(shift.astype(np.float32))


@pytest.mark.parametrize("step", [4, 5, 8])
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
    assert [epoch for _, epoch, *_ in SEARCHES] == ([1, 2] if step <= 4 else [2])


_Loop = loop.Loop
