import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from el_larq.evaluation.scores import BINS, probabilities, score

NAMES = tuple("abcdefg")


def test_scores_by_hand() -> None:
    outputs = np.zeros((4, 7))
    outputs[0, 1], outputs[1, 1], outputs[2, 2], outputs[3, 0] = 9, 9, 9, 9
    outputs[3, 6] = 8
    scores = score(outputs, np.array([1, 2, 2, 6]), NAMES)
    assert scores.images == 4
    assert scores.top1 == 0.5
    assert scores.top5 == 1.0
    assert scores.confusion[2] == (0, 1, 1, 0, 0, 0, 0)
    by_name = {entry.label: entry for entry in scores.classes}
    assert (by_name["c"].images, by_name["c"].recall, by_name["c"].precision) == (2, 0.5, 1.0)
    assert (by_name["b"].recall, by_name["b"].precision) == (1.0, 0.5)
    assert (by_name["d"].recall, by_name["d"].precision) == (None, None)
    assert by_name["a"].precision == 0.0


def test_calibration_by_hand() -> None:
    """Half the images at probability 0.9, of which half are right; the others at 0.6, all right."""
    outputs = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    scores = score(outputs, np.array([0, 1, 0, 1]), ("x", "y"))
    assert scores.ece == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    assert [entry.images for entry in scores.bins] == [2, 2]
    assert scores.top5 is None


def test_a_perfectly_sure_and_right_model_has_no_calibration_error() -> None:
    scores = score(np.eye(7), np.arange(7), NAMES)
    assert scores.ece == 0
    assert scores.bins[0].low == pytest.approx(1 - 1 / BINS)
    assert scores.top1 == 1


def test_logits_become_probabilities_and_probabilities_stay() -> None:
    logits = np.array([[1000.0, 0.0], [0.0, 0.0]])
    assert probabilities(logits).tolist() == [[1.0, 0.0], [0.5, 0.5]]
    given_ = np.array([[0.25, 0.75]])
    assert probabilities(given_).tolist() == given_.tolist()


@pytest.mark.parametrize("classes", [30, 1000])
def test_probabilities_in_steps_of_int8_stay(classes: int) -> None:
    """As TFLite's quantized softmax rounds them: of many classes the sum is far from 1."""
    logits = np.random.default_rng(0).standard_normal((20, classes))
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given_ = np.minimum(np.round(exact * 256), 255) / 256
    assert np.abs(given_.sum(axis=1) - 1).max() > 0.01
    np.testing.assert_array_equal(probabilities(given_), given_)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (20, 7), elements=st.floats(-50, 50, width=32)), arrays(np.int64, 20, elements=st.integers(0, 6)))
def test_scores_go_together(outputs: np.ndarray, labels: np.ndarray) -> None:
    scores = score(outputs, labels, NAMES)
    assert scores.top5 is not None
    assert 0 <= scores.top1 <= scores.top5 <= 1
    assert 0 <= scores.ece <= 1
    confusion = np.array(scores.confusion)
    assert confusion.sum() == 20
    assert np.trace(confusion) / 20 == pytest.approx(scores.top1)
    assert sum(entry.images for entry in scores.bins) == 20
    assert [entry.images for entry in scores.classes] == np.bincount(labels, minlength=7).tolist()


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [(np.zeros((2, 6)), [0, 1]), (np.zeros((3, 7)), [0, 1]), (np.zeros((0, 7)), []), (np.full((1, 7), np.nan), [0])],
)
def test_what_cannot_be_scored_is_refused(outputs: np.ndarray, labels: list[int]) -> None:
    with pytest.raises(ValueError, match="outputs"):
        score(outputs, np.array(labels, np.int64), NAMES)
