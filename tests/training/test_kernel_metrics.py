"""Flips and starved weights, against counts by hand."""

import json
from pathlib import Path
from typing import Any

import larq
import numpy as np
import pytest
import tf_keras as keras
from watched import kill_at

from el_larq.data.in_memory import InMemory
from el_larq.training.kernel_metrics import SAMPLED, KernelMetrics
from el_larq.training.train import resume

NETWORK = """
import larq, tf_keras as keras

def build(input_shape, num_classes):
    image = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, 4)(image)
    x = larq.layers.QuantConv2D(8, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(image, keras.layers.Dense(num_classes)(keras.layers.GlobalAveragePooling2D()(x)))
"""


def one_layer(quantizer: Any) -> Any:
    image = keras.Input((4, 4, 2))
    layer = larq.layers.QuantConv2D(3, 1, kernel_quantizer=quantizer, use_bias=False)
    model = keras.Model(image, layer(image))
    layer.kernel.assign(np.reshape([0.5, -0.5, 1.5, -1.5, 0.9, -0.1], (1, 1, 2, 3)))
    return model, layer.kernel


def test_a_flip_is_a_changed_sign_and_a_starved_weight_has_no_gradient() -> None:
    model, kernel = one_layer("ste_sign")
    metrics = KernelMetrics(model, steps_per_epoch=2)
    for step, factor in enumerate(([-1.0, 1, 1], [1.0, 1, 1])):  # a third of the signs, then none
        metrics.before_step(step)
        kernel.assign(kernel * factor)
        metrics.after_step()
    balance = {"positive": 3 / 6, "entropy": 1.0}  # each of the three filters has a positive and a negative weight
    assert metrics.epoch() == pytest.approx({"flips": (1 / 3 + 0) / 2, "starved": 2 / 6} | balance)
    metrics.begin_epoch()
    assert metrics.epoch() == pytest.approx({"starved": 2 / 6} | balance)


def test_kernels_of_frozen_layers_are_not_counted() -> None:
    image = keras.Input((4, 4, 2))
    frozen, trained = (larq.layers.QuantConv2D(2, 1, kernel_quantizer="ste_sign", use_bias=False) for _ in range(2))
    model = keras.Model(image, trained(frozen(image)))
    frozen.trainable = False
    trained.kernel.assign(np.reshape([0.5, -0.5, 1.5, 0.9], (1, 1, 2, 2)))
    frozen.kernel.assign(trained.kernel)
    metrics = KernelMetrics(model, steps_per_epoch=1)
    metrics.before_step(0)
    frozen.kernel.assign(-frozen.kernel)
    trained.kernel.assign(trained.kernel * [[[[-1.0, 1.0], [1.0, 1.0]]]])
    metrics.after_step()
    assert metrics.epoch() == pytest.approx({"flips": 1 / 4, "starved": 1 / 4, "positive": 1 / 2, "entropy": 1.0})
    trained.trainable = False
    assert KernelMetrics(model, 1).epoch() == {}


def test_only_some_steps_of_a_long_epoch_are_looked_at() -> None:
    model, _ = one_layer("ste_sign")
    metrics = KernelMetrics(model, steps_per_epoch=1000)
    for step in range(1000):
        metrics.before_step(step)
        metrics.after_step()
    assert 0 < metrics.sampled[1] <= SAMPLED


def test_without_binary_kernels_there_is_nothing_to_count() -> None:
    model, _ = one_layer(None)
    metrics = KernelMetrics(model, 1)
    metrics.before_step(0)
    metrics.after_step()
    assert metrics.epoch() == {}


def test_a_run_records_them_and_a_resume_counts_on(start: Any, digits: InMemory, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    network = f"{tmp_path / 'net.py'}:build"

    def records(folder: Path) -> list[Any]:
        return [
            {name: record[name] for name in ("loss", "flips", "starved")}
            for record in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        ]

    whole = start(tmp_path / "whole", network=network, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", network=network, epochs=2, checkpoint_steps=2, dataset=kill_at(digits, 3))
    resume(tmp_path / "run", dataset=digits)
    assert records(whole.folder) == records(tmp_path / "run")
    assert all(0 < record["flips"] < 0.5 for record in records(whole.folder))
