r"""A genetic search over kernel binarization: between epochs, a population of thresholds competes for the signs of each filter.

    B = sign(W - t_f)                  t_f: one threshold per filter f, no gradient, initially 0
    z = conv(sign(x), B),  y = BN(z)

Gradients, straight through: dL/dW = dL/dB * 1[|W| <= 1] and dL/dx = dL/dsign(x) * 1[|x| <= 1]. Gradient descent updates W with t
fixed. Before each epoch except the first, a search updates t in up to four layers with W fixed: it changes the signs of weights
near the threshold, those that gradient descent has left undecided, many at a time. `el_larq.training.search_genetic` has the
algorithm: individuals are threshold vectors, children take each threshold from either parent and mutate, and selection minimizes
the loss on a training batch plus a penalty for filters with unbalanced signs. The thresholds in use take part, so a search never
increases that sum.

Reference: the idea is from Liu et al., GBCNs: Genetic Binary Convolutional Networks for Enhancing the Performance of 1-bit
DCNNs, arXiv 1911.11634, 2019, whose "balanced genetic algorithm" modifies the kernel's binarization to escape local minima.

Everything except that idea is this project's. The paper's formulas and code were not available. The encoding of individuals, the
operators, the fitness, when the search runs, and the plain binary unit around it are our own, so no figure from that paper is
quoted for this method. Depthwise kernels have one threshold per channel.

Options: `population` (at least 2) and `generations` (at least 1) set the cost of a search, population * (generations + 1)
forward passes of one batch; `balance` (at least 0) weights the balance of signs against the loss, and 0 disables it.

Deployment: the same as the plain binary convolution, one `LceBconv2d` per unit. The thresholds are part of the packed kernel, and
nothing remains real-valued.
"""

from typing import TYPE_CHECKING

from el_larq.errors import UsageError
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    from el_larq.quantizers import GeneticSign


def make(population: int = 6, generations: int = 2, balance: float = 0.05) -> Method:
    if population < 2:
        raise UsageError(f"population must be at least 2; got {population}")
    if generations < 1:
        raise UsageError(f"generations must be at least 1; got {generations}")
    if not 0 <= balance < float("inf"):
        raise UsageError(f"balance must not be negative; got {balance:g}")

    def kernel_quantizer() -> "GeneticSign":
        from el_larq.quantizers import GeneticSign

        return GeneticSign(population, generations, balance)

    return Method(
        name="genetic",
        summary="a genetic search between epochs moves each filter's threshold between -1 and 1",
        reference="this project, after the idea of Liu et al.: Genetic Binary Convolutional Networks, 2019, arXiv 1911.11634",
        year=2019,
        link=LINKS["none"],
        input_quantizer="ste_sign",
        kernel_quantizer=kernel_quantizer,
        whole=True,
        kernel_constraint="weight_clip",
        options={"population": population, "generations": generations, "balance": balance},
        search="el_larq.training.search_genetic:search",
    )


METHOD = make()
