"""Texts in HDF5 files: an array of a few bytes each may refer to one long text thousands of times."""

import io
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import tf_keras as keras

from el_larq import card
from el_larq.errors import ElLarqError
from el_larq.files import MAX_BYTES
from el_larq.loading.containers import allowance, check_hdf5, h5_config
from el_larq.loading.hdf5_heaps import longest_text

LONG = "x" * 1_000_000
COUNT = 3000


def network() -> keras.Model:
    return keras.Sequential([keras.layers.Dense(2, input_shape=(3,))], name="network")


def refer(path: Path, name: str, group: str = "/") -> None:
    """Give a group an attribute of `COUNT` references to one text of 1 MB: 3 GB when read, 1 MB in the file."""
    with h5py.File(path, "a") as file:
        if name in file[group].attrs:
            del file[group].attrs[name]
        file[group].attrs.create(name, [LONG, *["y"] * (COUNT - 1)], dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    start = content.index(struct.pack("<I", len(LONG)), content.index(name.encode() + b"\0"))
    content[start : start + 16 * COUNT] = content[start : start + 16] * COUNT
    path.write_bytes(content)
    with h5py.File(path) as file:
        assert file[group].attrs.get_id(name).shape == (COUNT,)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize(("name", "group"), [("model_config", "/"), ("layer_names", "/model_weights")])
def test_an_attribute_of_many_references_is_refused_unread(tmp_path: Path, name: str, group: str) -> None:
    network().save(path := tmp_path / "model.h5")
    refer(path, name, group)
    with pytest.raises(ElLarqError, match=rf"model\.h5: attribute '{name}' declares [0-9,]+ bytes; save the model again"):
        h5_config(path)


def test_lists_of_texts_within_the_size_of_the_file_are_accepted(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "list.h5", "w") as file:
        file.attrs["names"] = np.array(["a", "bc"], dtype=object)
        check_hdf5(file, "list.h5", allowance(tmp_path / "list.h5"))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("in_memory", [False, True])
def test_a_deep_network_is_accepted(in_memory: bool, tmp_path: Path) -> None:
    """Its names of layers, 500 references, would be 3 GB if each had the length of the file."""
    image = x = keras.Input((1,))
    for number in range(500):
        x = keras.layers.Activation("relu", name=f"activation_{number}_{'x' * 20}")(x)
    keras.Model(image, keras.layers.Dense(1_500_000, use_bias=False)(x)).save(path := tmp_path / "model.h5")
    source = io.BytesIO(path.read_bytes()) if in_memory else path
    with h5py.File(source, "r") as file:
        names = file["model_weights"].attrs.get_id("layer_names")
        assert names.shape[0] * file.id.get_filesize() > MAX_BYTES
        assert longest_text(file) == len(file.attrs["model_config"])
        check_hdf5(file, "model.h5", allowance(path))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_the_model_of_a_run_is_checked_where_it_describes_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    network().save_weights(weights := tmp_path / "best.weights.h5")
    network().save(model := tmp_path / "model.h5")
    assert h5_config(weights).config["class_name"] == "Sequential"
    refer(model, "keras_version")
    with pytest.raises(ElLarqError, match=r"model\.h5: attribute 'keras_version' declares"):
        h5_config(weights)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_card_of_many_references_is_refused_unread(tmp_path: Path) -> None:
    network().save(path := tmp_path / "model.h5")
    refer(path, card.NAME)
    with pytest.raises(ElLarqError, match=r"its el-larq card cannot be read \(ValueError: .* is not one text\)"):
        card.read(path)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_the_card_of_a_runs_model_says_nothing_of_other_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    network().save(model := tmp_path / "model.h5")
    card.attach(model, {"network": "n", "accuracy": 0.5, "trained_with": {"seed": 3, "epoch": 2, "average": 0.9}})
    network().save_weights(weights := tmp_path / "other.weights.h5")
    assert card.read(weights) == {"schema": card.SCHEMA, "network": "n", "trained_with": {"seed": 3}}
    assert card.read(model)["trained_with"] == {"seed": 3, "epoch": 2, "average": 0.9}
