"""SavedModels without Keras layers, whoever wrote them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.converters.pipeline import convert
from el_larq.converters.steps import ON_REQUEST, STEPS
from el_larq.errors import ElLarqError
from el_larq.inspection.inspect import inspect
from el_larq.loading.load import load_model

OneLine = Callable[[BaseException], str]


class Scaled(tf.Module):
    """y = relu(w x), s = sum(x); with a variable."""

    def __init__(self) -> None:
        self.weight = tf.Variable(tf.constant([[1.0, -2.0], [0.5, 3.0], [-1.0, 1.0]]))

    def __call__(self, x: Any) -> dict[str, Any]:
        return {"y": tf.nn.relu(x @ self.weight), "s": tf.reduce_sum(x, axis=1, keepdims=True)}


def _save(folder: Path, shape: list[int | None], names: tuple[str, ...] = ("serving_default",)) -> Path:
    module = Scaled()
    function = tf.function(module.__call__).get_concrete_function(tf.TensorSpec(shape, tf.float32, name="x"))
    tf.saved_model.save(module, str(folder), signatures=dict.fromkeys(names, function))
    return folder


def test_a_signature_becomes_a_model(tmp_path: Path) -> None:
    model = load_model(_save(tmp_path / "my module", [None, 3]))
    assert model.name == "my_module"
    assert model.output_names == ["s", "y"]
    assert model.count_params() == 6
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    s, y = model(x)
    np.testing.assert_allclose(s, x.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y, np.maximum(x @ [[1, -2], [0.5, 3], [-1, 1]], 0), rtol=1e-5, atol=1e-6)


def test_the_only_signature_may_have_any_name(tmp_path: Path) -> None:
    assert load_model(_save(tmp_path, [None, 3], ("mine",))).output_names == ["s", "y"]


def test_it_is_converted_and_verified(tmp_path: Path) -> None:
    job = convert(_save(tmp_path, [None, 3]))
    assert [entry.step for entry in job.report] == [step for step in STEPS if step not in ON_REQUEST]
    assert job.report[-2].details["max_difference"] < 1e-5


def test_signatures_that_cannot_be_used_are_named(tmp_path: Path, one_line: OneLine) -> None:
    cases = {
        "two": (_save(tmp_path / "two", [None, 3], ("a", "b")), "has the signatures 'a', 'b'; export the model with one named"),
        "batch": (_save(tmp_path / "batch", [2, 3]), "its input 'x' has a fixed batch size of 2"),
    }
    tf.saved_model.save(Scaled(), str(tmp_path / "none"))
    cases["none"] = (tmp_path / "none", "has no serving signature")
    for path, expected in cases.values():
        with pytest.raises(ElLarqError) as caught:
            load_model(path)
        assert expected in one_line(caught.value)


def test_a_graph_that_reads_files_is_refused(tmp_path: Path, one_line: OneLine) -> None:
    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def read(self, x: Any) -> Any:
            return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)

    module = Reader()
    tf.saved_model.save(module, str(tmp_path), signatures=module.read)
    with pytest.raises(ElLarqError) as caught:
        load_model(tmp_path)
    assert "ReadFile" in one_line(caught.value)


def test_a_lambda_is_loaded_as_the_graph_that_it_made(tmp_path: Path, one_line: OneLine) -> None:
    canary, folder = tmp_path / "canary", tmp_path / "saved"
    image = keras.Input((4, 4, 3))
    x = keras.layers.Lambda(lambda x, path: (Path(path).touch(), 2 * x + 1)[1], arguments={"path": str(canary)})(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(image, keras.layers.Dense(3, name="logits")(x)).save(folder)
    canary.unlink()
    job = convert(folder)
    assert not canary.exists()
    assert job.report[-2].details["max_difference"] < 1e-5
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    model = load_model(folder)
    assert not canary.exists()
    np.testing.assert_allclose(model(images), load_model(folder, trust=True)(images), rtol=1e-6)
    assert canary.exists()
    with pytest.raises(ElLarqError) as caught:
        inspect(folder)
    assert "contains a graph, not the layers of tf-keras" in one_line(caught.value)


def test_a_graph_with_a_lambda_keeps_the_order_of_inputs_and_outputs(tmp_path: Path) -> None:
    rgb, depth = keras.Input((4,), name="rgb"), keras.Input((2,), name="depth")
    x = keras.layers.Concatenate()([rgb, keras.layers.Lambda(lambda x: 2 * x)(depth)])
    outputs = [keras.layers.Dense(3, name="main")(x), keras.layers.Dense(2, name="aux")(x)]
    keras.Model([rgb, depth], outputs).save(tmp_path)
    model: Any = load_model(tmp_path)
    assert [tensor.shape[-1] for tensor in model.inputs] == [4, 2]
    assert list(model.output_names) == ["main", "aux"]


def test_a_lambda_without_a_signature_is_named(tmp_path: Path, one_line: OneLine) -> None:
    image = keras.Input((3,))
    keras.Model(image, keras.layers.Lambda(lambda x: 2 * x)(image)).save(tmp_path, signatures={})
    with pytest.raises(ElLarqError) as caught:
        load_model(tmp_path)
    assert "has no serving signature" in one_line(caught.value)
    assert "has a Lambda layer, so only its graph can be loaded, unless you trust it (--trust)" in str(caught.value)


def test_a_lambda_whose_graph_reads_files_is_refused(tmp_path: Path, one_line: OneLine) -> None:
    image = keras.Input((3,))
    keras.Model(image, keras.layers.Lambda(_length_of_a_file)(image)).save(tmp_path)
    with pytest.raises(ElLarqError) as caught:
        load_model(tmp_path)
    assert "ReadFile" in one_line(caught.value)


def _length_of_a_file(x: Any) -> Any:
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def test_inspect_asks_for_the_tflite(tmp_path: Path, one_line: OneLine) -> None:
    with pytest.raises(ElLarqError) as caught:
        inspect(_save(tmp_path, [None, 3]))
    assert "contains a graph, not the layers of tf-keras; convert it and use the .tflite" in one_line(caught.value)
