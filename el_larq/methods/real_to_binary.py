r"""Real-to-Binary: the output of each binary convolution, scaled by channel as its real-valued input asks for.

Forward, of one convolution with input x of C_in channels:

    v = BN(x)
    r = sigmoid(relu(m @ A) @ B)               m = mean of v over the image, (C_in,); A (C_in, C_in / 8), B (C_in / 8, C_out)
    z = r * conv(sign(v), sign(W))             one factor in (0, 1) a channel and image
    y = PReLU(z) + x                           slope by channel; the identity link, where the shapes agree

The block's own shortcut, where the network hands one to this unit (at a change of shape), is added as x is elsewhere.

Gradient. Both signs have the slope 1 within one and 0 outside; everything else is differentiated as it is written, so v gets
gradient through r as well, which no sign blocks. At a product of 0, which an even number of signs often has, Keras' PReLU passes
no gradient on.

Reference: Martinez, Yang, Bulat, Tzimiropoulos: Training Binary Neural Networks with Real-to-Binary Convolutions, ICLR 2020,
arXiv 2003.11535. The authors' repository holds no code; the details are those of Larq Zoo's.

What was left open, and what was chosen:

- The published accuracy rests on training in stages with distillation: attention and logits of a real-valued teacher, binary
  activations first, binary kernels last. That is a recipe's matter and not part of this method, which is the unit alone.
- `reduction` = 8 (default); where C_in / 8 is less than one, one is taken. A and B start as He's normal distribution has it.
- The slope of the PReLU starts at 0.25; Larq Zoo starts it at 0, which is ReLU.
- Kernels are clipped to [-1, 1] after each step.
- A convolution that stays real-valued is not scaled. A depthwise one is, like any other.
- There is no normalization behind the convolution, in front of which a link could be placed.

Deployment: no multiplier is left to `LceBconv2d`, since r depends on the image. r takes an AVERAGE_POOL_2D, two FULLY_CONNECTED,
a LOGISTIC and a MUL of the whole output; behind it stand a PRELU and the link's ADD. Of the normalization, whose values are both
signed and averaged, the step `fold` leaves an ADD where its scales are positive and find a place elsewhere. A converted ResNet18
has 16 `LceBconv2d`, 16 MUL (r), 32 ADD (16 shifts before signs, 16 shortcuts), 16 PRELU, 16 LOGISTIC and 32 FULLY_CONNECTED
beside the classifier.
"""

from typing import TYPE_CHECKING, Any

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.links.registry import LINKS
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


def make(reduction: int = 8) -> Method:
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
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        order=("norm", "conv", "prelu", "link", "shortcut"),
        stages={"conv": convolve, "prelu": _prelu},
        options={"reduction": reduction},
        extra_cost="normalization before the sign, pooling and two small dense layers, one multiplication, one PReLU",
    )
    return method


METHOD = make()
