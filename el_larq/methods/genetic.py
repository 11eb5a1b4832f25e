r"""A genetic search over kernel binarization: between epochs, a population of thresholds competes for each filter's signs.

    B = sign(W - t_f)                  t_f: one threshold for each filter f, no gradient, 0 at first
    z = conv(sign(x), B),  y = BN(z)

Gradients, straight through: dL/dW = dL/dB * 1[|W| <= 1] and dL/dx = dL/dsign(x) * 1[|x| <= 1]. Gradient descent moves W for
fixed t. Before each epoch but the first, a search moves t for fixed W: it changes the signs of weights near their threshold,
those that gradient descent has left undecided, many at a time. `el_larq.training.search_genetic` has the algorithm:
individuals are threshold vectors, children take each threshold from either parent and mutate, and selection goes by the loss
on a training batch plus a term for filters whose signs are out of balance. What is in use takes part, so a search never makes
that sum worse.

Reference: the idea is that of Liu et al., GBCNs: Genetic Binary Convolutional Networks for Enhancing the Performance of 1-bit
DCNNs, arXiv 1911.11634, 2019, whose "balanced genetic algorithm" modifies the kernel's binarization to escape local minima.

What is this project's: all of it but the idea. The paper's formulas and code were not available. What an individual is, the
operators, the fitness, when the search runs, and the plain binary unit around it are ours, so no figure of that paper stands
beside this method. Depthwise kernels have a threshold a channel.

Options: `population` (at least 2) and `generations` (at least 1) set the cost of a search, population * (generations + 1)
forward passes of one batch; `balance` (at least 0) weighs the balance of signs against the loss, 0 leaves it out.

Deployed as the plain binary convolution: the thresholds are part of the packed kernel, one `LceBconv2d` a unit, and nothing
is left real-valued.
"""

from typing import TYPE_CHECKING

from el_larq.errors import UsageError
from el_larq.links.registry import LINKS
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
        kernel_constraint="weight_clip",
        options={"population": population, "generations": generations, "balance": balance},
        search="el_larq.training.search_genetic:search",
    )


METHOD = make()
