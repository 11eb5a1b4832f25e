"""What it takes for one seed to give one result on one machine, beyond `tf.config.experimental.enable_op_determinism`.

TensorFlow's AddN accumulates into the buffer of an input that no other operator still needs, and starts the sum with that input.
Which input that is depends on which operators have finished, and so on the load of the machine; and a floating-point sum of three
or more terms depends on their order. Such AddN operators enter a training step in two ways, neither of which
`enable_op_determinism` covers:

- a gradient with three or more contributions (a tensor read by a convolution, a link and a shortcut) is summed by one AddN;
- Grappler's arithmetic optimization merges chains of additions (an output, its link and its shortcut) into one AddN.

Here gradients are summed two at a time, in the tape's order, and that optimization is disabled. Both settings apply for the rest
of the process. No other difference between busy and idle machines was found: docs/training.md has the measurement.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def make_deterministic() -> None:
    """Make training steps that are traced from now on depend on their inputs alone."""
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    _sum_gradients_in_order()


def _sum_gradients_in_order() -> None:
    # There is no public interface for how a tape sums gradients.
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
