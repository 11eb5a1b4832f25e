r"""Real-to-Binary: the output of each binary convolution is scaled per channel, by factors computed from its real-valued input.

Forward, for one convolution with input x of C_in channels:

    v = BN(x)
    r = sigmoid(relu(m @ A) @ B)               m = mean of v over the image, (C_in,); A (C_in, C_in / 8), B (C_in / 8, C_out)
    z = r * conv(sign(v), alpha * sign(W))     one factor in (0, 1) per channel and image; alpha = mean|W| per filter
    y = PReLU(z) + x                           one slope per channel; the identity link, where the shapes agree

The block's own shortcut, where the network passes one to this unit (at a change of shape), is added in place of x.

Gradient. Both signs have the slope 1 on [-1, 1] and 0 elsewhere, and alpha is a constant; everything else is differentiated
exactly, so v also receives gradient through r, which no sign blocks. Where a product is 0, which is common for a sum of an even
number of signs, Keras' PReLU has a gradient of 0.

Reference: Martinez, Yang, Bulat, Tzimiropoulos: Training Binary Neural Networks with Real-to-Binary Convolutions, ICLR 2020,
arXiv 2003.11535. The authors' repository contains no code; the details follow Larq Zoo.

What the source leaves open, and the choices made here:

- The published accuracy relies on training in stages with distillation: attention and logits of a real-valued teacher, binary
  activations first, binary kernels last. That is the recipe `real-to-binary`; this method is the unit alone.
- `alpha` = yes (default): to our knowledge the original has none (`alpha=no`). Without it and without a normalization after the
  convolution, products are as large as the square root of their number of terms, and so the first losses are large. It also
  keeps the size of the outputs where a stage with real-valued kernels passes its weights on to one with binary kernels.
- `reduction` = 8 (default); where C_in / 8 is less than one, one is used. A and B are initialized with He's normal distribution.
- The slope of the PReLU starts at 0.25; Larq Zoo starts it at 0, which is ReLU.
- Kernels are clipped to [-1, 1] after each step.
- A convolution that stays real-valued is not scaled. A depthwise binary one is.
- There is no normalization after the convolution, so the link cannot be placed before one.

Deployment: alpha is the multiplier of `LceBconv2d`; r depends on the image and is separate. It takes an AVERAGE_POOL_2D, two
FULLY_CONNECTED, a LOGISTIC and a MUL of the whole output; a PRELU and the link's ADD follow. The values of the normalization
are both binarized and averaged: the step `fold` reduces it to an ADD where its scales are positive and can be moved elsewhere.
A converted ResNet18 has 16 `LceBconv2d`, 16 MUL (r), 32 ADD (16 shifts before signs, 16 shortcuts), 16 PRELU, 16 LOGISTIC and
32 FULLY_CONNECTED, not counting the classifier.
"""

from typing import TYPE_CHECKING, Any

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    import tensorflow as tf


def _rescale(v: "tf.Tensor", z: "tf.Tensor", conv: Conv, reduction: int) -> "tf.Tensor":
    import tf_keras as keras

    shape: Any = v.shape
    dense: dict[str, Any] = {"use_bias": False, "kernel_initializer": "he_normal"}
    r = keras.layers.GlobalAveragePooling2D(name=f"{conv.name}_scale_pool")(v)
    r = keras.layers.Dense(max(1, shape[-1] // reduction), "relu", name=f"{conv.name}_scale_reduce", **dense)(r)
    r = keras.layers.Dense(conv.filters, "sigmoid", name=f"{conv.name}_scale_expand", **dense)(r)
    r = keras.layers.Reshape((1, 1, conv.filters), name=f"{conv.name}_scale_shape")(r)
    return keras.layers.Multiply(name=f"{conv.name}_scale")([z, r])


def _prelu(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
    from el_larq.methods import stages

    return stages.prelu(y, conv.name, 0.25)


def make(reduction: int = 8, alpha: bool = True) -> Method:
    if reduction < 1:
        raise UsageError(f"option reduction must be at least 1; got {reduction}")

    def convolve(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
        from el_larq.methods import stages

        return _rescale(y, stages.convolve(method, y, conv), conv, reduction)

    method = Method(
        name="real_to_binary",
        summary="each binary convolution's output scaled by channel from its real-valued input, PReLU, identity shortcut",
        reference="Martinez, Yang, Bulat, Tzimiropoulos: Training Binary Neural Networks with Real-to-Binary Convolutions, "
        "ICLR 2020, arXiv 2003.11535",
        year=2020,
        link=LINKS["identity"],
        input_quantizer="ste_sign",
        kernel_quantizer="magnitude_aware_sign" if alpha else "ste_sign",
        kernel_constraint="weight_clip",
        order=("norm", "conv", "prelu", "link", "shortcut"),
        stages={"conv": convolve, "prelu": _prelu},
        options={"reduction": reduction, "alpha": alpha},
        extra_cost="normalization before the sign, pooling and two small dense layers, one multiplication, one PReLU",
    )
    return method


METHOD = make()
