from pathlib import Path
from typing import Any

import larq
import numpy as np
import pytest
import tf_keras as keras

import el_larq
from el_larq.layers import InteractedBitcount
from el_larq.training.search_interactions import Draw, Edges, propose, reinforce, reward, search

CHANNELS = 6


def make(proposals: int = 32) -> Any:
    random = np.random.default_rng(0)
    image = keras.Input((4, 4, CHANNELS))
    signs: dict[str, Any] = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    x = larq.layers.QuantConv2D(CHANNELS, 1, use_bias=False, name="conv", **signs)(image)
    x = InteractedBitcount(CHANNELS, max_edges=CHANNELS, proposals=proposals, name="interact")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Flatten()(x)
    model: Any = keras.Model(image, keras.layers.Dense(8, use_bias=False, name="logits")(x))
    for name, scale in (("conv", 0.5), ("logits", 1.0)):
        kernel = model.get_layer(name).kernel
        kernel.assign(random.normal(size=kernel.shape) * scale)
    return model


def planted() -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A model whose edges are gone, images, the labels it gave with them, and those edges."""
    model, random = make(), np.random.default_rng(5)
    layer = model.get_layer("interact")
    source, strength = np.roll(np.arange(CHANNELS), 2), random.choice([-1.0, 1.0], CHANNELS)
    layer.source.assign(source)
    layer.strength.assign(strength)
    images = random.normal(size=(512, 4, 4, CHANNELS)).astype(np.float32)
    labels = np.argmax(model(images, training=True), axis=-1)
    layer.source.assign(np.arange(CHANNELS))
    layer.strength.assign(np.zeros(CHANNELS))
    return model, images, labels, source, strength


def values(model: Any) -> dict[str, np.ndarray]:
    return {v.name: v.numpy().copy() for v in model.variables}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_it_finds_the_edges_that_made_the_labels():
    model, images, labels, source, strength = planted()
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def unseen() -> float:
        return float(entropy(labels[256:], model(images[256:], training=True)))

    before, layer = unseen(), model.get_layer("interact")
    for epoch in range(1, 11):
        search(model, [(images[:256], labels[:256])], seed=0, epoch=epoch)
    assert unseen() < before / 2
    found = (layer.source.numpy() == source) & (layer.strength.numpy() == strength)
    assert found.sum() >= 5  # a random graph has each of the six with a probability of one in ten


def test_it_is_a_function_of_its_arguments_and_continues_after_loading(tmp_path: Path):
    data = planted()[1:3]
    first, second = make(), make()
    second.set_weights(first.get_weights())
    for model in (first, second):
        for epoch in (1, 2):
            search(model, [data], seed=7, epoch=epoch)
    assert np.array_equal(first.get_weights()[1], second.get_weights()[1])
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)

    first.save(tmp_path / "model.keras")
    loaded: Any = el_larq.load_model(tmp_path / "model.keras")
    for model in (first, loaded):
        search(model, [data], seed=7, epoch=3)
    for a, b in zip(first.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other: Any = el_larq.load_model(tmp_path / "model.keras")
    search(other, [data], seed=8, epoch=3)
    assert not same(values(loaded), values(other))


def test_only_the_interactions_change_and_never_by_training():
    model, images, labels, *_ = planted()
    before = values(model)
    search(model, [(images, labels)], seed=0, epoch=1)
    changed = {name for name, value in values(model).items() if not np.array_equal(value, before[name])}
    assert changed
    assert all(name.startswith("interact/") for name in changed)
    assert not any(v.name in changed for v in model.trainable_variables)


def test_a_model_without_interactions_is_left_alone():
    image = keras.Input((2,))
    model: Any = keras.Model(image, keras.layers.Dense(2)(image))
    before = values(model)
    search(model, [], seed=0, epoch=1)
    assert same(values(model), before)


@pytest.mark.parametrize(
    ("after", "expected"), [(0.99, 1), (1.01, -1), (0.998, 0), (1.002, 0), (float("nan"), -1), (float("inf"), -1)]
)
def test_the_reward_is_the_sign_of_a_change_that_counts(after: float, expected: int):
    assert reward(1.0, after) == expected


def even(channels: int) -> dict[str, np.ndarray]:
    return {"target": np.zeros(channels), "source": np.zeros(channels), "strength": np.zeros((channels, 3))}


def no_edges(channels: int) -> Edges:
    return Edges(np.arange(channels), np.zeros(channels, np.float32))


def test_proposals_stay_within_the_rules():
    random, edges = np.random.default_rng(0), no_edges(32)
    seen = set()
    for _ in range(200):
        edges, draws = propose(even(32), edges, 3, random)
        assert len(draws) == 2  # of 32 channels, one change for 16
        assert len(edges) <= 3
        linked = edges.strength != 0
        assert (edges.source[linked] != np.flatnonzero(linked)).all()
        np.testing.assert_array_equal(edges.source[~linked], np.flatnonzero(~linked))
        seen |= set(edges.strength)
    assert seen == {-1, 0, 1}


def test_an_edge_too_many_takes_the_place_of_the_least_likely():
    policy, edges = even(4), no_edges(4)
    edges.source[:2], edges.strength[:2] = (1, 0), 1
    policy["target"][:] = [2, 1, 60, 0]
    policy["strength"][2] = [0, 0, 60]
    after, _ = propose(policy, edges, 2, np.random.default_rng(1))
    np.testing.assert_array_equal(after.strength, [1, 0, 1, 0])


def test_draws_follow_the_policy():
    policy = even(8)
    policy["target"][:] = np.log([1, 2, 3, 4, 5, 6, 7, 8])
    random, count = np.random.default_rng(0), np.zeros(8)
    for _ in range(2000):
        _, [[target, strength, source]] = propose(policy, no_edges(8), 8, random)
        count[target.index] += 1
        np.testing.assert_allclose(target.probabilities, np.arange(1, 9) / 36)
        np.testing.assert_allclose(strength.probabilities, [0.5, 0, 0.5])  # there is no edge to remove
        assert source.probabilities[target.index] == 0
    expected = 0.95 * np.arange(1, 9) / 36 + 0.05 / 8
    np.testing.assert_allclose(count / 2000, expected, atol=0.04)


@pytest.mark.parametrize("earned", [1, 0, -1])
def test_logits_follow_the_gradient_of_the_log_probability(earned: int):
    random = np.random.default_rng(0)
    policy = {"target": random.normal(size=3), "source": random.normal(size=3), "strength": random.normal(size=(3, 3))}
    old = {name: logits.copy() for name, logits in policy.items()}
    p, q, r = (random.dirichlet(np.ones(3)) for _ in range(3))
    first = [Draw(("target", None), p, 2), Draw(("strength", 2), q, 0), Draw(("source", None), r, 1)]
    second = [Draw(("target", None), p, 1), Draw(("strength", 1), r, 1)]
    reinforce(policy, [first, second], earned)
    one = np.eye(3)
    expected_target = 0.9 * old["target"] + 0.5 * earned * (0.99 * (one[2] - p) + (one[1] - p))
    np.testing.assert_allclose(policy["target"], expected_target)
    np.testing.assert_allclose(policy["source"], 0.9 * old["source"] + 0.5 * earned * 0.99 * (one[1] - r))
    expected_strength = 0.9 * old["strength"]
    expected_strength[2] += 0.5 * earned * 0.99 * (one[0] - q)
    expected_strength[1] += 0.5 * earned * (one[1] - r)
    np.testing.assert_allclose(policy["strength"], expected_strength)
