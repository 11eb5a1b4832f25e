"""A small network in the form of Larq Zoo's."""

from dataclasses import dataclass
from pathlib import Path

import tf_keras as keras

from el_larq.models.zoo.zoo_registry import ZooNetwork

TINY = ZooNetwork(
    "tiny",
    "Tiny",
    "a QuickNet of a few channels",
    "these tests",
    "el_larq.models.zoo.zoo_quicknet:quicknet",
    {"filters": (32, 32, 32, 32), "blocks": (1, 1, 1, 1)},
)
"""Its binary convolutions have 32 channels, of which LCE packs the signs into one word."""


@dataclass(frozen=True)
class Files:
    """Weights files of the zoo's form. other: of a network with one more block."""

    top: Path
    notop: Path
    other: Path
    model: keras.Model
