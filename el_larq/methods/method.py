"""What a method is: how one convolution is binarized, as data. Importing this module does not import TensorFlow.

A network calls the method's `unit` once per convolution that may be binarized; a unit is everything between two real-valued
tensors. Its stages, in the method's own `order`:

    conv        the convolution on binarized input with a binarized kernel
    norm        batch normalization
    link        real-valued features carried around the convolution, see `el_larq.links`
    shortcut    the block's own residual, where the network passes one to this unit
    activation  the activation function, if any

Methods with further stages (a shift before the sign, a scale after the convolution) name them in `order` and supply the
layer in `stages`. Methods that need a different convolution than `el_larq.methods.stages.convolve` supply "conv" themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from el_larq.conv import Conv
from el_larq.errors import UsageError, unknown_name
from el_larq.links.link import Link
from el_larq.methods.binarization import Binarization

if TYPE_CHECKING:
    import tensorflow as tf

PLACEMENTS = ("after_norm", "before_norm")
BINARIZED = ("nothing", "activations", "both")
INSTEAD_OF_SIGN = ("identity", "tanh")

# With Keras' default of 0.99, moving statistics follow too slowly in runs of a few hundred steps.
BN_MOMENTUM = 0.9


# A stage is called with the unit's input, the output of the previous stage, and the convolution. It is also called for units whose
# convolution is real-valued (`Conv.real`) or depthwise, and returns the tensor unchanged where it does not apply.
StageFunction = Callable[["tf.Tensor", "tf.Tensor", Conv], "tf.Tensor"]


@dataclass(frozen=True, kw_only=True)
class Method(Binarization):
    """A published way to binarize a convolution, or a baseline.

    input_quantizer, kernel_quantizer, kernel_constraint: see `el_larq.methods.binarization.Binarization`.
    order, stages: the names of a unit's stages in order, and the functions of those that are not the common ones.
    activation: Keras' name of the function of stage "activation"; None for none.
    bn_momentum: of the moving statistics of the batch normalizations, also of those that a network adds.
    activation_bits: what lists show as bits of the inputs if it is not 1, such as "1.58"; counts and the audit ask the quantizer.
    options: the method's own options with their values, as passed to `make` in its file (see `el_larq.methods.options`).
    extra_cost: what a unit costs at inference in addition to its binary convolution and its link, in words. "" means that
        everything folds.
    variant: the block variant of a network that the method needs; None is the standard block.
    whole: its quantizers cannot be left out, because other layers of the unit or variables of a quantizer depend on them.
    binarize, instead_of_sign: see `binarizing`.
    search: "module:function" of ``(model, batches, seed, epoch) -> None``, which changes the model's variables before each
        epoch except the first, and nothing else. It depends only on its arguments, so that a resumed run repeats it.
    """

    name: str
    summary: str
    reference: str
    link: Link
    year: int | None = None
    order: tuple[str, ...] = ("conv", "norm", "link", "shortcut", "activation")
    activation: str | None = None
    stages: Mapping[str, StageFunction] = field(default_factory=dict)
    bn_momentum: float = BN_MOMENTUM
    options: Mapping[str, Any] = field(default_factory=dict)
    activation_bits: str | None = None
    extra_cost: str = ""
    variant: str | None = None
    search: str | None = None
    whole: bool = False
    binarize: str = "both"
    instead_of_sign: str = "identity"

    @property
    def bits(self) -> str:
        """Bits of weights / activations in a unit."""
        return f"{1 if self.kernel_quantizer else 32}/{self.activation_bits or (1 if self.input_quantizer else 32)}"

    @property
    def cost(self) -> str:
        """What a unit costs at inference in addition to its convolution, link included, in words. "" means everything folds."""
        return "; ".join(filter(None, (self.extra_cost, self.link.cost and f"link: {self.link.cost}")))

    def with_link(self, link: Link) -> "Method":
        """This method with another link.

        Raises:
            UsageError: the method is real-valued, so a link has nothing to bypass.
        """
        if not link.is_empty and not self.binary:
            raise UsageError(
                f"method {self.name!r} does not binarize, so link {link.name!r} has no binary convolution to bypass; "
                "use --link none or a binary method"
            )
        return replace(self, link=link)

    def with_placement(self, placement: str) -> "Method":
        """This method with its link joined right after the normalization, or right before it.

        Raises:
            UsageError: an unknown placement, or no normalization after the convolution.
        """
        if placement not in PLACEMENTS:
            raise unknown_name("placement", placement, PLACEMENTS)
        order = [stage for stage in self.order if stage != "link"]
        if "norm" not in order or order.index("norm") < order.index("conv"):
            raise UsageError(f"method {self.name!r} has no normalization after its convolution, so the link has no placement")
        order.insert(order.index("norm") + (placement == "after_norm"), "link")
        return replace(self, order=tuple(order))

    def binarizing(self, binarize: str, instead_of_sign: str = "identity") -> "Method":
        """This method without some of its quantizers, and with the same weights in the same order. Recipes train so in stages.

        Arguments:
            binarize: "nothing": inputs and kernels of convolutions are real-valued; "activations": only kernels are; "both".
            instead_of_sign: what real-valued inputs go through: "identity" or "tanh". They are padded with 0.

        Raises:
            UsageError: the method binarizes nothing, or its quantizers cannot be left out.
        """
        for kind, value, known in (("binarize", binarize, BINARIZED), ("instead_of_sign", instead_of_sign, INSTEAD_OF_SIGN)):
            if value not in known:
                raise unknown_name(kind, value, known)
        if binarize != "both" and self.whole:
            raise UsageError(
                f"method {self.name!r} cannot leave out its quantizers, so it cannot be trained in stages without them"
            )
        if binarize == "activations" and not self.binary:
            raise UsageError(f"method {self.name!r} does not binarize, so no stage of it has binary activations")
        return replace(self, binarize=binarize, instead_of_sign=instead_of_sign)

    def unit(
        self, x: "tf.Tensor", conv: Conv, shortcut: "tf.Tensor | None" = None, *, linked: "tf.Tensor | None" = None
    ) -> "tf.Tensor":
        """The unit for one convolution: (N, H, W, C) to (N, ceil(H / strides), ceil(W / strides), filters).

        linked: the features (N, H, W, any number of channels) that the link carries, if not those of x.
        """
        from el_larq.layers import normalize  # imported here because it imports TensorFlow
        from el_larq.methods import stages

        if shortcut is not None:
            conv = replace(conv, bypassed=True)
        if self.binary and self.binarize != "both":
            conv = replace(conv, real_kernel=True, real_input=self.instead_of_sign if self.binarize == "nothing" else None)
        y = x
        for stage in self.order:
            if stage in self.stages and not (stage == "conv" and conv.real):
                y = self.stages[stage](x, y, conv)
            elif stage == "conv":
                y = stages.convolve(self, y, conv)
            elif stage == "norm":
                y = normalize(y, f"{conv.name}_norm", self.bn_momentum)
            elif stage == "link":
                y = self.link.attach(x if linked is None else linked, y, conv)
            elif stage == "shortcut":
                y = y if shortcut is None else stages.add(shortcut, y, conv.name)
            elif stage == "activation":
                y = stages.activate(y, self.activation, conv.name)
            else:
                raise ValueError(f"method {self.name!r} orders a stage {stage!r} that it does not supply")
        return y
