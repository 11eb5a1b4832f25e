"""Loading models: of el_larq/loading/load.py, together with the step that uses it."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import binary_models as models
import h5py
import numpy as np
import pytest
import tf_keras as keras

from el_larq import card
from el_larq.converters.job import Job, Options
from el_larq.converters.load_step import load
from el_larq.errors import ElLarqError, UsageError
from el_larq.loading import user_modules
from el_larq.loading.load import load_model, with_static_input
from el_larq.loading.user_modules import import_modules

OneLine = Callable[[BaseException], str]


def _refused(path: Path, one_line: OneLine) -> str:
    with pytest.raises(ElLarqError) as caught:
        load_model(path)
    message = one_line(caught.value)
    assert str(path) in message
    return message


@pytest.mark.parametrize("form", ["h5", "keras", "saved_model"])
def test_every_format_gives_the_model_back(small: Any, form: str) -> None:
    loaded = load_model(getattr(small, form))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in small.model.layers]
    x = models.images(4, 16)
    np.testing.assert_allclose(loaded(x, training=False), small.model(x, training=False), rtol=1e-5, atol=1e-5)


def test_layers_of_this_project_are_known(tmp_path: Path) -> None:
    from el_larq.layers import ElasticLink

    def linked(x: Any) -> Any:
        return ElasticLink(name="link")([x, models.norm("norm")(models.binary(48, "conv")(x))])

    model = models.network(linked)
    for name in ("model.h5", "model.keras", "saved_model"):
        loaded = load_model(models.save(model, tmp_path / name))
        np.testing.assert_allclose(loaded(models.images(2)), model(models.images(2)), rtol=1e-5, atol=1e-5)


def test_a_missing_file_is_named(tmp_path: Path, one_line: OneLine) -> None:
    assert "no such file" in _refused(tmp_path / "model.h5", one_line)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_h5_is_refused(small: Any, tmp_path: Path, one_line: OneLine, share: float) -> None:
    content = small.h5.read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged or truncated" in _refused(path, one_line)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_keras_file_is_refused(small: Any, tmp_path: Path, one_line: OneLine, share: float) -> None:
    content = small.keras.read_bytes()
    path = tmp_path / "cut.keras"
    path.write_bytes(content[: int(share * len(content))])
    assert "truncated" in _refused(path, one_line)


@pytest.mark.parametrize("name", ["notes.h5", "notes.keras", "notes.hdf5"])
@pytest.mark.parametrize("content", [b"", b"a text file\n"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, one_line: OneLine, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert "not " in _refused(path, one_line)


def test_weights_alone_are_refused(small: Any, tmp_path: Path, one_line: OneLine) -> None:
    path = tmp_path / "only.weights.h5"
    small.model.save_weights(path)
    _refused(path, one_line)
    path = tmp_path / "legacy.h5"
    small.model.save_weights(path)
    assert "weights only" in _refused(path, one_line)


def test_a_folder_without_a_model_is_refused(tmp_path: Path, one_line: OneLine) -> None:
    assert "not a SavedModel" in _refused(tmp_path, one_line)


def test_a_damaged_saved_model_is_refused(tmp_path: Path, one_line: OneLine) -> None:
    for name in ("saved_model.pb", "keras_metadata.pb"):
        (tmp_path / name).write_bytes(b"\xff damaged")
    _refused(tmp_path, one_line)


def test_an_unknown_suffix_is_refused(small: Any, tmp_path: Path, one_line: OneLine) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(small.h5.read_bytes())
    assert "known formats: .h5, .hdf5, .keras" in _refused(path, one_line)


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "model.tflite": "is converted already; inspect, evaluate or benchmark it",
        "model.json": "contains an architecture without weights",
        "model.ckpt": "is a checkpoint, which contains weights only",
        "model.index": "is a checkpoint, which contains weights only",
        "saved_model.pb": "give the SavedModel's folder",
        "model.ONNX": "is an ONNX model",
        "model.pth": "is a PyTorch model",
        "model.KERAS": "rename it to model.keras",
    }.items(),
)
def test_other_kinds_of_files_are_named(name: str, expected: str, tmp_path: Path, one_line: OneLine) -> None:
    (tmp_path / name).write_bytes(b"something")
    assert expected in _refused(tmp_path / name, one_line)


def test_the_suffix_of_an_h5_file_may_be_upper_case(small: Any, tmp_path: Path) -> None:
    path = tmp_path / "MODEL.H5"
    path.write_bytes(small.h5.read_bytes())
    assert load_model(path).count_params() == small.model.count_params()


def test_a_keras_archive_of_an_older_form_is_named(tmp_path: Path, one_line: OneLine) -> None:
    path = tmp_path / "old.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("config.json", "metadata.json", "variables.h5"):
            archive.writestr(name, "{}")
    assert "written by an older Keras, in a form that tf-keras cannot read" in _refused(path, one_line)


def test_the_loss_of_a_keras_archive_is_not_needed(tmp_path: Path) -> None:
    def strange_loss(y: Any, p: Any) -> Any:
        return y - p

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", strange_loss)
    model.save(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras").count_params() == 3


def test_an_h5_whose_configuration_is_bytes_is_loaded(small: Any, tmp_path: Path) -> None:
    """As TensorFlow before 2.4 with h5py 2 wrote it."""
    path = tmp_path / "old.h5"
    path.write_bytes(small.h5.read_bytes())
    with h5py.File(path, "r+") as file:
        content = str(file.attrs["model_config"])
        del file.attrs["model_config"]
        file.attrs["model_config"] = np.bytes_(content.encode())
    assert load_model(path).count_params() == small.model.count_params()


# Nothing in a model file is executed.


def _lambda(canary: Path) -> keras.layers.Layer:
    """A layer whose marshalled code writes a file whenever it is called."""
    return keras.layers.Lambda(
        lambda x, path: (__import__("pathlib").Path(path).write_text("executed"), x)[1],
        arguments={"path": str(canary)},
        output_shape=lambda shape: shape,
    )


def _poisoned(canary: Path, nested: bool) -> keras.Model:
    image = keras.Input((4, 4, 1), name="image")
    layer = _lambda(canary)
    if nested:
        inner = keras.Input((4, 4, 1))
        layer = keras.Model(inner, layer(inner), name="inner")
    model = keras.Model(image, layer(image), name="poisoned")
    canary.unlink()
    return model


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_a_lambda_layer_is_refused_and_not_executed(tmp_path: Path, one_line: OneLine, name: str, nested: bool) -> None:
    canary = tmp_path / "canary"
    path = models.save(_poisoned(canary, nested), tmp_path / name)
    assert "Lambda" in _refused(path, one_line)
    assert not canary.exists()


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
def test_the_code_of_a_lambda_layer_in_a_saved_model_is_not_executed(tmp_path: Path, nested: bool) -> None:
    canary = tmp_path / "canary"
    path = models.save(_poisoned(canary, nested), tmp_path / "saved_model")
    canary.unlink(missing_ok=True)  # saving a SavedModel traces the model
    load_model(path)
    assert not canary.exists()


def test_a_lambda_layer_inside_a_wrapper_is_refused_and_not_executed(tmp_path: Path, one_line: OneLine) -> None:
    canary = tmp_path / "canary"
    image = keras.Input((3, 4, 4, 1), name="image")
    model = keras.Model(image, keras.layers.TimeDistributed(_lambda(canary))(image))
    path = models.save(model, tmp_path / "model.h5")
    canary.unlink(missing_ok=True)
    assert "Lambda" in _refused(path, one_line)
    assert not canary.exists()


def test_a_keras_file_cannot_import_a_module_by_naming_it(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: OneLine
) -> None:
    """tf-keras imports whatever module a .keras file names; only --import may."""
    canary = tmp_path / "canary"
    (tmp_path / "named_by_a_file.py").write_text(f"open({str(canary)!r}, 'w').close()\ndef start(shape, dtype=None): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(small.keras) as source, zipfile.ZipFile(path, "w") as target:
        for member in source.namelist():
            content = source.read(member)
            if member == "config.json":
                config = json.loads(content)
                stem = next(entry for entry in config["config"]["layers"] if entry["config"]["name"] == "stem")
                stem["config"]["kernel_initializer"] = {
                    "module": "named_by_a_file",
                    "class_name": "function",
                    "config": "start",
                    "registered_name": "function",
                }
                content = json.dumps(config).encode()
            target.writestr(member, content)
    _refused(path, one_line)
    assert not canary.exists()


OWN_LAYER = """
import tf_keras as keras

@keras.utils.register_keras_serializable("mine")
class {name}(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x
"""


@pytest.fixture
def own_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], tuple[Path, str]]:
    """A model file with a layer of the user's own, and the module that defines it, not yet imported."""

    def make(name: str, suffix: str) -> tuple[Path, str]:
        scope: dict[str, Any] = {"__name__": f"module_of_{name.lower()}"}
        exec(OWN_LAYER.format(name=name), scope)
        image = keras.Input((4, 4, 1), name="image")
        path = models.save(keras.Model(image, scope[name]()(image), name="own"), tmp_path / f"model{suffix}")
        keras.utils.get_custom_objects().pop(f"mine>{name}")
        module = f"module_of_{name.lower()}"
        (tmp_path / f"{module}.py").write_text(OWN_LAYER.format(name=name))
        monkeypatch.syspath_prepend(tmp_path)
        return path, module

    # The processes of later tests do not find the module.
    monkeypatch.setattr(user_modules, "_imported", [])
    return make


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_an_unknown_layer_asks_for_its_module_and_takes_it(own_layer: Any, one_line: OneLine, suffix: str) -> None:
    path, module = own_layer(f"Twice{suffix[1:].upper()}", suffix)
    message = _refused(path, one_line)
    assert f"--import {module if suffix == '.keras' else 'MODULE'}" in message
    import_modules((module,))
    x = models.images(1, 4)
    np.testing.assert_allclose(load_model(path)(x), 2 * x)


def test_the_step_imports_the_modules_it_is_given(own_layer: Any) -> None:
    path, module = own_layer("TwiceInStep", ".h5")
    job = load(Job(None, Options(modules=(module,)), source=path))
    assert job.details["name"] == "own"


def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: OneLine) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_module.py").write_text("def :\n")
    for name in ("no_such_module_here", "broken_module"):
        with pytest.raises(UsageError, match=name) as caught:
            import_modules((name,))
        one_line(caught.value)


# A static input.


def _any_size() -> keras.Model:
    image = keras.Input((None, None, 1), name="image")
    x = keras.layers.Conv2D(32, 3, padding="same")(image)
    x = keras.layers.GlobalAveragePooling2D()(models.binary(32, "conv")(x))
    return keras.Model(image, keras.layers.Dense(3)(x), name="open")


def test_an_open_size_needs_one(one_line: OneLine) -> None:
    with pytest.raises(ElLarqError, match="--image-size") as caught:
        with_static_input(_any_size(), None)
    one_line(caught.value)


def test_an_open_size_takes_one_and_computes_the_same() -> None:
    model = _any_size()
    fixed = with_static_input(model, 12)
    assert tuple(fixed.inputs[0].shape) == (None, 12, 12, 1)
    x = models.images(2, 12)
    np.testing.assert_allclose(fixed(x), model(x), rtol=1e-6)


def test_a_fixed_size_stays_or_is_refused(small: Any) -> None:
    assert with_static_input(small.model, None) is small.model
    assert with_static_input(small.model, 16) is small.model
    with pytest.raises(UsageError, match="fixed at"):
        with_static_input(small.model, 32)


def test_a_model_without_inputs_is_refused(one_line: OneLine) -> None:
    with pytest.raises(ElLarqError, match="has no inputs of known shape; call it on an image once") as caught:
        with_static_input(keras.Sequential([keras.layers.Dense(2)]), None)
    one_line(caught.value)


def test_the_step_brings_the_card_along(small: Any) -> None:
    job = load(Job(None, Options(), source=small.h5))
    assert job.card["labels"] == small.card["labels"]
    assert job.card == {"schema": card.SCHEMA, **small.card}
    assert job.original is job.model
    assert job.details["parameters"] == small.model.count_params()
