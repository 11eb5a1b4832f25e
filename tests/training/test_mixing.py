"""mixup, cutmix and class weights against their definitions, and what a training does with them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from watched import kill_at

import el_larq
from el_larq.data.in_memory import InMemory, Split
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import UsageError
from el_larq.training.mixing import recipe_batches
from el_larq.training.optimizer import make_accuracy, make_loss
from el_larq.training.recipe import Recipe
from el_larq.training.recipes import get_recipe

BATCH = 6
RECIPE = Recipe("test", "", epochs=2, batch_size=BATCH, learning_rate=0.01)


def _data(labels: Any = (0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0)) -> InMemory:
    """Every image has one value of its own, so that a mixed image shows which two it is made of and in which shares."""
    numbers = np.arange(1, len(labels) + 1, dtype=np.uint8)
    images = np.broadcast_to(20 * numbers[:, None, None, None], (len(labels), 8, 8, 1)).copy()
    split = Split(images, np.array(labels, np.int64))
    how = Preprocessing(8, 8, 1, mean=(0.0,), std=(1.0,))
    return InMemory("test", 1, ("a", "b", "c"), how, split, split)


def _batches(recipe: Recipe, start: int = 0, data: InMemory | None = None) -> list[tuple[np.ndarray, ...]]:
    return [tuple(part.numpy() for part in batch) for batch in recipe_batches(data or _data(), recipe, 5, start)]


def _of(value: float) -> int:
    """The label of the image with this value."""
    return int(_data().train.labels[round(value / 20) - 1])


def test_mixup_mixes_images_and_labels_in_the_same_shares():
    shares = []
    for (plain, _), (images, labels) in zip(_batches(RECIPE), _batches(replace(RECIPE, mixup=1.0)), strict=True):
        assert images.shape == plain.shape
        assert labels.shape == (BATCH, 3)
        assert labels.dtype == np.float32
        values, own = images[:, 0, 0, 0], plain[:, 0, 0, 0]
        assert (images == values[:, None, None, None]).all()
        # One share per batch, the partners are the batch in another order.
        candidates = [(v - o) / (p - o) for v, o, p in zip(values, own, own[_order(values, own)], strict=True) if p != o]
        np.testing.assert_allclose(candidates, candidates[0], rtol=1e-3)
        share = 1 - candidates[0]
        for label, o, p in zip(labels, own, own[_order(values, own)], strict=True):
            expected = share * np.eye(3)[_of(o)] + (1 - share) * np.eye(3)[_of(p)]
            np.testing.assert_allclose(label, expected, atol=1e-3)
        shares.append(share)
    assert len({round(share, 4) for share in shares}) == len(shares)


def _order(values: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The order of partners: the only permutation for which one share explains all values."""
    from itertools import permutations

    def error(order: tuple[int, ...]) -> float:
        difference = own[list(order)] - own
        size = (difference**2).sum()
        share = ((values - own) * difference).sum() / size if size else 0.0
        return float(((values - own - share * difference) ** 2).sum()) + (0 if 0 <= share <= 1 else 1e9)

    return np.array(min(permutations(range(len(own))), key=error))


def test_cutmix_replaces_a_rectangle_and_mixes_labels_by_its_area():
    seen = 0
    for (plain, _), (images, labels) in zip(_batches(RECIPE), _batches(replace(RECIPE, cutmix=1.0)), strict=True):
        for image, before, label in zip(images[..., 0], plain[..., 0], labels, strict=True):
            changed = image != before
            if not changed.any():
                continue
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            assert changed.sum() == len(rows) * len(columns)
            assert (np.diff(rows) == 1).all()
            assert (np.diff(columns) == 1).all()
            (other,) = set(image[changed])
            part = changed.mean()
            expected = (1 - part) * np.eye(3)[_of(before[0, 0])] + part * np.eye(3)[_of(other)]
            np.testing.assert_allclose(label, expected, atol=1e-6)
            seen += 1
    assert seen


def test_lambda_has_the_beta_distribution():
    recipe = replace(RECIPE, mixup=0.4, epochs=400)
    shares = np.array([labels[0].max() for _, labels in _batches(recipe, data=_data((0,) * 6 + (1,) * 6))])
    # Every other pair has one label; where two are mixed, the larger share of Beta(0.4, 0.4) is above 0.9 with probability 0.51.
    mixed = shares[shares < 1 - 1e-6]
    assert len(mixed) > 100
    assert (mixed > 0.9).mean() == pytest.approx(_above(0.4, 0.9), abs=0.12)


def _above(alpha: float, limit: float) -> float:
    """The probability that max(x, 1 - x) is above the limit, for x of Beta(alpha, alpha), by NumPy."""
    x = np.random.default_rng(0).beta(alpha, alpha, 200_000)
    larger = np.maximum(x, 1 - x)
    return float((larger > limit).mean())


def test_with_both_some_batches_have_rectangles_and_some_do_not():
    whole = [(images == images[:, :1, :1]).all() for images, _ in _batches(replace(RECIPE, mixup=1.0, cutmix=1.0, epochs=20))]
    assert any(whole)
    assert not all(whole)


@pytest.mark.parametrize(
    "changes", [{"mixup": 0.2}, {"cutmix": 1.0}, {"random_augment": 2, "mixup": 0.3}, {"class_weights": "balanced"}]
)
def test_a_later_start_gives_the_same_batches(changes: dict[str, Any]):
    recipe = replace(RECIPE, **changes)
    for whole, late in zip(_batches(recipe)[3:], _batches(recipe, start=3), strict=True):
        for one, other in zip(whole, late, strict=True):
            np.testing.assert_array_equal(one, other)


def test_balanced_class_weights_are_inverse_to_the_numbers_of_images():
    recipe = replace(RECIPE, class_weights="balanced")
    for _, labels, weights in _batches(recipe):
        np.testing.assert_allclose(weights, np.array([12 / (3 * 6), 12 / (3 * 3), 12 / (3 * 3)])[labels], rtol=1e-6)
    for _, labels, weights in _batches(replace(recipe, mixup=1.0)):
        np.testing.assert_allclose(weights, labels @ [2 / 3, 4 / 3, 4 / 3], rtol=1e-5)


def test_class_weights_need_images_of_every_class():
    with pytest.raises(UsageError, match="class c has no training images"):
        _batches(replace(RECIPE, class_weights="balanced"), data=_data((0, 1) * 6))


def test_loss_and_accuracy_take_mixed_labels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 3)).astype(np.float32)
    shares = rng.dirichlet([1, 1, 1], 5).astype(np.float32)
    recipe = replace(RECIPE, label_smoothing=0.1)
    found = make_loss(recipe, 3)(tf.constant(shares), tf.constant(logits)).numpy()  # pyright: ignore[reportAttributeAccessIssue]
    log_softmax = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose(found, -((0.9 * shares + 0.1 / 3) * log_softmax).sum(-1), rtol=1e-5)
    metric = make_accuracy(3)
    metric.update_state(tf.constant(shares), tf.constant(logits))
    assert float(metric.result()) == pytest.approx((shares.argmax(-1) == logits.argmax(-1)).mean())
    metric.update_state(tf.constant([[0], [1], [2], [0], [1]]), tf.constant(logits))
    right = (shares.argmax(-1) == logits.argmax(-1)).sum() + (np.array([0, 1, 2, 0, 1]) == logits.argmax(-1)).sum()
    assert float(metric.result()) == pytest.approx(right / 10)


@pytest.mark.slow
def test_a_training_with_all_of_them_resumes_exactly(tmp_path: Path, digits: InMemory, start: Any):
    recipe = Recipe("all", "", epochs=2, batch_size=32, learning_rate=1e-2)
    recipe = replace(recipe, random_augment=1, mixup=0.2, cutmix=1.0, class_weights="balanced")
    expected = start(tmp_path / "expected", recipe=recipe)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", recipe=recipe, dataset=kill_at(digits, 6), checkpoint_steps=1)
    resumed = el_larq.resume(tmp_path / "run", dataset=digits)
    first, second = (el_larq.load_model(run.folder / "model.h5").get_weights() for run in (expected, resumed))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_compiled_network_is_not_given_mixed_labels(tmp_path: Path):
    model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    recipe = replace(get_recipe("demo"), mixup=0.2)
    with pytest.raises(UsageError, match="is compiled, and its own loss and metrics may not support the labels of mixed images"):
        el_larq.train(model, dataset="digits", recipe=recipe, out=tmp_path / "run")
