"""Quantization-aware training: while a network is trained, its layers compute what the file of ``convert --int8 full`` will.

A `Simulation` gives layers another ``call`` for the time of a training. Layers, variables and the graph stay the same, so losses,
teachers, optimizers and saved files do not depend on it, and the saved model is a plain one. While it is installed,

- convolutions and dense layers with a real-valued kernel compute with the kernel as int8 per output channel. A normalization
  behind them multiplies whole channels, so the file, in which it is folded, has the same integers;
- outputs are rounded to 8 bits, with one range per layer, where the file has an int8 tensor: behind everything except what passes
  values on (`_PASSING`), a convolution or dense layer whose normalization is folded into it, and what a ReLU is fused with;
- tensors that a sign is taken of have the half step of offset where the file has it (`simulated_offsets`).

Ranges are moving averages, over the steps, of the images' minima and maxima; at the start they are averages over CALIBRATION
batches, in float. From FROZEN_FROM of the steps on, ranges and the statistics of batch normalizations keep their values, and the
latter are what the normalizations use.

Real-valued networks may have learned steps in place of ranges (`learned_steps`), which are trained to the end. They may also have
fewer than 8 bits, which activations have in no converted file: then kernels and inputs of convolutions and dense layers are
rounded, and nothing else. The first and the last of these layers have 8 bits, and the input of the first one is not rounded:
images have 8 bits.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import tensorflow as tf
import tf_keras as keras

from el_larq.counting.kernels import quantized_kernels
from el_larq.errors import UsageError
from el_larq.keras_internals import LayerCall, is_functional, layer_calls, leaf_layers
from el_larq.layers import AddToLast, ElasticLink, GatedLink, SplitChannels, TernarySplit
from el_larq.training.averaged_range import AveragedKernel, AveragedRange
from el_larq.training.fake_quantization import start_compiler
from el_larq.training.learned_steps import LearnedKernel, LearnedStep
from el_larq.training.simulated_offsets import COMPUTING, activation, is_folded, is_quantizer, takes_sign, tensors_with_offset

RATE = 0.01
"""The weight of a step's ranges in the moving averages."""

CALIBRATION = 8
"""Training batches for the first ranges."""

FROZEN_FROM = 2 / 3

_KERNELS = {"kernel": 1, "depthwise_kernel": 2, "pointwise_kernel": 1}
"""Attributes with kernels, and how many of their last axes are output channels."""

_PASSING = (
    keras.layers.InputLayer,
    keras.layers.Concatenate,
    keras.layers.Cropping2D,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.MaxPooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Permute,
    keras.layers.Reshape,
    keras.layers.UpSampling2D,
    keras.layers.ZeroPadding2D,
    SplitChannels,
)
"""Layers whose outputs have no other values than their inputs, so they are rounded already."""

_FIXED = ("softmax", "sigmoid", "tanh")
"""Activations with a scale fixed by TensorFlow Lite; not simulated."""

_BEFORE_RELU = (
    *COMPUTING,
    keras.layers.Add,
    keras.layers.AveragePooling2D,
    keras.layers.BatchNormalization,
    AddToLast,
    ElasticLink,
    GatedLink,
)
"""Layers that a ReLU behind them is fused with."""


class Simulation:
    """What quantization does to a network, while it is installed: ``with simulation: ...``.

    variables: ranges or steps, a part of the training's state. trained: those of them that gradients change.
    """

    def __init__(self, network: keras.Model, bits: int = 8, ranges: str = "averaged"):
        """``bits`` and ``ranges`` are fields of `el_larq.training.recipe.Recipe`.

        Raises:
            UsageError: the network is not a graph of layers, nothing of it is real-valued, or it takes signs, with which ranges are
                averaged and have 8 bits.
        """
        if not all(is_functional(model) for model in _models(network)):
            raise UsageError(f"{network.name} is not a graph of layers, so it is not known where int8 rounds; omit qat_bits")
        self._layers, self.bits = leaf_layers(network), bits
        found = {layer: kernels for layer in _in_order(network) if (kernels := _real_kernels(layer))}
        if not found:
            raise UsageError(f"{network.name} has no real-valued convolution or dense layer, so there is nothing for qat_bits")
        binary = next((layer.name for layer in self._layers if takes_sign(layer) or quantized_kernels(layer)), None)
        if binary is not None and (bits < 8 or ranges == "learned"):
            what = f"qat_bits {bits}" if bits < 8 else "qat_ranges learned"
            raise UsageError(
                f"{what} is for networks without binary layers, and {network.name} has {binary}; "
                "set qat_bits to 8 and qat_ranges to averaged"
            )
        self.learns = ranges == "learned" or (ranges == "auto" and binary is None)
        ends, kernel = {next(iter(found)), list(found)[-1]}, LearnedKernel if self.learns else AveragedKernel
        self._kernels: dict[Any, dict[str, Any]] = {
            layer: {
                part: kernel(getattr(layer, part), axes, 8 if layer in ends else bits)
                for part, axes in found.get(layer, {}).items()
            }
            for layer in self._layers
            if layer in found
        }
        self._outputs: dict[Any, Any] = {}
        self._inputs: dict[Any, Any] = {}
        if bits == 8:
            outputs = rounded_outputs(network)
            self._outputs = {
                layer: LearnedStep(bits) if self.learns else AveragedRange(bits, signs) for layer, signs in outputs.items()
            }
        else:
            site = LearnedStep if self.learns else AveragedRange
            self._inputs = {layer: site(8 if layer in ends else bits) for layer in list(found)[1:]}
        self._sites = [*self._outputs.values(), *self._inputs.values()]
        parts = [part for kernels in self._kernels.values() for part in kernels.values()]
        self.variables = [variable for part in (*parts, *self._sites) for variable in part.variables]
        self.trained = [variable for part in (*parts, *self._sites) for variable in part.trained]
        self._is_rounding, self._is_calibrating, self._is_frozen, self._rate = True, False, False, 0.0

    def describe(self) -> str:
        """One line for the user."""
        count = len(self._kernels)
        if self.bits < 8:
            how = "learned steps" if self.learns else "averaged ranges"
            return (
                f"{self.bits} bits are simulated with {how}: kernels and inputs of {count} layers, "
                "of which the first and the last have 8 bits; converted files have no fewer; validation is with the simulation"
            )
        kernels = f"int8 is simulated: {count} layers with int8 kernels, {len(self._sites)} outputs with 8 bits"
        if self.learns:
            return f"{kernels}, with learned steps; validation is with int8"
        signs = sum(site.signs for site in self._sites)
        return f"{kernels}, {signs} of them in front of signs with the offset; validation is with int8"

    def __enter__(self) -> Self:
        start_compiler()
        for layer in self._layers:
            # Not an attribute that Keras tracks. Layers read it at each call.
            layer.__dict__["call"] = self._simulated(layer, layer.call)
        return self

    def __exit__(self, *_: object) -> None:
        for layer in self._layers:
            layer.__dict__.pop("call", None)

    @contextlib.contextmanager
    def in_float(self) -> Iterator[None]:
        """The network without int8, for functions that are traced meanwhile."""
        self._is_rounding = False
        try:
            yield
        finally:
            self._is_rounding = True

    @contextlib.contextmanager
    def training_step(self) -> Iterator[None]:
        """What is traced meanwhile averages ranges, unless they are frozen."""
        self._rate = 0.0 if self._is_frozen else RATE
        try:
            yield
        finally:
            self._rate = 0.0

    def freezes(self, step: int, total: int) -> bool:
        """Whether ranges and statistics are frozen from this step on and were not before; then a step must be traced again."""
        before, self._is_frozen = self._is_frozen, self.has_frozen(step, total)
        return before != self._is_frozen

    @staticmethod
    def has_frozen(step: int, total: int) -> bool:
        """Whether ranges and statistics are frozen in a step, counted from 0."""
        return step >= math.ceil(FROZEN_FROM * total)

    def calibrate(self, model: keras.Model, batches: Iterable[tuple[Any, ...]]) -> None:
        """Set ranges, or the first steps, to those of batches of the network in float."""
        for part in (*self._sites, *(kernel for kernels in self._kernels.values() for kernel in kernels.values())):
            part.start()
        self._is_calibrating = True
        with self.in_float():
            for images, *_ in batches:
                model(images, training=False)
        self._is_calibrating = False
        for site in self._sites:
            site.finish()

    def store_kernels(self) -> None:
        """Give the network the kernels it computes with, if their steps are learned or their bits fewer than 8: a file finds the
        steps in the weights.

        Frozen layers keep their weights.
        """
        for layer, parts in self._kernels.items() if self.learns or self.bits < 8 else ():
            if not layer.trainable:
                continue
            for part, kernel in parts.items():
                getattr(layer, part).assign(kernel.round(getattr(layer, part)))

    def _simulated(self, layer: keras.layers.Layer, call: Callable[..., Any]) -> Callable[..., Any]:
        parts, site, source = self._kernels.get(layer, {}), self._outputs.get(layer), self._inputs.get(layer)
        normalizes = isinstance(layer, keras.layers.BatchNormalization)

        def simulated(*args: Any, **kwargs: Any) -> Any:
            if normalizes and self._is_frozen:
                kwargs["training"] = False
            if source is not None:
                args = (self._seen(source, args[0]), *args[1:])
            with _replaced(layer, parts if self._is_rounding else {}):
                values = call(*args, **kwargs)
            return values if site is None else self._seen(site, values)

        return simulated

    def _seen(self, site: Any, values: Any) -> Any:
        """The values, rounded if they are to be, and taken into account in the range."""
        if self._is_calibrating:
            site.calibrate(values)
        elif self._rate:
            site.see(values, self._rate)
        return site.round(values) if self._is_rounding else values


@contextlib.contextmanager
def _replaced(layer: keras.layers.Layer, parts: dict[str, Any]) -> Iterator[None]:
    """A layer whose kernels are rounded."""
    kernels = {part: getattr(layer, part) for part in parts}
    for part, rounding in parts.items():
        layer.__dict__[part] = rounding.round(kernels[part])
    try:
        yield
    finally:
        layer.__dict__.update(kernels)


def _real_kernels(layer: keras.layers.Layer) -> dict[str, list[int]]:
    """The attributes with real-valued kernels of a layer that is int8 in a file, and the axes of their output channels."""
    if not isinstance(layer, COMPUTING) or isinstance(layer, keras.layers.Conv2DTranspose):
        return {}
    quantized = {kernel.part for kernel in quantized_kernels(layer)}
    kernels = {part: getattr(layer, part, None) for part in _KERNELS if part not in quantized}
    return {
        part: list(range(len(kernel.shape) - _KERNELS[part], len(kernel.shape)))
        for part, kernel in kernels.items()
        if kernel is not None
    }


def _models(model: keras.Model) -> Iterator[keras.Model]:
    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _models(layer)


def _in_order(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """Layers in the order of a graph, those of nested models in their place."""
    for call in layer_calls(network):
        if isinstance(call.layer, keras.Model):
            yield from _in_order(call.layer)
        else:
            yield call.layer


def rounded_outputs(network: keras.Model) -> dict[keras.layers.Layer, bool]:
    """The layers whose output is rounded, and whether it has the offset of signs."""
    models = list(_models(network))
    calls = [call for model in models for call in layer_calls(model)]
    with_offset = set().union(*map(tensors_with_offset, models))
    readers: dict[int, list[LayerCall]] = {}
    for call in calls:
        for tensor in call.inputs:
            readers.setdefault(id(tensor), []).append(call)

    def feeds_sign(tensor: Any) -> bool:
        """Whether a sign is taken of a tensor, also behind layers that pass its values on."""
        return any(
            takes_sign(reader.layer) or (isinstance(reader.layer, _PASSING) and any(map(feeds_sign, reader.outputs)))
            for reader in readers.get(id(tensor), [])
        )

    rounded: dict[Any, bool] = {}
    for call in calls:
        layer, outputs = call.layer, call.outputs
        if call.is_input or isinstance(layer, (keras.Model, TernarySplit, *_PASSING)) or is_quantizer(layer):
            continue
        if activation(layer) in _FIXED or len(outputs) != 1 or outputs[0].dtype != tf.float32:
            continue
        direct = readers.get(id(outputs[0]), [])
        if len(direct) == 1 and _is_fused(layer, direct[0].layer):
            continue
        rounded[layer] = id(outputs[0]) in with_offset and feeds_sign(outputs[0]) and rounded.get(layer, True)
    return rounded


def _is_fused(layer: keras.layers.Layer, reader: keras.layers.Layer) -> bool:
    """Whether a file computes a layer and the only reader of its output in one operator."""
    is_relu = isinstance(reader, keras.layers.ReLU) or (
        isinstance(reader, keras.layers.Activation) and activation(reader) == "relu"
    )
    return is_folded(layer, reader) or (is_relu and isinstance(layer, _BEFORE_RELU))
