"""Verification of models whose own values depend on how they are rounded, and of models that round to integers."""

from typing import Any

import binary_models as models
import larq
import numpy as np
import pytest
import tf_keras as keras
from perturbation import missed

from el_larq.converters.decisions import Agreement
from el_larq.converters.discretizations import Discretization
from el_larq.converters.exact import LARGEST_ROUNDING, MOVES, ROUNDINGS, accepted, change_of_probabilities, moved
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.lower import lower_model
from el_larq.converters.segments import Segments
from el_larq.converters.verify import FLIP_TOLERANCE, OUTPUT_TOLERANCE, Sensitivity, disagreements, verify_model

OFFSET: Any = 1e4
GAIN = 4.9


@pytest.fixture(scope="module")
def sensitive() -> tuple[FrozenModel, bytes]:
    """A model that adds 10,000 to its values and subtracts it again, so that Keras rounds them to 1e-3; LCE merges both steps."""

    def shifted(x: Any) -> Any:
        bias: Any = keras.initializers.Constant(OFFSET)
        mean: Any = keras.initializers.Constant(OFFSET)
        x = keras.layers.Conv2D(32, 3, padding="same", bias_initializer=bias, name="shifted")(x)
        # Multiples of 1e-3 are shifted off zero, which would be a flip of size 0.
        beta: Any = keras.initializers.Constant(OFFSET * 3e-8)
        return keras.layers.BatchNormalization(moving_mean_initializer=mean, beta_initializer=beta, name="back")(x)

    model = FrozenModel(models.network(shifted, models.binary(32, "conv"), models.norm("n", 0, 288), size=16))
    return model, lower_model(model)


def test_a_flip_is_excused_where_the_model_itself_rounds_as_much(sensitive: tuple[FrozenModel, bytes]) -> None:
    result = verify_model(*sensitive, models.images(32, 16))
    assert result.failures == ()
    assert result.flipped_images == 32
    assert result.worst_flip <= FLIP_TOLERANCE
    assert result.rounding is not None
    assert result.own_agreement is not None
    assert "the model is sensitive to rounding: rounded otherwise, its own outputs differ by" in result.summary


def test_without_double_precision_such_flips_fail(sensitive: tuple[FrozenModel, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segments, "double_precision", lambda _: None)
    result = verify_model(*sensitive, models.images(32, 16))
    assert any("signs flip that are not within rounding of zero" in failure for failure in result.failures)
    assert result.rounding is None


def test_faults_in_a_sensitive_model_are_found(sensitive: tuple[FrozenModel, bytes]) -> None:
    passed, departed = missed(*sensitive, models.images(16, 16), 2)
    assert departed > 5
    assert passed == {}


def test_what_is_accepted_is_measured_and_limited() -> None:
    exact = np.ones((3, 4, 2))
    single = exact.copy()
    single[0, 0, 0] += 1e-4
    single[1, 0, 0] += 1
    single[2, 0, 0] = np.nan
    np.testing.assert_allclose(accepted(single, exact).ravel(), [ROUNDINGS * 1e-4, LARGEST_ROUNDING, 0])


def test_a_softmax_of_large_values_is_not_taken_for_an_error_by_chance() -> None:
    """The model's own sums are exact for the integers it is given, so one rounding shows little error; the file's sums are not."""
    numbers = np.random.default_rng(0)
    image: Any = keras.Input((64,))
    dense, norm = keras.layers.Dense(2, use_bias=False), keras.layers.BatchNormalization(epsilon=0.0)
    model = keras.Model(image, keras.layers.Softmax()(norm(dense(image))))
    dense.set_weights([numbers.integers(-99, 100, (64, 2)).astype(np.float32)])
    images = numbers.integers(-99, 100, (8, 64)).astype(np.float32)
    logits = dense(images[:1]).numpy()[0]
    norm.set_weights([np.full(2, GAIN), np.zeros(2), logits, np.ones(2)])  # the classes of the first image are tied
    frozen = FrozenModel(model)
    result = verify_model(frozen, lower_model(frozen), images)
    assert result.failures == ()
    assert OUTPUT_TOLERANCE < result.max_difference < LARGEST_ROUNDING
    assert result.rounding is not None
    assert result.rounding > result.max_difference / ROUNDINGS - OUTPUT_TOLERANCE


def test_inputs_are_moved_by_a_unit_in_the_last_place() -> None:
    x, pixels = np.array([1.0, -3.0, 0.0, 1e30], np.float32), np.array([0, 255], np.uint8)
    found = list(moved([x, pixels]))
    assert len({one[0].tobytes() for one in found}) == MOVES
    for real, integers in found:
        assert integers is pixels
        assert real.dtype == np.float32
        assert np.all(np.abs(real - x) <= np.spacing(np.abs(x)))


@pytest.mark.parametrize("kind", ["Softmax", "Sigmoid"])
def test_errors_of_logits_change_probabilities_by_no_more(kind: str) -> None:
    numbers = np.random.default_rng(0)
    logits, error = numbers.normal(0, 2, (6, 3)), np.full(6, 0.05)

    def of(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z)) if kind == "Sigmoid" else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    bound = change_of_probabilities(of(logits), error, kind)
    corners = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]) * 0.05
    largest = np.max([np.abs(of(logits + corner) - of(logits)) for corner in corners], axis=0)
    np.testing.assert_allclose(bound, largest, rtol=1e-9)


def test_the_distance_is_to_the_threshold_between_two_values() -> None:
    rounding = Discretization(None, None, rounding=True)
    x, values = np.array([0.4, 0.49, 0.6, 2.5, -1.5]), np.array([1.0, 1.0, 2.0, 3.0, -1.0])
    np.testing.assert_allclose(rounding.distance(x, values), [0.1, 0.01, 0.9, 0.0, 0.0])
    np.testing.assert_array_equal(rounding.of(x), [0, 0, 1, 2, -2])
    sign = Discretization(None, None)
    np.testing.assert_array_equal(sign.of(np.array([-1e-9, -0.0, 0.0, 2.0])), [-1, 1, 1, 1])
    np.testing.assert_allclose(sign.distance(np.array([-2.0, 1e-3]), np.array([1.0, -1.0])), [2, 1e-3])


def _sensitivity(own: float, fed: float = 1.0) -> Sensitivity:
    return Sensitivity(np.zeros((1, 1)), {0: own}, {0: fed})


def test_decisions_may_differ_about_as_often_as_the_models_own() -> None:
    def judged(share: float, sensitivity: Sensitivity | None) -> list[str]:
        return disagreements([Agreement(0, share, 10)], sensitivity, ("logits",), 256)

    assert judged(0.95, None) == ["top-1 agrees for only 95.0% of the images (limit 99%)"]
    assert judged(0.95, _sensitivity(1.0)) == ["top-1 agrees for only 95.0% of the images (limit 99%)"]
    assert judged(0.95, _sensitivity(0.97)) == []
    assert judged(0.5, _sensitivity(0.97)) == ["top-1 agrees for only 50.0% of the images (limit 91%)"]
    assert judged(0.95, _sensitivity(0.97, 0.9)) == ["top-1 from the same signs agrees for only 90.0% of the images (limit 99%)"]


def _two_bits(x: Any, offset: float) -> Any:
    """One channel of four is constant, ``offset`` from the threshold between 0 and 1 of two bits."""
    constant = np.arange(32) % 4 == 0
    gain: Any = keras.initializers.Constant(np.where(constant, 0.0, 1.0))  # pyright: ignore[reportArgumentType]
    shift: Any = keras.initializers.Constant(np.where(constant, 1 / 6 + offset, 0.0))  # pyright: ignore[reportArgumentType]
    x = keras.layers.BatchNormalization(name="edge", gamma_initializer=gain, beta_initializer=shift)(x)
    two_bits: dict[str, Any] = {"input_quantizer": larq.quantizers.DoReFa(2), "kernel_quantizer": "ste_sign", "use_bias": False}
    return larq.layers.QuantConv2D(32, 3, padding="same", kernel_constraint="weight_clip", name="conv", **two_bits)(x)


def _rounding(offset: float) -> tuple[FrozenModel, bytes]:
    """A model of two bits and the .tflite of the same weights with the channels' constant on the other side of the threshold."""
    model, other = (
        models.network(lambda x, sign=sign: _two_bits(x, sign * offset), models.norm("n", 0, 288), size=16) for sign in (1, -1)
    )
    other.set_weights(
        [
            b if "edge" in variable.name else a
            for variable, a, b in zip(model.weights, model.get_weights(), other.get_weights(), strict=True)
        ]
    )
    return FrozenModel(model), lower_model(FrozenModel(other))


@pytest.mark.parametrize(("offset", "excused"), [(1e-7, True), (1e-2, False)])
def test_rounding_to_integers_is_compared_like_signs(offset: float, excused: bool) -> None:
    frozen, content = _rounding(offset)
    result = verify_model(frozen, content, models.images(16, 16))
    assert [(record.layer.split("/")[0], record.kind) for record in result.layers] == [("conv", "rounded values")]
    assert result.flipped_images == 16
    assert result.max_difference <= OUTPUT_TOLERANCE < result.max_difference_flipped
    unexcused = [failure for failure in result.failures if "within rounding of" in failure]
    assert bool(unexcused) != excused
    if excused:  # but for the decisions, which these constant values change in every image
        assert [failure.split(" for")[0] for failure in result.failures] == ["top-1 agrees"]


def test_faults_in_a_model_that_rounds_are_found() -> None:
    model = FrozenModel(models.network(lambda x: _two_bits(x, 0.05), models.norm("n", 0, 288), size=16))
    passed, departed = missed(model, lower_model(model), models.images(16, 16), 2)
    assert departed > 5
    assert passed == {}
