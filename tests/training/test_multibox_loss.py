"""SSD's loss against the formula as loops in NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.training.multibox_loss import MultiboxLoss


def reference(targets: np.ndarray, predictions: np.ndarray) -> float:
    total, matched = 0.0, 0
    for labels_and_codes, predicted in zip(targets, predictions, strict=True):
        background = []
        own = 0
        for target, row in zip(labels_and_codes, predicted, strict=True):
            logits, label = row[:-4].astype(np.float64), int(target[0])
            entropy = np.log(np.exp(logits).sum()) - logits[label]
            if label:
                own += 1
                total += entropy
                for difference in abs(target[1:] - row[-4:]).astype(np.float64):
                    total += difference**2 / 2 if difference < 1 else difference - 0.5
            else:
                background.append(entropy)
        total += sum(sorted(background)[::-1][: 3 * own])
        matched += own
    return total / max(matched, 1)


def random_case(seed: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(1, 4, (3, 20, 1)) * (random.random((3, 20, 1)) < share)
    codes = random.normal(0, 2, (3, 20, 4)) * (labels > 0)
    return np.concatenate([labels, codes], axis=2).astype(np.float32), random.normal(0, 2, (3, 20, 8)).astype(np.float32)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.6, 1.0])
def test_loss_is_the_formula(share: float) -> None:
    for seed in range(4):
        targets, predictions = random_case(seed, share)
        assert float(MultiboxLoss()(targets, predictions)) == pytest.approx(reference(targets, predictions), rel=1e-5)


def test_gradients_reach_objects_and_hard_background_only() -> None:
    targets = np.zeros((1, 10, 5), np.float32)
    targets[0, 0] = (2, 0.5, 0, 0, 0)
    predictions = np.zeros((1, 10, 7), np.float32)
    predictions[0, 1:, 1] = np.arange(9)  # the higher, the more mistaken for class 1
    x = tf.constant(predictions)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = MultiboxLoss()(targets, x)
    slope: Any = tape.gradient(loss, x)
    gradient = abs(slope.numpy()[0])
    assert (gradient[:, :3].sum(axis=1) > 0).tolist() == [True] + [False] * 6 + [True] * 3
    assert (gradient[:, 3:] > 0).tolist() == [[True, False, False, False]] + [[False] * 4] * 9


def test_a_model_compiled_with_it_is_loaded_again(tmp_path: Path) -> None:
    image = keras.Input((4, 8))
    model = keras.Model(image, keras.layers.Dense(8)(image))
    model.compile("sgd", MultiboxLoss())
    model.save(tmp_path / "model.keras")
    assert isinstance(
        keras.models.load_model(tmp_path / "model.keras", custom_objects={"MultiboxLoss": MultiboxLoss}).loss, MultiboxLoss
    )
