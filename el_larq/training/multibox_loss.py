"""SSD's loss.

    L = (1 / P) * (sum of cross-entropies of P + 3P anchors  +  sum of smooth L1 of the P box codes)

P is the number of anchors in the batch that stand for objects. Of the others, each image contributes those three times as many as
its own objects' anchors whose cross-entropy is largest: most anchors are easy background. Smooth L1 is x^2 / 2 for |x| < 1 and |x|
- 1/2 beyond, summed over the four numbers of a code. A batch without objects has the loss 0.

Source: Liu et al.: SSD, ECCV 2016, section 2.2.
"""

from typing import Any

import tensorflow as tf
import tf_keras as keras

NEGATIVES = 3
"""Background anchors for each anchor of an object."""


class MultiboxLoss(keras.losses.Loss):
    """The loss of a batch, one number.

    y_true: (N, A, 5): a class from 1, or 0 for background, and an encoded box, see `el_larq.detection.matching.targets`.
    y_pred: (N, A, C + 5): logits of the background and C classes, and an encoded box.
    """

    def __init__(self) -> None:
        super().__init__(reduction=keras.losses.Reduction.NONE, name="multibox")

    def get_config(self) -> dict[str, Any]:
        return {}

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        labels = tf.cast(y_true[..., 0], tf.int32)
        logits, codes = y_pred[..., :-4], y_pred[..., -4:]
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        objects: Any = labels > 0
        # A stop: which anchors are hardest has no gradient.
        hardness = tf.stop_gradient(tf.where(objects, -1.0, entropy))
        rank = tf.argsort(tf.argsort(hardness, axis=1, direction="DESCENDING", stable=True), axis=1, stable=True)
        wanted = NEGATIVES * tf.reduce_sum(tf.cast(objects, tf.int32), axis=1, keepdims=True)
        used = objects | ((rank < wanted) & (labels == 0))
        count = tf.reduce_sum(tf.cast(objects, y_pred.dtype))
        difference = tf.abs(y_true[..., 1:] - codes)
        smooth = tf.where(difference < 1, difference**2 / 2, difference - 0.5)
        boxes = tf.reduce_sum(tf.where(objects[..., None], smooth, 0.0))
        return (tf.reduce_sum(tf.where(used, entropy, 0.0)) + boxes) / tf.maximum(count, 1.0)
