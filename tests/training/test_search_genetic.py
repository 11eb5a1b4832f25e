from pathlib import Path
from typing import Any

import larq
import numpy as np
import pytest
import tf_keras as keras

import el_larq
from el_larq.quantizers import GeneticSign, PerChannel
from el_larq.training import search_genetic
from el_larq.training.search_genetic import Gene, evolve, find_genes, mutate, search

CHANNELS = 6


def make(balance: float = 0.0) -> Any:
    random = np.random.default_rng(0)
    image = keras.Input((4, 4, CHANNELS))
    signs: dict[str, Any] = {"input_quantizer": "ste_sign", "use_bias": False}
    x = larq.layers.QuantDepthwiseConv2D(
        3,
        padding="same",
        pad_values=1.0,
        depthwise_quantizer=PerChannel(GeneticSign(balance=balance)),
        depthwise_constraint="weight_clip",
        name="depthwise",
        **signs,
    )(image)
    x = larq.layers.QuantConv2D(
        CHANNELS, 1, kernel_quantizer=GeneticSign(balance=balance), kernel_constraint="weight_clip", name="conv", **signs
    )(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Flatten()(x)
    model: Any = keras.Model(image, keras.layers.Dense(8, use_bias=False, name="logits")(x))
    model.get_layer("depthwise").depthwise_kernel.assign(random.normal(size=(3, 3, CHANNELS, 1)) * 0.5)
    for name, scale in (("conv", 0.5), ("logits", 1.0)):
        kernel = model.get_layer(name).kernel
        kernel.assign(random.normal(size=kernel.shape) * scale)
    return model


def thresholds(model: Any) -> list[Any]:
    return [gene.quantizer.filter_threshold for gene in find_genes(model)]


def planted(balance: float = 0.0) -> tuple[Any, np.ndarray, np.ndarray]:
    """A model with all thresholds at zero, images, and the labels that it gives with others."""
    model, random = make(balance), np.random.default_rng(5)
    images = random.normal(size=(512, 4, 4, CHANNELS)).astype(np.float32)
    for variable in thresholds(model):
        variable.assign(random.choice([-0.3, 0.3], CHANNELS))
    labels = np.argmax(model(images, training=True), axis=-1)
    for variable in thresholds(model):
        variable.assign(np.zeros(CHANNELS))
    return model, images, labels


def test_it_lowers_the_loss_on_images_that_it_has_not_seen():
    model, images, labels = planted()
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def unseen() -> float:
        return float(entropy(labels[256:], model(images[256:], training=True)))

    before = unseen()
    for epoch in range(1, 11):
        search(model, [(images[:256], labels[:256])], seed=0, epoch=epoch)
    assert unseen() < before / 2


def test_balance_weighs_the_signs():
    model, images, labels = planted(balance=1e6)

    def imbalance() -> float:
        return float(np.mean([gene.imbalance(gene.quantizer.filter_threshold.numpy()).mean() for gene in find_genes(model)]))

    before = imbalance()
    for epoch in range(1, 6):
        search(model, [(images[:64], labels[:64])], seed=0, epoch=epoch)
    assert imbalance() < before / 2


def test_it_is_a_function_of_its_arguments_and_continues_after_loading(tmp_path: Path):
    _, *data = planted()
    first, second = make(), make()
    for model in (first, second):
        for epoch in (1, 2):
            search(model, [data], seed=7, epoch=epoch)
    assert any(np.any(variable) for variable in thresholds(first))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)

    first.save(tmp_path / "model.keras")
    loaded, other = (el_larq.load_model(tmp_path / "model.keras") for _ in range(2))
    for model, seed in ((first, 7), (loaded, 7), (other, 8)):
        search(model, [data], seed=seed, epoch=3)
    for a, b in zip(first.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(thresholds(loaded), thresholds(other), strict=True))


def test_only_thresholds_change():
    model, images, labels = planted()
    before = {v.name: v.numpy().copy() for v in model.variables}
    search(model, [(images, labels)], seed=0, epoch=1)
    changed = {v.name for v in model.variables if not np.array_equal(v, before[v.name])}
    assert changed
    assert all(name.endswith("filter_threshold:0") for name in changed)


def test_a_loss_of_nan_changes_nothing():
    model, images, labels = planted()
    search(model, [(images * np.float32("nan"), labels)], seed=0, epoch=1)
    for variable in thresholds(model):
        np.testing.assert_array_equal(variable, np.zeros(CHANNELS))


def test_a_model_without_thresholds_is_left_alone():
    image = keras.Input((2,))
    model: Any = keras.Model(image, keras.layers.Dense(2)(image))
    before = model.get_weights()
    search(model, [], seed=0, epoch=1)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_filters_of_plain_and_depthwise_kernels():
    model = make()
    depthwise, plain = find_genes(model)
    kernel = model.get_layer("depthwise").depthwise_kernel.numpy()
    for c in range(CHANNELS):
        np.testing.assert_array_equal(depthwise.weights[:, c], kernel[:, :, c, 0].ravel())
        np.testing.assert_array_equal(plain.weights[:, c], model.get_layer("conv").kernel.numpy()[0, 0, :, c])
        column = depthwise.weights[:, c]
        signs = [1 if weight >= 0.1 else -1 for weight in column]
        assert depthwise.imbalance(np.full(CHANNELS, 0.1))[c] == pytest.approx((sum(signs) / 9) ** 2)


def test_the_balanced_individual_has_as_many_of_one_sign_as_of_the_other_within_the_limit():
    random = np.random.default_rng(0)
    weights = random.normal(0.3, 1, (100, 4)).astype(np.float32)
    weights[:60, 3] = 1  # its median is further from zero than its deviation
    weights[60:, 3] = 0.9
    gene = Gene(GeneticSign(), weights)
    assert gene.imbalance(gene.balanced)[:3].max() < 1e-3
    np.testing.assert_allclose(gene.balanced[3], weights[:, 3].std(), rtol=1e-5)


def test_mutation_changes_some_thresholds_by_a_little_and_keeps_within_the_deviation():
    random, deviation = np.random.default_rng(0), np.full(4000, 0.5, np.float32)
    start = np.full(4000, 0.4, np.float32)
    mutant = mutate(start, deviation, random)
    changed = mutant != start
    assert changed.mean() == pytest.approx(0.25, abs=0.03)
    assert mutant.max() == 0.5
    inside = mutant[changed & (mutant < 0.5)] - 0.4
    assert inside[inside < 0].std() == pytest.approx(0.1 * np.sqrt(1 - 2 / np.pi), abs=0.01)  # half of a normal distribution


def test_children_take_what_is_good_from_either_parent(monkeypatch: pytest.MonkeyPatch):
    """Each kind of individual has half of the optimum; without mutation only crossover can join them."""
    monkeypatch.setattr(search_genetic, "MUTATED", 0.0)
    optimum = np.tile([0.0, 1.0], 3).astype(np.float32)
    left, right = optimum.copy(), optimum.copy()
    left[:3], right[3:] = 0.5, 0.5

    def fitness(individual: np.ndarray) -> float:
        return float(np.abs(individual - optimum).sum())

    found = evolve([left, right] * 3, fitness, np.ones(6), 20, np.random.default_rng(0))
    np.testing.assert_array_equal(found, optimum)


def test_the_fittest_is_never_lost():
    random = np.random.default_rng(0)
    best = np.zeros(5, np.float32)
    population = [best, *(random.normal(size=5).astype(np.float32) for _ in range(5))]
    found = evolve(population, lambda t: float(np.abs(t).sum()), np.ones(5), 5, random)
    np.testing.assert_array_equal(found, best)
