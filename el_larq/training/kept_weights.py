"""The weights that a run keeps on disk while it trains: those of the last epoch, and of the best one in validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import tensorflow as tf
import tf_keras as keras

from el_larq.data.dataset import Dataset
from el_larq.errors import ElLarqError, summarize
from el_larq.files import atomic_path
from el_larq.training.models import architecture, describe_weights, load_kept_weights, make_card
from el_larq.training.recipe import Recipe
from el_larq.training.run_folder import RunFolder
from el_larq.training.selection import EpochRecord, best_epoch, validated
from el_larq.training.state_files import check_space

# Bytes in addition to the weights and the model's configuration: names and shapes, and the card.
_HEADER = 1 << 18

_BESIDE = "el_larq_beside"
"""The group of a file that has what is not in the model; Keras does not read it."""


class KeptWeights:
    """checkpoints/last.weights.h5 and best.weights.h5 of a run, of which its recipe keeps one as the final model.

    model: what is trained. network: what the files describe, in float32: the same, or one with the same variables.
    beside: what is trained with the weights and is not in the model, such as steps of quantization.
    """

    def __init__(
        self,
        run: RunFolder,
        model: keras.Model,
        network: keras.Model,
        recipe: Recipe,
        data: Dataset,
        beside: Sequence[tf.Variable] = (),
    ):
        self._beside = beside
        self._run, self._model, self._recipe, self._data = run, model, recipe, data
        self._architecture = architecture(network)

    def save_epoch(self, score: float | None, records: Sequence[EpochRecord]) -> None:
        """Save the model as the last, and as the best if it is better in validation than in all earlier epochs."""
        is_best = score is not None and all(score > (validated(known) or 0.0) for known in records)
        for name in ["last", "best"] if is_best else ["last"]:
            path = self._path(name)
            check_space(path.parent, 4 * self._model.count_params() + len(self._architecture) + _HEADER)
            with atomic_path(path) as temporary:
                self._model.save_weights(temporary)
                model_card = make_card(self._run.config, self._data, None, {"epoch": len(records) + 1, **self._average()})
                describe_weights(temporary, self._architecture, model_card)
                if self._beside:
                    with h5py.File(temporary, "r+") as file:
                        for index, variable in enumerate(self._beside):
                            file[f"{_BESIDE}/{index}"] = variable.numpy()

    def restore(self) -> None:
        """Give the model the weights that the recipe keeps; after a training they differ from the model's unless they are the last.

        Raises:
            ElLarqError: the file cannot be read.
        """
        if self._recipe.keep == "last" and not self._recipe.average:
            return
        path = self._path(self._recipe.keep)
        try:
            load_kept_weights(path, self._model)
            if self._beside:
                with h5py.File(path, "r") as file:
                    for index, variable in enumerate(self._beside):
                        found: Any = file[f"{_BESIDE}/{index}"]
                        variable.assign(found[()])
        except (OSError, ValueError, KeyError) as error:
            raise ElLarqError(
                f"{path} cannot be read, but contains the model to be saved: {summarize(error)}; train again"
            ) from error

    def describe(self, records: Sequence[EpochRecord]) -> dict[str, Any]:
        """Which weights the final model has, for its card; empty for those of the last step."""
        return {"epoch": best_epoch(records)["epoch"], **self._average()} if self._recipe.keep == "best" else self._average()

    def _average(self) -> dict[str, Any]:
        return {"average": self._recipe.average} if self._recipe.average else {}

    def _path(self, name: str) -> Path:
        return self._run.checkpoints / f"{name}.weights.h5"
