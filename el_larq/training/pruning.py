"""Pruning: a mask per kernel, whose weights stay exactly 0 from the step on at which they are masked.

Which weights are masked follows from the weights at certain steps of the training, so a training with masks resumes exactly; the
masks are a part of its state. After each step of the optimizer, masked weights are set to 0 again.

    sparsity at step t from b to e: s(t) = s (1 - (1 - (t - b) / (e - b))**3)      0 before b, s from e on

It is reached in at most UPDATES updates. A weight that was masked is 0, so it is among the smallest ones and stays masked.

    magnitude        the smallest |w| of all kernels together
    layer-magnitude  the smallest |w| of each kernel
    2:4              the two smallest |w| of each four consecutive inputs of each output, at step b
    channels         whole channels of a layer, those of the smallest sum of |w|, the same share in each layer; only where no other
                     layer sees them (`channel_chains`), and with what belongs to them: biases, gammas, betas, depthwise kernels
    keep             what is 0 at the start

The first layer with a kernel and depthwise kernels have few weights and are not pruned, as in the sources, but with their channels.

Sources: Zhu, Gupta: To prune, or not to prune, 2017, arXiv:1710.01878 (schedule); Mishra et al.: Accelerating Sparse Deep Neural
Networks, 2021, arXiv:2104.08378 (2:4); Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets, ICLR 2017
(channels).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.counting.channel_chains import ChannelChain, channel_chains
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
        self._begin, self._end = (min(math.floor(share * steps), steps - 1) for share in (recipe.prune_from, recipe.prune_to))
        self._every = max(1, math.ceil((self._end - self._begin) / UPDATES))
        layers = leaf_layers(network)
        binary = next((layer.name for layer in layers if quantized_kernels(layer)), None)
        if binary is not None:
            raise UsageError(
                f"prune is for real-valued networks: {network.name} has the binary layer {binary}, whose weights are -1 and +1, "
                "so none of them can be 0"
            )
        self._chains = [chain for chain in channel_chains(network) if _is_trained(chain)] if recipe.prune == "channels" else []
        if recipe.prune == "channels":
            self._kernels = [(chain.producer, chain.producer.kernel) for chain in self._chains]
        else:
            self._kernels = list(_all_kernels(layers) if recipe.prune == "keep" else _prunable(layers))
        if recipe.prune == "channels" and not self._kernels:
            raise UsageError(f"{network.name} has no layer whose channels only one other layer reads; choose magnitude")
        if not self._kernels:
            raise UsageError(f"{network.name} has no trained kernel to prune behind its first layer")
        if recipe.prune == "2:4":
            _check_divisible(self._kernels)
        self._masked: list[tuple[Any, tf.Variable]] = list(self._kernels)
        if recipe.prune == "keep":
            self._masked += _of_channels(layers)
        self._masked += [pair for chain in self._chains for pair in _of_channels([chain.producer, *chain.between], kernels=True)]
        self.variables = [tf.Variable(tf.ones(variable.shape, tf.bool), trainable=False) for _, variable in self._masked]

        def apply() -> None:
            for (_, weights), mask in zip(self._masked, self.variables, strict=True):
                weights.assign(tf.where(mask, weights, tf.zeros_like(weights)))

        self._apply: Any = tf.function(apply)

    def describe(self) -> str:
        """One line for the user."""
        size = sum(kernel.numpy().size for _, kernel in self._kernels)
        if self.kind == "keep":
            return f"pruning: weights that are 0 at the start stay 0, in {len(self._kernels)} kernels"
        sparsity = 0.5 if self.kind == "2:4" else self._sparsity
        when = f"at step {self._begin}" if self.kind == "2:4" else f"from step {self._begin} to step {self._end}"
        what = f"{sum(chain.channels for chain in self._chains):,} channels" if self.kind == "channels" else f"{size:,} weights"
        return f"pruning ({self.kind}): {sparsity:.0%} of {what} in {len(self._kernels)} layers, {when}"

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
        weights = [variable.numpy() for _, variable in self._masked]
        for variable, mask in zip(self.variables, self._new_masks(weights, self.sparsity_at(step)), strict=True):
            variable.assign(np.logical_and(variable.numpy(), mask))  # also where a longer training has a lower share at this step
        self._apply()

    def after_step(self) -> None:
        """Set masked weights to 0 again."""
        self._apply()

    def sparsity(self) -> float:
        """The share of the weights of the pruned kernels that are exactly 0, 0 to 1; with "keep", of those with masked weights."""
        weights = [kernel.numpy() for _, kernel in self._kernels]
        if self.kind == "keep":
            masks = self.variables[: len(weights)]
            weights = [kernel for kernel, mask in zip(weights, masks, strict=True) if not np.all(mask.numpy())] or weights
        return sum(int((kernel == 0).sum()) for kernel in weights) / sum(kernel.size for kernel in weights)

    def check_start(self, source: object) -> None:
        """Raise UsageError if the zeros of ``source`` are to be kept and it has none."""
        if self.kind == "keep" and self.sparsity() == 0:
            raise UsageError(f"prune keep keeps weights at 0 that are 0 at the start, and {source or 'the network'} has none")

    def _new_masks(self, weights: list[np.ndarray], sparsity: float) -> list[np.ndarray]:
        if self.kind == "keep":
            return [self._zeros_kept(layer, array) for (layer, _), array in zip(self._masked, weights, strict=True)]
        if self.kind == "channels":
            return self._without_channels(sparsity)
        if self.kind == "2:4":
            return [two_of_four(kernel) for kernel in weights]
        if self.kind == "layer-magnitude":
            return [largest(kernel, sparsity) for kernel in weights]
        flat = largest(np.concatenate([kernel.ravel() for kernel in weights]), sparsity)
        parts = np.split(flat, np.cumsum([kernel.size for kernel in weights])[:-1])
        return [part.reshape(kernel.shape) for part, kernel in zip(parts, weights, strict=True)]

    def _zeros_kept(self, layer: Any, array: np.ndarray) -> np.ndarray:
        """The mask of what is not 0; of a vector, of the channels for which anything of the layer is not 0."""
        return array != 0 if array.ndim > 1 else _used_channels(layer, array.size)

    def _without_channels(self, sparsity: float) -> list[np.ndarray]:
        kept: dict[int, np.ndarray] = {}
        for chain in self._chains:
            sums = np.abs(chain.producer.kernel.numpy()).reshape(-1, chain.channels).sum(0)
            channels = largest(sums, min(sparsity, 1 - 1 / chain.channels))
            kept |= {id(layer): channels for layer in (chain.producer, *chain.between)}
        by_variable = [(kept[id(layer)], variable.numpy()) for layer, variable in self._masked]
        # Channels vary fastest in all of them: kernels (..., C), depthwise kernels (h, w, C, 1) and vectors.
        return [np.resize(channels, array.shape) for channels, array in by_variable]


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


def _all_kernels(layers: list[keras.layers.Layer]) -> Iterator[tuple[Any, tf.Variable]]:
    """The trained kernels of convolutions and dense layers, each with its layer."""
    for layer in layers:
        if isinstance(layer, COMPUTING) and not isinstance(layer, keras.layers.Conv2DTranspose) and layer.trainable:
            for part in ("kernel", "depthwise_kernel", "pointwise_kernel"):
                if (kernel := getattr(layer, part, None)) is not None:
                    yield layer, kernel


def _of_channels(layers: Iterable[Any], *, kernels: bool = False) -> Iterator[tuple[Any, tf.Variable]]:
    """Biases, gammas and betas, and with ``kernels`` depthwise kernels: what a channel without its filter still has."""
    for layer in layers:
        if layer.trainable and isinstance(layer, (*COMPUTING, keras.layers.BatchNormalization)):
            for name in ("bias", "gamma", "beta", *(("depthwise_kernel",) if kernels else ())):
                if (variable := getattr(layer, name, None)) is not None:
                    yield layer, variable


def _used_channels(layer: Any, count: int) -> np.ndarray:
    """The channels of which any trained weight of a layer is not 0, bool (count,)."""
    arrays = [variable.numpy() for variable in layer.trainable_weights]
    return np.any([np.any(array.reshape(-1, count), axis=0) for array in arrays if array.size % count == 0], axis=0)


def _is_trained(chain: ChannelChain) -> bool:
    return all(layer.trainable for layer in (chain.producer, *chain.between))


def _prunable(layers: list[keras.layers.Layer]) -> Iterator[tuple[Any, tf.Variable]]:
    """Those that are pruned."""
    first = next((layer for layer in layers if isinstance(layer, COMPUTING)), None)
    for layer, kernel in _all_kernels(layers):
        if layer is not first and "depthwise_kernel" not in kernel.name:
            yield layer, kernel


def _check_divisible(kernels: list[tuple[Any, tf.Variable]]) -> None:
    """Raise UsageError if inputs cannot be taken four at a time."""
    for layer, kernel in kernels:
        if (inputs := int(kernel.shape[-2] or 0)) % 4:
            raise UsageError(
                f"prune 2:4 takes inputs of a layer four at a time, and {layer.name} has {inputs} input channels; choose "
                "magnitude, or a width with which the numbers of channels are multiples of 4"
            )
