"""Builds a network of Larq Zoo, with initial weights."""

import tf_keras as keras

from el_larq.errors import UsageError
from el_larq.models.zoo.zoo_registry import get_zoo_network

IMAGE_SIZE = 224


def build_zoo(
    name: str,
    *,
    input_shape: tuple[int, int, int] = (IMAGE_SIZE, IMAGE_SIZE, 3),
    num_classes: int = 1000,
    top: bool = True,
    softmax: bool = True,
) -> keras.Model:
    """A Keras model from images (N, H, W, C) to probabilities (N, num_classes), to logits, or to features (N, h, w, c).

    With the defaults, its weights have the order and the shapes of Larq Zoo's file, and with these weights it computes what the
    zoo's model computes.

    Arguments:
        name: a name of `el_larq.models.zoo.zoo_registry`, with or without "zoo:" in front.
        input_shape: (height, width, channels).
        num_classes: 2 or more.
        top: False omits the classifier, as Larq Zoo's ``include_top=False`` does.
        softmax: False omits the softmax, so that the outputs are logits.

    Raises:
        UsageError: an unknown name, too few classes, or an input that is too small for the network.
    """
    network = get_zoo_network(name)
    if num_classes < 2:
        raise UsageError(f"a classifier needs at least 2 classes; got {num_classes}")
    image = keras.Input(input_shape, name="image")
    try:
        x = network.load_builder()(image, num_classes if top else None, **network.arguments)
    except ValueError as error:
        height, width, _ = input_shape
        raise UsageError(
            f"images of {height}x{width} pixels are too small for {network.title}; it was trained on 224x224"
        ) from error
    if top and softmax:
        x = keras.layers.Activation("softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(image, x, name=network.name)
