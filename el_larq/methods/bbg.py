"""BBG: balanced binary weights, and a gated residual around each binary convolution.

Kernels are binarized around their own centre, so that about as many weights are positive as negative, which is where a binary
weight carries most information. The real-valued input passes the convolution, weighted by one learned gate a channel. Over each
filter of n weights v:

    u = v - mean(v)
    W = alpha * sign(u),  alpha = mean|u|              sign(0) = +1
    y = BN(conv(sign(x), W)) + g * pool(x)             pool: average pooling by the stride

Gradient, with alpha as a constant:

    dL/du = alpha * dL/dW * 1[|u| <= 1]
    dL/dv = dL/du - mean(dL/du)                        exactly (I - 11^T / n) dL/du: the update keeps the mean
    dL/dx = dL/dsign(x) * 1[|x| <= 1] + pool^T(g * dL/dy)
    dL/dg = sum of dL/dy * pool(x) over images and pixels

Reference: Shen, Liu, Gong, Han: Balanced Binary Neural Networks with Gated Residual, ICASSP 2020, arXiv 1909.12117. Published
ImageNet top-1: ResNet18 59.4, ResNet34 62.6.

The paper's text was not at hand; abstract, published figures and summaries by others were. What they leave open is chosen here:

- `center`: "mean" (default) is what is reported of the method. It balances a symmetric distribution only; "median" gives equal
  counts. Its gradient is the mean's, since the median's own would fall on one or two weights.
- `per`: "filter" (default) centres and scales each filter, as the authors' patent describes; "tensor" the whole kernel, as a
  summary of the paper has it. The scale itself vanishes in the normalization behind.
- Latent weights are clipped to [-1, 1] after each step. The gradient never moves the mean of a filter, but an optimizer that scales
  each weight on its own does, and weights with |u| > 1 would stop learning. A weight within the clip may still be beyond 1 from its
  centre; it stands still only until its filter's centre returns, because it still takes its part of the common term.
- `gate`: gates start at 1, where the link is Bi-Real Net's; 0 would be a plain stack. One gate for each binary convolution. No
  weight decay on gates.
- `positive`: gates are kept at 0.01 or above (default), which conversion needs to fold them. "no" leaves them free.
- Where the convolution changes the number of channels there is no gated link. Networks with one shortcut a convolution have
  their own there (pooling, real-valued 1x1 convolution, normalization); a gate behind a normalization would be its scale once more.

Deployment: one LceBconv2d a convolution; centring, scale and normalization are part of it. A gate costs one multiplication a value
of its tensor, until `fold` moves positive gates into the normalizations: of a run of blocks of the same width at most one is left,
at its end. Gates that are not positive stay.
"""

from math import isfinite
from typing import Literal

from el_larq.errors import UsageError
from el_larq.links.registry import LINKS
from el_larq.methods.method import Method

# As in `el_larq.layers.gated_link`, which imports TensorFlow.
SMALLEST_GATE = 0.01


def make(
    center: Literal["mean", "median"] = "mean",
    per: Literal["filter", "tensor"] = "filter",
    gate: float = 1.0,
    positive: bool = True,
) -> Method:
    """BBG with kernels centred by their mean or median, per filter or kernel, and gates that start at ``gate``."""
    link = LINKS["gated"]
    if not isfinite(gate):
        raise UsageError(f"option gate is a finite number; got {gate:g}")
    if positive and gate < SMALLEST_GATE:
        raise UsageError(f"option gate starts at {SMALLEST_GATE} or above where gates are positive; got {gate:g}")
    if gate != 1.0:
        link = link.with_options(gate_initializer=gate)
    if not positive:
        link = link.with_options(positive=False)

    def quantizer() -> object:
        from el_larq.quantizers import BalancedSign

        return BalancedSign(center, per)

    return Method(
        name="bbg",
        summary="weights balanced around zero, a gate a channel on the identity around each convolution",
        reference="Shen, Liu, Gong, Han: Balanced Binary Neural Networks with Gated Residual, ICASSP 2020, arXiv 1909.12117",
        year=2020,
        link=link,
        input_quantizer="ste_sign",
        kernel_quantizer=quantizer,
        kernel_constraint="weight_clip",
        options={"center": center, "per": per, "gate": gate, "positive": positive},
        extra_cost="" if positive else "one multiplication a value for each gate",
    )


METHOD = make()
