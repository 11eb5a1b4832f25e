"""Networks of Keras Applications with the user's copy of their published weights, as model files with a card in the cache."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from el_larq import card
from el_larq._version import VERSION
from el_larq.data.preprocessing import Preprocessing
from el_larq.downloads.asset import cache_folder, hash_file
from el_larq.errors import ElLarqError, UsageError
from el_larq.models.keras_applications import IMAGE_SIZE, PREFIX, Application, get_application, recognize
from el_larq.zoo.cached_model import cached_model
from el_larq.zoo.imagenet_classes import SOURCE, imagenet_classes
from el_larq.zoo.zoo_model import DATASET

if TYPE_CHECKING:
    import tf_keras as keras

CROP = 0.875
"""Of ImageNet's pictures, the usual centre crop of 224 / 256; Keras states none."""


@dataclass(frozen=True)
class ApplicationWeights:
    """A weights file and the network that it belongs to.

    size: of the images that it was trained on. published: the file has the name under which Keras publishes this network's weights.
    """

    application: Application
    path: Path
    size: int = IMAGE_SIZE
    published: bool = False

    @classmethod
    def parse(cls, source: str | os.PathLike[str]) -> Self | None:
        """The weights of ``keras:NAME=PATH``, or of a path whose file name Keras gives to its published weights; else None.

        Raises:
            UsageError: an unknown network, or no path.
        """
        text = os.fspath(source)
        if not text.startswith(PREFIX):
            found = recognize(os.path.basename(text))
            return cls(found[0], Path(text), found[1], published=True) if found is not None else None
        name, equals, path = text.partition("=")
        application = get_application(name)
        if not equals or not path:
            raise UsageError(
                f"{text}: Keras' weights are a file on this machine; name it, as in {PREFIX}{application.name}=PATH.h5 "
                "(nothing is downloaded)"
            )
        found = recognize(os.path.basename(path))
        size = found[1] if found is not None else IMAGE_SIZE
        return cls(application, Path(path), size, published=found is not None and found[0] == application)

    def check(self) -> None:
        """Raise ElLarqError if there is no such file."""
        if not self.path.is_file():
            raise ElLarqError(f"{self.path}: no such file")

    @property
    def absolute(self) -> str:
        """The same weights with an absolute path."""
        return f"{PREFIX}{self.application.name}={self.path.absolute()}"


def application_model_file(weights: ApplicationWeights) -> Path:
    """The model file (.h5) of a network with these weights. It is written if it is not there, or was made by another version.

    Raises:
        ElLarqError: the weights are missing, damaged or of another network, or the file cannot be written.
    """
    weights.check()
    sha256 = hash_file(weights.path)
    path = cache_folder("keras") / f"{weights.application.name}-{weights.size}-{sha256[:16]}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    classes = _classes(weights)
    return cached_model(path, _make_card(weights, sha256, classes), lambda: _make(weights, classes))


def build_application(
    name: str, input_shape: tuple[int, int, int], num_classes: int | None, activation: str | None = None
) -> "keras.Model":
    """A network of Keras Applications with initial weights, from images to logits, or, with None classes, to feature maps.

    Raises:
        UsageError: an unknown name, or an input that is too small for the network.
    """
    application = get_application(name)
    top: dict[str, Any] = {"include_top": False}
    if num_classes is not None:
        top = {"classes": num_classes, "classifier_activation": activation}
    try:
        return application.load_builder()(weights=None, input_shape=input_shape, **top)
    except ValueError as error:
        height, width, channels = input_shape
        raise UsageError(
            f"{application.name} cannot take images of {height}x{width} with {channels} channels; "
            f"it was trained on {IMAGE_SIZE}x{IMAGE_SIZE} in colour"
        ) from error


def _classes(weights: ApplicationWeights) -> int | None:
    """The number of classes in the file; None if it does not contain the classifier."""
    from el_larq.loading.load import stored_shapes

    layers = stored_shapes(weights.path)
    last: list[tuple[int, ...]] = layers[-1] if layers else [()]
    kernel, *rest = last
    # A dense layer, or a convolution of 1x1, with a bias; without the classifier, the last one is larger or a normalization.
    is_classifier = len(kernel) in (2, 4) and math.prod(kernel[:-2]) == 1 and rest == [kernel[-1:]]
    return kernel[-1] if is_classifier else None


def _make(weights: ApplicationWeights, classes: int | None) -> "keras.Model":
    from el_larq.loading.load import load_weights

    model = build_application(weights.application.name, (weights.size, weights.size, 3), classes, "softmax")
    load_weights(model, weights.path)
    return model


def _make_card(weights: ApplicationWeights, sha256: str, classes: int | None) -> card.Card:
    scaling, identifiers = weights.application.scaling, imagenet_classes()
    how = Preprocessing(weights.size, weights.size, 3, scaling.mean, scaling.std, crop=CROP, channel_order=scaling.channel_order)
    labels = {"label_ids": identifiers[0], "labels": identifiers[1], "labels_source": SOURCE, "dataset": {"name": DATASET}}
    return {
        "network": f"{PREFIX}{weights.application.name}",
        "preprocessing": how.to_dict(),
        # Any other file of 1,000 classes may have been trained on other ones.
        **(labels if weights.published and classes == len(identifiers[0]) else {}),
        "provenance": {"weights": weights.path.name, "sha256": sha256, "definition": f"Keras Applications, el-larq {VERSION}"},
    }
