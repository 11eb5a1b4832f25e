"""Classification of image files with a Keras model or a .tflite; its card contains the preprocessing and the class names."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from el_larq import card
from el_larq.data.image_folder import SUFFIXES, image_files
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.stated import OPTIONS, Statements
from el_larq.errors import ElLarqError, UsageError
from el_larq.evaluation.open_model import Opened, open_model
from el_larq.evaluation.scores import probabilities
from el_larq.model_outputs import Asked
from el_larq.printable import printable
from el_larq.tables import TableList, html_table
from el_larq.zoo.named_models import find_model


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image.

    image: path of the image.
    top: names of the classes with their probabilities, 0 to 1, in descending order.
    """

    image: str
    top: tuple[tuple[str, float], ...]

    def __repr__(self) -> str:
        return f"Prediction({self.image!r}: {', '.join(f'{printable(name)} {share:.4f}' for name, share in self.top)})"

    def _repr_html_(self) -> str:
        return html_table(self.image, [(f"{share:.4f}", name) for name, share in self.top], ("probability", "class"))


def predict(
    model: str | Path,
    images: Sequence[str | Path],
    *,
    output: Asked = None,
    top: int = 5,
    trust: bool = False,
    note: Callable[[str], None] = lambda line: None,
    **statements: Unpack[Statements],
) -> list[Prediction]:
    """Classify image files. A .tflite runs in a separate process.

    Arguments:
        model: a .h5, .keras or .tflite file, a SavedModel or run folder, of a classifier with one input (N, H, W, C).
        images: paths of image files, and of folders of which all images are taken. They are cropped, resized and scaled as the
            model's card or the statements say.
        output: name or number (from 0) of the output that classifies, for a model with several.
        top: maximum number of classes in each prediction.
        trust: run any code in a Keras file, and a .tflite without limits of memory and time.
        note: called with one line for each statement that contradicts the model's card.
        statements: the preprocessing of images for the model, and its classes: see `el_larq.data.stated`.

    Raises:
        UsageError: the preprocessing is neither stated nor on the model's card, the statements are invalid, or the model has
            several outputs and none is chosen.
        ElLarqError: a file is not an image, the model cannot be run or is not a classifier, or its outputs are NaN or Inf.
    """
    files = find_images(images)
    with open_model(find_model(model), output, trust=trust, note=note, **statements) as opened:
        return classes_of(opened, files, top)


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """The paths with the images in a folder, and in its subfolders, in place of the folder.

    Raises:
        ElLarqError: a folder contains no images, or cannot be read.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not os.path.isdir(path):
            found.append(path)
            continue
        try:
            inside = [Path(file) for file, _ in image_files(str(path))]
        except OSError as error:
            raise ElLarqError(f"cannot read the folder {error.filename}: {error.strerror}") from error
        if not inside:
            raise ElLarqError(f"{path}: a folder without images; known suffixes: {', '.join(SUFFIXES)}")
        found += inside
    return found


@dataclass(frozen=True)
class Classifier:
    """How a model's images are prepared, and how its outputs are read.

    model: its path. labels: names of the classes; None: they have numbers.
    """

    model: Path
    preprocessing: Preprocessing
    labels: list[str] | None

    @classmethod
    def of(cls, model: Path, input_shape: tuple[int, ...], model_card: card.Card) -> "Classifier":
        """From a model's card.

        Raises:
            UsageError: the card does not say how images are prepared.
            ElLarqError: the card is damaged, or of another model.
        """
        preprocessing = card.preprocessing(model_card, str(model))
        if preprocessing is None:
            raise UsageError(f"{model}: does not say how images are prepared for it; give {OPTIONS}")
        if preprocessing.input_shape != input_shape:
            raise ElLarqError(f"{model}: takes inputs of shape {input_shape}; its card says {preprocessing.input_shape}")
        return cls(model, preprocessing, card.labels(model_card, str(model)))

    def predictions(self, images: list[Path], outputs: np.ndarray, top: int) -> list[Prediction]:
        """The most probable classes of images, from the model's outputs (images, classes) for them."""
        classes = outputs.shape[1]
        if self.labels is not None and len(self.labels) != classes:
            count = len(self.labels)
            raise ElLarqError(f"{self.model}: there are {count} labels for its {classes} classes; name them with --labels FILE")
        names = self.labels or [str(index) for index in range(classes)]
        shares = probabilities(outputs)
        return [Prediction(str(path), _best(row, names, top)) for path, row in zip(images, shares, strict=True)]

    def check_output(self, output: np.ndarray) -> np.ndarray:
        """The model's output for one image, (classes,); raises ElLarqError if it is something else, or NaN or Inf."""
        if output.ndim != 1:
            raise ElLarqError(
                f"{self.model}: its output of shape {output.shape} is not a vector of classes; only classifiers "
                "can predict, and detectors that are converted with the step select"
            )
        if not np.isfinite(output).all():
            raise ElLarqError(
                f"{self.model}: its output is NaN or Inf; its weights are damaged, or its images need different preprocessing"
            )
        return output


def classes_of(opened: Opened, images: list[Path], top: int = 5) -> list[Prediction]:
    """`predict` with a model that is open."""
    if opened.run is None:
        raise UsageError(f"{opened.path}: is a detector; use el_larq.detect, which returns boxes")
    classifier = Classifier.of(opened.path, opened.input_shape, opened.card)
    if not images:
        return _tabulate([], opened.path)
    outputs = [classifier.check_output(opened.run(classifier.preprocessing.load(path)[None])[0]) for path in images]
    return _tabulate(classifier.predictions(images, np.stack(outputs), top), opened.path)


def _tabulate(predictions: list[Prediction], model: Path) -> list[Prediction]:
    return TableList(predictions, str(model), ("image", "classes and their probabilities"), _cells)


def _cells(prediction: Prediction) -> tuple[str, str]:
    return prediction.image, ", ".join(f"{name} {share:.4f}" for name, share in prediction.top)


def _best(probability: np.ndarray, names: list[str], top: int) -> tuple[tuple[str, float], ...]:
    """The ``top`` classes of the probabilities (classes,), in descending order, equal ones in the order of classes."""
    return tuple((names[index], float(probability[index])) for index in np.argsort(-probability, kind="stable")[:top])
