"""Finds binary layers of a Keras model for which LCE has no operator, to warn before training rather than after it."""

import tf_keras as keras

from el_larq.counting.kernels import quantized_kernels
from el_larq.keras_internals import leaf_layers

_KINDS = {
    "binary-depthwise": (keras.layers.DepthwiseConv2D,),
    "no-operator": (
        keras.layers.Conv3D,
        keras.layers.Conv2DTranspose,
        keras.layers.LocallyConnected1D,
        keras.layers.LocallyConnected2D,
    ),
}
"""Layer classes by the audit rule that a conversion would violate."""

_NAMED = 3


def without_operator(model: keras.Model) -> dict[str, list[str]]:
    """Names of layers with binary kernel and input for which LCE has no operator, by audit rule."""
    found: dict[str, list[str]] = {}
    for layer in leaf_layers(model):
        kernels = [kernel for kernel in quantized_kernels(layer) if kernel.input_quantizer is not None]
        if any(kernel.bits == 1 and kernel.input_bits in (None, 1) for kernel in kernels):
            for rule, kinds in _KINDS.items():
                if isinstance(layer, kinds):
                    found.setdefault(rule, []).append(layer.name)
    return found


def warning(rule: str, names: list[str]) -> str:
    """A one-line warning about the layers that violate a rule."""
    what = {"binary-depthwise": "binary depthwise convolutions"}.get(rule, "such binary layers")
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"LCE has no operator for {what}: {', '.join(names[:_NAMED])}{more} will run real-valued, at a higher cost than a "
        f"real-valued layer, and el-larq convert needs --allow {rule}"
    )


def allowances(model: keras.Model) -> list[str]:
    """What `convert` must allow for this model, as entries of --allow: RULE:LAYER for a few layers, RULE for many.

    The conversion names a layer inside a nested model or a wrapper after both, so RULE covers those too.
    """
    own = {layer.name for layer in model.layers}
    found = []
    for rule, names in without_operator(model).items():
        by_layer = len(names) <= _NAMED and own.issuperset(names)
        found += [f"{rule}:{name}" for name in names] if by_layer else [rule]
    return found
