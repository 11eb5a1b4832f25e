"""Pruning: a mask per kernel, whose weights stay exactly 0 from the step on at which they are masked.

Which weights are masked follows from the weights at certain steps of the training, so a training with masks resumes exactly; the
masks are a part of its state. After each step of the optimizer, masked weights are set to 0 again.

    sparsity at step t from b to e: s(t) = s (1 - (1 - (t - b) / (e - b))**3)      0 before b, s from e on

It is reached in at most UPDATES updates. A weight that was masked is 0, so it is among the smallest ones and stays masked.

    magnitude        the smallest |w| of all kernels together
    layer-magnitude  the smallest |w| of each kernel
    2:4              the two smallest |w| of each four consecutive inputs of each output, at step b
    keep             what is 0 at the start

The first layer with a kernel and depthwise kernels have few weights and are not pruned, as in the sources.

Sources: Zhu, Gupta: To prune, or not to prune, 2017, arXiv:1710.01878 (schedule); Mishra et al.: Accelerating Sparse Deep Neural
Networks, 2021, arXiv:2104.08378 (2:4).
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.counting.kernels import quantized_kernels
from el_larq.errors import UsageError
from el_larq.keras_internals import leaf_layers
from el_larq.training.recipe import Recipe
from el_larq.training.simulated_offsets import COMPUTING

UPDATES = 20


class Pruning:
    """The masks of a network, and when they change.

    variables: the masks, a part of the training's state.
    """

    def __init__(self, network: keras.Model, recipe: Recipe, steps: int):
        """``steps``: of the whole training. Raises UsageError if the network cannot be pruned in the way of the recipe."""
        self.kind, self._sparsity = recipe.prune, recipe.sparsity
        self._begin, self._end = (math.floor(share * steps) for share in (recipe.prune_from, recipe.prune_to))
        self._every = max(1, (self._end - self._begin) // UPDATES)
        layers = leaf_layers(network)
        binary = next((layer.name for layer in layers if quantized_kernels(layer)), None)
        if binary is not None:
            raise UsageError(
                f"prune is for real-valued networks: {network.name} has the binary layer {binary}, whose weights are -1 and +1, "
                "so none of them can be 0"
            )
        self._kernels = list(_all_kernels(layers) if recipe.prune == "keep" else _prunable(layers))
        if not self._kernels:
            raise UsageError(f"{network.name} has no trained kernel to prune behind its first layer")
        if recipe.prune == "2:4":
            _check_divisible(self._kernels)
        self.variables = [tf.Variable(tf.ones(kernel.shape, tf.bool), trainable=False) for _, kernel in self._kernels]

        def apply() -> None:
            for (_, kernel), mask in zip(self._kernels, self.variables, strict=True):
                kernel.assign(tf.where(mask, kernel, tf.zeros_like(kernel)))

        self._apply: Any = tf.function(apply)

    def describe(self) -> str:
        """One line for the user."""
        size = sum(mask.numpy().size for mask in self.variables)
        if self.kind == "keep":
            return f"pruning: weights that are 0 at the start stay 0, in {len(self._kernels)} kernels"
        sparsity = 0.5 if self.kind == "2:4" else self._sparsity
        when = f"at step {self._begin}" if self.kind == "2:4" else f"from step {self._begin} to step {self._end}"
        return f"pruning ({self.kind}): {sparsity:.0%} of {size:,} weights in {len(self._kernels)} layers, {when}"

    def sparsity_at(self, step: int) -> float:
        """The scheduled share of masked weights, 0 to 1, that a training has from a step on at which masks change."""
        if step < self._begin:
            return 0.0
        left = max(0.0, 1 - (step - self._begin) / max(1, self._end - self._begin)) if step < self._end else 0.0
        return self._sparsity * (1 - left**3)

    def before_step(self, step: int) -> None:
        """Change the masks if it is time to; steps count from 0."""
        if self.kind == "keep":
            due = step == 0
        elif self.kind == "2:4":
            due = step == self._begin
        else:
            due = (self._begin <= step < self._end and (step - self._begin) % self._every == 0) or step == self._end
        if not due:
            return
        weights = [kernel.numpy() for _, kernel in self._kernels]
        for variable, mask in zip(self.variables, self._new_masks(weights, self.sparsity_at(step)), strict=True):
            variable.assign(mask)
        self._apply()

    def after_step(self) -> None:
        """Set masked weights to 0 again."""
        self._apply()

    def sparsity(self) -> float:
        """The share of the weights of the pruned kernels that are exactly 0, 0 to 1."""
        weights = [kernel.numpy() for _, kernel in self._kernels]
        return sum(int((kernel == 0).sum()) for kernel in weights) / sum(kernel.size for kernel in weights)

    def check_start(self, source: object) -> None:
        """Raise UsageError if the zeros of ``source`` are to be kept and it has none."""
        if self.kind == "keep" and self.sparsity() == 0:
            raise UsageError(f"prune keep keeps weights at 0 that are 0 at the start, and {source or 'the network'} has none")

    def _new_masks(self, weights: list[np.ndarray], sparsity: float) -> list[np.ndarray]:
        if self.kind == "keep":
            return [kernel != 0 for kernel in weights]
        if self.kind == "2:4":
            return [two_of_four(kernel) for kernel in weights]
        if self.kind == "layer-magnitude":
            return [largest(kernel, sparsity) for kernel in weights]
        flat = largest(np.concatenate([kernel.ravel() for kernel in weights]), sparsity)
        parts = np.split(flat, np.cumsum([kernel.size for kernel in weights])[:-1])
        return [part.reshape(kernel.shape) for part, kernel in zip(parts, weights, strict=True)]


def largest(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """A mask, bool in the shape of the weights: False for the round(sparsity * size) smallest |w|, of equals the first ones."""
    order = np.argsort(np.abs(weights), axis=None, kind="stable")
    mask = np.ones(weights.size, bool)
    mask[order[: round(sparsity * weights.size)]] = False
    return mask.reshape(weights.shape)


def two_of_four(kernel: np.ndarray) -> np.ndarray:
    """A mask, bool in the shape of a kernel (..., C_in, C_out): True for the two largest |w| of each four consecutive inputs."""
    *front, inputs, outputs = kernel.shape
    groups = np.abs(kernel).reshape(*front, inputs // 4, 4, outputs)
    rank = np.argsort(np.argsort(-groups, axis=-2, kind="stable"), axis=-2, kind="stable")
    return (rank < 2).reshape(kernel.shape)


def _all_kernels(layers: list[keras.layers.Layer]) -> Iterator[tuple[str, tf.Variable]]:
    """The trained kernels of convolutions and dense layers, each with its layer's name."""
    for layer in layers:
        if isinstance(layer, COMPUTING) and not isinstance(layer, keras.layers.Conv2DTranspose) and layer.trainable:
            for part in ("kernel", "depthwise_kernel", "pointwise_kernel"):
                if (kernel := getattr(layer, part, None)) is not None:
                    yield layer.name, kernel


def _prunable(layers: list[keras.layers.Layer]) -> Iterator[tuple[str, tf.Variable]]:
    """Those that are pruned."""
    first = next((layer.name for layer in layers if isinstance(layer, COMPUTING)), None)
    for name, kernel in _all_kernels(layers):
        if name != first and "depthwise_kernel" not in kernel.name:
            yield name, kernel


def _check_divisible(kernels: list[tuple[str, tf.Variable]]) -> None:
    """Raise UsageError if inputs cannot be taken four at a time."""
    for name, kernel in kernels:
        if (inputs := int(kernel.shape[-2] or 0)) % 4:
            raise UsageError(
                f"prune 2:4 takes inputs of a layer four at a time, and {name} has {inputs} input channels; choose magnitude, or a "
                "width with which the numbers of channels are multiples of 4"
            )
