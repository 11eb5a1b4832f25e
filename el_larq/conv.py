"""One convolution that a network asks a method for. Importing this module imports no TensorFlow."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Conv:
    """What a convolution is, not how it is computed: that is the method's choice.

    depthwise: one kernel per channel; filters is then the number of channels.
    groups: the channels are split into so many groups, each convolved separately.
    real: the convolution itself stays real-valued; norm, link, shortcut and activation are still the method's.
    bypassed: the block has a shortcut of its own around this convolution, so that its features get through without a link.
        The unit that receives the shortcut sets this itself; a network sets it on the other convolutions of the block.
    """

    name: str
    filters: int
    kernel_size: int
    strides: int = 1
    depthwise: bool = False
    groups: int = 1
    real: bool = False
    bypassed: bool = False

    @property
    def padding(self) -> str:
        """A 1x1 kernel needs no padding, and LCE keeps more of such a chain in packed bits without it."""
        return "valid" if self.kernel_size == 1 else "same"
