"""Rules that need the flatbuffer alone and so apply to any .tflite for Larq Compute Engine."""

from collections.abc import Sequence

import numpy as np

from el_larq.converters.rules.rule import Found, Place, rule
from el_larq.converters.rules.subject import Subject
from el_larq.tflite.operators import (
    REAL_KERNELS,
    WORD,
    binary_groups,
    binary_operators,
    input_channels,
    kernel_of,
    source_of,
    words,
)
from el_larq.tflite.reader import Operator, Tensor

_SAME = 0  # LCE's code for padding "same"


@rule(
    "scale-rank",
    "error",
    requirement="scales and shifts after binary convolutions have one dimension",
    why="LCE converts others and then refuses to load the file",
    remedy="give them the shape (C,)",
)
def scale_rank(subject: Subject) -> Found:
    for operator in binary_operators(subject.graph):
        for what, tensor in zip(("multiplier", "bias"), operator.inputs[2:4], strict=False):
            if tensor is not None and len(tensor.shape) != 1:
                yield operator, f"its {what} has shape {tensor.shape}, which LCE converts and then refuses to load"


@rule(
    "dynamic-shape",
    "error",
    requirement="all dimensions except the batch are static",
    why="LCE leaves convolutions real-valued, and devices cannot plan their memory",
    remedy="convert with a fixed input size (--image-size)",
)
def dynamic_shape(subject: Subject) -> Found:
    for tensor in subject.graph.tensors:
        if tensor.dynamic and tensor.shape[1:] and any(size < 1 for size in tensor.shape[1:]):
            yield Place(tensor.name), "its size is known at run time only"
            return


@rule(
    "stride-over-kernel",
    "error",
    requirement='no real-valued convolution with padding "same" has a stride larger than its kernel',
    why='XNNPACK, TFLite\'s default for real-valued operators, computes it wrongly where "same" would need negative padding',
    remedy='`padding="valid"` where no side is padded; else crop what no window reads before it, as the finding says',
)
def stride_over_kernel(subject: Subject) -> Found:
    for operator in subject.graph.operators:
        if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or operator.options["padding"] != "same":
            continue
        shapes = [tensor.shape[1:3] for tensor in (*operator.inputs[:2], operator.outputs[0]) if tensor is not None]
        options = operator.options["strides"], operator.options["dilations"]
        if len(shapes) < 3 or shapes[1] == (1, 1):
            continue
        axes = zip(*shapes, *options, strict=False)
        # Pixels along each axis: those that the windows cover, with padding, minus those that there are.
        missing = [(after - 1) * stride + (size - 1) * dilation + 1 - before for before, size, after, stride, dilation in axes]
        if all(pixels >= 0 for pixels in missing):
            continue
        unread = ", ".join(f"(0, {max(0, -pixels)})" for pixels in missing)
        remedy = f"put Cropping2D(({unread})) before it, which removes what no window reads"
        if all(pixels <= 0 for pixels in missing):
            remedy = 'use padding="valid", which is the same convolution there'
        reason = f"a {operator.name} that strides past its kernel, which TFLite's default implementation (XNNPACK) computes wrongly"
        yield operator, reason, remedy


@rule(
    "zero-padded-small-map",
    "error",
    requirement="no binary convolution with zero padding runs on a map that is smaller than its (dilated) kernel",
    why=(
        "LCE's default and indirect kernels pad with ones and correct the borders, assuming that a window sticks out at one of two "
        "opposite sides only; where that is not so (3x3 on 1 or 2 pixels, 3x3 with dilation 4 on up to 8), results are wrong"
    ),
    remedy="train with pad_values=1.0, or use a smaller kernel there; --use_reference_bconv computes it correctly, but slowly",
)
def zero_padded_small_map(subject: Subject) -> Found:
    for operator in binary_operators(subject.graph):
        source = operator.inputs[0]
        if operator.options.get("padding") != _SAME or operator.options.get("pad_values") != 0 or source is None:
            continue
        reach, steps = [], []
        for axis, name in enumerate(("height", "width")):
            dilation = operator.options.get(f"dilation_{name}_factor", 1)
            reach.append((kernel_of(operator).shape[1 + axis] - 1) * dilation + 1)
            steps.append(operator.options.get(f"stride_{name}", 1))
        before, after = source.shape[1:3], operator.outputs[0].shape[1:3]
        if any(size < wide for size, wide in zip(before, reach, strict=True)) and not _borders_corrected(
            before, after, reach, steps
        ):
            size, kernel = ("x".join(map(str, pair)) for pair in (before, reach))
            reason = f"a window of {kernel} padded with zeros on a map of {size}, which LCE's default kernel computes wrongly"
            yield operator, reason


def _borders_corrected(before: Sequence[int], after: Sequence[int], reach: Sequence[int], steps: Sequence[int]) -> bool:
    """Whether LCE subtracts the right values wherever a window sticks out of the map; sizes are those of height and width.

    LCE knows four cases, by the pixels that a window sticks out at each side (negative if it ends inside). It corrects two sides in
    each, and nothing where none applies.
    """
    sides = []
    for size, outputs, wide, step in zip(before, after, reach, steps, strict=True):
        first = max(0, (outputs - 1) * step + wide - size) // 2
        ends = ((first - i * step, i * step - first + wide - size) for i in range(outputs))
        sides.append({(_signum(start), _signum(end)) for start, end in ends})
    for top, bottom in sides[0]:
        for left, right in sides[1]:
            corrected = (
                (right <= 0 and top > 0 and bottom < 0)
                or (left < 0 and right > 0 and bottom <= 0)
                or (left > 0 and right < 0 and top <= 0)
                or (left <= 0 and top < 0 and bottom > 0)
            )
            if max(top, bottom, left, right) > 0 and not corrected:
                return False
    return True


def _signum(number: int) -> int:
    return (number > 0) - (number < 0)


@rule(
    "float-on-signs",
    "warning",
    requirement="no real-valued convolution reads signs",
    why="they are unpacked for it, which costs more than a real-valued convolution",
    remedy="use a layer for which LCE has a binary operator, or keep its input real-valued",
)
def float_on_signs(subject: Subject) -> Found:
    for operator in subject.graph.operators:
        source = source_of(operator)
        producer = subject.graph.producers.get(source.index) if operator.name in REAL_KERNELS and source else None
        passed = set[int]()  # a file made by hand may contain a cycle
        while producer is not None and producer.name in ("PADV2", "PAD", "RESHAPE", "BITCAST") and id(producer) not in passed:
            passed.add(id(producer))
            before = producer.inputs[0]
            producer = subject.graph.producers.get(before.index) if before else None
        if producer is not None and producer.name == "LceDequantize":
            yield operator, f"a {operator.name} on signs, which are unpacked for it: this costs more than a real-valued convolution"


@rule(
    "groups",
    "warning",
    requirement="binary convolutions have one group",
    why="LCE's default kernel refuses others when it loads the model",
    remedy="use one group, or run with --use_indirect_bgemm",
)
def groups(subject: Subject) -> Found:
    for operator in binary_operators(subject.graph):
        number = binary_groups(operator)
        if number > 1:
            yield operator, f"{number} groups, which LCE's default kernel refuses when it loads the model"


@rule(
    "zero-padding",
    "warning",
    requirement="binary convolutions are not padded with zeros",
    why="no activation is fused into them and their results are not packed",
    remedy='train with pad_values=1.0; for a 1x1 convolution use padding="valid"',
)
def zero_padding(subject: Subject) -> Found:
    for operator in binary_operators(subject.graph):
        if operator.options.get("padding") == _SAME and operator.options.get("pad_values") == 0:
            kernel = operator.inputs[1]
            if kernel is not None and kernel.shape[1:3] == (1, 1):
                remedy = 'a 1x1 convolution needs no padding: use padding="valid"'
            else:
                remedy = "train with pad_values=1.0"
            yield operator, "padded with zeros, so no activation is fused and the result is not packed", remedy


@rule(
    "norm-left",
    "warning",
    requirement="no batch normalization is left as MUL and ADD",
    why="both process the whole tensor",
    remedy="put the normalization directly after a convolution, before additions and pooling",
)
def norm_left(subject: Subject) -> Found:
    readers: dict[int, list[Operator]] = {}
    for operator in subject.graph.operators:
        for tensor in operator.inputs:
            if tensor is not None:
                readers.setdefault(tensor.index, []).append(operator)
    for operator in subject.graph.operators:
        after = readers.get(operator.outputs[0].index, []) if operator.name == "MUL" else []
        if _by_channel(operator.inputs) and len(after) == 1 and after[0].name == "ADD" and _by_channel(after[0].inputs):
            source = next((tensor for tensor in operator.inputs if tensor is not None and not tensor.constant), None)
            producer = subject.graph.producers.get(source.index) if source is not None else None
            producer_name = "the input" if producer is None else producer.name
            # One multiplication and one addition for each value.
            place = Place(f"operator {operator.index}", operations=2 * operator.outputs[0].elements)
            yield place, f"a batch normalization after {producer_name} was not folded: one MUL and one ADD over the whole tensor"


def _by_channel(tensors: tuple[Tensor | None, ...]) -> bool:
    """Whether one of the tensors is a constant with one value per channel; a scale by position is not a normalization."""
    constants = [tensor for tensor in tensors if tensor is not None and tensor.constant and tensor.elements > 1]
    return any(tensor.shape[-1] == tensor.elements or _repeats_a_row(tensor) for tensor in constants)


def _repeats_a_row(tensor: Tensor) -> bool:
    """Whether a constant (1, 1, W, C) is one of C values, as the step `arrange` stores it."""
    if len(tensor.shape) != 4 or tensor.shape[:2] != (1, 1):
        return False
    row = tensor.array()[0, 0]
    return bool(np.all(row == row[:1]))


@rule(
    "channels",
    "note",
    requirement="the number of input channels of binary convolutions is a multiple of 32",
    why="bits are packed by 32, and the rest of a word is wasted",
    remedy="use multiples of 32 if speed matters",
)
def channels(subject: Subject) -> Found:
    for operator in binary_operators(subject.graph):
        number = input_channels(operator)
        if number % WORD:
            yield operator, f"{number} input channels take {words(number) * WORD}: bits are packed by 32"


@rule(
    "dead-channels",
    "warning",
    requirement="no output channel of a binary convolution is constant",
    why="it costs as much as any other and carries no information",
    remedy="train longer, or prune them",
)
def dead_channels(subject: Subject) -> Found:
    for operator in binary_operators(subject.graph):
        multiplier = operator.inputs[2] if len(operator.inputs) > 2 else None
        if multiplier is not None and multiplier.constant and multiplier.type == "float32":
            dead = int(np.sum(multiplier.array() == 0))
            if dead:
                yield operator, f"{dead} of {multiplier.elements} output channels are constant"


@rule(
    "slow-on-arm32",
    "note",
    requirement="no binary convolution has a packed result",
    why="it runs as portable C++ on 32-bit ARM",
    remedy="use a 64-bit system on the device",
)
def slow_on_arm32(subject: Subject) -> Found:
    packed = [operator for operator in binary_operators(subject.graph) if operator.outputs[0].type == "int32"]
    if packed:
        yield Place(f"{len(packed)} operators"), "binary convolutions with packed results run as portable C++ on 32-bit ARM"
