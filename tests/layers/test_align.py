from typing import Any

import align_reference as reference
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.layers.align import align_channels, align_space, infer_stride

channel_counts = st.integers(1, 20)
sizes = st.integers(1, 9)
stride_values = st.integers(1, 3)


def align(x: Any, channels: int, strides: tuple[int, int] = (1, 1)) -> Any:
    return align_channels(align_space(x, strides), channels)


def random_tensor(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


PAIRS = [(4, 4), (8, 4), (12, 3), (4, 8), (3, 12), (7, 3), (3, 7), (10, 4), (4, 10), (1, 5), (5, 1)]


@pytest.mark.parametrize(("c_in", "c_out"), PAIRS)
def test_channels_are_squeezed_and_expanded_as_defined(c_in: int, c_out: int):
    x = random_tensor(2, 3, 4, c_in)
    np.testing.assert_allclose(align(x, c_out), reference.align(x, c_out), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("strides", [(2, 2), (3, 3), (1, 2), (3, 1)])
@pytest.mark.parametrize("size", [(5, 7), (9, 3), (8, 8), (1, 1)])
def test_space_is_averaged_over_the_cells_inside_the_map_only(size: tuple[int, int], strides: tuple[int, int]):
    x = random_tensor(2, *size, 6)
    np.testing.assert_allclose(align(x, 4, strides), reference.align(x, 4, strides), rtol=1e-5, atol=1e-6)


def test_a_border_window_of_a_constant_map_is_that_constant():
    np.testing.assert_array_equal(align_space(tf.ones((1, 5, 5, 1)), (3, 3)), np.ones((1, 2, 2, 1)))


def test_written_out_examples():
    row: Any = tf.constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])[None, None, None, :]
    assert np.ravel(align_channels(row, 3)).tolist() == [1 + 4 + 7, 2 + 5, 3 + 6]
    assert np.ravel(align_channels(row[..., :3], 7)).tolist() == [1, 2, 3, 1, 2, 3, 1]


def test_an_equal_shape_passes_unchanged():
    x = tf.constant(random_tensor(1, 2, 2, 3))
    assert align(x, 3) is x


@settings(deadline=None, max_examples=150)
@given(channel_counts, channel_counts, stride_values, stride_values, sizes, sizes)
def test_any_shapes_agree_with_the_reference(c_in: int, c_out: int, s_h: int, s_w: int, height: int, width: int):
    x = random_tensor(2, height, width, c_in, seed=c_in * 31 + c_out)
    y = np.asarray(align(x, c_out, (s_h, s_w)))
    assert y.shape == (2, -(-height // s_h), -(-width // s_w), c_out)
    np.testing.assert_allclose(y, reference.align(x, c_out, (s_h, s_w)), rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(channel_counts, channel_counts, stride_values, sizes)
def test_the_gradient_is_the_transpose(c_in: int, c_out: int, stride: int, size: int):
    x = tf.constant(random_tensor(2, size, size, c_in, seed=c_in))
    with tf.GradientTape() as tape:
        tape.watch(x)
        aligned = align(x, c_out, (stride, stride))
    y: Any = random_tensor(*aligned.shape, seed=c_out + 99)
    transposed: Any = np.asarray(tape.gradient(aligned, x, output_gradients=y))
    # <align(x), y> = <x, align^T(y)>
    np.testing.assert_allclose(np.sum(aligned * y), np.sum(x * transposed), rtol=1e-3, atol=1e-4)
    expected = reference.align_transposed(y, (2, size, size, c_in), (stride, stride))
    np.testing.assert_allclose(transposed, expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(channel_counts, channel_counts)
def test_the_gradient_of_squeeze_is_expand_and_the_other_way_round(c_in: int, c_out: int):
    x = tf.constant(random_tensor(1, 2, 3, c_in))
    y: Any = tf.constant(random_tensor(1, 2, 3, c_out, seed=1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        aligned = align_channels(x, c_out)
    gradient: Any = tape.gradient(aligned, x, output_gradients=y)
    np.testing.assert_allclose(gradient, align_channels(y, c_in), rtol=1e-5, atol=1e-5)


@given(st.integers(1, 300), st.integers(1, 8))
def test_an_inferred_stride_leads_to_the_size_and_none_smaller_does(before: int, stride: int):
    after = -(-before // stride)
    inferred = infer_stride(before, after)
    assert inferred == min(s for s in range(1, 400) if -(-before // s) == after)


@pytest.mark.parametrize(("before", "after"), [(8, 9), (8, 5), (9, 7), (1, 2)])
def test_a_size_that_no_stride_leads_to_is_refused(before: int, after: int):
    with pytest.raises(ValueError, match=f"no stride maps a size of {before} to {after}"):
        infer_stride(before, after)
