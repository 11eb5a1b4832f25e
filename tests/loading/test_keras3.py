"""Files that Keras 3 wrote: opened by Keras 3 in a process of its own."""

import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from el_larq.converters.pipeline import convert
from el_larq.errors import ElLarqError
from el_larq.loading import user_modules
from el_larq.loading.keras3_guard import check_keras3_config
from el_larq.loading.load import load_model, scaling_layer
from el_larq.loading.user_modules import import_modules

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
keras: Any = pytest.importorskip("keras", minversion="3")

OneLine = Callable[[BaseException], str]


def _classifier() -> Any:
    """With scaling inside, an operator between layers, and a compiled loss."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(x))
    x = layers.ReLU(6.0)(x) + layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Dense(5, activation="softmax", name="breed")(x), name="dogs")
    model.compile("adam", "categorical_crossentropy")
    return model


def _images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, 8, 8, 3)).astype(np.float32)


def test_a_keras_archive_is_converted(tmp_path: Path) -> None:
    model = _classifier()
    path = tmp_path / "dogs.keras"
    model.save(path)
    loaded = load_model(path)
    assert (loaded.name, loaded.input_names, loaded.output_names) == ("dogs", ["image"], ["breed"])
    assert loaded.count_params() == model.count_params()
    assert scaling_layer(loaded) == "rescaling"
    np.testing.assert_allclose(loaded(_images()), model(_images(), training=False), rtol=1e-5, atol=1e-6)
    job = convert(loaded)
    assert job.report[-2].details["max_difference"] < 1e-5


@pytest.mark.slow
def test_an_h5_file_with_several_inputs_keeps_their_order(tmp_path: Path) -> None:
    layers = keras.layers
    picture, side = keras.Input((4, 4, 1), name="picture"), keras.Input((2,), name="another")
    both = layers.Concatenate()([layers.Flatten()(picture), side])
    model = keras.Model([picture, side], [layers.Dense(3, name="wide")(both), layers.Dense(1, name="narrow")(both)])
    path = tmp_path / "two.h5"
    model.save(path)
    loaded = load_model(path)
    assert (loaded.input_names, loaded.output_names) == (["picture", "another"], ["wide", "narrow"])
    values = [np.ones((2, 4, 4, 1), np.float32), np.full((2, 2), 0.5, np.float32)]
    for ours, theirs in zip(loaded(values), model(values), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_its_exported_folder_is_converted(tmp_path: Path) -> None:
    model = _classifier()
    model.export(str(tmp_path / "dogs"), verbose=False)
    loaded = load_model(tmp_path / "dogs")
    np.testing.assert_allclose(loaded(_images()), model(_images(), training=False), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_lambda_is_refused_and_not_run(tmp_path: Path, one_line: OneLine) -> None:
    canary = tmp_path / "canary"
    code = keras.layers.Lambda(lambda x, path: (open(path, "w").close(), x)[1], arguments={"path": str(canary)})
    image = keras.Input((2,))
    for name in ("code.keras", "code.h5"):
        keras.Model(image, code(image)).save(tmp_path / name)
        canary.unlink(missing_ok=True)
        with pytest.raises(ElLarqError) as caught:
            load_model(tmp_path / name)
        assert "contains Lambda, which runs code" in one_line(caught.value)
        assert not canary.exists()


@pytest.mark.slow
def test_a_class_that_the_user_imports_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: OneLine) -> None:
    (tmp_path / "our_keras3_layers.py").write_text(
        "import keras\n\n\n@keras.saving.register_keras_serializable('ours')\nclass Twice(keras.layers.Layer):\n"
        "    def call(self, x):\n        return 2 * x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(user_modules, "_imported", [])
    import our_keras3_layers  # pyright: ignore[reportMissingImports]

    image = keras.Input((2,))
    path = tmp_path / "twice.keras"
    keras.Model(image, our_keras3_layers.Twice()(image)).save(path)
    with pytest.raises(ElLarqError) as caught:
        load_model(path)
    assert "name the module that registers it with --import MODULE" in one_line(caught.value)
    import_modules(("our_keras3_layers",))
    np.testing.assert_array_equal(load_model(path)(np.ones((1, 2), np.float32)), [[2, 2]])
    sys.modules.pop("our_keras3_layers")


@pytest.mark.slow
def test_a_file_that_keras_3_cannot_read_is_named(tmp_path: Path, one_line: OneLine) -> None:
    path = tmp_path / "dogs.keras"
    _classifier().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][2]["config"]["filters"] = "many"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"config.json": json.dumps(config)}).items():
            archive.writestr(name, content)
    with pytest.raises(ElLarqError) as caught:
        load_model(path)
    assert "Keras 3 cannot load it" in one_line(caught.value)


@pytest.mark.slow
def test_what_keras_3_does_not_load_from_h5_is_named(tmp_path: Path, one_line: OneLine) -> None:
    image = keras.Input((4, 3))
    for operator, result in {"GetItem": image[:, 1:], "Multiply": image * 0.5}.items():
        keras.Model(image, keras.layers.Dense(2)(result)).save(tmp_path / "operator.h5")
        with pytest.raises(ElLarqError) as caught:
            load_model(tmp_path / "operator.h5")
        assert f"has the operator {operator} between its layers" in one_line(caught.value)
        assert str(caught.value).endswith("save the model there as .keras")
    keras.Model(image, keras.layers.Dense(2)(keras.layers.Attention()([image, image]))).save(tmp_path / "attention.h5")
    with pytest.raises(ElLarqError, match="class 'Attention': Invalid value for argument score_mode") as caught:
        load_model(tmp_path / "attention.h5")
    assert "save it there as .keras" in one_line(caught.value)


def _with(**node: Any) -> dict[str, Any]:
    return {"class_name": "Functional", "module": "keras.src.models.functional", "config": {"layers": [node]}}


@pytest.mark.parametrize(
    "node",
    [
        {"class_name": "__lambda__", "config": {"value": ""}},
        {"class_name": "__typespec__", "module": "os", "spec_name": "system", "config": []},
        {"class_name": "get_file", "module": "keras.utils", "config": {}},
        {"class_name": "function", "module": "keras.utils", "config": "get_file"},
        {"class_name": "function", "module": "builtins", "config": "eval"},
        {"class_name": "StringLookup", "module": "keras.layers", "config": {"vocabulary": "/etc/passwd"}},
        {"class_name": "TorchModuleWrapper", "module": "keras.layers", "config": {}},
        {"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": "/tmp/x"}},
        {"class_name": "JaxLayer", "module": "keras.layers", "config": {}},
        {"class_name": "Dense", "module": "os", "config": {}},
        {"class_name": "Map", "module": "keras.src.ops.core", "config": {}},
        {"class_name": "Lambda", "module": "keras.layers", "config": {}},
        {"class_name": 3, "config": {}},
    ],
    ids=lambda node: f"{node.get('module')}.{node['class_name']}",
)
def test_names_that_no_layer_needs_are_refused(node: dict[str, Any], one_line: OneLine) -> None:
    with pytest.raises(ElLarqError) as caught:
        check_keras3_config(_with(**node), "a.keras")
    assert one_line(caught.value).startswith("a.keras: ")


def test_the_outermost_object_must_be_a_model(one_line: OneLine) -> None:
    for config in ({"class_name": "Dense", "module": "keras.layers", "config": {}}, [], None):
        with pytest.raises(ElLarqError) as caught:
            check_keras3_config(config, "a.keras")
        assert "its outermost object is" in one_line(caught.value)
