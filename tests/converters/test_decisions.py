import numpy as np

from el_larq.converters.decisions import Agreement, Decisions, agreements
from el_larq.converters.verify import Verification

_EYE = np.eye(4, dtype=np.float32)


def test_the_output_that_agrees_least_comes_first() -> None:
    one_off = _EYE.copy()
    one_off[3] = _EYE[0]
    wanted = [_EYE, _EYE, np.ones((4, 3), np.float32)]
    batches = [Decisions(wanted, [_EYE, one_off, wanted[2]]), Decisions(wanted, wanted)]
    assert agreements(batches) == [Agreement(1, 7 / 8, 4), Agreement(0, 1.0, 4), Agreement(2, 1.0, 1)]


def test_only_vectors_of_several_values_look_like_logits() -> None:
    outputs = [np.zeros((4, 1)), np.zeros((4, 2, 2)), np.zeros(4), _EYE]
    assert [agreement.output for agreement in agreements([Decisions(outputs, outputs)])] == [3]
    assert agreements([Decisions(outputs[:3], outputs[:3])]) == []


def test_a_class_tied_within_rounding_is_as_right_as_the_best() -> None:
    """Sums of few signs are often equal. A binary MobileNet block had such logits in two images of 16."""

    def agreement(wanted: list[list[float]], got: list[list[float]]) -> float:
        return agreements([Decisions([np.array(wanted, np.float32)], [np.array(got, np.float32)])])[0].share

    tied, swapped = [0.2015, 0.4654, -1.241, 0.46539995], [0.2015, 0.46539995, -1.241, 0.4654]
    assert np.argmax(np.array(tied, np.float32)) != np.argmax(np.array(swapped, np.float32))
    assert agreement([tied, tied], [swapped, swapped]) == 1
    # What counts is the model's logits: a .tflite that makes its own tie does not agree.
    assert agreement([[0.2, 0.4, 0.3], [0.4, 0.2, 0.4]], [[0.2, 0.4, 0.4001], [0.4, 0.2, 0.4001]]) == 0.5
    assert agreement([[0.0, 0.0], [1.0, 0.999]], [[0.0, 1e-9], [0.999, 1.0]]) == 0.5
    assert agreement([[np.nan, 0.0]], [[np.nan, 0.0]]) == 0


def test_one_image_is_singular() -> None:
    def summary(images: int, flipped: int) -> str:
        return Verification(images, "digits", 0.0, 0.0, flipped, 0.0, 1.0, 4, ()).summary

    assert summary(1, 0).startswith("1 image of digits")
    assert "256 images of digits" in summary(256, 1)
    assert "in 1 image signs" in summary(256, 1)
    assert "in 2 images signs" in summary(256, 2)
