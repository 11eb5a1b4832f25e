"""AddN sums in the order in which operators finish; a deterministic training step must contain none of three or more inputs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from watched import kill_at

from el_larq.data.in_memory import InMemory
from el_larq.errors import ElLarqError, UsageError
from el_larq.training.determinism import is_deterministic, missing_kernels_named, set_deterministic
from el_larq.training.train import resume
from el_larq.training.training_plan import make_plan


def _step(x: tf.Variable) -> Any:
    def step(scale: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            a, b, c = tf.sin(x) * scale, tf.cos(x) * scale, tf.exp(x) * scale
            y = tf.reduce_sum(a + b + c + x * x)
        return y, tape.gradient(y, x)

    traced: Any = tf.function(step)
    return traced.get_concrete_function(tf.TensorSpec([]))


def _wide_sums(step: Any) -> list[int]:
    return [len(node.input) for node in step.graph.as_graph_def().node if node.op == "AddN" and len(node.input) > 2]


@pytest.fixture
def usual() -> Any:
    """TensorFlow's own settings, whatever tests before this one have set."""
    set_deterministic(False)
    yield
    set_deterministic(True)


def test_gradients_of_many_sources_are_summed_two_at_a_time(usual: None) -> None:
    x = tf.Variable(tf.linspace(0.0, 1.0, 7))
    before = _step(x)
    assert _wide_sums(before)  # the case that this is about
    set_deterministic(True)
    after = _step(x)
    assert _wide_sums(after) == []
    expected = np.cos(x) - np.sin(x) + np.exp(x) + 2 * x.numpy()
    for step in (before, after):
        np.testing.assert_allclose(step(tf.constant(1.0))[1], expected, rtol=1e-5)


def test_grappler_merges_no_additions() -> None:
    set_deterministic(True)
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False


def test_it_can_be_switched_off_again(usual: None) -> None:
    set_deterministic(True)
    set_deterministic(False)
    assert _wide_sums(_step(tf.Variable(tf.linspace(0.0, 1.0, 7))))
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is True
    tf.random.set_seed(None)  # pyright: ignore[reportArgumentType]
    tf.random.uniform([])  # an error with deterministic operations, since there is no seed


def test_auto_is_on_unless_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_deterministic("on")
    assert not is_deterministic("off")
    for found, expected in (([], True), (["a GPU"], False)):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind, found=found: found)
        assert is_deterministic("auto") is expected


def test_a_missing_kernel_is_named_with_the_way_out(one_line: Callable[[BaseException], str]) -> None:
    text = "Deterministic GPU implementation of unsorted segment reduction op not available."
    with pytest.raises(ElLarqError) as caught, missing_kernels_named():
        raise tf.errors.UnimplementedError(None, None, text)
    assert text in (line := one_line(caught.value))
    assert "--deterministic off" in line
    with pytest.raises(tf.errors.UnimplementedError), missing_kernels_named():
        raise tf.errors.UnimplementedError(None, None, "another")


def test_an_unknown_choice_is_named() -> None:
    with pytest.raises(UsageError, match="unknown deterministic 'yes'; known: auto, off, on"):
        make_plan("resnet26", deterministic="yes")


def test_a_run_without_it_says_so_and_is_resumed(start: Any, digits: InMemory, tmp_path: Path, usual: None) -> None:
    folder = tmp_path / "run"
    notices: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        start(folder, deterministic="off", dataset=kill_at(digits, 6), checkpoint_steps=2, notify=notices.append)
    assert ", not deterministic -> " in notices[0]
    assert any("similar, not identical" in line for line in notices[1:])
    assert json.loads((folder / "config.json").read_text())["deterministic"] is False
    notices.clear()
    set_deterministic(True)
    trained = resume(folder, dataset=digits, notify=notices.append)
    assert any("similar, not identical" in line for line in notices)
    assert _wide_sums(_step(tf.Variable(tf.linspace(0.0, 1.0, 7))))  # the run's own choice is in force again
    assert trained.accuracy > 0.1
