"""Training in half precision: the network that is trained computes in bfloat16 or float16, the one that is saved in float32.

`lowered` makes of a network in float32 another one with the same layers, variables and values. Its variables are float32; what
computes with 16 bits is

- convolutions and dense layers of Keras and Larq, with sums of products in the precision that the device's kernels have, and
  their results rounded to 16 bits;
- batch normalizations: inputs and outputs, but not their statistics, which TensorFlow's kernel has in float32;
- layers without variables that work element by element, move or pool values (`_HALF`).

Everything else is computed in float32, from inputs that are cast: the head (logits, softmax), the loss, and each layer whose
variables are one value or one per channel, such as gamma of an Elastic-Link, gates, shifts, slopes and learned scales. Their
gradients are sums over a whole batch. TensorFlow's kernels for CPU add up float16 in float16, where a sum of equal values stops at
about 10,000 of them, and the gradient of a bias in bfloat16, which is off by 79 % for 32 maps of 32x32: so layers with a bias are
in float32 as well, and so are means over maps, custom layers and operators.

Kernels are quantized in float32, from the latent weights as they are; then signs (and scales) are cast. So the binary kernels that
are trained are those of the saved network: a difference from a mean, or a weight below float16's range, keeps its sign. The
sums of a binary convolution are integers, and exact up to 256 in bfloat16 and 2,048 in float16; larger ones are rounded, to 8 or 11
significant bits.

float16 has less range than gradients need: the loss is multiplied by a scale, and gradients are divided by it (Micikevicius et al.,
Mixed Precision Training, ICLR 2018), in Keras' `LossScaleOptimizer`. A step with a gradient that is not finite changes no weight
and halves the scale; 2,000 steps without one double it. `SkippedSteps` counts them.
"""

from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras

from el_larq.counting.kernels import quantized_kernels
from el_larq.errors import UsageError, summarize
from el_larq.keras_internals import OPERATOR_LAYERS, cast_inputs, leaf_layers, loss_scale_state, quantize_uncast
from el_larq.layers import AddToLast, LeakyClip, SplitChannels
from el_larq.training.frozen_layers import find_head
from el_larq.training.recipe import FLOAT16, FLOAT32

_LARQ = {value for value in vars(larq.layers).values() if isinstance(value, type) and issubclass(value, keras.layers.Layer)}

_HALF = _LARQ | {
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.AveragePooling2D,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.LeakyReLU,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
    keras.layers.Reshape,
    keras.layers.SeparableConv2D,
    keras.layers.Subtract,
    keras.layers.UpSampling2D,
    keras.layers.ZeroPadding2D,
    AddToLast,
    LeakyClip,
    SplitChannels,
}
"""The classes whose layers compute in half precision; their subclasses do not."""


SLOW_ON_CPU = (
    "note: TensorFlow's float16 kernels for CPU can take hundreds of times as long as those for float32; mixed_bfloat16 is the "
    "half precision of CPUs"
)


def lowered(network: keras.Model, precision: str) -> keras.Model:
    """A network like one in float32, with variables of its own and the same values, that computes in half precision.

    Raises:
        UsageError: it is not made of layers, or none of them can compute in half precision.
    """
    return _Lowering(network, precision).model()


class _Lowering:
    def __init__(self, network: keras.Model, precision: str):
        self.network, self.policy = network, keras.mixed_precision.Policy(precision)
        self.kept, self.count = _ends(network), 0

    def model(self) -> keras.Model:
        name, precision = self.network.name, self.policy.name
        try:
            half = self._copied(self.network)
            half.set_weights(self.network.get_weights())
        except (ValueError, TypeError, NotImplementedError, tf.errors.OpError) as error:
            raise UsageError(
                f"{name} cannot be computed in {precision}, since it cannot be built again from its layers "
                f"({summarize(error)}); choose precision {FLOAT32}"
            ) from error
        if len(half.losses) != len(self.network.losses):
            raise UsageError(
                f"{name} has losses that were added to it after it was made (add_loss), which {precision} would leave out; "
                f"choose precision {FLOAT32}"
            )
        if precision == FLOAT16 and type(self.network).train_step is not keras.Model.train_step:
            raise UsageError(
                f"{name} has a training step of its own, which may not scale the loss as {precision} needs; "
                f"choose mixed_bfloat16 or {FLOAT32}"
            )
        if not self.count:
            raise UsageError(
                f"{name} has no convolution or dense layer of Keras or Larq that {precision} could compute in half precision; "
                f"choose precision {FLOAT32}"
            )
        return half

    def _copied(self, model: keras.Model) -> keras.Model:
        return keras.models.clone_model(model, clone_function=self._copy)

    def _copy(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return self._copied(layer)
        config = layer.get_config()
        is_half = self._is_half(layer)
        if is_half:
            config["dtype"] = self.policy.name
            # A quantizer is a layer with a type of its own.
            if isinstance(quantizer := config.get("input_quantizer"), dict) and "dtype" in quantizer.get("config", {}):
                config["input_quantizer"] = quantizer | {"config": quantizer["config"] | {"dtype": self.policy.name}}
        copy = type(layer).from_config(config)
        if isinstance(layer, OPERATOR_LAYERS):
            cast_inputs(copy)
        if is_half:
            self.count += bool(layer.weights)
            if quantized_kernels(layer):
                with tf.name_scope(copy.name):
                    copy.build_from_config(layer.get_build_config())
                for kernel in quantized_kernels(copy):
                    quantize_uncast(kernel.latent, str(copy.compute_dtype))
        return copy

    def _is_half(self, layer: keras.layers.Layer) -> bool:
        if layer in self.kept or layer.dtype_policy.name != FLOAT32:
            return False
        if getattr(layer, "use_bias", False):
            return False
        return type(layer) in _HALF or isinstance(layer, larq.quantizers.Quantizer)


def _ends(network: keras.Model) -> set[Any]:
    """The layers that make logits or probabilities: the head or, of a network with another end, the last layers."""
    try:
        return set(find_head(network).layers)
    except UsageError:
        outputs: Any = network.outputs or []
        return {layer for layer in network.layers if any(layer.output is output for output in outputs)}


def describe(network: keras.Model) -> str:
    """One line that says what of a lowered network computes in half precision."""
    layers = [layer for layer in leaf_layers(network) if layer.weights and not isinstance(layer, larq.quantizers.Quantizer)]
    half = [layer for layer in layers if layer.compute_dtype != FLOAT32]
    return (
        f"{half[0].compute_dtype}: {len(half)} of {len(layers)} layers with weights compute with 16 bits, the others in float32; "
        "weights, the saved model and its test accuracy are float32"
    )


def scaling(optimizer: Any, precision: str) -> Any:
    """The optimizer, for float16 with a scale of the loss."""
    scaled: Any = keras.mixed_precision.LossScaleOptimizer  # makes one of two classes
    return scaled(optimizer) if precision == FLOAT16 else optimizer


class SkippedSteps:
    """Counts the steps of an epoch that change no weights, since a gradient is not finite; of other precisions, none.

    count: of the current epoch: the state that a resume needs.
    """

    def __init__(self, optimizer: Any):
        self.count = 0
        self._state = loss_scale_state(optimizer)
        self._before = 0.0

    def begin_epoch(self) -> None:
        self.count = 0

    def before_step(self) -> None:
        if self._state:
            self._before = float(self._state[0].numpy())

    def after_step(self) -> None:
        # The number of steps since the scale changed: only a skipped one sets it to 0 without a higher scale.
        if self._state and int(self._state[1].numpy()) == 0 and float(self._state[0].numpy()) <= self._before:
            self.count += 1

    def epoch(self) -> dict[str, float]:
        """The figures of the epoch that ends now; empty without a scale."""
        return {"skipped_steps": self.count, "loss_scale": float(self._state[0].numpy())} if self._state else {}
