"""Whether calibration images look like those that a model was trained on, from its first normalization.

A batch normalization stores the mean and the variance of each of its channels in training. Images that are scaled otherwise, 0 to
255 in place of -1 to 1 for instance, give its channels other ones by far. This also works where nothing says how images are scaled,
and where a layer inside the model scales them.
"""

import numpy as np

from el_larq.converters.frozen import FrozenModel

FAR = 3.0
"""The largest quotient of two variances, and the largest difference of means in standard deviations, that say nothing."""

_IMAGES = 32


def unlike_training(model: FrozenModel, images: np.ndarray) -> str:
    """A warning if the images (N, ...) give the first normalization other values than training did; else "".

    The medians over channels are compared. Models without a normalization, or with one that was never trained, have no warning.
    """
    norms = (o for o in model.operations if o.type == "FusedBatchNormV3" and not o.get_attr("is_training"))
    norm = next((operation for operation in norms if model.depends(operation.inputs[0])), None)
    if norm is None:
        return ""
    mean, variance = model.constants(list(norm.inputs[3:5]))
    if mean is None or variance is None or (not mean.any() and np.all(variance == 1)):
        return ""
    axis = -1 if norm.get_attr("data_format") == b"NHWC" else 1
    (values,) = model.fetch([norm.inputs[0]])(images[:_IMAGES])
    values = np.moveaxis(values, axis, -1).reshape(-1, len(mean)).astype(np.float64)
    used = variance > 1e-6 * variance.max()
    quotient = float(np.median(values.var(axis=0)[used] / variance[used]))
    distance = float(np.median(np.abs(values.mean(axis=0) - mean)[used] / np.sqrt(variance[used])))
    if 1 / FAR <= quotient <= FAR and distance <= FAR:
        return ""
    name = norm.name.removesuffix("/FusedBatchNormV3").rpartition("/")[2]
    return (
        f"the calibration images are unlike those of the training: at {name}, they have {quotient:.2g} times the variance of the "
        f"training, and their mean is {distance:.2g} standard deviations from it; check how they are scaled"
    )
