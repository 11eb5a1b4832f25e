"""Model files in the cache: a network with its weights and a card. Written once, and again if its card would differ."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from el_larq import card
from el_larq.errors import ElLarqError

if TYPE_CHECKING:
    import tf_keras as keras


def cached_model(path: Path, model_card: card.Card, make: "Callable[[], keras.Model]") -> Path:
    """The model file with this card; ``make`` is called if it is not there, or has another card.

    Raises:
        ElLarqError: the file cannot be written; or an error of ``make``.
    """
    if not _has_card(path, model_card):
        card.save_with(model_card, make(), path)
    return path


def _has_card(path: Path, model_card: card.Card) -> bool:
    try:
        return path.is_file() and card.read(path) == json.loads(card.dump(model_card))
    except ElLarqError:  # damaged, so it is written again
        return False
