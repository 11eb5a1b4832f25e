from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.quantizers import GeneticSign, PerChannel

THRESHOLDS = np.array([0.0, 0.25, -0.5], np.float32)


def kernels() -> np.ndarray:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 3)).astype(np.float32)
    kernel[0, 0, 0] = THRESHOLDS  # at the threshold is +1
    kernel[0, 0, 1] = [1.5, -1.25, 1.0]  # beyond the gradient's window, and at its edge
    return kernel


def test_each_filter_has_its_own_threshold():
    quantizer, kernel = GeneticSign(), kernels()
    np.testing.assert_array_equal(quantizer(tf.constant(kernel)), np.where(kernel >= 0, 1, -1))
    quantizer.filter_threshold.assign(THRESHOLDS)
    for f, threshold in enumerate(THRESHOLDS):
        np.testing.assert_array_equal(quantizer(tf.constant(kernel))[..., f], np.where(kernel[..., f] >= threshold, 1, -1))


def test_the_gradient_passes_within_one_wherever_the_threshold_is():
    quantizer, kernel = GeneticSign(), tf.constant(kernels())
    quantizer(kernel)
    quantizer.filter_threshold.assign(THRESHOLDS)
    upstream: Any = tf.constant(np.random.default_rng(1).normal(size=(3, 3, 2, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        tape.watch(quantizer.filter_threshold)
        signs = quantizer(kernel)
    gradients: Any = tape.gradient(signs, [kernel, quantizer.filter_threshold], output_gradients=upstream)
    gradient, threshold = gradients
    np.testing.assert_array_equal(gradient, np.where(np.abs(kernels()) <= 1, upstream, 0))
    assert threshold is None
    assert quantizer.trainable_variables == []


def test_a_depthwise_kernel_has_a_threshold_a_channel():
    quantizer = GeneticSign()
    wrapped, kernel = PerChannel(quantizer), kernels().transpose(0, 1, 3, 2)[..., :1]
    wrapped(tf.constant(kernel))
    quantizer.filter_threshold.assign(THRESHOLDS)
    expected = np.where(kernel >= THRESHOLDS[:, None], 1, -1)
    np.testing.assert_array_equal(wrapped(tf.constant(kernel)), expected)


def test_settings_of_the_search_are_kept():
    copy = GeneticSign.from_config(GeneticSign(8, 3, 0.5).get_config())
    assert (copy.population, copy.generations, copy.balance) == (8, 3, 0.5)
