"""The network of the run in `schema1`."""

import larq
import tf_keras as keras


def build(input_shape, num_classes):
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(8, 3, 2, "same", use_bias=False, name="stem")(image)
    x = keras.layers.BatchNormalization(momentum=0.9, name="stem_norm")(x)
    x = larq.layers.QuantConv2D(
        16,
        3,
        padding="same",
        pad_values=1.0,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        use_bias=False,
        name="binary",
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.9, name="binary_norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(num_classes, name="logits")(x), name="tiny")
