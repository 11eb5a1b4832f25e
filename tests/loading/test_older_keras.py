"""Files in the form that an older Keras 2 writes."""

import el_larq  # isort: skip  # noqa: F401  (first: it selects Keras 2)

import warnings
from pathlib import Path

import numpy as np
import pytest
import tf_keras as keras

from el_larq import card
from el_larq.errors import ElLarqError
from el_larq.loading.load import load_model


def _saved(model: keras.Model, folder: Path) -> Path:
    """As Keras 2.12 saves with ``save_format="keras"``: HDF5, with the suffix of the archives that came later."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
        model.save(folder / "model.h5")
    return (folder / "model.h5").rename(folder / "model.keras")


def test_a_keras_file_of_hdf5_is_loaded(tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, name="dense")], name="older")
    path = _saved(model, tmp_path)
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    np.testing.assert_array_equal(load_model(path)(x), model(x))
    assert card.read(path) == {}


def test_code_in_it_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Lambda(lambda x: x + 1)])
    with pytest.raises(ElLarqError, match="code"):
        load_model(_saved(model, tmp_path))
