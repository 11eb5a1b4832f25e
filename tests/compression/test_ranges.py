"""Observers against NumPy on all values at once, and estimators against searches that share no code with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.compression.affine import Affine
from el_larq.compression.observer import BINS, Observer
from el_larq.compression.ranges import RANGES, estimate, kl, mse, percentile
from el_larq.errors import ElLarqError, UsageError


def _seen(*batches: np.ndarray) -> Observer:
    seen = Observer("conv")
    for batch in batches:
        seen.update(batch)
    return seen


@given(st.lists(st.tuples(st.integers(2, 200), st.floats(-12, 12)), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(max_examples=50)
def test_batches_are_observed_as_if_they_were_one(sizes: list[tuple[int, float]], seed: int) -> None:
    random = np.random.default_rng(seed)
    batches = [(random.standard_normal(size) * 2.0**exponent).astype(np.float32) for size, exponent in sizes]
    batches[0][0] = 0.0
    seen, everything = _seen(*batches), np.concatenate(batches)
    assert (seen.low, seen.high, seen.count) == (everything.min(), everything.max(), everything.size)
    np.testing.assert_array_equal(seen.counts, np.histogram(everything, seen.edges)[0])
    assert seen.counts.sum() == everything.size
    assert np.abs(everything).max() < seen.limit <= 2 * np.abs(everything).max()


def test_values_at_a_power_of_two_and_zeros_are_counted_in_their_bins() -> None:
    seen = _seen(np.zeros(3), np.array([1.0, -1.0]), np.array([2.0, -2.0, 0.0]))
    values = np.array([0, 0, 0, 1, -1, 2, -2, 0])
    assert seen.limit == 4
    np.testing.assert_array_equal(seen.counts, np.histogram(values, np.linspace(-4, 4, BINS + 1))[0])


def test_moving_averages_start_with_the_first_batch() -> None:
    seen = _seen(np.array([-1.0, 2.0]), np.array([-3.0, 6.0]), np.array([0.0, 1.0]))
    assert seen.average_low == pytest.approx(0.9 * (0.9 * -1 + 0.1 * -3) + 0.1 * 0)
    assert seen.average_high == pytest.approx(0.9 * (0.9 * 2 + 0.1 * 6) + 0.1 * 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [([1.0, np.nan], "conv has values that are not finite"), ([np.inf], "not finite"), ([], "a batch of conv is empty")],
)
def test_bad_batches_are_refused_and_leave_the_observer_as_it_was(values: list[float], message: str) -> None:
    seen = _seen(np.ones(2))
    with pytest.raises(ElLarqError, match=message):
        seen.update(np.array(values))
    assert (seen.count, seen.counts.sum()) == (2, 2)


def test_percentiles_are_those_of_the_sorted_values() -> None:
    values = np.random.default_rng(0).standard_normal(50_000)
    seen = _seen(*np.array_split(values, 7))
    width = 2 * seen.limit / BINS
    for percent in (90.0, 99.0, 99.99):
        tail = (100 - percent) / 2
        wanted = np.percentile(values, [tail, 100 - tail])
        # Between the outermost values there are several bins.
        np.testing.assert_allclose(percentile(seen, percent), wanted, atol=width if percent < 99.9 else 0.15)
    assert percentile(seen, 100.0) == (values.min(), values.max())


@pytest.mark.parametrize("kind", ["normal", "relu", "outlier", "laplace"])
def test_no_other_pair_of_shares_has_a_smaller_square_error_than_the_mse_range(kind: str) -> None:
    """The reference rounds the values themselves, not those of a histogram, for every pair of a grid."""
    random = np.random.default_rng(1)
    values = {
        "normal": random.standard_normal(4000),
        "relu": np.maximum(random.standard_normal(4000), 0),
        "outlier": np.append(random.standard_normal(4000), 60.0),
        "laplace": random.laplace(size=4000),
    }[kind]

    def error(low: float, high: float) -> float:
        scale = (high - low) / 255
        zero = np.round(-128 - low / scale)
        return float(np.mean((scale * (np.clip(np.rint(values / scale) + zero, -128, 127) - zero) - values) ** 2))

    shares = np.linspace(0.1, 1, 31)
    best = min(error(a * min(values.min(), 0), b * values.max()) for a in shares for b in shares)
    found = Affine.of_range(*mse(_seen(values)))
    assert error(found.low, found.high) <= 1.1 * best
    assert error(found.low, found.high) <= 1.02 * error(min(values.min(), 0), values.max())


def test_an_outlier_takes_the_steps_of_min_max_but_not_of_the_others() -> None:
    """A hundred thousand values within 5, one of 60."""
    values = np.append(np.random.default_rng(0).standard_normal(100_000), 60.0)
    seen = _seen(*np.array_split(values, 50))
    highs = {name: find(seen)[1] for name, find in RANGES.items()}
    assert highs["min-max"] == 60
    assert all(highs[name] < 20 for name in ("moving-average", "percentile", "kl"))
    assert highs["mse"] < 60  # its error counts too


def test_kl_keeps_a_uniform_distribution_whole() -> None:
    uniform = kl(_seen(np.random.default_rng(0).uniform(-1, 1, 100_000)))
    assert uniform[1] > 0.98
    assert uniform[0] < -0.98


def test_the_divergence_is_that_of_its_definition() -> None:
    """Computed again with dictionaries, for a range that contains all values."""
    from el_larq.compression.ranges import _divergence

    values = np.random.default_rng(0).standard_normal(3000)
    seen = _seen(values)
    low, high = 1.05 * seen.low, 1.05 * seen.high
    affine = Affine.of_range(low, high)
    p = {center: count / values.size for center, count in zip(seen.centers, seen.counts, strict=True) if count}
    inside = [center for center in p if affine.low <= center <= affine.high]
    steps = {center: int(affine.integers(np.array([center]))[0]) for center in inside}
    mass: dict[int, list[float]] = {}
    for center in inside:
        mass.setdefault(steps[center], []).append(p[center])
    q = {center: sum(mass[steps[center]]) / len(mass[steps[center]]) for center in inside}
    wanted = sum(p[center] * np.log(p[center] / q[center]) for center in inside)
    assert len(inside) == len(p)
    assert _divergence(seen, low, high) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("values", [np.zeros(10), np.full(10, 3.0), np.full(10, -3.0), np.array([-1e-30, 1e-30]), np.array([1e30])])
def test_unusual_values_give_a_range_that_contains_zero(name: str, values: np.ndarray) -> None:
    affine = estimate(_seen(values), name)
    assert affine.scale > 0
    assert affine.low <= 0 <= affine.high


def test_an_unknown_estimator_is_named() -> None:
    with pytest.raises(UsageError, match="unknown range estimator 'percentil'; did you mean percentile"):
        estimate(_seen(np.ones(3)), "percentil")
