"""Loads weights from an .h5 file of Keras 2 into a model that has the same layers in the same order.

A file of weights only stands for a model where its run, or the file itself, contains the configuration (`containers.h5_config`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tf_keras as keras

from el_larq.errors import ElLarqError, summarize
from el_larq.files import is_hdf5
from el_larq.loading.containers import allowance, check_hdf5, with_function_names

_ATTRIBUTES = 1000
"""Keras splits a list of names over numbered attributes if it is too long for one."""


def load_weights(model: keras.Model, path: str | Path) -> None:
    """Set the weights of the model's layers from an .h5 file of Keras 2, in order; names are not compared.

    Nothing is set unless all fits. The file may be untrusted: nothing in it is executed, and links are refused.

    Raises:
        ElLarqError: the file is missing, damaged or not of this kind; or the number of layers with weights or the shapes of their
            weights differ, with the first layer that does.
    """
    with _opened(Path(path)) as stored:
        targets = [(layer.name, _legacy_order(layer)) for layer in model.layers if layer.weights]
        _check(stored, targets, model.name, Path(path))
        values = [np.asarray(dataset[()], np.float32) for _name, datasets in stored for dataset in datasets]
    for weight, value in zip((weight for _name, weights in targets for weight in weights), values, strict=True):
        weight.assign(value)


def load_weights_only(path: Path, config: Any) -> keras.Model:
    """The model of a checked configuration with the weights of a checked .h5 file, which Keras wrote with ``save_weights``.

    Raises:
        ElLarqError: the weights are not those of this model, or Keras does not recognize their form by the file's name.
    """
    model: Any = keras.models.model_from_config(with_function_names(config))
    with h5py.File(path, "r") as file:
        is_legacy = any(name.startswith("layer_names") for name in file.attrs)
    if is_legacy:
        load_weights(model, path)
    elif not path.name.endswith(".weights.h5"):
        raise ElLarqError(f"{path}: Keras recognizes weights of this kind by their name only; rename it to {path.stem}.weights.h5")
    else:
        try:
            model.load_weights(path)
        except (ValueError, KeyError) as error:
            raise ElLarqError(f"{path}: these are not the weights of the model of its run: {summarize(error)}") from error
    return model


def stored_shapes(path: str | Path) -> list[list[tuple[int, ...]]]:
    """The shapes of the weights of each layer in an .h5 file of Keras 2, in order. The errors are those of `load_weights`."""
    with _opened(Path(path)) as stored:
        return [[tuple(map(int, dataset.shape)) for dataset in datasets] for _name, datasets in stored]


@contextmanager
def _opened(path: Path) -> Iterator[list[tuple[str, list[Any]]]]:
    """The names of the layers that have weights, and their datasets, in order."""
    if not path.exists():
        raise ElLarqError(f"{path}: no such file")
    if not is_hdf5(path):
        raise ElLarqError(f"{path}: not an HDF5 file; weights are read from .h5 files of Keras 2")
    try:
        with h5py.File(path, "r") as file:
            check_hdf5(file, str(path), allowance(path))
            yield _layers(file["model_weights"] if "layer_names" not in file.attrs and "model_weights" in file else file, path)
    except ElLarqError:
        raise
    except Exception as error:  # h5py raises many kinds of error for damaged files
        raise ElLarqError(f"{path}: a damaged or truncated weights file; fetch or save it again") from error


def _layers(group: Any, path: Path) -> list[tuple[str, list[Any]]]:
    """The names of the layers that have weights, and their datasets, in order."""
    if not any(name.startswith("layer_names") for name in group.attrs):
        raise ElLarqError(f"{path}: does not contain weights as Keras 2 saves them in .h5 files")
    found = [
        (name, [group[name][weight] for weight in _names(group[name], "weight_names")]) for name in _names(group, "layer_names")
    ]
    for name, datasets in found:
        if not all(isinstance(dataset, h5py.Dataset) and dataset.dtype.kind == "f" for dataset in datasets):
            raise ElLarqError(f"{path}: layer {name[:200]} contains something other than numbers; fetch or save it again")
    return [(name, datasets) for name, datasets in found if datasets]


def _names(group: Any, attribute: str) -> list[str]:
    if attribute in group.attrs:
        parts = [attribute]
    else:
        parts = [name for name in (f"{attribute}{index}" for index in range(_ATTRIBUTES)) if name in group.attrs]
    texts = [text for part in parts for text in group.attrs[part]]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]


def _legacy_order(layer: Any) -> list[Any]:
    """A layer's weights in the order of Keras 2's .h5 files."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _check(stored: list[tuple[str, list[Any]]], targets: list[tuple[str, list[Any]]], model: str, path: Path) -> None:
    for index, (found, wanted) in enumerate(zip_longest(stored, targets), start=1):
        if found is None:
            raise ElLarqError(
                f"{path}: has weights for {len(stored)} layers, but {model} has {len(targets)}; the first one without is "
                f"{wanted[0]} (a file without the top does not fit a model with it)"
            )
        if wanted is None:
            raise ElLarqError(
                f"{path}: has weights for {len(stored)} layers, but {model} has {len(targets)}; the first surplus one is "
                f"{found[0][:200]} (a file with the top does not fit a model without it)"
            )
        has, needs = [[tuple(map(int, weight.shape)) for weight in weights] for weights in (found[1], wanted[1])]
        if has != needs:
            raise ElLarqError(
                f"{path}: not the weights of {model}: its layer {index}, {found[0][:200]}, has weights of shape {_spell(has)}, "
                f"but {wanted[0]} needs {_spell(needs)}"
            )


def _spell(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) or "1" for shape in shapes[:6])
