r"""CI-BCNN: channels correct one another's bit counts, along a graph found by policy gradient.

    z = conv(sign(x), sign(W))                              integers between -n and n, n = k * k * C_in
    y_c = z_c + s_c * step * U(z_source(c))                 s_c = -1, 0 or 1; 0 where nothing corrects channel c
    U(v) = 1 where v > T, -1 where v < -T, 0 between
    output = BN(y)

Gradients: dL/dz = dL/dy, with the correction as a constant, and none for source and s; both signs straight through on
[-1, 1]. Before each epoch except the first, a search changes the graph: an agent proposes edges and is rewarded when the loss on
a training batch falls. `el_larq.layers.interacted_bitcount` defines the layer, `el_larq.training.search_interactions` the agent.

Reference: Wang et al., Learning Channel-wise Interactions for Binary Convolutional Neural Networks, CVPR 2019. Taken from the
released code: signs without scales and their gradients; a step of half the threshold in either direction; the layer's
gradient; at most 100 edges per layer; the agent's exploration rate of 0.05, discount of 0.99 and minimum loss change of 0.003.

Differences from the released code:

- Thresholds. The code's threshold of 200 and step of 100 depend on its layer widths. A sum of n random signs has a standard
  deviation of sqrt(n), so here T is `threshold` times that, rounded to a half-integer: floor(threshold * sqrt(n)) + 1/2. The step
  is half of T, rounded, and at least 1.
- The negative branch. The code adds the step there too, which would make U even and is probably a mistake. Here U is odd.
- Edges. Each channel is corrected by at most one other channel, while the original adds up several corrections: a graph without
  that limit costs a real-valued 1x1 convolution at inference.
- The agent. Independent softmax policies for target, source and strength, kept in the model's variables, instead of a
  convolutional LSTM; one-shot proposals instead of episodes over all layers; proposals that do not help are undone; and no
  reward for the consistency of signs, which the code adds to the reward for the loss.
- Depthwise units are plain binary: their sums have nine terms, too few to be corrected by steps.
- No Hardtanh follows the normalization: the sign's gradient has the same limits.

Options: `threshold` (above 0), `edges` per layer (at least 1), and `proposals` per search (at least 1). A search takes
proposals + 1 forward passes of one batch.

Deployment: one `LceBconv2d` per unit. The correction stays real-valued, computed on integers: a gather, two clips and their
difference, a multiplication and an addition. The normalization after it cannot be folded into the convolution. The clips are
continuous and agree with the thresholds on integers, so rounding errors do not flip the result. Layers in which the search kept no
edge convert to the plain binary convolution.
"""

from typing import TYPE_CHECKING

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    import tensorflow as tf


def make(threshold: float = 1.0, edges: int = 100, proposals: int = 16) -> Method:
    if not 0 < threshold < float("inf"):
        raise UsageError(f"threshold must be positive; got {threshold:g}")
    if edges < 1:
        raise UsageError(f"edges must be at least 1; got {edges}")
    if proposals < 1:
        raise UsageError(f"proposals must be at least 1; got {proposals}")

    def interact(x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
        if conv.real or conv.depthwise:
            return y
        from el_larq.layers import InteractedBitcount

        channels = x.shape[-1]
        assert channels is not None
        fan_in = conv.kernel_size**2 * channels // conv.groups
        return InteractedBitcount(fan_in, threshold, edges, proposals, name=f"{conv.name}_interact")(y)

    return Method(
        name="cibcnn",
        summary="channels correct each other's bit counts in small steps, along a graph found by policy gradient",
        reference="Wang et al.: Learning Channel-wise Interactions for Binary Convolutional Neural Networks, CVPR 2019",
        year=2019,
        link=LINKS["none"],
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        order=("conv", "interact", "norm", "link", "shortcut", "activation"),
        stages={"interact": interact},
        whole=True,
        options={"threshold": threshold, "edges": edges, "proposals": proposals},
        extra_cost="a gather, two clips, a multiplication and an addition on the convolution's output, and its normalization",
        search="el_larq.training.search_interactions:search",
    )


METHOD = make()
