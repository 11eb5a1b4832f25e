"""AddN sums in the order in which operators finish; a training step must hold none of three or more inputs."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from el_larq.training.determinism import make_deterministic


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
    """TensorFlow's own way to sum gradients, whatever tests before this one have set."""
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import backprop

    pywrap_tfe.TFE_Py_RegisterVSpace(backprop._default_vspace)
    yield
    make_deterministic()


def test_gradients_of_many_sources_are_summed_two_at_a_time(usual: None) -> None:
    x = tf.Variable(tf.linspace(0.0, 1.0, 7))
    before = _step(x)
    assert _wide_sums(before)  # the case that this is about
    make_deterministic()
    after = _step(x)
    assert _wide_sums(after) == []
    expected = np.cos(x) - np.sin(x) + np.exp(x) + 2 * x.numpy()
    for step in (before, after):
        np.testing.assert_allclose(step(tf.constant(1.0))[1], expected, rtol=1e-5)


def test_grappler_merges_no_additions() -> None:
    make_deterministic()
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False
