"""Padding in the spelling that LCE's converter and kernels get right.

Four faults of theirs would make a wrong .tflite:

1. Explicit padding and a VALID convolution become one SAME convolution if the output has ceil(size / stride) positions and the
   padding is split as SAME splits it, floor(total / 2) before. That SAME would pad by this total is not checked: at stride 2 on an
   even size, padding by 3 on each side before a 7x7 kernel becomes SAME, which pads by 2 and 3, so the map is shifted by one
   pixel. Every ResNet ported from PyTorch begins like this. The last rows of such padding are not read by any kernel position; one
   row fewer computes the same, but the split is no longer that of SAME:

       size 32, stride 2, kernel 7, padding (3, 3): the last position reads rows 30 to 36 of 38; (3, 2) is the same

2. A binary convolution whose input is padded with signs after the quantizer is binary only if these are ones and the padding is
   that of SAME. Otherwise the padding moves before the sign: sign(pad(x, s)) = pad(sign(x), s) for s = -1 and 1.

3. A binary convolution whose input is padded with zeros after the quantizer is binary only if the convolution itself is SAME. Zero
   padding on a map that is smaller than the kernel (dilation included) is computed incorrectly by the optimized kernels. In any
   other spelling (ZeroPadding2D, "causal") and on small maps, such a convolution pads with ones instead, and what these add is
   subtracted, a constant by position:

       conv(pad(s, 0)) = conv(pad(s, 1)) - conv(1 where padded, else 0)

4. XNNPACK, TFLite's default for real-valued operators, computes SAME incorrectly where the last window ends before the map does,
   which occurs where a stride is larger than the kernel. What no window reads is removed; where nothing is padded, VALID does that.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import PADS, Convolution, constant_padding, find_convolutions
from el_larq.converters.graph_def import add_constant, add_operation, add_padding, add_sign, become
from el_larq.layers.align import same_padding

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")


def respell(model: FrozenModel) -> FrozenModel:
    """The model with every padding in a spelling that survives the conversion; most models are returned as they are."""
    sites = [site for operation in model.operations if (site := _site(model, operation)) is not None and _concerns(site)]
    if not sites:
        return model  # without computing every kernel
    convolutions = {convolution.operation: convolution for convolution in find_convolutions(model)}
    changes = []
    for site in sites:
        convolution = convolutions.get(site.operation.name)
        if convolution is not None and (convolution.signs is None or not convolution.meant_binary):
            convolution = None
        kept = tuple(kept_padding(*axis) for axis in site.axes)
        small = any(size < reach for size, reach, *_ in site.axes)
        if convolution is not None and site.value == 0 and (small or not site.is_same):
            changes.append(_Correction(site, convolution))
        elif convolution is not None and site.value == 0 and site.pad is not None:
            changes.append(_Fuse(site))
        elif convolution is not None and site.pad is not None and (site.value == -1 or (site.value == 1 and not site.is_same)):
            changes.append(_Move(site, convolution))
        elif convolution is None and site.value == 0 and site.is_same and site.strides_past_kernel:
            changes.append(_Crop(site))
        elif site.pad is not None and kept != site.paddings:
            changes.append(_Trim(site, kept))
    if not changes:
        return model

    def change(graph: Any) -> None:
        nodes = {node.name: node for node in graph.node}
        for one in changes:
            one.apply(graph, nodes)

    return model.edited(change)


def _concerns(site: "_Site") -> bool:
    """Whether a padding may have to change: all but SAME on a map that the kernel fits into and reads to its end."""
    return site.pad is not None or site.strides_past_kernel or any(size < reach for size, reach, *_ in site.axes)


def kept_padding(size: int, reach: int, stride: int, before: int, after: int) -> tuple[int, int]:
    """The padding along one axis that computes the same and that LCE's converter does not replace by a different one.

    Arguments:
        size: of the map before padding. reach: of the kernel, dilation included. Both in pixels.
    """
    positions = (size + before + after - reach) // stride + 1
    unread = size + before + after - reach - (positions - 1) * stride
    # One candidate always works: either LCE does not mistake it for SAME, or it is SAME.
    for candidate in (after, *range(max(0, after - unread), after - unread + stride)):
        taken_for_same = positions == -(-size // stride) and before == (before + candidate) // 2
        if not taken_for_same or (before, candidate) == same_padding(size, reach, stride):
            return before, candidate
    return before, after


@dataclass(frozen=True)
class _Site:
    """A convolution with padding, explicit (by the operation ``pad``) or SAME.

    axes: for height and width: size, reach, stride, padding before and after. value: what it is padded with.
    """

    operation: Any
    pad: Any | None
    value: float
    axes: tuple[tuple[int, int, int, int, int], ...]

    @property
    def paddings(self) -> tuple[tuple[int, int], ...]:
        return tuple((before, after) for *_, before, after in self.axes)

    @property
    def is_same(self) -> bool:
        """Whether the padding is that of SAME along both axes."""
        return self.paddings == tuple(same_padding(size, reach, stride) for size, reach, stride, *_ in self.axes)

    @property
    def read(self) -> tuple[int, ...]:
        """For height and width, how far the windows reach into the map, up to all of it."""
        return tuple(
            min(size, (size + before + after - reach) // stride * stride + reach - before)
            for size, reach, stride, before, after in self.axes
        )

    @property
    def strides_past_kernel(self) -> bool:
        """Whether the last window ends before the map does. Convolutions of 1x1 are left out: XNNPACK runs these correctly."""
        ends_before = any(read < size for read, (size, *_) in zip(self.read, self.axes, strict=True))
        return ends_before and any(reach > 1 for _, reach, *_ in self.axes)

    @property
    def source(self) -> Any:
        """The tensor that is padded."""
        return self.operation.inputs[0] if self.pad is None else self.pad.inputs[0]


def _site(model: FrozenModel, operation: Any) -> _Site | None:
    if operation.type not in _CONVOLUTIONS or operation.get_attr("data_format") != b"NHWC":
        return None
    pad = operation.inputs[0].op
    explicit = operation.get_attr("padding") == b"VALID" and pad.type in PADS
    if not explicit and operation.get_attr("padding") != b"SAME":
        return None
    sizes = (pad.inputs[0] if explicit else operation.inputs[0]).shape
    if sizes.rank != 4 or None in tuple(sizes[1:]):
        return None
    paddings, value = None, 0.0
    if explicit:
        padding = constant_padding(model, operation.inputs[0])
        if padding is None or padding.amounts is None or padding.value is None or np.any(padding.amounts[[0, 3]]):
            return None
        paddings, value = padding.amounts, padding.value
    axes = []
    strides, dilations, kernel = operation.get_attr("strides"), operation.get_attr("dilations"), operation.inputs[1].shape
    for axis in (1, 2):
        reach = (kernel[axis - 1] - 1) * dilations[axis] + 1
        size, stride = int(sizes[axis]), strides[axis]
        before, after = same_padding(size, reach, stride) if paddings is None else map(int, paddings[axis])
        axes.append((size, reach, stride, before, after))
    return _Site(operation, pad if explicit else None, value, tuple(axes))


def _padded(graph: Any, site: _Site, name: str, source: str, paddings: Any, value: float) -> str:
    return add_padding(graph, name, source, [(0, 0), *paddings, (0, 0)], site.operation.inputs[0].dtype, value)


@dataclass(frozen=True)
class _Trim:
    site: _Site
    paddings: tuple[tuple[int, int], ...]

    def apply(self, graph: Any, nodes: dict[str, Any]) -> None:
        # The padding may be read by other convolutions as well, so this one gets its own.
        name = self.site.operation.name
        pad = _padded(graph, self.site, f"{name}/padded", self.site.source.name, self.paddings, self.site.value)
        nodes[name].input[0] = pad


@dataclass(frozen=True)
class _Fuse:
    site: _Site

    def apply(self, graph: Any, nodes: dict[str, Any]) -> None:
        node = nodes[self.site.operation.name]
        node.input[0] = self.site.source.name
        node.attr["padding"].s = b"SAME"


@dataclass(frozen=True)
class _Crop:
    site: _Site

    def apply(self, graph: Any, nodes: dict[str, Any]) -> None:
        site, node = self.site, nodes[self.site.operation.name]
        node.input[0] = site.source.name
        if not np.any(site.paddings):
            node.attr["padding"].s = b"VALID"
            return
        begin = add_constant(graph, f"{node.name}/begin", [0, 0, 0, 0], tf.int32)
        size = add_constant(graph, f"{node.name}/read", [-1, *site.read, -1], tf.int32)
        inputs = [site.source.name, begin, size]
        node.input[0] = add_operation(graph, "Slice", f"{node.name}/cropped", inputs, site.source.dtype, Index=tf.int32)
        node.attr["padding"].s = b"SAME"


@dataclass(frozen=True)
class _Move:
    site: _Site
    convolution: Convolution

    def apply(self, graph: Any, nodes: dict[str, Any]) -> None:
        nodes[self.site.operation.name].input[0] = _padded_before_sign(graph, self.site, self.convolution, self.site.value)


def _padded_before_sign(graph: Any, site: _Site, convolution: Convolution, value: float) -> str:
    name, dtype, real = site.operation.name, site.operation.inputs[0].dtype, convolution.signs
    assert real is not None
    x = _padded(graph, site, f"{name}/padded", real.name, site.paddings, value)
    return add_sign(graph, f"{name}/sign", x, dtype)


@dataclass(frozen=True)
class _Correction:
    site: _Site
    convolution: Convolution

    def apply(self, graph: Any, nodes: dict[str, Any]) -> None:
        site, name = self.site, self.site.operation.name
        dtype, shape = site.operation.outputs[0].dtype, [int(size) for size in site.operation.outputs[0].shape[1:]]
        # The convolution moves to another name, so that its readers read the corrected values.
        convolution = graph.node.add()
        convolution.CopyFrom(nodes[name])
        convolution.name = f"{name}/padded_with_ones"
        convolution.attr["padding"].s = b"VALID"
        if site.is_same:
            convolution.input[0] = _padded(graph, site, f"{name}/padded", site.source.name, site.paddings, 1.0)
        else:
            convolution.input[0] = _padded_before_sign(graph, site, self.convolution, 1.0)
        if shape[:2] == [1, 1]:
            extra = add_constant(graph, f"{name}/extra", self._extra().reshape(-1), dtype)
            become(nodes[name], "Sub", [convolution.name, extra], dtype)
            return
        # LCE interprets a summand right after a binary convolution as one per channel, hence the flat view.
        flat = add_constant(graph, f"{name}/flat_shape", [-1, int(np.prod(shape))], tf.int32)
        view = add_operation(graph, "Reshape", f"{name}/flat", [convolution.name, flat], dtype, Tshape=tf.int32)
        extra = add_constant(graph, f"{name}/extra", self._extra().reshape(1, -1), dtype)
        corrected = add_operation(graph, "Sub", f"{name}/corrected", [view, extra], dtype)
        full = add_constant(graph, f"{name}/full_shape", [-1, *shape], tf.int32)
        become(nodes[name], "Reshape", [corrected, full], dtype, Tshape=tf.int32)

    def _extra(self) -> np.ndarray:
        """What ones in place of the zeros add, (H, W, C_out)."""
        site, operation = self.site, self.site.operation
        inside = tf.zeros([1, *(size for size, *_ in site.axes), operation.inputs[0].shape[-1]])
        padded = tf.pad(inside, [(0, 0), *site.paddings, (0, 0)], constant_values=1.0)
        strides, dilations = operation.get_attr("strides"), operation.get_attr("dilations")
        return tf.nn.conv2d(padded, self.convolution.kernel, strides, "VALID", dilations=dilations).numpy()[0]
