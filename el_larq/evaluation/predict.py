"""Classifying image files with a Keras model or a .tflite; its card says how images are prepared and names the classes."""

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
    if model.suffix == ".tflite":
        from el_larq.interpreter import Interpreter

        interpreter = Interpreter(read_bytes(model), source=str(model))
        content = interpreter.graph.metadata.get(card.NAME)
        model_card = card.parse(content, str(model)) if content else {}
        run = lambda x: interpreter.run(x)[0]  # noqa: E731
    else:
        from el_larq.models.load import load_model

        keras_model = load_model(model)
        model_card = card.read(model)
        run = lambda x: np.asarray(keras_model(x, training=False))  # noqa: E731
    preprocessing = card.preprocessing(model_card, str(model))
    if preprocessing is None:
        raise ElLarqError(f"{model}: does not say how images are prepared for it; train or convert it with el-larq")
    labels = model_card.get("labels")
    return [_predict_one(path, preprocessing, labels, run, top) for path in images]


def _predict_one(path: str | Path, preprocessing: Preprocessing, labels: list[str] | None, run, top: int) -> Prediction:
    logits = run(preprocessing.load(path)[None])[0].astype(np.float64)
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    best = np.argsort(-probabilities, kind="stable")[:top]
    names = labels or [str(index) for index in range(len(logits))]
    return Prediction(str(path), tuple((names[index], float(probabilities[index])) for index in best))
