"""BBG: balanced binary weights, and a gated residual around each binary convolution.

Kernels are binarized around their own centre, so that about as many weights are positive as negative, which maximizes the
information per binary weight. The real-valued input bypasses the convolution, weighted by one learned gate per channel. Over each
filter of n weights v:

    u = v - mean(v)
    W = alpha * sign(u),  alpha = mean|u|              sign(0) = +1
    y = BN(conv(sign(x), W)) + g * pool(x)             pool: average pooling by the stride

Gradient, with alpha as a constant:

    dL/du = alpha * dL/dW * 1[|u| <= 1]
    dL/dv = dL/du - mean(dL/du)                        exactly (I - 11^T / n) dL/du: the update preserves the mean
    dL/dx = dL/dsign(x) * 1[|x| <= 1] + pool^T(g * dL/dy)
    dL/dg = sum of dL/dy * pool(x) over images and pixels

Reference: Shen, Liu, Gong, Han: Balanced Binary Neural Networks with Gated Residual, ICASSP 2020, arXiv 1909.12117. Published
ImageNet top-1: ResNet18 59.4, ResNet34 62.6.

The paper's text was not available; its abstract, the published figures and summaries by others were. Where they leave details open,
the choices here are:

- `center`: "mean" (default) is what summaries of the method report. It balances only symmetric distributions; "median" gives equal
  counts. The median uses the mean's gradient, since its own would fall on only one or two weights.
- `per`: "filter" (default) centres and scales each filter, as the authors' patent describes; "tensor" centres and scales the whole
  kernel, as one summary of the paper describes. The scale itself cancels in the normalization that follows.
- Latent weights are clipped to [-1, 1] after each step. The gradient never moves the mean of a filter, but an optimizer that scales
  each weight separately does, and weights with |u| > 1 would stop learning. A clipped weight can still be farther than 1 from its
  filter's centre; until the centre is within 1 again, it receives only the common term, -mean(dL/du).
- `gate`: gates start at 1, which equals Bi-Real Net's link; 0 would be a plain stack. Each binary convolution has its own gates.
  Gates take no weight decay.
- `positive`: gates are kept at 0.01 or above (default), which conversion requires in order to fold them. "no" leaves them free.
- Convolutions that change the number of channels have no gated link. Networks with one shortcut per convolution have their own
  shortcut there (pooling, real-valued 1x1 convolution, normalization); a gate after a normalization would duplicate its scale.

Deployment: one LceBconv2d per convolution, which includes centring, scale and normalization. A gate costs one multiplication per
value of its tensor, until `fold` moves positive gates into the normalizations: at most one gate is left in a run of blocks of the
same width, at its end. Gates that are not positive remain.
"""

from math import isfinite
from typing import Literal

from el_larq.errors import UsageError
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

# The same value as in `el_larq.layers.gated_link`, which cannot be imported here because it imports TensorFlow.
SMALLEST_GATE = 0.01


def make(
    center: Literal["mean", "median"] = "mean",
    per: Literal["filter", "tensor"] = "filter",
    gate: float = 1.0,
    positive: bool = True,
) -> Method:
    """BBG with kernels centred by their mean or median, per filter or per kernel, and gates that start at ``gate``."""
    link = LINKS["gated"]
    if not isfinite(gate):
        raise UsageError(f"option gate must be a finite number; got {gate:g}")
    if positive and gate < SMALLEST_GATE:
        raise UsageError(f"option gate must be at least {SMALLEST_GATE} if gates are positive; got {gate:g}")
    if gate != 1.0:
        link = link.with_options(gate_initializer=gate)
    if not positive:
        link = link.with_options(positive=False)

    def quantizer() -> object:
        from el_larq.quantizers import BalancedSign

        return BalancedSign(center, per)

    return Method(
        name="bbg",
        summary="weights balanced around zero, one gate per channel on the identity around each convolution",
        reference="Shen, Liu, Gong, Han: Balanced Binary Neural Networks with Gated Residual, ICASSP 2020, arXiv 1909.12117",
        year=2020,
        link=link,
        input_quantizer="ste_sign",
        kernel_quantizer=quantizer,
        kernel_constraint="weight_clip",
        options={"center": center, "per": per, "gate": gate, "positive": positive},
        extra_cost="" if positive else "one multiplication per value for each gate",
    )


METHOD = make()
