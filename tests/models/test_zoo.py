"""The networks of Larq Zoo against its own definitions, which were run once with the same weights (data/larq_zoo.json)."""

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from zoo_layers import describe, digest, image, seeded_weights, shapes

from el_larq.errors import UsageError
from el_larq.models.zoo.zoo_build import build_zoo
from el_larq.models.zoo.zoo_registry import ZOO, get_zoo_network

REFERENCE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "larq_zoo.json").read_text())
"""For each network: the shapes of the weights of each layer and a digest of `describe`; without the top, with `seeded_weights`, for
`image` of the given size: the norm and some of the outputs."""

FAST = ("quicknet_small", "binary_alexnet")
SAMPLED = random.Random(os.environ["EL_LARQ_SAMPLE"]).sample(sorted(set(ZOO) - set(FAST)), 5)
"""Every network was compared when the definitions were written; the slow suite repeats five a day."""


def _check_definition(name: str) -> None:
    reference = REFERENCE[name]
    keras.backend.clear_session()
    model = build_zoo(name)
    assert shapes(model) == reference["layers"]
    lines = describe(model)
    assert digest(lines) == reference["digest"], lines
    assert model.output_shape == (None, 1000)
    assert model.count_params() in (ZOO[name].published["parameters"][0], _count(reference["layers"]))

    size = reference["size"]
    keras.backend.clear_session()
    features = build_zoo(name, top=False, input_shape=(size, size, 3))
    assert describe(features) == lines[: reference["notop_layers"]]
    features.set_weights(seeded_weights(features))
    outputs = np.asarray(features(image(size), training=False)).reshape(-1)
    assert len(outputs) == reference["outputs"]
    expected = np.array(reference["some_outputs"])
    found = outputs[:: max(1, len(outputs) // len(expected))][: len(expected)]
    # Another processor may add in another order; another epsilon changes the norm of the outputs by 6e-4 and more.
    np.testing.assert_allclose(found, expected, atol=1e-4 * reference["norm"] / np.sqrt(len(outputs)))
    assert np.linalg.norm(outputs) == pytest.approx(reference["norm"], rel=1e-5)


def _count(layers: list[str]) -> int:
    return sum(int(np.prod([int(size) for size in shape.split("x")])) for layer in layers for shape in layer.split(","))


@pytest.mark.parametrize("name", FAST)
def test_weights_layers_and_outputs_are_those_of_larq_zoo(name: str) -> None:
    _check_definition(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_weights_layers_and_outputs_of_the_others(name: str) -> None:
    _check_definition(name)


def test_the_fourteen_networks_have_a_reference_and_published_figures() -> None:
    assert set(ZOO) == set(REFERENCE)
    assert len(ZOO) == 14
    for network in ZOO.values():
        assert set(network.published) == {"top-1", "top-5", "parameters", "size"}
        assert all(source for _figure, source in network.published.values())


def test_a_top_for_other_classes_keeps_the_features() -> None:
    arguments: dict[str, Any] = {"input_shape": (64, 64, 3), "num_classes": 7}
    probabilities, logits = (build_zoo("zoo:quicknet_small", softmax=softmax, **arguments) for softmax in (True, False))
    weights = seeded_weights(logits)
    for model in (probabilities, logits):
        model.set_weights(weights)
    x = image(64)
    assert probabilities.output_shape == logits.output_shape == (None, 7)
    np.testing.assert_allclose(probabilities(x, training=False), tf.nn.softmax(logits(x, training=False)), rtol=1e-6)
    assert shapes(logits)[:-1] == REFERENCE["quicknet_small"]["layers"][:-1]


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown network of Larq Zoo 'quicknet_smal'; did you mean quicknet_small"):
        build_zoo("zoo:quicknet_smal")
    with pytest.raises(UsageError, match="at least 2 classes"):
        build_zoo("quicknet", num_classes=1)
    with pytest.raises(UsageError, match="images of 64x64 pixels are too small for XNORNet"):
        build_zoo("xnornet", input_shape=(64, 64, 3))
    assert get_zoo_network("zoo:quicknet") is get_zoo_network("quicknet")
