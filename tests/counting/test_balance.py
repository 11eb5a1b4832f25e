"""The balance of binary kernels, against the definition and by hand."""

import math

import numpy as np
import pytest

from el_larq.counting.balance import balance


def test_the_entropy_is_that_of_the_share_in_each_filter() -> None:
    half, quarter = [1, -1, 1, -1], [3, -2, -2, -0.5]
    found = balance([np.array([half, quarter])])
    assert found is not None
    assert found.positive == 3 / 8
    by_hand = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert found.entropy == pytest.approx((1 + by_hand) / 2)


def test_balanced_as_a_whole_is_not_balanced_in_each_filter() -> None:
    found = balance([np.array([[1, 1], [-1, -1]])])
    assert found is not None
    assert (found.positive, found.entropy) == (0.5, 0)


def test_opposite_signs_of_a_filter_have_the_same_entropy() -> None:
    kernel = np.random.default_rng(0).normal(0.4, 1, (8, 3, 3, 4))
    one, other = balance([kernel]), balance([kernel * np.where(np.arange(8) % 2, 1, -1)[:, None, None, None]])
    assert one is not None
    assert other is not None
    assert one.entropy == pytest.approx(other.entropy)
    assert one.positive != pytest.approx(other.positive)


def test_larger_kernels_count_for_more() -> None:
    found = balance([np.ones((1, 2)), np.array([[1, -1] * 3])])
    assert found is not None
    assert found.positive == pytest.approx((2 + 3) / 8)
    assert found.entropy == pytest.approx((0 + 6) / 8)


def test_without_weights_there_is_no_balance() -> None:
    assert balance([]) is None
    assert balance([np.zeros((0, 3))]) is None
