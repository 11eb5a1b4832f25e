"""Classifying image files with a Keras model or a .tflite; its card says how images are prepared and names the classes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from el_larq import card
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError
from el_larq.files import read_bytes


@dataclass(frozen=True)
class Prediction:
    """The best classes of one image, with their probabilities (softmax of the logits), best first."""

    image: str
    top: tuple[tuple[str, float], ...]


def predict(model: str | Path, images: list[str | Path], *, top: int = 5) -> list[Prediction]:
    """Predictions for image files.

    Raises:
        ElLarqError: a model without preprocessing on its card, or a file that is no image.
    """
    model = Path(model)
    run, input_shape, model_card = _open(model)
    preprocessing = card.preprocessing(model_card, str(model))
    if preprocessing is None:
        raise ElLarqError(f"{model}: does not say how images are prepared for it; train or convert it with el-larq")
    if preprocessing.input_shape != input_shape:
        raise ElLarqError(f"{model}: takes inputs of shape {input_shape}; its card says {preprocessing.input_shape}")
    labels = _labels(model_card, model)
    return [_predict_one(path, preprocessing, labels, run, top, model) for path in images]


def _open(model: Path) -> tuple[Callable[[np.ndarray], np.ndarray], tuple[int, ...], card.Card]:
    """A function from images (N, ...) to logits, the shape of one image, and the card."""
    if model.suffix == ".tflite":
        from el_larq.interpreter import Interpreter

        interpreter = Interpreter(read_bytes(model), source=str(model))
        content = interpreter.graph.metadata.get(card.NAME)
        model_card = card.parse(content, str(model)) if content else {}
        return lambda images: interpreter.run(images)[0], interpreter.input_shape, model_card
    from el_larq.models.load import load_model

    keras_model = load_model(model)
    shape = tuple(keras_model.inputs[0].shape[1:])
    return lambda images: np.asarray(keras_model(images, training=False)), shape, card.read(model)


def _labels(model_card: card.Card, model: Path) -> list[str] | None:
    labels = model_card.get("labels")
    if labels is not None and not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise ElLarqError(f"{model}: the labels on its card are no list of names; convert or train the model again")
    return labels


def _predict_one(
    path: str | Path,
    preprocessing: Preprocessing,
    labels: list[str] | None,
    run: Callable[[np.ndarray], np.ndarray],
    top: int,
    model: Path,
) -> Prediction:
    logits = run(preprocessing.load(path)[None])[0].astype(np.float64)
    if logits.ndim != 1:
        raise ElLarqError(f"{model}: its output of shape {logits.shape} is no vector of logits; only classifiers can predict")
    if labels is not None and len(labels) != len(logits):
        raise ElLarqError(f"{model}: its card has {len(labels)} labels for {len(logits)} classes; convert or train it again")
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    best = np.argsort(-probabilities, kind="stable")[:top]
    names = labels or [str(index) for index in range(len(logits))]
    return Prediction(str(path), tuple((names[index], float(probabilities[index])) for index in best))
