"""A .tflite's outputs are the model's, in the model's order and under the model's names."""

from pathlib import Path
from typing import Any

import binary_models as models
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import el_larq
from el_larq import card
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Options
from el_larq.converters.lower import lower_model
from el_larq.converters.verify import verify_model
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

SHUFFLED = ("zebra", "apple", "m/iddle", "output_1", "output_0", "b.c", "x>y", "7", "2", "k", "j", "a")
"""Names as Keras allows them, and in no order."""


def _many(sizes: tuple[int, ...], size: int | None = 8) -> keras.Model:
    """A model with a binary convolution and a head for each size."""
    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, 1), name="image")
    x = models.binary(32, "conv")(keras.layers.Conv2D(32, 3, padding="same", name="stem")(image))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(models.norm("n")(x))
    heads = [keras.layers.Dense(n, bias_initializer="normal", name=name)(x) for n, name in zip(sizes, SHUFFLED, strict=False)]
    return keras.Model(image, heads, name="headed")


def _agree(model: Any, content: bytes) -> None:
    """Output i of the .tflite is output i of the model, by name and by value, in the file, its signature and its card."""
    graph = parse(content)
    assert list(graph.output_names) == model.output_names
    images = models.images(4)
    wanted = [np.asarray(values) for values in tf.nest.flatten(model(images, training=False))]
    for values, computed in zip(wanted, Interpreter(content).run(images), strict=True):
        assert values.shape == computed.shape
        np.testing.assert_allclose(computed, values, atol=1e-4)
    models.edit(content, lambda file: _signature_agrees(file, model.output_names))


def _signature_agrees(file: Any, names: list[str]) -> None:
    (signature,) = file.signatureDefs
    assert [entry.name.decode() for entry in signature.outputs] == names
    assert [entry.tensorIndex for entry in signature.outputs] == list(file.subgraphs[0].outputs)


@pytest.mark.parametrize(
    "sizes",
    [(4,) * 3, (3, 4, 5), (4,) * 4, (6, 3, 5, 4), (4,) * 12, tuple(range(3, 15))],
    ids=lambda sizes: f"{len(sizes)}-{sizes[1]}",
)
def test_outputs_keep_their_order_and_names(sizes: tuple[int, ...]) -> None:
    model = _many(sizes)
    job = el_larq.convert(model, options=Options(verify_images=8))
    assert job.tflite is not None
    _agree(model, job.tflite)
    graph = parse(job.tflite)
    assert [tensor.name for tensor in graph.outputs] == model.output_names
    assert model.output_names is not None
    written = card.parse(graph.metadata[card.NAME], "the file")["outputs"]
    assert [(entry["name"], entry["shape"]) for entry in written] == [
        (name, [1, size]) for name, size in zip(model.output_names, sizes, strict=True)
    ]


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "saved_model"])
def test_outputs_of_a_file_do_so_too(tmp_path: Path, name: str) -> None:
    model = _many((4, 4, 6, 4))
    job = el_larq.convert(models.save(model, tmp_path / name), options=Options(verify_images=8))
    assert job.tflite is not None
    _agree(model, job.tflite)


def test_an_input_without_a_size_keeps_the_names_of_the_outputs() -> None:
    model = _many((4, 5, 6), size=None)
    job = el_larq.convert(model, options=Options(image_size=8, verify_images=8))
    assert job.tflite is not None
    _agree(model, job.tflite)


def test_an_output_that_is_there_twice_has_two_names(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 1), name="image")
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Conv2D(8, 3, name="stem")(image))
    head = keras.layers.Dense(4, name="head")(pooled)
    model = keras.Model(image, [head, pooled, head, image, head])
    job = el_larq.convert(model, options=Options(verify_images=8))
    assert job.tflite is not None
    assert model.output_names == ["head", "pool", "head_1", "image", "head_2"]
    _agree(model, job.tflite)
    assert parse(job.tflite).inputs[0].name == "serving_default_image:0"


def test_a_dictionary_of_outputs_is_in_the_order_of_its_keys() -> None:
    whole = _many((4, 5, 6))
    model = keras.Model(whole.inputs, {"z": whole.outputs[0], "q": whole.outputs[1], "a": whole.outputs[2]})
    job = el_larq.convert(model, options=Options(verify_images=8))
    assert job.tflite is not None
    assert model.output_names == ["m/iddle", "apple", "zebra"]
    _agree(model, job.tflite)


def test_the_signature_runner_gives_each_name_its_values() -> None:
    """TensorFlow's interpreter, which does not have LCE's operators."""
    image = keras.Input((8, 8, 1), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(image))
    model = keras.Model(image, [keras.layers.Dense(4, name=name)(pooled) for name in SHUFFLED[:5]])
    content = lower_model(FrozenModel(model))
    images = models.images(1)
    with pytest.warns(UserWarning, match="deprecated"):
        runner = tf.lite.Interpreter(model_content=content).get_signature_runner()
    named = runner(image=images)
    assert set(named) == set(model.output_names)
    for name, values in zip(model.output_names, Interpreter(content).run(images), strict=True):
        np.testing.assert_allclose(named[name], values, atol=1e-6)


def test_verification_refuses_outputs_in_another_order() -> None:
    model = FrozenModel(_many((4, 4, 4)))
    content = lower_model(model)

    def swap(file: Any) -> None:
        file.subgraphs[0].outputs = file.subgraphs[0].outputs[[0, 2, 1]]

    right = verify_model(model, content, models.images(4))
    assert right.failures == ()
    assert right.summary.endswith("top-1 of each of 3 outputs agrees for 100.0% or more")
    wrong = verify_model(model, models.edit(content, swap), models.images(4)).failures
    assert "outputs differ" in wrong[0]
    assert "top-1 of output " in wrong[1]


def test_an_output_of_another_shape_than_the_models_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from el_larq.converters import lower

    model, convert = FrozenModel(_many((4, 5))), lower.run_converter
    for sizes, message in {
        (5, 4): r"makes \(1, 5\) of the output 'zebra' of shape \(4,\)",
        (4,): "1 outputs of the model's 2",
    }.items():
        other = FrozenModel(_many(sizes))
        monkeypatch.setattr(lower, "run_converter", lambda _, other=other: convert(other))
        with pytest.raises(ElLarqError, match=message):
            lower_model(model)
