"""What makes one seed give one result on one machine, beyond `tf.config.experimental.enable_op_determinism`.

TensorFlow's AddN adds into the buffer of whichever input nobody else needs any more, and that input comes first in the sum. Which
it is depends on which operators have finished, so on how busy the machine is; and a sum of three or more floats depends on the
order. Two sources put such AddN into a training step, neither of which `enable_op_determinism` covers:

- a gradient that comes from three or more places (a tensor read by a convolution, a link and a shortcut) is summed by one AddN;
- Grappler's arithmetic optimization merges chains of additions (an output, its link and its shortcut) into one.

Here gradients are summed two at a time, in the order the tape has them, and that optimization is off. Both hold for the rest of
the process. Nothing else was found to differ between busy and idle machines: docs/training.md has the measurement.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def make_deterministic() -> None:
    """Make training steps that are traced from here on functions of their inputs alone."""
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    _sum_gradients_in_order()


def _sum_gradients_in_order() -> None:
    # There is no public way to say how a tape sums gradients.
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import backprop

    space: Any = backprop._default_vspace
    usual = backprop._aggregate_grads

    def aggregate(gradients: Sequence[Any]) -> Any:
        if len(gradients) < 3 or not all(isinstance(gradient, tf.Tensor) for gradient in gradients):
            return usual(gradients)
        total = gradients[0]
        for gradient in gradients[1:]:
            total = tf.raw_ops.AddV2(x=total, y=gradient)
        return total

    pywrap_tfe.TFE_Py_RegisterVSpace(space._replace(aggregate_fn=aggregate))
