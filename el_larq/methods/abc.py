"""ABC-Net: each convolution as M x N binary convolutions, from M bases of its kernel and N shifts of its input.

With W the single latent kernel of n weights and x the input:

    B_m = sign(W - mean(W) + u_m * std(W))             u_m = -1 + 2 (m - 1) / (M - 1), sign(0) = +1
    alpha = argmin ||W - sum_m alpha_m B_m||^2         least-squares fit of the kernel itself
    A_n = +1 where clip(x + v_n, 0, 1) >= 1/2, else -1
    z = sum_n beta_n sum_m alpha_m conv(A_n, B_m)
    y = BN(z)

The shifts v_n and the weights beta_n are trained; each layer has N of each. Gradient, with alpha, mean and std as constants:

    dL/dW = sum_m alpha_m * dL/d(alpha_m B_m)          straight through the signs, unclipped
    dL/dx = sum_n dL/dA_n * 1[0 <= x + v_n <= 1]
    dL/dv_n = sum of dL/dA_n * 1[0 <= x + v_n <= 1]    over images, pixels and channels
    dL/dbeta_n = sum of dL/dz * sum_m alpha_m conv(A_n, B_m)

Reference: Lin, Zhao, Pan: Towards Accurate Binary Convolutional Neural Network, NeurIPS 2017, arXiv 1711.11294. Published
ImageNet top-1, as quoted by the Elastic-Link poster: ResNet18 42.7, ResNet34 52.4. From memory and not checked against the paper:
that these figures are for M = N = 1, and that ResNet18, 34 and 50 reach 65.0, 68.4 and 70.1 with M = N = 5.

What the paper leaves open, and the choices made here:

- `bases` and `shifts`: 1 and 1 (default), which costs one binary product per convolution, as in other methods, and is the setting
  of the figures compared. The work grows as M x N; `inspect` and `convert` count it.
- With one base, u is undefined. B = sign(W) and alpha = mean|W|, the best single base.
- alpha is computed from W at each step, not stored with a delay of one step. In a converted model it is a constant.
- The statistics and alpha are those of the whole kernel, as in the implementation consulted, including for depthwise kernels.
- The thresholds 1/2 - v_n start evenly spaced between -1 and 1, and beta_n at 1 / N. The implementation consulted mistakenly
  leaves both untrained.
- The gradient window for x and v, 0 to 1, is from memory: that implementation has none.
- The gradient of the signs of W is not clipped; latent weights are clipped to [-1, 1] after each step.
- The order is that of the other methods: convolution, normalization, the block's shortcut. The original starts from a real-valued
  network; to do the same, pass a trained one to `--init-from`.

Deployment: M x N LceBconv2d per convolution, into which alpha, beta and the normalization fold. In the .tflite the N products of a
base share its packed kernel. The remaining real-valued work is a shift and a packing for each of N signs, and M x N - 1 additions.
"""

from typing import TYPE_CHECKING, Any

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    import tensorflow as tf

_LARGEST = 8


def make(bases: int = 1, shifts: int = 1) -> Method:
    """ABC-Net with ``bases`` (M) binary kernels and ``shifts`` (N) binary inputs per convolution."""
    for name, value in (("bases", bases), ("shifts", shifts)):
        if not 1 <= value <= _LARGEST:
            raise UsageError(f"option {name} must be from 1 to {_LARGEST}; got {value}")

    def convolve(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
        from el_larq.methods.stages import by_group

        return by_group(conv, y, lambda group: _make_layer(conv, group, bases, shifts))(y)

    def kernel_quantizer() -> Any:
        from el_larq.quantizers import BinaryBases

        return BinaryBases(bases)

    return Method(
        name="abc",
        summary="M x N binary products per convolution: bases of the kernel by least squares, learned shifts of the input",
        reference="Lin, Zhao, Pan: Towards Accurate Binary Convolutional Neural Network, NeurIPS 2017, arXiv 1711.11294",
        year=2017,
        link=LINKS["none"],
        input_quantizer=_half_sign,
        kernel_quantizer=kernel_quantizer,
        kernel_constraint="weight_clip",
        whole=True,
        stages={"conv": convolve},
        options={"bases": bases, "shifts": shifts},
        extra_cost=_cost(bases, shifts),
    )


def _cost(bases: int, shifts: int) -> str:
    signs = "one addition before the sign" if shifts == 1 else f"an addition before each of {shifts} signs"
    products = bases * shifts
    return signs if products == 1 else f"{products} binary convolutions instead of one, their sum, {signs}"


def _make_layer(conv: Conv, group: int | None, bases: int, shifts: int) -> Any:
    from el_larq.layers import MultiBaseConv2D, MultiBaseDepthwiseConv2D

    shape: dict[str, Any] = {
        "kernel_size": conv.kernel_size,
        "strides": conv.strides,
        "dilation_rate": conv.dilation,
        "padding": conv.padding,
        "pad_values": 1.0 if conv.padding == "same" else 0.0,
        "use_bias": False,
        "bases": bases,
        "shifts": shifts,
        "name": f"{conv.name}_conv" if group is None else f"{conv.name}_group{group}_conv",
    }
    if conv.depthwise:
        return MultiBaseDepthwiseConv2D(**shape, depthwise_initializer="glorot_normal", depthwise_constraint="weight_clip")
    filters = conv.filters // conv.groups
    return MultiBaseConv2D(filters, **shape, kernel_initializer="glorot_normal", kernel_constraint="weight_clip")


def _half_sign() -> Any:
    from el_larq.quantizers import HalfSign

    return HalfSign()


METHOD = make()
