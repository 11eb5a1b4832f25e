"""Objects that Larq Zoo registers with Keras by name, so that models that were saved with Larq Zoo load without it.

If Larq Zoo is imported (``--import larq_zoo``), its own objects replace these.
"""

from typing import Any

import larq
import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.quantizers import ScaledSign, StraightScaledSign

MAX_BLUR = 64


class BinaryDenseNet(keras.Model):
    """The class of its BinaryDenseNets: a functional model that adds nothing to `keras.Model`."""


def blurpool_initializer(shape: Any, dtype: Any = None) -> tf.Tensor:
    """QuickNet's blur: the same binomial filter of sum 1 for each channel, of shape (k, k, C, 1) with k of at most 64."""
    if len(shape) != 4 or shape[0] != shape[1] or shape[0] > MAX_BLUR:
        # The shape may come from an untrusted file, whose variables are not limited yet.
        raise ValueError(f"blurpool_initializer makes kernels of height and width k up to {MAX_BLUR}, not {shape}")
    row = np.poly1d([0.5, 0.5]) ** (int(shape[0]) - 1)
    kernel = np.outer(row.coeffs, row.coeffs)[:, :, None, None]
    return tf.cast(tf.broadcast_to(kernel, tf.TensorShape(shape)), dtype or tf.float32)


@larq.utils.set_precision(1)
def xnor_weight_scale(x: tf.Tensor) -> tf.Tensor:
    """XNOR-Net's kernel quantizer: one scale per filter."""
    return ScaledSign("derived", clip_value=1.0)(x)


@larq.utils.set_precision(1)
def magnitude_aware_sign_unclipped(x: tf.Tensor) -> tf.Tensor:
    """DoReFa-Net's kernel quantizer: one scale for the whole kernel."""
    return StraightScaledSign("tensor")(x)


def clip_by_value_activation(x: tf.Tensor) -> tf.Tensor:
    """DoReFa-Net's activation before its last layer."""
    return tf.clip_by_value(x, 0, 1)


_OBJECTS = (BinaryDenseNet, blurpool_initializer, xnor_weight_scale, magnitude_aware_sign_unclipped, clip_by_value_activation)
for _object in _OBJECTS:
    keras.utils.get_custom_objects().setdefault(_object.__name__, _object)
