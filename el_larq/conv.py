"""The description of a convolution that a network passes to a method. Does not import TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Conv:
    """A convolution's shape and role in the network. How it is computed is up to the method.

    name: prefix of the names of the unit's layers; unique in the network.
    filters: number of output channels.
    kernel_size, strides: the same in both directions, in pixels.
    dilation: the distance of the pixels that neighbouring weights apply to, in both directions; above 1 only without a stride.
    depthwise: one kernel per channel; filters is then the number of channels.
    groups: the number of groups that the channels are split into; each is convolved separately.
    real: the convolution itself stays real-valued; norm, link, shortcut and activation are still the method's.
    bypassed: the block has its own shortcut around this convolution, so that its input features are passed on without a link.
        The unit that receives the shortcut sets this itself; a network sets it on the other convolutions of the block.
    real_kernel, real_input: the method leaves out the quantizer of the kernel, or of the input; ``real_input`` is then what the
        input goes through, "identity" or "tanh". The method's unit sets these, see `el_larq.methods.method.Method.binarizing`.
    """

    name: str
    filters: int
    kernel_size: int
    strides: int = 1
    dilation: int = 1
    depthwise: bool = False
    groups: int = 1
    real: bool = False
    bypassed: bool = False
    real_kernel: bool = False
    real_input: str | None = None

    def output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Height, width and channels of the output, for an input of this height, width and channels."""
        height, width = (None if size is None else -(-size // self.strides) for size in shape[:2])
        return height, width, self.filters

    @property
    def padding(self) -> str:
        """Keras' name of the padding: "valid" for a 1x1 kernel, else "same".

        A 1x1 kernel needs no padding, and without it LCE keeps more of a chain of such convolutions in packed bits.
        """
        return "valid" if self.kernel_size == 1 else "same"
