"""The real-valued networks of Keras Applications that serve as sources and teachers, by name. Does not import TensorFlow.

Keras publishes their ImageNet weights as .h5 files without architecture and without preprocessing; both are stated here. Networks
whose layers with weights have no names of their own (Inception, Xception, NASNet), and those that Keras builds differently for its
published weights (EfficientNet), are left out.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from el_larq.errors import unknown_name

PREFIX = "keras:"
"""Distinguishes these names from those of other networks, files and data sets."""

IMAGE_SIZE = 224

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Scaling:
    """How images of 0 to 255 become inputs: minus ``mean``, divided by ``std``, channels in this order."""

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]
    channel_order: str = "rgb"


# Keras calls these "caffe", "tf" and "torch".
_CAFFE = Scaling((103.939, 116.779, 123.68), 1.0, "bgr")
_TF = Scaling(127.5, 127.5)
_TORCH = Scaling(tuple(round(255 * v, 3) for v in _IMAGENET_MEAN), tuple(round(255 * v, 3) for v in _IMAGENET_STD))

_USUAL = "_weights_tf_dim_ordering_tf_kernels(_notop)?"


@dataclass(frozen=True)
class Application:
    """A network of `keras.applications`; ``file`` matches the names of its published weights files, without ".h5"."""

    name: str
    scaling: Scaling
    file: str

    def load_builder(self) -> Callable[..., Any]:
        import tf_keras as keras

        return getattr(keras.applications, self.name)


APPLICATIONS = {
    entry.name: entry
    for entry in (
        *(Application(name, _CAFFE, name.lower() + _USUAL) for name in ("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152")),
        *(Application(name, _TF, name.lower() + _USUAL) for name in ("ResNet50V2", "ResNet101V2", "ResNet152V2")),
        *(Application(name, _TORCH, name.lower() + _USUAL) for name in ("DenseNet121", "DenseNet169", "DenseNet201")),
        Application("MobileNet", _TF, r"mobilenet_1_0_(?P<size>\d+)_tf(_no_top)?"),
        Application("MobileNetV2", _TF, r"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1\.0_(?P<size>\d+)(_no_top)?"),
    )
}


def get_application(name: str) -> Application:
    """The network of that name, with or without "keras:" in front, in upper or lower case.

    Raises:
        UsageError: there is none; the nearest name is offered.
    """
    bare = name.removeprefix(PREFIX)
    found = {known.lower(): entry for known, entry in APPLICATIONS.items()}.get(bare.lower())
    if found is None:
        raise unknown_name("network of Keras Applications", bare, APPLICATIONS)
    return found


def recognize(file_name: str) -> tuple[Application, int] | None:
    """The network whose published weights have this file name, and their image size; None for other names."""
    for entry in APPLICATIONS.values():
        if match := re.fullmatch(entry.file + r"\.h5", file_name):
            return entry, int(match.groupdict().get("size") or IMAGE_SIZE)
    return None
