"""Makes trainings with one seed reproducible on one machine, beyond `tf.config.experimental.enable_op_determinism`.

TensorFlow's AddN accumulates into the buffer of an input that no other operator still needs, and starts the sum with that input.
Which input that is depends on which operators have finished, and so on the load of the machine; and a floating-point sum of three
or more terms depends on their order. Such AddN operators enter a training step in two ways, neither of which
`enable_op_determinism` covers:

- a gradient with three or more contributions (a tensor read by a convolution, a link and a shortcut) is summed by one AddN;
- Grappler's arithmetic optimization merges chains of additions (an output, its link and its shortcut) into one AddN.

Here gradients are summed two at a time, in the tape's order, and that optimization is disabled. No other difference between busy
and idle machines was found: docs/training.md has the measurement.

All this costs speed, and on a GPU some operators have no deterministic kernel at all. So a training chooses ("on", "off", or
"auto": on unless TensorFlow sees a GPU). The settings apply to the process, until the next training in it chooses again.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from el_larq.errors import ElLarqError, summarize


def is_deterministic(choice: str) -> bool:
    """Whether a training with this choice ("auto", "on", "off") is deterministic on this machine."""
    return not tf.config.list_physical_devices("GPU") if choice == "auto" else choice == "on"


def set_deterministic(on: bool) -> None:
    """Make training steps that are traced from now on depend on their inputs alone, or give them TensorFlow's usual speed."""
    # There is no public interface for disabling it again, and none for how a tape sums gradients.
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import backprop
    from tensorflow.python.framework import config

    space: Any = backprop._default_vspace
    if on:
        tf.config.experimental.enable_op_determinism()
        space = space._replace(aggregate_fn=_sum_in_order)
    else:
        config.disable_op_determinism()
    pywrap_tfe.TFE_Py_RegisterVSpace(space)
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": not on})


def _sum_in_order(gradients: Sequence[Any]) -> Any:
    from tensorflow.python.eager import backprop

    if len(gradients) < 3 or not all(isinstance(gradient, tf.Tensor) for gradient in gradients):
        return backprop._aggregate_grads(gradients)
    total = gradients[0]
    for gradient in gradients[1:]:
        total = tf.raw_ops.AddV2(x=total, y=gradient)
    return total


@contextlib.contextmanager
def missing_kernels_named() -> Iterator[None]:
    """Turn TensorFlow's error about an operator without a deterministic kernel into an ElLarqError of one line."""
    try:
        yield
    except tf.errors.UnimplementedError as error:
        if "determinis" not in str(error).lower():
            raise
        raise ElLarqError(
            f"this GPU has no deterministic kernel for an operator of the network: {summarize(error)}; "
            "train again with --deterministic off, or on the CPU (CUDA_VISIBLE_DEVICES=-1)"
        ) from error
