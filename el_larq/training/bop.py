"""Larq's Bop for binary kernels, and Adam for all other weights.

Bop (Helwegen et al., Latent weights do not exist, NeurIPS 2019, arXiv:1906.02107) has no latent weights. A kernel consists of signs
w, and of an average m of its gradients g: m <- (1 - gamma) m + gamma g; w flips if |m| > threshold and m has its sign. Larq's
`CaseOptimizer` distributes the weights. It takes Keras' legacy optimizers only, so Adam is the legacy one here, which computes
the same.
"""

from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras

from el_larq.counting.kernels import one_bit_kernels
from el_larq.errors import UsageError


def make_bop(learning_rate: Any, threshold: float, gamma: float, model: keras.Model) -> Any:
    """A `CaseOptimizer` for a model with binary kernels (`check_binary`)."""
    binary = {id(kernel) for kernel in trained_kernels(model)}
    return larq.optimizers.CaseOptimizer(
        (lambda variable: id(variable) in binary, larq.optimizers.Bop(threshold=threshold, gamma=gamma)),
        default_optimizer=keras.optimizers.legacy.Adam(learning_rate),
    )


def check_binary(model: keras.Model) -> None:
    """Raise UsageError if the model has no binary kernels."""
    if not trained_kernels(model):
        raise UsageError("bop trains binary kernels, and this network has no binary kernels; choose another optimizer")


def make_signs(model: keras.Model) -> None:
    """Replace the binary kernels by their signs, as Bop needs them. Kernels of signs stay as they are."""
    for kernel in trained_kernels(model):
        kernel.assign(larq.math.sign(kernel))


def trained_kernels(model: keras.Model) -> list[tf.Variable]:
    """The trained kernels that are binary when they are used."""
    return [kernel.latent for kernel in one_bit_kernels(model) if kernel.layer.trainable and kernel.latent.trainable]
