"""Files in the form that an older Keras 2 writes; tests/data/older_keras contains some, with the script that wrote them."""

import el_larq  # isort: skip

import json
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import larq
import numpy as np
import pytest
import tf_keras as keras

from el_larq import card
from el_larq.converters.job import Options
from el_larq.errors import ElLarqError
from el_larq.loading import larq_zoo_objects
from el_larq.loading.load import load_model

ARCHIVES = Path(__file__).parents[1] / "data" / "older_keras"


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


def test_a_file_that_is_also_an_archive_is_refused(tmp_path: Path) -> None:
    """The HDF5 part would be checked, and Keras would read the archive."""
    path = _saved(keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)]), tmp_path)
    keras.Sequential([keras.layers.Input((4,)), keras.layers.Lambda(lambda x: x + 1)]).save(tmp_path / "other.keras")
    with open(path, "ab") as file:
        file.write((tmp_path / "other.keras").read_bytes())
    assert h5py.is_hdf5(path)
    assert zipfile.is_zipfile(path)
    with pytest.raises(ElLarqError, match="both an HDF5 file and an archive"):
        load_model(path)


@pytest.mark.parametrize("offset", [512, 2048])
def test_an_archive_whose_weights_start_where_hdf5_may_start_is_an_archive(tmp_path: Path, offset: int) -> None:
    """h5py searches for HDF5 at bytes 0, 512, 1024, 2048, ..."""
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, name="dense")])
    model.save(tmp_path / "saved.keras")
    path = tmp_path / "model.keras"
    weights = "model.weights.h5"
    with zipfile.ZipFile(tmp_path / "saved.keras") as source, zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo(weights)
        padding = offset - 30 - len(weights)  # after the fixed fields of an entry and its name
        entry.extra = struct.pack("<HH", 0xFFFF, padding - 4) + bytes(padding - 4)
        archive.writestr(entry, source.read(weights))
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, source.read(name))
    assert h5py.is_hdf5(path)
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    np.testing.assert_array_equal(load_model(path)(x), model(x))
    assert card.read(path) == {}


@pytest.mark.parametrize("shape", [(60_000,), (60_000, 1, 1, 1), (65, 65, 3, 1)])
def test_a_blur_of_another_shape_takes_no_memory(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="makes kernels of height and width"):
        larq_zoo_objects.blurpool_initializer(shape)


def _unpacked(version: str, folder: Path) -> tuple[list[Path], Any]:
    """The models in an archive, and images with their outputs."""
    with tarfile.open(ARCHIVES / f"{version}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return sorted(folder.glob("*model*")), np.load(folder / "outputs.npz")


@pytest.mark.parametrize("version", ["2.12", "2.13", "2.14", "2.15"])
def test_every_format_of_every_version_computes_what_it_did(version: str, tmp_path: Path) -> None:
    paths, known = _unpacked(version, tmp_path)
    assert len(paths) == (3 if version in ("2.12", "2.15") else 1)
    for path in paths:
        np.testing.assert_allclose(
            load_model(path)(known["images"], training=False), known["outputs"], rtol=1e-6, err_msg=str(path)
        )


@pytest.mark.slow
@pytest.mark.parametrize(("version", "name"), [("2.12", "model.keras"), ("2.12", "saved_model"), ("2.15", "saved_model")])
def test_it_is_converted_to_binary_convolutions(version: str, name: str, tmp_path: Path) -> None:
    _unpacked(version, tmp_path)
    job = el_larq.convert(tmp_path / name, tmp_path / "model.tflite", options=Options(verify_images=4))
    details = {entry.step: entry.details for entry in job.report}
    assert details["audit"]["binary"] == 3  # the nested model is called twice
    assert details["verify"]["failures"] == ()


def _changed(path: Path, member: str, content: bytes) -> Path:
    """A copy of an archive with one member replaced or added."""
    copy = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            if name != member:
                new.writestr(name, old.read(name))
        new.writestr(member, content)
    return copy


def test_an_older_archive_with_other_files_or_missing_weights_is_refused(tmp_path: Path) -> None:
    _unpacked("2.13", tmp_path)
    path = tmp_path / "model.keras"
    with pytest.raises(ElLarqError, match=r"vocabularies or other files .* save it as \.h5"):
        load_model(_changed(path, "assets/layers/words/vocabulary.txt", b"a"))
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file.create_group("vars")
    with pytest.raises(ElLarqError, match=r"expected .* variables"):
        load_model(_changed(path, "model.weights.h5", (tmp_path / "empty.h5").read_bytes()))


def test_a_function_that_an_older_archive_names_is_found(tmp_path: Path) -> None:
    _paths, known = _unpacked("2.12", tmp_path)
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    convolution = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Conv2D")
    convolution["config"]["kernel_initializer"] = "blurpool_initializer"
    model = load_model(_changed(path, "config.json", json.dumps(config).encode()))
    np.testing.assert_allclose(model(known["images"], training=False), known["outputs"], rtol=1e-6)


def test_code_in_an_older_archive_is_refused(tmp_path: Path) -> None:
    _unpacked("2.12", tmp_path)
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][1] |= {"class_name": "Lambda"}
    with pytest.raises(ElLarqError, match="Lambda layer, which is code"):
        load_model(_changed(path, "config.json", json.dumps(config).encode()))


@pytest.mark.parametrize("version", ["1.2.0", "0.3.3"])
def test_code_is_refused_whatever_version_a_file_states(version: str, tmp_path: Path) -> None:
    path = _saved(keras.Sequential([keras.layers.Input((4,)), keras.layers.Lambda(lambda x: x + 1)]), tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"] = version
    with pytest.raises(ElLarqError, match="Lambda layer, which is code"):
        load_model(path)


def _with_names_of_larq_zoo() -> keras.Model:
    image, blur = keras.Input((8, 8, 3)), larq_zoo_objects.blurpool_initializer
    x = keras.layers.DepthwiseConv2D(3, 2, "same", depthwise_initializer=blur)(image)  # pyright: ignore[reportArgumentType]
    for quantizer in (larq_zoo_objects.xnor_weight_scale, larq_zoo_objects.magnitude_aware_sign_unclipped):
        x = larq.layers.QuantConv2D(4, 3, padding="same", input_quantizer="ste_sign", kernel_quantizer=quantizer)(x)
    x = keras.layers.Activation(larq_zoo_objects.clip_by_value_activation)(x)
    return larq_zoo_objects.BinaryDenseNet(image, x)


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "saved_model"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_names_of_larq_zoo_are_known(name: str, tmp_path: Path) -> None:
    model = _with_names_of_larq_zoo()
    model.compile()
    model.save(tmp_path / name)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(load_model(tmp_path / name)(x), model(x))


def test_the_functions_of_larq_zoo_are_what_they_are_there() -> None:
    kernel: Any = np.random.default_rng(0).standard_normal((3, 3, 2, 4)).astype(np.float32)
    signs, clipped = np.sign(kernel), np.clip(kernel, -1, 1)
    expected = np.abs(clipped).mean((0, 1, 2)) * signs
    np.testing.assert_allclose(larq_zoo_objects.xnor_weight_scale(kernel), expected, rtol=1e-6)
    expected = np.abs(kernel).mean() * signs
    np.testing.assert_allclose(larq_zoo_objects.magnitude_aware_sign_unclipped(kernel), expected, rtol=1e-6)
    np.testing.assert_array_equal(larq_zoo_objects.clip_by_value_activation(kernel), np.clip(kernel, 0, 1))
    for size, row in ((2, [1, 1]), (3, [1, 2, 1]), (5, [1, 4, 6, 4, 1])):
        blur = larq_zoo_objects.blurpool_initializer((size, size, 7, 1))
        assert blur.shape == (size, size, 7, 1)
        np.testing.assert_array_equal(blur[:, :, 3, 0], np.outer(row, row) / np.sum(row) ** 2)


def test_an_unknown_initializer_is_named(tmp_path: Path, one_line: Any) -> None:
    path = _saved(keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)]), tmp_path).rename(tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        config = json.loads(str(file.attrs["model_config"]))
        config["config"]["layers"][1]["config"]["kernel_initializer"] = "of_nobody"  # as older versions spell a function
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ElLarqError) as caught:
        load_model(path)
    assert one_line(caught.value).endswith(
        "unknown initializer 'of_nobody'; name the module that registers it with --import MODULE"
    )
