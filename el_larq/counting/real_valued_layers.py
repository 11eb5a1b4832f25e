"""Finds binary layers of a Keras model that LCE runs real-valued, to warn before training rather than after it."""

import tf_keras as keras

from el_larq.counting.kernels import quantized_kernels
from el_larq.keras_internals import leaf_layers
from el_larq.missing_operators import missing_for_layer

_BY_NAME = 3
"""The largest number of layers that are allowed by their names."""


def without_operator(model: keras.Model) -> dict[str, list[str]]:
    """Names of layers with binary kernel and input for which LCE has no operator, by audit rule."""
    found: dict[str, list[str]] = {}
    for layer in leaf_layers(model):
        kernels = [kernel for kernel in quantized_kernels(layer) if kernel.input_quantizer is not None]
        missing = missing_for_layer(base.__name__ for base in type(layer).__mro__)
        if missing is not None and any(kernel.bits == 1 and kernel.input_bits in (None, 1) for kernel in kernels):
            found.setdefault(missing.rule, []).append(layer.name)
    return found


def allowances(model: keras.Model) -> list[str]:
    """What `convert` must allow for this model, as entries of --allow: RULE:LAYER for a few layers, RULE for many.

    The conversion names a layer inside a nested model or a wrapper after both, so RULE covers those too.
    """
    own = {layer.name for layer in model.layers}
    found = []
    for rule, names in without_operator(model).items():
        by_layer = len(names) <= _BY_NAME and own.issuperset(names)
        found += [f"{rule}:{name}" for name in names] if by_layer else [rule]
    return found
