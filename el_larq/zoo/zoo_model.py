"""A network of Larq Zoo as a model file: its definition with its weights, and a card. Written once, next to the weights."""

from pathlib import Path
from typing import Any

from el_larq import card
from el_larq._version import VERSION
from el_larq.data.preprocessing import Preprocessing
from el_larq.models.zoo.zoo_registry import PREFIX, get_zoo_network
from el_larq.zoo.cached_model import cached_model
from el_larq.zoo.imagenet_classes import SOURCE, imagenet_classes
from el_larq.zoo.published_files import LICENCE
from el_larq.zoo.weights_cache import Weights, check_unchanged

PREPROCESSING = Preprocessing(
    224, 224, 3, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), crop=0.875, resampling="bicubic"
)
"""As Larq Zoo trained and tested: the centre 224 / 256 of the picture, RGB, with ImageNet's mean and standard deviation."""

DATASET = "imagenet2012"


def zoo_model_file(weights: Weights) -> Path:
    """The model file (.h5) of a network with its classifier. It is written if it is not there, or was made by another version.

    Raises:
        ElLarqError: the weights were changed since they were fetched, do not fit the network, or the file cannot be written.
    """
    name = weights.file.network
    return cached_model(weights.path.with_name(f"{name}.h5"), make_zoo_card(weights), lambda: _make(name, weights))


def make_zoo_card(weights: Weights) -> card.Card:
    """The card of a network with its weights: it contains published figures only if the weights are the published ones."""
    file, network = weights.file, get_zoo_network(weights.file.network)
    identifiers, names = imagenet_classes()
    origin = {"licence": LICENCE, "address": file.asset.address} if weights.published else {}
    found: card.Card = {
        "network": f"{PREFIX}{network.name}",
        "labels": names,
        "label_ids": identifiers,
        "labels_source": SOURCE,
        "preprocessing": PREPROCESSING.to_dict(),
        "dataset": {"name": DATASET},
        "provenance": {
            "weights": file.name if weights.published else "a file that Larq Zoo does not publish",
            "sha256": weights.sha256,
            **origin,
            "title": network.title,
            "reference": network.reference,
            "definition": f"el-larq {VERSION}",
        },
    }
    if weights.published:
        found["published"] = {
            what: {"value": value, "source": source}
            for what, (value, source) in network.published.items()
            if what in ("top-1", "top-5")
        }
    return found


def _make(name: str, weights: Weights) -> Any:
    from el_larq.loading.load import load_weights
    from el_larq.models.zoo.zoo_build import build_zoo

    check_unchanged(weights)
    model: Any = build_zoo(name)
    load_weights(model, weights.path)
    return model
