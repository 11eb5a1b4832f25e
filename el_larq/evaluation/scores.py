"""A classifier's scores: accuracy, confusion matrix, calibration.

Expected calibration error (ECE): images are divided into 15 bins of equal width by the probability of the predicted class; ECE is
the mean of |accuracy - mean probability| over the bins, weighted by their number of images. Source: Guo, Pleiss, Sun, Weinberger:
On Calibration of Modern Neural Networks, ICML 2017.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

BINS = 15
TOP = 5

SUM_TOLERANCE = 1e-2
"""Tolerance for the deviation from 1 of the sum of an image's probabilities."""

INT8_STEP = 1 / 256


@dataclass(frozen=True)
class ClassScore:
    """One class.

    images: number of evaluated images of this class.
    recall: fraction of these that are classified as this class; None if there are none.
    precision: fraction of the images classified as this class that belong to it; None if there are none.
    """

    label: str
    images: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class Bin:
    """Images whose largest probability is in (low, high]: their number, mean largest probability, and accuracy."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Scores:
    """``confusion[i][j]``: number of images of class i classified as class j. ``top5`` is None for five or fewer classes."""

    images: int
    top1: float
    top5: float | None
    ece: float
    classes: tuple[ClassScore, ...]
    bins: tuple[Bin, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def score(outputs: np.ndarray, labels: np.ndarray, names: tuple[str, ...]) -> Scores:
    """Scores of logits or probabilities (N, classes) for labels (N,), counted from 0.

    Raises:
        ValueError: the shapes do not match, there are no images, or outputs are NaN or Inf.
    """
    if outputs.ndim != 2 or outputs.shape != (len(labels), len(names)) or not len(labels):
        raise ValueError(f"outputs of shape {outputs.shape} for {len(labels)} labels of {len(names)} classes")
    if not np.isfinite(outputs).all():
        raise ValueError("outputs that are not finite")
    probability = probabilities(outputs)
    # A stable sort ranks equal outputs by class, the same on every machine.
    ranked = np.argsort(-outputs, axis=1, kind="stable")[:, :TOP]
    predicted = ranked[:, 0]
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    right = predicted == labels
    bins = _bins(probability[np.arange(len(labels)), predicted], right)
    return Scores(
        images=len(labels),
        top1=float(right.mean()),
        top5=float((ranked == labels[:, None]).any(axis=1).mean()) if len(names) > TOP else None,
        ece=sum(b.images * abs(b.accuracy - b.confidence) for b in bins) / len(labels),
        classes=class_scores(names, confusion),
        bins=bins,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Softmax of logits (N, classes); outputs that are already probabilities are returned unchanged."""
    outputs = outputs.astype(np.float64)
    if _are_probabilities(outputs):
        return outputs
    exponential = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return exponential / exponential.sum(axis=1, keepdims=True)


def _are_probabilities(outputs: np.ndarray) -> bool:
    # TFLite's int8 softmax returns multiples of 1/256, each rounded separately, so that their sum deviates from 1.
    steps = outputs / INT8_STEP
    rounding = outputs.shape[1] * INT8_STEP / 2 if np.array_equal(steps, np.round(steps)) else 0.0
    within = outputs.min() >= 0 and outputs.max() <= 1
    return bool(within and np.abs(outputs.sum(axis=1) - 1).max() <= max(SUM_TOLERANCE, rounding))


def class_scores(names: tuple[str, ...], confusion: np.ndarray) -> tuple[ClassScore, ...]:
    """The figures of each class, from the numbers of images by true class (rows) and predicted class (columns)."""
    counts = zip(names, confusion.sum(axis=1).tolist(), confusion.sum(axis=0).tolist(), np.diag(confusion).tolist(), strict=True)
    return tuple(
        ClassScore(name, images, right / images if images else None, right / predicted if predicted else None)
        for name, images, predicted, right in counts
    )


def _bins(confidence: np.ndarray, right: np.ndarray) -> tuple[Bin, ...]:
    """The bins that contain images."""
    index = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    found = []
    for i in range(BINS):
        chosen = index == i
        if chosen.any():
            mean, accuracy = float(confidence[chosen].mean()), float(right[chosen].mean())
            found.append(Bin(i / BINS, (i + 1) / BINS, int(chosen.sum()), mean, accuracy))
    return tuple(found)
