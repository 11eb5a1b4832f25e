"""Texts in HDF5 files are references: many may refer to one long text, and each states a length that HDF5 believes at first."""

import resource
import struct
import threading
import time
from pathlib import Path

import h5py
import pytest
import tf_keras as keras

from el_larq import card
from el_larq.errors import ElLarqError
from el_larq.loading.containers import h5_config
from el_larq.memory_limit import memory_limited

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
def test_an_attribute_of_many_references_is_refused(tmp_path: Path, name: str, group: str) -> None:
    network().save(path := tmp_path / "model.h5")
    refer(path, name, group)
    with pytest.raises(ElLarqError, match=rf"model\.h5: attribute '{name}' is damaged or takes too much memory"):
        h5_config(path)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", ["model_config", "keras_version", card.NAME])
def test_a_text_of_a_false_length_takes_no_memory(tmp_path: Path, name: str) -> None:
    """HDF5 takes 4 GB for it before it finds out."""
    network().save(path := tmp_path / "model.h5")
    card.attach(path, {"network": "n"})
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        length = struct.pack("<I", len(str(file.attrs[name]).encode()))
    start = content.index(length, content.index(name.encode() + b"\0"))
    content[start : start + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    read = card.read if name == card.NAME else h5_config
    message = "its el-larq card cannot be read" if name == card.NAME else f"attribute '{name}' is damaged or takes too much memory"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ElLarqError, match=message):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 1024


def test_the_limit_of_memory_ends_with_the_context() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(MemoryError), memory_limited(1 << 28):
        bytes(1 << 29)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert len(bytes(1 << 29)) == 1 << 29


def test_threads_do_not_leave_each_others_limit() -> None:
    before, inside = resource.getrlimit(resource.RLIMIT_DATA), threading.Event()

    def stay() -> None:
        with memory_limited(1 << 30):
            inside.set()
            time.sleep(0.3)

    other = threading.Thread(target=stay)
    other.start()
    inside.wait()
    with memory_limited(1 << 30):  # when the other has left
        assert resource.getrlimit(resource.RLIMIT_DATA) != before
    other.join()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_deep_network_is_accepted(tmp_path: Path) -> None:
    """Its names of layers are 500 references in a file of 6 MB."""
    image = x = keras.Input((1,))
    for number in range(500):
        x = keras.layers.Activation("relu", name=f"activation_{number}_{'x' * 20}")(x)
    keras.Model(image, keras.layers.Dense(1_500_000, use_bias=False)(x)).save(path := tmp_path / "model.h5")
    with h5py.File(path, "r") as file:
        assert file["model_weights"].attrs.get_id("layer_names").dtype.hasobject
    assert h5_config(path).config["class_name"] == "Functional"


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_the_model_of_a_run_is_checked_where_it_describes_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    network().save_weights(weights := tmp_path / "best.weights.h5")
    network().save(model := tmp_path / "model.h5")
    assert h5_config(weights).config["class_name"] == "Sequential"
    refer(model, "keras_version")
    with pytest.raises(ElLarqError, match=r"model\.h5: attribute 'keras_version' is damaged"):
        h5_config(weights)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_card_of_many_references_is_refused(tmp_path: Path) -> None:
    network().save(path := tmp_path / "model.h5")
    refer(path, card.NAME)
    with pytest.raises(ElLarqError, match=r"its el-larq card cannot be read"):
        card.read(path)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_the_card_of_a_runs_model_says_nothing_of_other_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    network().save(model := tmp_path / "model.h5")
    card.attach(model, {"network": "n", "accuracy": 0.5, "trained_with": {"seed": 3, "epoch": 2, "average": 0.9}})
    network().save_weights(weights := tmp_path / "other.weights.h5")
    assert card.read(weights) == {"schema": card.SCHEMA, "network": "n", "trained_with": {"seed": 3}}
    assert card.read(model)["trained_with"] == {"seed": 3, "epoch": 2, "average": 0.9}
