"""What users choose of the guideline. Does not import TensorFlow, since the command line lists it."""

from dataclasses import dataclass

from el_larq.errors import UsageError, unknown_name

RECIPES = ("guideline", "minmax")
"""All steps, or none of them: ranges from the extremes, as the plain TensorFlow Lite converter does."""

STEPS = {
    "relu6": "ReLU6 between two layers becomes ReLU, so that they can be equalized",
    "equalize": "cross-layer equalization: channels between two layers get similar ranges",
    "absorb": "biases that keep a channel above 0 move to the next layer",
    "ranges": "ranges with the smallest mean square error, instead of the extremes",
    "adaround": "AdaRound: weights of chosen layers are rounded up or down so that outputs change least; only with --adaround",
    "bias": "biases take away the mean error of each channel",
}
"""In the order in which they are applied. Normalizations are always folded, and kernels always have a scale per channel."""

ADAROUND = ("first", "last", "worst:N")
"""Layers that AdaRound can be asked for: the first, the last, or the N whose int8 form costs the outputs most."""

BIAS = ("empirical", "analytic")
"""How biases are corrected. The first is the default."""

KERNEL_BITS = (8, 4)
"""Bits of kernels. The first is the default."""


@dataclass(frozen=True)
class Guideline:
    """How a real-valued model is quantized to 8 bits.

    recipe: "guideline" or "minmax". skip: steps to leave out. keep_float: the number of layers that stay float: those whose int8
    form costs the outputs most. bias: "empirical" or "analytic", see `el_larq.converters.guideline.bias_correction`. adaround:
    layers that AdaRound rounds, of `ADAROUND`; none of them by default, because of its time.
    kernel_bits: 8, or 4 for the kernels that can have so few, see `el_larq.converters.int8.int4_kernels`.
    """

    recipe: str = RECIPES[0]
    skip: tuple[str, ...] = ()
    keep_float: int = 0
    bias: str = BIAS[0]
    adaround: tuple[str, ...] = ()
    kernel_bits: int = KERNEL_BITS[0]

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise unknown_name("recipe", self.recipe, RECIPES)
        for step in self.skip:
            if step not in STEPS:
                raise unknown_name("step", step, STEPS)
        if self.skip and self.recipe == "minmax":
            raise UsageError("recipe minmax has none of the guideline's steps; omit --skip")
        if self.keep_float < 0:
            raise UsageError(f"the number of layers to keep float must be 0 or more; got {self.keep_float}")
        if self.bias not in BIAS:
            raise unknown_name("kind of bias correction", self.bias, BIAS)
        if self.kernel_bits not in KERNEL_BITS:
            raise UsageError(f"kernel_bits must be 8 or 4; got {self.kernel_bits}")
        self._check_adaround()

    def _check_adaround(self) -> None:
        for layers in self.adaround:
            kind, _, count = layers.partition(":")
            if kind == "worst" and not (count.isascii() and count.isdigit() and int(count)):
                raise UsageError(f"adaround {layers}: N must be 1 or more, as in worst:3")
            if kind != "worst" and layers not in ADAROUND:
                raise unknown_name("layers for adaround", layers, ADAROUND)
        if self.adaround and self.recipe == "minmax":
            raise UsageError("recipe minmax has none of the guideline's steps; omit --adaround")
        if self.adaround and "adaround" in self.skip:
            raise UsageError("adaround is asked for and skipped; omit --skip adaround")
        if self.worst and self.kernel_bits == 4:
            raise UsageError(
                "adaround worst:N rounds to 8 bits, and kernel_bits 4 leaves them to the first and the last layer; omit it"
            )

    @property
    def worst(self) -> int:
        """N of worst:N, the largest one; 0 without it."""
        return max((int(layers.partition(":")[2]) for layers in self.adaround if layers.startswith("worst:")), default=0)

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps to apply, in order."""
        left_out = (*self.skip, *(() if self.adaround else ("adaround",)))
        return () if self.recipe == "minmax" else tuple(step for step in STEPS if step not in left_out)
